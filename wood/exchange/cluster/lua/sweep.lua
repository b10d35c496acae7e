-- Cancelling for others: those who are gone, those who may trade no more, those who have no name.

local MAX_DEAD = 1000 -- sessions of dead nodes that one sweep ends

local function begin(word)
    n = n + 1
    out[n] = word
    size = size + 1
    unnumbered = unnumbered + 1
end

local function own(participant)
    out[n + 1], out[n + 2] = OWNER, participant
    n = n + 2
end

local function done(count)
    out[n + 1], out[n + 2] = DONE, count
    n = n + 2
end

-- End the sessions of nodes that are dead; who asked for it is leaving, since the lease that it took to
-- find out began. Who has no name cannot come back.
local function end_dead_sessions(grace, lease)
    local dead, ended = dead_with_sessions(KEYS[2], KEYS[11]), 0
    for i = 1, #dead do
        local from, to = '[' .. dead[i] .. ' ', '(' .. dead[i] .. '!'
        local found = call('ZRANGEBYLEX', KEYS[11], from, to, 'LIMIT', 0, MAX_DEAD - ended)
        for j = 1, #found do found[j] = sub(found[j], #dead[i] + 2) end
        fetch_sessions(found)
        for j = 1, #found do
            local id = found[j]
            local record = session_of(id)
            -- It may have been resumed elsewhere in this very batch.
            if record and record[3] == dead[i] then
                forget_session(id)
                if record[4] and not is_guarded(record[1]) then
                    begin_grace(record[1], id == record[1] and 0 or time - lease)
                end
            end
        end
        ended = ended + #found
        if ended >= MAX_DEAD then break end
    end
    size = size + ended
end

local function sweep()
    local rules = call('HMGET', KEYS[1], 'grace', 'lease')
    local grace, lease = tonumber(rules[1]), tonumber(rules[2])
    end_dead_sessions(grace, lease)
    local due = {}
    local stored = call('ZRANGEBYSCORE', KEYS[12], '-inf', text(time - grace), 'WITHSCORES', 'LIMIT', 0, MAX_DEAD)
    for i = 1, #stored, 2 do
        if left[stored[i]] == nil then due[#due + 1] = {stored[i], tonumber(stored[i + 1])} end
    end
    for participant, since in pairs(left) do
        if since and since <= time - grace then due[#due + 1] = {participant, since} end
    end
    table.sort(due, function(a, b)
        if a[2] ~= b[2] then return a[2] < b[2] end
        return a[1] < b[1]
    end)
    for i = 1, #due do
        if size >= MAX_ROWS then return end
        local participant = due[i][1]
        leave(participant, false)
        own(participant)
        cancel_in(participant, nil)
        size = size + 1
        local known = due[i][2] == 0 and participant_of(participant)
        if known and known.disabled then
            local found = sessions_of(participant)
            fetch_sessions(found)
            for j = 1, #found do forget_session(found[j]) end
            out[n + 1], out[n + 2] = DISABLED, participant
            n = n + 2
        end
    end
end

-- Cancel orders of those without a name who came before a time in seconds; return how many.
local function cancel_anonymous(before)
    local names, count = call('HKEYS', KEYS[6]), 0
    for participant in pairs(open) do names[#names + 1] = participant end
    table.sort(names)
    for i = 1, #names do
        if size >= MAX_ROWS then break end
        local since = match(names[i], '^~(%x%x%x%x%x%x%x%x)')
        if since and tonumber(since, 16) < before then
            own(names[i])
            count = count + cancel_in(names[i], nil)
        end
    end
    return count
end
