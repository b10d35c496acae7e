-- Whether an order may be, before it meets any other. Who is refused learns the first rule that refuses.

local refuse_halted, is_too_fast, is_refused, has_no_room, is_amend_refused

-- Lua has room for 200 local names.
do
    function refuse_halted(book)
        return refuse('halted', format('trading in %s is halted', book.symbol))
    end

    function is_too_fast(session)
        local bucket = session.bucket
        if bucket == nil then
            bucket = bucket_of(session[1])
            session.bucket = bucket
        end
        if not bucket then return false end
        local at = bucket.full_at + bucket.interval
        local wait = at - now - 1000000
        if wait <= 0 then
            bucket.full_at = at
            return false
        end
        local message = format('more than %.15g messages per second', bucket.rate)
        refuse_by('participantRate', 'rate', message, wait)
        return true
    end

    local function too_much(book, bounds)
        local most = bounds.quantity * book.lot
        refuse_by('orderQuantity', 'limit', format('an order may have a quantity of %.15g at most', most))
        return true
    end

    local function too_dear(book, bounds)
        local most = bounds.value * book.tick * book.lot
        refuse_by('orderValue', 'limit', format('an order may have a value of %.15g at most', most))
        return true
    end

    local function is_beyond(book, buys, price)
        local lower, upper = book.lower, book.upper
        if not lower or book.halts then return false end
        if (buys and price <= upper) or (not buys and price >= lower) then return false end
        if lower < 1 then lower = 1 end
        refuse('collar', format('the price must be from %.15g to %.15g', lower * book.tick, upper * book.tick))
        return true
    end

    local function is_too_far(book, bounds, participant, buys, quantity)
        local most = bounds.position
        if most == HUGE then return false end
        local holding = book.holdings[participant]
        if not (holding and holding.known) then holding = known_holding(book, participant) end
        local position = holding.position
        local filled = buys and position + holding.buys or holding.sells - position
        if filled + quantity <= most then return false end
        refuse_by('position', 'limit',
            format('the position, with all open orders filled, may be %.15g at most', most * book.lot))
        return true
    end

    -- Those that are for any new order.
    function is_refused(book, bounds, participant, buys, price, quantity, opposite)
        if quantity > bounds.quantity then return too_much(book, bounds) end
        if bounds.value < HUGE then
            local worth = price
            if not worth then
                local order = best(book, opposite)
                worth = order and (order.key < 0 and -order.key or order.key)
            end
            if worth and worth * quantity > bounds.value then return too_dear(book, bounds) end
        end
        if price and is_beyond(book, buys, price) then return true end
        return is_too_far(book, bounds, participant, buys, quantity)
    end

    -- Those that are for an order which may rest.
    function has_no_room(book, bounds, participant, count)
        local mine = own[participant] and own[participant]['*']
        local most = mine and mine.open_orders or max_open
        if most >= 0 and count >= most then
            refuse_by('openOrders', 'limit', format('%.0f open orders are the limit', most))
            return true
        end
        if bounds.open_orders < HUGE then
            local holding = book.holdings[participant]
            if not (holding and holding.known) then holding = known_holding(book, participant) end
            if holding.orders >= bounds.open_orders then
                refuse_by('instrumentOpenOrders', 'limit',
                    format('%.0f open orders in %s are the limit', bounds.open_orders, book.symbol))
                return true
            end
        end
        if resting >= max_resting then
            refuse_by('restingOrders', 'limit',
                format('the exchange has %.0f open orders, its limit', max_resting))
            return true
        end
        return false
    end

    -- Those that are for an order that is to have another key or more lots. Nobody is hindered from making
    -- less of it, whatever the limits have become.
    function is_amend_refused(book, bounds, participant, order, key, quantity)
        local buys, old, left = key < 0, order.key, order.left
        local price = buys and -key or key
        if quantity > left and quantity > bounds.quantity then return too_much(book, bounds) end
        local value = price * quantity
        if value > bounds.value and value > (buys and -old or old) * left then return too_dear(book, bounds) end
        if key ~= old and is_beyond(book, buys, price) then return true end
        return quantity > left and is_too_far(book, bounds, participant, buys, quantity - left)
    end
end
