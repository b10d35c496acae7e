-- The commands for all open orders of a participant.

-- The open orders of a participant in a book, in the order taken.
local function open_orders(book, participant)
    local prefix = participant .. ' ' .. book.symbol .. ' '
    local found = call('ZRANGE', KEYS[7], '[' .. prefix, '(' .. sub(prefix, 1, -2) .. '!', 'BYLEX')
    local orders, ids, mine = book.orders, {}, {}
    for i = 1, #found do
        local id = participant .. ' ' .. sub(found[i], #prefix + 1)
        if orders[id] == nil then ids[#ids + 1] = id end
    end
    fetch(book, ids)
    for i = 1, #found do
        local order = orders[participant .. ' ' .. sub(found[i], #prefix + 1)]
        if order and not order.listed then
            order.listed = true
            mine[#mine + 1] = order
        end
    end
    for i = 1, touched_count do
        local order = touched[i]
        if order.book == book and not order.dead and not order.listed
                and sub(order.id, 1, #participant + 1) == participant .. ' ' then
            order.listed = true
            mine[#mine + 1] = order
        end
    end
    for i = 1, #mine do mine[i].listed = nil end
    table.sort(mine, function(a, b) return a.taken < b.taken end)
    return mine
end

local function cancel_all(participant, book)
    local mine = open_orders(book, participant)
    if #mine == 0 then return 0 end
    local keys, seen = {}, {}
    out[n + 1], out[n + 2] = SYMBOL, book.symbol
    n = n + 2
    for i = 1, #mine do
        local order = mine[i]
        touch(order)
        forget(order)
        seq = seq + 1
        out[n + 1], out[n + 2], out[n + 3] = ORDER_CANCELED, sub(order.id, #participant + 2), order.left
        n = n + 3
        set_total(book, order.key, total(book, order.key) - order.left)
        if not seen[order.key] then
            seen[order.key] = true
            keys[#keys + 1] = order.key
        end
    end
    -- Bids first, best first on both sides.
    table.sort(keys, function(a, b)
        if (a < 0) ~= (b < 0) then return a < 0 end
        return a < b
    end)
    size = size + #mine
    levels_changed(book, keys)
    return #mine
end

local function books_of(index)
    if index then return {books[index]} end
    return books
end

local function cancel_in(participant, index)
    local count = 0
    for _, book in ipairs(books_of(index)) do count = count + cancel_all(participant, book) end
    return count
end

local function list(participant, index)
    local answer = {}
    for _, book in ipairs(books_of(index)) do
        local mine = open_orders(book, participant)
        for i = 1, #mine do
            local order = mine[i]
            answer[#answer + 1] = {book.symbol, sub(order.id, #participant + 2), order.key, order.left}
        end
    end
    size = size + #answer
    return answer
end
