-- Decide the commands in their order.

-- What the commands are sure to need, in one call for each book.
do
    local needed, levels, seen = {}, {}, {}
    for i = 1, #books do needed[i], levels[i], seen[i] = {}, {}, {} end
    for i = 1, #commands do
        local command = commands[i]
        local kind = command[1]
        if kind == NEW or kind == CANCEL or kind == AMEND then
            local b = command[3]
            local id = sessions[command[2]][1] .. ' ' .. command[4]
            command[4] = id
            if not seen[b][id] then
                seen[b][id] = true
                needed[b][#needed[b] + 1] = id
            end
            if kind == NEW and command[8] == GTC then
                local key = command[5] and -command[6] or command[6]
                if not seen[b][key] then
                    seen[b][key] = true
                    levels[b][#levels[b] + 1] = text(key)
                end
            end
        end
    end
    for i = 1, #books do
        fetch(books[i], needed[i])
        fetch_totals(books[i], levels[i])
    end

    local asking = {}
    for i = 1, #sessions do
        if sessions[i][3] > 0 then asking[#asking + 1] = sessions[i][2] end
    end
    fetch_sessions(asking)
end

local taken = 0
-- Questions do not count: a session has one under way at most. Nor does what ends one, nor what an
-- operator does to others.
local COUNTS = {[NEW] = true, [CANCEL] = true, [AMEND] = true, [ALL] = true, [REFUSE] = true}
for i = 1, #commands do
    if size >= MAX_ROWS then break end
    taken = i
    local command = commands[i]
    local kind, session, index = command[1], sessions[command[2]], command[3]
    if kind == OPEN then logins = logins + 1 end -- taken or not, it has a place among the tokens
    if session[3] > 0 and not holds(session) then
        n = n + 1
        out[n] = STALE
        size = size + 1
        unnumbered = unnumbered + 1
    elseif any_rate and COUNTS[kind] and (kind ~= REFUSE or index ~= 'rate')
            and (kind ~= ALL or not command[4]) and is_too_fast(session) then
        -- It has been refused.
    elseif kind == NEW then
        new_order(books[index], session, command)
    elseif kind == CANCEL then
        cancel_order(books[index], command)
    elseif kind == AMEND then
        amend_order(books[index], session, command)
    elseif kind == STATE then
        begin(CLOSE)
        set_state(books[index], command[4])
        done(0)
    elseif kind == REFUSE then
        n = n + 1
        out[n] = PASSED
        size = size + 1
        unnumbered = unnumbered + 1
    elseif kind == ALL then
        begin(CANCEL_ALL)
        if command[4] then own(command[4]) end
        done(cancel_in(command[4] or session[1], index))
    elseif kind == ANONYMOUS then
        begin(CANCEL_ALL)
        done(cancel_anonymous(index))
    elseif kind == OPEN then
        open_session(session, command)
    elseif kind == GONE then
        begin(CLOSE)
        if close_session(session, command[4]) then cancel_in(session[1], nil) end
        -- The answer is a row of its own, since it comes after those.
        done(0)
    elseif kind == BEAT then
        begin(CLOSE)
        done(0)
    elseif kind == SWEEP then
        begin(CLOSE)
        sweep()
        done(0)
    elseif kind == LIST or kind == INSTRUMENTS then
        -- Long, and told once: its answer is not kept in the journal.
        n = n + 1
        out[n] = QUERY
        size = size + 1
        answers[#answers + 1] = kind == LIST and list(session[1], index) or halted_symbols()
    else
        error('unknown kind of command: ' .. tostring(kind))
    end
    if unsettled_count > 0 then settle() end
end
gather_positions()

local entry = '\154' .. pack(epoch, batch, writer, number, taken, first, seq, time)
    .. ARGV[3] .. pack(out)
