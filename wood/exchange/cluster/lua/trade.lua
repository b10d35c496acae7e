-- Levels, counts and trades.

local PREVENTED, BEYOND = 1, 2 -- what stops an order

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
    local id, holding = order.id, order.holding or whose(order)
    local participant = holding.who
    if order.left > 0 then lay(order, -order.left) end
    holding.orders = holding.orders - 1
    if holding.low then
        unsettled_count = unsettled_count + 1
        unsettled[unsettled_count] = holding
    end
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

-- The same, naming the limit that refuses; `wait` are microseconds, 0 if nobody knows when to try again.
local function refuse_by(limit, code, text, wait)
    out[n + 1], out[n + 2], out[n + 3], out[n + 4], out[n + 5] = LIMITED, code, text, limit, wait or 0
    n = n + 5
    size = size + 1
    unnumbered = unnumbered + 1
end

-- Let `left` lots of a participant meet the side as far as `limit`; return what is left, the keys of the
-- levels, and PREVENTED or BEYOND if an order of its own or the collar stopped it.
local function trade(book, side, limit, left, participant)
    local met, changed, key, sum = 0, {}, nil, 0
    local lowest, highest, stopped, traded = -HUGE, HUGE, nil, nil
    local prevents, quantity_before, bought = book.prevents, left, side == book.asks
    if book.lower then lowest, highest = keys_within(book, side) end
    while left > 0 and met < MAX_MET do
        local order = best(book, side)
        if not order or order.key > limit then break end
        if order.key > highest or order.key < lowest then
            stopped = BEYOND
            break
        end
        local holding = order.holding or whose(order)
        local own = prevents and holding.who == participant
        if own and prevents == CANCEL_NEWEST then
            stopped = PREVENTED
            break
        end
        met = met + 1
        if order.key ~= key then
            if key then set_total(book, key, sum) end
            key = order.key
            changed[#changed + 1] = key
            sum = total(book, key)
        end
        if not order.touched then touch(order) end
        if own then
            sum = sum - order.left
            forget(order)
            out[n + 1], out[n + 2], out[n + 3] = MAKER_CANCELED, order.id, order.left
            n = n + 3
            seq = seq + 1
            if prevents ~= CANCEL_OLDEST then
                stopped = PREVENTED
                break
            end
        else
            local quantity = order.left
            if quantity > left then quantity = left end
            left = left - quantity
            sum = sum - quantity
            local maker_left = order.left - quantity
            order.left = maker_left
            if bought then
                holding.position = holding.position - quantity
                holding.sells = holding.sells - quantity
            else
                holding.position = holding.position + quantity
                holding.buys = holding.buys - quantity
            end
            out[n + 1], out[n + 2], out[n + 3], out[n + 4], out[n + 5] =
                TRADE, order.id, key, quantity, maker_left
            n = n + 5
            seq = seq + 2
            traded = key
            if maker_left == 0 then forget(order) end
        end
    end
    if key then set_total(book, key, sum) end
    if traded then
        book.last = traded < 0 and -traded or traded
        book.last_changed = true
        if book.collar then set_band(book) end
        local holding = book.holdings[participant] or holding_of(book, participant)
        local lots = quantity_before - left
        holding.position = holding.position + (bought and lots or -lots)
        if holding.low then
            unsettled_count = unsettled_count + 1
            unsettled[unsettled_count] = holding
        end
    end
    size = size + met
    return left, changed, stopped
end

local function crosses(book, side, limit)
    local order = best(book, side)
    return order and order.key <= limit
end

-- Whether `quantity` can trade at once within all that would stop it.
local function can_fill(book, side, limit, quantity, participant)
    best(book, side)
    local lowest, highest, prevents = -HUGE, HUGE, book.prevents
    if book.lower then lowest, highest = keys_within(book, side) end
    if highest < limit then limit = highest end
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
        if not order or order.key > limit or order.key < lowest then break end
        if prevents and (order.holding or whose(order)).who == participant then
            if prevents ~= CANCEL_OLDEST then break end
        else
            quantity = quantity - order.left
        end
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
