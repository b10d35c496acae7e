-- Who is connected, as this batch sees it: what lies in Redis, and what the batch changes. The rules
-- are those of wood/exchange/sessions.py. Nothing before `write_sessions` writes.

local tokens, logins = decode(ARGV[5]), 0
local answers = {}
local held, changed = {}, {}  -- session -> its record, false if there is none; those that changed
local unplaced, unpresent, unburied = {}, {}, {}
local left = {}               -- participant -> since when it is gone, false if it is back
local someone_left = false
local guards = {}             -- participant -> how many of its sessions asked for it, once known

local function hold(id, value)
    local record = false
    if value then
        local participant, generation, place, cancels = decode(value)
        record = {participant, generation, place, cancels}
    end
    held[id] = record
    return record
end

local function session_of(id)
    local record = held[id]
    if record == nil then record = hold(id, call('HGET', KEYS[9], id)) end
    return record
end

-- Load those that are not known yet.
local function fetch_sessions(ids)
    local missing = {}
    for i = 1, #ids do
        if held[ids[i]] == nil then missing[#missing + 1] = ids[i] end
    end
    for from = 1, #missing, CHUNK do
        local to = from + CHUNK - 1
        if to > #missing then to = #missing end
        local values = call('HMGET', KEYS[9], unpack(missing, from, to))
        for i = from, to do hold(missing[i], values[i - from + 1]) end
    end
end

local function holds(session)
    local record = session_of(session[2])
    return record and record[2] == session[3]
end

local function forget_session(id)
    local record = session_of(id)
    if not record then return false end
    held[id] = false
    changed[id] = true
    unplaced[#unplaced + 1] = record[3] .. ' ' .. id
    unpresent[#unpresent + 1] = record[1] .. ' ' .. id
    local guarding = guards[record[1]]
    if guarding and record[4] then guards[record[1]] = guarding - 1 end
    return record
end

local function hold_new(id, record)
    held[id] = record
    changed[id] = true
    local guarding = guards[record[1]]
    if guarding and record[4] then guards[record[1]] = guarding + 1 end
end

local function sessions_of(participant)
    local found = {}
    local stored = call('ZRANGEBYLEX', KEYS[10], '[' .. participant .. ' ', '(' .. participant .. '!')
    for i = 1, #stored do
        local id = sub(stored[i], #participant + 2)
        if not changed[id] then found[#found + 1] = id end
    end
    for id in pairs(changed) do
        local record = held[id]
        if record and record[1] == participant then found[#found + 1] = id end
    end
    return found
end

-- Counted once in a batch: there may be thousands, and they may all go at once.
local function is_guarded(participant)
    local guarding = guards[participant]
    if not guarding then
        guarding = 0
        local found = sessions_of(participant)
        fetch_sessions(found)
        for i = 1, #found do
            if held[found[i]][4] then guarding = guarding + 1 end
        end
        guards[participant] = guarding
    end
    return guarding > 0
end

local function participant_of(name)
    local value = call('HGET', KEYS[8], name)
    if not value then return nil end
    local digest, _, operator, disabled = decode(value)
    return {digest = digest, operator = operator, disabled = disabled}
end

local function leave(participant, since)
    left[participant] = since
    someone_left = true
end

-- The last of its sessions that asked for it is gone. One who was disabled meanwhile is due already, and
-- has no grace.
local function begin_grace(participant, since)
    local before = left[participant]
    if before == nil then before = tonumber(call('ZSCORE', KEYS[12], participant) or nil) end
    if before ~= 0 then leave(participant, since) end
end

local open_session

do
    -- Where epochs began, and the first number in the journal: read once for all who resume in a batch.
    local past

    local function history()
        if past then return past end
        past = {epochs = {}, oldest = first}
        local rows = call('LRANGE', KEYS[3], 0, -1)
        for i = 1, #rows do past.epochs[i] = {decode(rows[i])} end
        local entry = call('XRANGE', KEYS[4], '-', '+', 'COUNT', 1)[1]
        if entry then past.oldest = decode(entry[2][2])[6] end
        return past
    end

    -- Whether event `last` of the epoch `base` is in the present history, and all since then in the journal.
    local function has_all_since(base, last)
        if not base or not last or last > seq then return false end
        local known = false
        for _, row in ipairs(history().epochs) do
            if known and row[2] < last then return false end
            known = known or row[1] == base
        end
        if not known or (new_epoch and first - 1 < last) then return false end
        return history().oldest <= last + 1
    end

    function open_session(session, command)
        local asker, name, resumes, last, base = session[2], command[3], command[4], command[5], command[6]
        local known
        if name ~= session[1] then
            known = participant_of(name)
            local token, fits = tokens[logins], nil
            if known then
                fits = token == true or known.digest == token
            else
                fits = token == true or token == '' and call('HGET', KEYS[1], 'auth') == 'open'
            end
            if not fits then return refuse('unauthorized', 'the participant and its token do not fit') end
            if known and known.disabled then return refuse('disabled', 'this participant is disabled') end
        end
        local opened, number = match(resumes or '', '^([1-9]%d*)%-([1-9]%d*)$')
        if opened and (#opened > 16 or #number > 16) then opened = nil end
        local recovered = 0
        if resumes or last then
            -- Of a session that is none, nobody can say what was under way there.
            local is_one = opened or not resumes
            recovered = is_one and has_all_since(base or tonumber(opened), last) and 1 or 2
            if recovered == 2 then answers[#answers + 1] = list(name, nil) end
        end
        leave(name, false)
        local old = resumes and session_of(resumes)
        local its_own = old and old[1] == name
        if its_own then forget_session(resumes) end
        seq = seq + 1
        local id = text(epoch) .. '-' .. text(seq)
        if name == session[1] then
            id = asker
            forget_session(id) -- it may ask twice
        elseif its_own or opened == text(epoch) and tonumber(number) < seq and not old then
            -- Of another epoch too while it is connected: that connection must be told by its name.
            id = resumes
        end
        hold_new(id, {name, seq, writer, command[7]})
        out[n + 1], out[n + 2], out[n + 3], out[n + 4] = OPENED, id, known and known.operator or false, recovered
        n = n + 4
        size = size + 1
    end
end

-- Returns whether the participant's orders are to be cancelled at once.
local function close_session(session, cancels)
    local record = forget_session(session[2])
    if session[3] == 0 then return cancels end
    if record[4] and not is_guarded(record[1]) then begin_grace(record[1], time) end
    return false
end

local function write_sessions()
    each('HDEL', KEYS[1], unburied, #unburied)
    each('ZREM', KEYS[11], unplaced, #unplaced)
    each('ZREM', KEYS[10], unpresent, #unpresent)
    for id in pairs(changed) do
        local record = held[id]
        if record then
            call('HSET', KEYS[9], id, pack(record[1], record[2], record[3], record[4]))
            call('ZADD', KEYS[10], 0, record[1] .. ' ' .. id)
            call('ZADD', KEYS[11], 0, record[3] .. ' ' .. id)
        else
            call('HDEL', KEYS[9], id)
        end
    end
    if someone_left then
        for participant, since in pairs(left) do
            if since then
                call('ZADD', KEYS[12], text(since), participant)
            else
                call('ZREM', KEYS[12], participant)
            end
        end
    end
end
