-- Who is alive: shared by the scripts by which nodes join and show that they live.
--
-- A lease is counted against the newest beat of anyone, so that nobody dies while nobody could be
-- heard; and after such an outage everybody has one full lease again.

-- A server that refuses to write still shall tell how far the journal is.
local function beat(beats, now, name)
    redis.pcall('ZADD', beats, text(now), name)
end

-- Note since when a writer is gone, if it had sessions: until a sweep has ended them.
local function bury(meta, placed, name, since)
    if call('ZRANGEBYLEX', placed, '[' .. name .. ' ', '(' .. name .. '!', 'LIMIT', 0, 1)[1] then
        redis.pcall('HSET', meta, 'gone:' .. name, text(since))
    end
end

-- Who left while nobody could come back may still do so; 0 is the score of the disabled.
local function wait_again(meta, leaving, now)
    local names, values = call('ZRANGEBYSCORE', leaving, '(0', '+inf'), {}
    for i = 1, #names do
        values[#values + 1] = text(now)
        values[#values + 1] = names[i]
        if #values == 1000 or i == #names then
            redis.pcall('ZADD', leaving, unpack(values))
            values = {}
        end
    end
    local fields = call('HKEYS', meta)
    for i = 1, #fields do
        if match(fields[i], '^gone:') then redis.pcall('HSET', meta, fields[i], text(now)) end
    end
end

-- Returns the dead, whether everybody's lease began again, and the time, which for leases never runs
-- backwards, whatever the clock of the server does.
local function reap(meta, writers, beats, placed, leaving, now, lease, outage)
    local found = call('ZRANGE', beats, 0, -1, 'WITHSCORES')
    local newest = 0
    for i = 2, #found, 2 do
        if tonumber(found[i]) > newest then newest = tonumber(found[i]) end
    end
    if newest >= now then now = newest + 1 end
    local dead, silence = {}, now - newest > outage
    if silence then wait_again(meta, leaving, now) end
    for i = 1, #found, 2 do
        if silence then
            beat(beats, now, found[i])
        elseif newest - tonumber(found[i + 1]) > lease then
            call('ZREM', beats, found[i])
            if call('HDEL', writers, found[i]) == 1 then
                dead[#dead + 1] = found[i]
                -- It may have lived until its next beat was due: two of them missing are an outage.
                bury(meta, placed, found[i], tonumber(found[i + 1]) + outage / 2)
            end
        end
    end
    return dead, silence, now
end

-- Whether a writer has beaten since `since`. One that has not may be dead, whatever its lease says.
local function proven(writers, beats, since)
    local names = call('HKEYS', writers)
    for i = 1, #names do
        if tonumber(call('ZSCORE', beats, names[i]) or 0) > since then return true end
    end
    return false
end
