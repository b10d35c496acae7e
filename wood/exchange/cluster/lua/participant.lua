-- Change one participant, for an operator; whether a partition exists does not matter.
--
-- KEYS  [1] participants hash  [2] leaving zset  [3] meta hash  [4] limits hash
-- ARGV  [1] participant  [2] 'add', 'rotate', 'disable', 'enable' or 'limit'
--       [3] digest of its token, with add and rotate  [4] '1' for an operator, with add
--       [5] symbol or '*', with limit  [6] a MessagePack map of the limits that change there, with
--       limit: field -> number, or false to take its own away
--       [7] what the channel begins with
-- Returns 1, or 0 if it is there already (add), is not there (all others), and nothing was changed.
-- Publishes, when it disables, an empty message, which asks every node for a beat: with that it
--       finds the participant among those that leave, to be cut off at once.

local name, change, hashed = ARGV[1], ARGV[2], ARGV[3]
local record = call('HGET', KEYS[1], name)
local function store(...) call('HSET', KEYS[1], name, pack(...)) end

-- What has nothing in it is not kept, for an empty table is packed as a list.
local function limit(symbol, changes)
    local kept = call('HGET', KEYS[4], name)
    local limits = kept and decode(kept) or {}
    local here = limits[symbol] or {}
    for field, value in pairs(changes) do here[field] = value or nil end
    limits[symbol] = next(here) and here or nil
    if next(limits) then
        call('HSET', KEYS[4], name, pack(limits))
    else
        call('HDEL', KEYS[4], name)
    end
end

if change == 'add' then
    if record then return 0 end
    store(hashed, tonumber(call('TIME')[1]), ARGV[4] == '1', false)
    -- Of one who was removed by hand and had the same name.
    call('HDEL', KEYS[4], name)
    return 1
end

if not record then return 0 end
local former, added, operator, disabled = decode(record)
if change == 'rotate' then
    store(hashed, added, operator, disabled)
elseif change == 'disable' then
    -- It also proves, before anything is written, that this user may publish.
    local id = call('HGET', KEYS[3], 'id')
    if id then call('SPUBLISH', ARGV[7] .. id, '') end
    call('ZADD', KEYS[2], 0, name)
    store(former, added, operator, true)
elseif change == 'enable' then
    -- If nobody has acted on it yet, its orders are still cancelled, as `disable` promised.
    store(former, added, operator, false)
elseif change == 'limit' then
    limit(ARGV[5], decode(ARGV[6]))
else
    error('unknown change ' .. change)
end
return 1
