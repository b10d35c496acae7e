-- Stop being a writer, on purpose.
--
-- KEYS  [1] writers hash  [2] beats zset
-- ARGV  [1] writer
-- Returns 1, or 0 if it was none.

call('ZREM', KEYS[2], ARGV[1])
return call('HDEL', KEYS[1], ARGV[1])
