-- Change one participant, for an operator; whether a partition exists does not matter.
--
-- KEYS  [1] participants hash  [2] leaving zset  [3] meta hash
-- ARGV  [1] participant  [2] 'add', 'rotate', 'disable' or 'enable'
--       [3] digest of its token, with add and rotate  [4] '1' for an operator, with add
--       [5] what the channel begins with
-- Returns 1, or 0 if it is there already (add), is not there (all others), and nothing was changed.
-- Publishes, when it disables, an empty message, which asks every node for a beat: with that it
--       finds the participant among those that leave, to be cut off at once.

local name, change, hashed = ARGV[1], ARGV[2], ARGV[3]
local record = call('HGET', KEYS[1], name)
local function store(...) call('HSET', KEYS[1], name, pack(...)) end

if change == 'add' then
    if record then return 0 end
    store(hashed, tonumber(call('TIME')[1]), ARGV[4] == '1', false)
    return 1
end

if not record then return 0 end
local former, added, operator, disabled = decode(record)
if change == 'rotate' then
    store(hashed, added, operator, disabled)
elseif change == 'disable' then
    -- It also proves, before anything is written, that this user may publish.
    local id = call('HGET', KEYS[3], 'id')
    if id then call('SPUBLISH', ARGV[5] .. id, '') end
    call('ZADD', KEYS[2], 0, name)
    store(former, added, operator, true)
elseif change == 'enable' then
    -- If nobody has acted on it yet, its orders are still cancelled, as `disable` promised.
    store(former, added, operator, false)
else
    error('unknown change ' .. change)
end
return 1
