-- Cancelling for others: those who are gone, those who may trade no more, those who have no name.

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

local sweep

do
    local MAX_DEAD = 1000 -- sessions of dead nodes that one sweep ends

    -- End the sessions of a node that is gone, up to `most`; return how many. Who asked for it is leaving,
    -- since the node was heard of last. Who has no name cannot come back.
    local function end_sessions_of(node, most)
        local since = tonumber(call('HGET', KEYS[1], 'gone:' .. node) or time)
        local from, to = '[' .. node .. ' ', '(' .. node .. '!'
        local found = call('ZRANGEBYLEX', KEYS[11], from, to, 'LIMIT', 0, most)
        for i = 1, #found do found[i] = sub(found[i], #node + 2) end
        fetch_sessions(found)
        for i = 1, #found do
            local id = found[i]
            local record = session_of(id)
            -- It may have been resumed elsewhere in this very batch.
            if record and record[3] == node then
                forget_session(id)
                if record[4] and not is_guarded(record[1]) then
                    begin_grace(record[1], id == record[1] and 0 or since)
                end
            end
        end
        return #found
    end

    local function end_dead_sessions()
        local dead, ended, pending = dead_with_sessions(KEYS[2], KEYS[11]), 0, {}
        for i = 1, #dead do
            if ended < MAX_DEAD then ended = ended + end_sessions_of(dead[i], MAX_DEAD - ended) end
            pending['gone:' .. dead[i]] = ended >= MAX_DEAD
        end
        size = size + ended
        local fields = call('HKEYS', KEYS[1])
        for i = 1, #fields do
            if match(fields[i], '^gone:') and not pending[fields[i]] then
                unburied[#unburied + 1] = fields[i]
            end
        end
    end

    function sweep()
        local grace = tonumber(call('HGET', KEYS[1], 'grace'))
        end_dead_sessions()
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
