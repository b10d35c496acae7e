-- Whether an order may be, before it meets any other. Who is refused learns the first rule that refuses.

local refuse_halted, is_too_fast, is_refused, has_no_room, is_amend_refused

-- Lua has room for 200 local names.
do
    function refuse_halted(book)
        return refuse('halted', format('trading in %s is halted', book.symbol))
    end

    function is_too_fast(participant)
        local rate, wait = too_fast(participant)
        if not rate then return false end
        refuse_by('participantRate', 'rate', format('more than %.15g messages per second', rate), wait)
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
        if book.halts then return false end
        local lower, upper = band(book)
        if not lower or (buys and price <= upper) or (not buys and price >= lower) then return false end
        if lower < 1 then lower = 1 end
        refuse('collar', format('the price must be from %.15g to %.15g', lower * book.tick, upper * book.tick))
        return true
    end

    local function is_too_far(book, bounds, participant, buys, quantity)
        if bounds.position == HUGE then return false end
        local position, long, short = standing(book, participant)
        local filled = buys and position + long or short - position
        if filled + quantity <= bounds.position then return false end
        local most = bounds.position * book.lot
        refuse_by('position', 'limit',
            format('the position, with all open orders filled, may be %.15g at most', most))
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
        if price and book.collar and is_beyond(book, buys, price) then return true end
        return is_too_far(book, bounds, participant, buys, quantity)
    end

    -- Those that are for an order which may rest.
    function has_no_room(book, bounds, participant, count)
        local mine = limits_of(participant)
        local most = mine and mine.open_orders or max_open
        if most >= 0 and count >= most then
            refuse_by('openOrders', 'limit', format('%.0f open orders are the limit', most))
            return true
        end
        if bounds.open_orders < HUGE then
            local _, _, _, orders = standing(book, participant)
            if orders >= bounds.open_orders then
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
        if key ~= old and book.collar and is_beyond(book, buys, price) then return true end
        return quantity > left and is_too_far(book, bounds, participant, buys, quantity - left)
    end
end
