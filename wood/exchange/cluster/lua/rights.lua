-- Ask which of some commands this user may not do. Nothing is read and nothing is done.
--
-- ARGV  [1] a MessagePack list of commands, each a list of its words
-- Returns the places of those that the user may not do, counted from 1.

local commands, refused = cmsgpack.unpack(ARGV[1]), {}
for i = 1, #commands do
    -- It raises an error for a command that this server does not have.
    local known, allowed = pcall(redis.acl_check_cmd, unpack(commands[i]))
    if not (known and allowed) then refused[#refused + 1] = i end
end
return refused
