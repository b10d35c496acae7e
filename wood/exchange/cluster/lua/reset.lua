-- Clear a partition on purpose, unless nodes are alive.
--
-- KEYS  [1] meta hash  [2] beats zset  [3..] everything else of the partition
-- ARGV  [1] lease in microseconds  [2] the stored rules for which KEYS were made, '' for none
-- Returns {'cleared', orders}, {'alive', nodes} or {'other', stored rules}: KEYS were made for
--       others, ask again.

local meta = call('HMGET', KEYS[1], 'rules', 'resting')
if (meta[1] or '') ~= ARGV[2] then return {'other', meta[1] or ''} end
local recent = text(microseconds() - tonumber(ARGV[1]))
local alive = call('ZCOUNT', KEYS[2], '(' .. recent, '+inf')
if alive > 0 then return {'alive', text(alive)} end
for i = 1, #KEYS do call('UNLINK', KEYS[i]) end
return {'cleared', meta[2] or '0'}
