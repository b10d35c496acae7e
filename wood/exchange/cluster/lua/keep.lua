-- Note how far a durable reader is. Trimming does not pass it, up to a cap: see write.lua.
--
-- KEYS  [1] readers hash
-- ARGV  [1] reader  [2] its position: journal id, epoch, seq, batch and time, MessagePack values
--       one after the other

call('HSET', KEYS[1], ARGV[1], ARGV[2] .. pack(microseconds()))
return 1
