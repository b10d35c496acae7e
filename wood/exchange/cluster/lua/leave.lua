-- Stop being a writer, on purpose.
--
-- KEYS  [1] meta hash  [2] writers hash  [3] beats zset  [4] placed zset
--       [5] nodes hash
-- ARGV  [1] writer
-- Returns 1, or 0 if it was none.

call('ZREM', KEYS[3], ARGV[1])
call('HDEL', KEYS[5], ARGV[1])
local gone = call('HDEL', KEYS[2], ARGV[1])
if gone == 1 then bury(KEYS[1], KEYS[4], ARGV[1], microseconds()) end
return gone
