-- Show that a node lives, declare dead who does not, and tell how far the journal is.
--
-- KEYS  [1] meta hash  [2] writers hash  [3] epochs list  [4] beats zset  [5] placed zset
--       [6] leaving zset  [7] nodes hash
-- ARGV  [1] writer  [2] the name of its node  [3] what the node reports of itself, in
--       MessagePack, '' for nothing new
-- Returns {1 or 0 for a writer that is dead, partition id, epoch, seq, batch, time, {the dead}, 1 if a
--       sweep has something to do}, numbers as text; an empty list if there is no partition.

local A_DAY = 86400 * 1000000

-- Keep what a node says. That of a node which died stays, for a day or until its name is back.
local function report(nodes, writers, now, writer, name, said)
    local known = call('HKEYS', nodes)
    for i = 1, #known do
        if call('HEXISTS', writers, known[i]) == 0 then
            local _, other, since = cmsgpack.unpack_limit(call('HGET', nodes, known[i]), 2, 0)
            if other == name or now - since > A_DAY then redis.pcall('HDEL', nodes, known[i]) end
        end
    end
    redis.pcall('HSET', nodes, writer, pack(name, now) .. said)
end

local meta = call('HMGET', KEYS[1],
    'id', 'epoch', 'server', 'seq', 'batch', 'time', 'lease', 'outage', 'grace')
if not meta[1] then return {} end
local now = microseconds()
local epoch, server, begins = present_epoch(tonumber(meta[2]), meta[3], now)
local dead, _, time = reap(KEYS[1], KEYS[2], KEYS[4], KEYS[5], KEYS[6], now, tonumber(meta[7]), tonumber(meta[8]))
local alive = call('HEXISTS', KEYS[2], ARGV[1])
if alive == 1 then
    beat(KEYS[4], time, ARGV[1])
    if ARGV[3] ~= '' then report(KEYS[7], KEYS[2], now, ARGV[1], ARGV[2], ARGV[3]) end
end
if begins then
    begin_epoch(KEYS[3], epoch, tonumber(meta[4]), tonumber(meta[5]))
    call('HSET', KEYS[1], 'epoch', text(epoch), 'server', server)
end
local due = call('ZCOUNT', KEYS[6], '-inf', text(now - tonumber(meta[9]))) > 0
    or #dead_with_sessions(KEYS[2], KEYS[5]) > 0
return {alive, meta[1], text(epoch), meta[4], meta[5], meta[6], dead, due and 1 or 0}
