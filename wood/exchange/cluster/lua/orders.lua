-- The commands that name one order: its id is "participant id" by now.

local function new_order(book, session, command)
    local participant, id = session[1], command[4]
    if book.halted then return refuse_halted(book) end
    if book.orders[id] then return refuse('duplicate', 'an open order has this id') end
    local buys, price, quantity, lasts = command[5], command[6], command[7], command[8]
    local own, opposite, key, limit
    if buys then
        own, opposite, key, limit = book.bids, book.asks, price and -price, price or MAX_LEVEL
    else
        own, opposite, key, limit = book.asks, book.bids, price, price and -price or 0
    end
    local bounds = any_own and bounds_of(book, participant) or book.bounds
    if (bounds.any or book.lower)
            and is_refused(book, bounds, participant, buys, price, quantity, opposite) then
        return
    end
    local count, at
    if lasts == GTC then
        count = open[participant] or open_count(participant)
        if (any_own or count >= max_open or resting >= max_resting or bounds.open_orders < HUGE)
                and has_no_room(book, bounds, participant, count) then
            return
        end
        at = book.totals[key] or total(book, key)
        if at > 0 and at + quantity >= MAX_LEVEL then
            return refuse('too_large', "the level's total would be too large")
        end
    end
    seq = seq + 1
    n = n + 1
    size = size + 1
    out[n] = ACCEPTED
    local order = best(book, opposite)
    if order and order.key <= limit then
        if command[9] or (lasts == FOK and not can_fill(book, opposite, limit, quantity, participant)) then
            return rest_canceled(quantity)
        end
        local changed, stopped
        quantity, changed, stopped = trade(book, opposite, limit, quantity, participant)
        if quantity > 0 and (lasts ~= GTC or stopped or crosses(book, opposite, limit)) then
            rest_canceled(quantity)
            quantity = 0
        end
        levels_changed(book, changed)
        if stopped == BEYOND and book.halts then change_state(book, 'halted', 'collar') end
        if quantity == 0 then return end
        -- Orders of the participant's own may be among those that it met.
        count = open[participant]
    elseif lasts ~= GTC then
        return rest_canceled(quantity)
    end
    seq = seq + 1
    local holding = book.holdings[participant] or holding_of(book, participant)
    order = {id = id, book = book, left = quantity, key = key, arrival = seq, taken = seq,
             post_only = command[9], touched = true, holding = holding}
    holding.orders = holding.orders + 1
    if buys then
        holding.buys = holding.buys + quantity
    else
        holding.sells = holding.sells + quantity
    end
    add(own, order)
    touched_count = touched_count + 1
    touched[touched_count] = order
    book.orders[id] = order
    open[participant] = count + 1
    resting = resting + 1
    at = at + quantity
    book.totals[key] = at
    book.changed[key] = true
    out[n + 1], out[n + 2], out[n + 3] = LEVEL, key, at
    n = n + 3
    size = size + 1
end

local function cancel_order(book, command)
    local order = book.orders[command[4]]
    if not order then return refuse('not_found', 'no open order has this id') end
    touch(order)
    forget(order)
    seq = seq + 1
    out[n + 1], out[n + 2] = CANCELED, order.left
    n = n + 2
    size = size + 1
    set_total(book, order.key, total(book, order.key) - order.left)
    level_changed(book, order.key)
end

-- Take an order out of its queue and let it come in anew.
local function requeue(book, order, key, quantity)
    local id, old = order.id, order.key
    local keys = {old}
    if key < old then keys = {key, old} elseif key > old then keys = {old, key} end
    local before = {}
    for i = 1, #keys do before[i] = total(book, keys[i]) end
    touch(order)
    order.dead = true
    set_total(book, old, total(book, old) - order.left)
    -- Nothing of it is open meanwhile, though it counts.
    lay(order, -order.left)
    order.left = 0
    local opposite = key < 0 and book.asks or book.bids
    local left, changed, stopped = quantity, {}, nil
    if crosses(book, opposite, -key) and not order.post_only then
        left, changed, stopped = trade(book, opposite, -key, quantity, order.holding.who)
    end
    if left > 0 and not stopped and not crosses(book, opposite, -key) then
        local again = {id = id, book = book, left = left, key = key, arrival = seq, taken = order.taken,
                       post_only = order.post_only, holding = order.holding}
        touch(again)
        lay(again, left)
        add(side_of(book, key), again)
        book.orders[id] = again
        set_total(book, key, total(book, key) + left)
    else
        forget(order)
        if left > 0 then rest_canceled(left) end
    end
    levels_changed(book, changed)
    for i = 1, #keys do
        if total(book, keys[i]) ~= before[i] then level_changed(book, keys[i]) end
    end
    if stopped == BEYOND and book.halts then change_state(book, 'halted', 'collar') end
end

local function amend_order(book, session, command)
    if book.halted then return refuse_halted(book) end
    local order = book.orders[command[4]]
    if not order then return refuse('not_found', 'no open order has this id') end
    local old = order.key
    local key, quantity = old, command[6] or order.left
    if command[5] then key = old < 0 and -command[5] or command[5] end
    local participant = session[1]
    local bounds = any_own and bounds_of(book, participant) or book.bounds
    if (bounds.any or book.lower)
            and is_amend_refused(book, bounds, participant, order, key, quantity) then
        return
    end
    local at = total(book, key)
    if key == old then at = at - order.left end
    if at + quantity >= MAX_LEVEL then
        return refuse('too_large', "the level's total would be too large")
    end
    seq = seq + 1
    out[n + 1], out[n + 2], out[n + 3] = AMENDED, key, quantity
    n = n + 3
    size = size + 1
    if key == old and quantity < order.left then
        set_total(book, key, total(book, key) - (order.left - quantity))
        lay(order, quantity - order.left)
        order.left = quantity
        touch(order)
        level_changed(book, key)
    else
        requeue(book, order, key, quantity)
    end
end
