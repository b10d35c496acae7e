-- Levels, counts and trades.

local function total(book, key)
    local value = book.totals[key]
    if value == nil then
        value = tonumber(call('HGET', book.levels_key, text(key)) or 0)
        book.totals[key] = value
    end
    return value
end

local function set_total(book, key, value)
    book.totals[key] = value
    book.changed[key] = true
end

local function open_count(participant)
    local count = open[participant]
    if not count then
        count = tonumber(call('HGET', KEYS[6], participant) or 0)
        open[participant] = count
    end
    return count
end

local function touch(order)
    if not order.touched then
        order.touched = true
        touched_count = touched_count + 1
        touched[touched_count] = order
    end
end

-- An order leaves its queue for good.
local function forget(order)
    order.dead = true
    local id = order.id
    local participant = match(id, '^[^ ]+')
    open[participant] = open_count(participant) - 1
    resting = resting - 1
    if order.book.orders[id] == order then order.book.orders[id] = false end
end

local function level_changed(book, key)
    seq = seq + 1
    out[n + 1], out[n + 2], out[n + 3] = LEVEL, key, book.totals[key]
    n = n + 3
    size = size + 1
end

local function rest_canceled(left)
    seq = seq + 1
    out[n + 1], out[n + 2] = REST_CANCELED, left
    n = n + 2
    size = size + 1
end

local function refuse(code, text)
    out[n + 1], out[n + 2], out[n + 3] = REFUSED, code, text
    n = n + 3
    size = size + 1
    unnumbered = unnumbered + 1
end

-- Let `left` lots meet the side as far as `limit`; return what is left and the keys of the levels.
local function trade(book, side, limit, left)
    local met, changed, key, sum = 0, {}, nil, 0
    while left > 0 and met < MAX_MET do
        local order = best(book, side)
        if not order or order.key > limit then break end
        met = met + 1
        if order.key ~= key then
            if key then set_total(book, key, sum) end
            key = order.key
            changed[#changed + 1] = key
            sum = total(book, key)
        end
        local quantity = order.left
        if quantity > left then quantity = left end
        left = left - quantity
        sum = sum - quantity
        local maker_left = order.left - quantity
        order.left = maker_left
        if not order.touched then touch(order) end
        out[n + 1], out[n + 2], out[n + 3], out[n + 4], out[n + 5] =
            TRADE, order.id, key, quantity, maker_left
        n = n + 5
        seq = seq + 2
        if maker_left == 0 then forget(order) end
    end
    if key then set_total(book, key, sum) end
    size = size + met
    return left, changed
end

local function crosses(book, side, limit)
    local order = best(book, side)
    return order and order.key <= limit
end

-- Whether `quantity` can trade at once within the limit and the bound on orders met.
local function can_fill(book, side, limit, quantity)
    best(book, side)
    local room, stored, i, k = MAX_MET, side.stored, side.at, side.count
    local level, j = nil, 0
    while true do
        local order = stored[i]
        while order == nil or order.dead do
            if order == nil then
                if side.done then break end
                load(book, side)
            else
                i = i + 1
            end
            order = stored[i]
        end
        local added
        while k > 0 do
            if not level then
                level = side.added[side.keys[k]]
                j = level.at
            end
            added = level[j]
            while added and added.dead do
                j = j + 1
                added = level[j]
            end
            if added then break end
            level = nil
            k = k - 1
        end
        if order and (not added or order.key <= added.key) then
            i = i + 1
        else
            order = added
            j = j + 1
        end
        if not order or order.key > limit then break end
        quantity = quantity - order.left
        room = room - 1
        if quantity <= 0 then
            size = size + MAX_MET - room
            return true
        end
        if room == 0 then break end
    end
    size = size + MAX_MET - room
    return false
end

local function levels_changed(book, keys)
    for i = 1, #keys do level_changed(book, keys[i]) end
end

local function side_of(book, key)
    return key < 0 and book.bids or book.asks
end
