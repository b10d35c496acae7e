-- Become a writer; as the first node of a cluster, claim the partition and clear what it held.
--
-- KEYS  [1] meta hash  [2] writers hash  [3] epochs list  [4] beats zset  [5] placed zset
--       [6] leaving zset  [7..] everything else that is cleared: the journal, the sessions, the books of the
--       instruments in the stored rules and in one's own
-- ARGV  [1] writer  [2] the rules, JSON  [3] the stored rules for which KEYS were made, '' for none
--       [4] what of one's rules a book depends on, JSON  [5] '1' to persist
--       [6] '1' if the process starts, '0' if it comes back  [7] an id for a new partition
--       [8] when this node first asked, in microseconds, '0' if now  [9] what the channel begins with
--       [10] max_open_orders  [11] max_resting_orders  [12] kept  [13] lease  [14] outage: the
--       silence of all that counts as one  [15] grace; all three in microseconds  [16] auth
--       [17] max_rate
-- Returns {'joined', '1' if it was the first, orders cleared, '1' if they had been persisted},
--       {'wait', since}: ask again with `since` until somebody has beaten or all leases have ended,
--       {'other', stored rules}: KEYS were made for others, ask again,
--       {'differs', stored rules, persist flag}: this node may not join.
-- Publishes an empty message, which asks every node for a beat.

local writer, rules, seen, market, persist, starting = unpack(ARGV, 1, 6)
local partition_id, since, channel = ARGV[7], tonumber(ARGV[8]), ARGV[9]
local now = microseconds()
local meta = call('HMGET', KEYS[1], 'rules', 'persist', 'id', 'resting', 'market', 'lease', 'outage')
local stored = meta[1]
if (stored or '') ~= seen then return {'other', stored or ''} end

-- It also proves, before anything is written, that this user may publish.
call('SPUBLISH', channel .. (meta[3] or ''), '')

local function register()
    call('HSET', KEYS[2], writer, pack(0, 0, '0-0'))
    call('ZADD', KEYS[4], text(now), writer)
end

local function agree()
    call('HSET', KEYS[1], 'rules', rules, 'market', market, 'persist', persist,
        'max_open_orders', ARGV[10], 'max_resting_orders', ARGV[11], 'kept', ARGV[12],
        'lease', ARGV[13], 'outage', ARGV[14], 'grace', ARGV[15], 'auth', ARGV[16],
        'max_rate', ARGV[17])
end

local function create()
    agree()
    call('HSET', KEYS[1], 'id', partition_id, 'seq', '0', 'batch', '0', 'time', text(now),
        'epoch', text(now), 'server', server_id(), 'rows', '0', 'resting', '0')
    begin_epoch(KEYS[3], now, 0, 0)
    register()
end

if not stored then
    create()
    return {'joined', '1', '0', '0'}
end

local _, silence, time = reap(KEYS[1], KEYS[2], KEYS[4], KEYS[5], KEYS[6], now, tonumber(meta[6]), tonumber(meta[7]))
now = time
if silence or since == 0 then since = now end
local writers = call('HKEYS', KEYS[2])
local differs = stored ~= rules or meta[2] ~= persist

if starting == '1' and #writers == 0 then
    if persist == '1' then
        if market ~= meta[5] then return {'differs', stored, meta[2]} end
        agree()
        register()
        return {'joined', '1', '0', '0'}
    end
    call('UNLINK', unpack(KEYS, 1, 3))
    for i = 7, #KEYS do call('UNLINK', KEYS[i]) end
    create()
    return {'joined', '1', meta[4], meta[2]}
end
if starting == '1' and (persist ~= '1' or differs) then
    local alive = proven(KEYS[2], KEYS[4], since)
    if not alive then
        call('ZADD', KEYS[4], text(now), writer)
        return {'wait', text(since)}
    end
end
if differs then
    call('ZREM', KEYS[4], writer)
    return {'differs', stored, meta[2]}
end
register()
return {'joined', '0', '0', '0'}
