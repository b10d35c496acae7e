-- Show that a node lives, declare dead who does not, and tell how far the journal is.
--
-- KEYS  [1] meta hash  [2] writers hash  [3] epochs list  [4] beats zset  [5] placed zset
--       [6] leaving zset
-- ARGV  [1] writer
-- Returns {1 or 0 for a writer that is dead, partition id, epoch, seq, batch, time, {the dead}, 1 if a
--       sweep has something to do}, numbers as text; an empty list if there is no partition.

local meta = call('HMGET', KEYS[1],
    'id', 'epoch', 'server', 'seq', 'batch', 'time', 'lease', 'outage', 'grace')
if not meta[1] then return {} end
local now = microseconds()
local epoch, server, begins = present_epoch(tonumber(meta[2]), meta[3], now)
local dead, _, time = reap(KEYS[1], KEYS[2], KEYS[4], KEYS[5], KEYS[6], now, tonumber(meta[7]), tonumber(meta[8]))
local alive = call('HEXISTS', KEYS[2], ARGV[1])
if alive == 1 then beat(KEYS[4], time, ARGV[1]) end
if begins then
    begin_epoch(KEYS[3], epoch, tonumber(meta[4]), tonumber(meta[5]))
    call('HSET', KEYS[1], 'epoch', text(epoch), 'server', server)
end
local due = call('ZCOUNT', KEYS[6], '-inf', text(now - tonumber(meta[9]))) > 0
    or #dead_with_sessions(KEYS[2], KEYS[5]) > 0
return {alive, meta[1], text(epoch), meta[4], meta[5], meta[6], dead, due and 1 or 0}
