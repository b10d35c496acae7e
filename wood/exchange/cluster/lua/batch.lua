-- Decide the commands in their order.

-- What the commands are sure to need, in one call for each book.
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

local taken, answers = 0, {}
for i = 1, #commands do
    if size >= MAX_ROWS then break end
    taken = i
    local command = commands[i]
    local kind, session, index = command[1], sessions[command[2]], command[3]
    if kind == NEW then
        new_order(books[index], session, command)
    elseif kind == CANCEL then
        cancel_order(books[index], command)
    elseif kind == AMEND then
        amend_order(books[index], command)
    elseif kind == REFUSE then
        n = n + 1
        out[n] = PASSED
        size = size + 1
        unnumbered = unnumbered + 1
    elseif kind == ALL then
        n = n + 1
        out[n] = CANCEL_ALL
        local count = cancel_in(session[1], index)
        out[n + 1], out[n + 2] = DONE, count
        n = n + 2
        size = size + 1
        unnumbered = unnumbered + 1
    elseif kind == GONE then
        n = n + 1
        out[n] = CLOSE
        if command[4] then cancel_in(session[1], nil) end
        -- The answer is a row of its own, since it comes after those.
        out[n + 1], out[n + 2] = DONE, 0
        n = n + 2
        size = size + 1
        unnumbered = unnumbered + 1
    elseif kind == LIST or kind == INSTRUMENTS then
        -- Long, and told once: its answer is not kept in the journal.
        n = n + 1
        out[n] = QUERY
        size = size + 1
        answers[#answers + 1] = kind == LIST and list(session[1], index) or {}
    else
        error('unknown kind of command: ' .. tostring(kind))
    end
end

local entry = '\154' .. pack(epoch, batch, writer, number, taken, first, seq, time)
    .. ARGV[3] .. pack(out)
