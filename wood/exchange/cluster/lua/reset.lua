-- Clear a partition on purpose, unless nodes are alive.
--
-- KEYS  [1] meta hash  [2] writers hash  [3] beats zset  [4] placed zset  [5] leaving zset
--       [6..] everything else of the partition but its participants
-- ARGV  [1] the stored rules for which KEYS were made, '' for none
--       [2] an id under which to be heard of meanwhile, as a node that joins is
--       [3] when this was first asked, in microseconds, '0' if now  [4] what the channel begins with
-- Returns {'cleared', orders}, {'alive'}, {'wait', since}: ask again with `since` until somebody has
--       beaten or all leases have ended, or {'other', stored rules}: KEYS were made for others, ask
--       again.
-- Publishes an empty message, which asks every node for a beat.

local meta = call('HMGET', KEYS[1], 'rules', 'resting', 'id', 'lease', 'outage')
if (meta[1] or '') ~= ARGV[1] then return {'other', meta[1] or ''} end
if meta[1] then
    local now, since = microseconds(), tonumber(ARGV[3])
    call('SPUBLISH', ARGV[4] .. meta[3], '')
    local _, silence, time = reap(KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], now, tonumber(meta[4]), tonumber(meta[5]))
    now = time
    if silence or since == 0 then since = now end
    if call('HLEN', KEYS[2]) > 0 then
        if proven(KEYS[2], KEYS[3], since) then
            call('ZREM', KEYS[3], ARGV[2])
            return {'alive'}
        end
        call('ZADD', KEYS[3], text(now), ARGV[2])
        return {'wait', text(since)}
    end
end
for i = 1, #KEYS do call('UNLINK', KEYS[i]) end
return {'cleared', meta[2] or '0'}
