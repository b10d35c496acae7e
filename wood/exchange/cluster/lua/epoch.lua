-- Read the clock of the partition: what every script that writes begins with.
--
-- A server that was started anew or promoted has another replication id, and its history may have
-- lost its end: from then on it is another epoch.

local call, format, match = redis.call, string.format, string.match
local pack, decode = cmsgpack.pack, cmsgpack.unpack

local function text(number)
    -- Lua and Redis would write 1e+15 for some.
    return format('%.0f', number)
end

local function microseconds()
    local now = call('TIME')
    return tonumber(now[1]) * 1000000 + tonumber(now[2])
end

local function server_id()
    local info = call('INFO', 'replication')
    -- A master that was made a replica answers on; who works with it is to look for the new one.
    if match(info, 'role:slave') then error({err = 'READONLY this server is a replica now'}) end
    return match(info, 'master_replid:(%x+)') or ''
end

-- The epoch of the present server: (epoch, server, whether it begins here).
local function present_epoch(epoch, server, now)
    local id = server_id()
    if id == server then return epoch, id, false end
    return now > epoch and now or epoch + 1, id, true
end

local function begin_epoch(epochs, epoch, seq, batch)
    call('RPUSH', epochs, pack(epoch, seq, batch))
    call('LTRIM', epochs, -1000, -1)
end

-- Writers that are no more, and had sessions.
local function dead_with_sessions(writers, placed)
    local dead, from = {}, '-'
    while true do
        local first = call('ZRANGEBYLEX', placed, from, '+', 'LIMIT', 0, 1)[1]
        if not first then return dead end
        local name = match(first, '^[^ ]+')
        if call('HEXISTS', writers, name) == 0 then dead[#dead + 1] = name end
        from = '(' .. name .. '!' -- what sorts after all that begins with the name and a blank
    end
end
