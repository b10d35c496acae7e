-- How much one participant may do. The arithmetic is that of wood/model/limits.py and
-- wood/exchange/rates.py. Nothing before `write_rates` writes.

local max_rate = tonumber(meta[12] or 0)
local limits_of, bounds_of, too_fast, write_rates

do
    local NONE = -1                 -- the limit of one who has none
    local NEARLY = 1 + 2 ^ -40      -- a quotient that is this close below a whole number is that number
    local SECOND = 1000000
    local own                       -- participant -> its own limits by symbol, false without; once read
    local rates = {}                -- participant -> messages a second, false without limit
    local full_at                   -- participant -> when its bucket is full; once read
    local counted, is_counted = {}, {}

    local function load_own()
        own = {}
        local names = {}
        for i = 1, #sessions do
            local name = sessions[i][1]
            if own[name] == nil then
                own[name] = false
                -- One without a name has no limits of its own.
                if string.byte(name) ~= 126 then names[#names + 1] = name end
            end
        end
        for from = 1, #names, CHUNK do
            local to = from + CHUNK - 1
            if to > #names then to = #names end
            local values = call('HMGET', KEYS[14], unpack(names, from, to))
            for i = from, to do
                local value = values[i - from + 1]
                if value then own[names[i]] = decode(value) end
            end
        end
    end

    -- The limits of a participant for all instruments together.
    function limits_of(participant)
        if not own then load_own() end
        local mine = own[participant]
        return mine and mine['*'] or nil
    end

    local function units(step, otherwise, here, everywhere)
        local limit = here
        if limit == nil then limit = everywhere end
        if limit == nil then return otherwise end
        return limit == NONE and HUGE or math.floor(limit / step * NEARLY)
    end

    -- What counts for a participant in an instrument, in its units.
    function bounds_of(book, participant)
        if not own then load_own() end
        local mine = own[participant]
        if not mine then return book.bounds end
        local found = book.own_bounds[participant]
        if not found then
            local here, all, listed, lot = mine[book.symbol] or {}, mine['*'] or {}, book.bounds, book.lot
            found = {
                open_orders = units(1, listed.open_orders, here.open_orders),
                quantity = units(lot, listed.quantity, here.order_quantity, all.order_quantity),
                value = units(book.tick * lot, listed.value, here.order_value, all.order_value),
                position = units(lot, listed.position, here.position, all.position),
            }
            found.any = found.quantity < HUGE or found.value < HUGE or found.position < HUGE
            book.own_bounds[participant] = found
        end
        return found
    end

    local function rate_of(participant)
        local rate = rates[participant]
        if rate == nil then
            local mine = limits_of(participant)
            rate = mine and mine.rate or max_rate
            if rate == NONE or rate == 0 then rate = false end
            rates[participant] = rate
        end
        return rate
    end

    local function load_buckets()
        full_at = {}
        local names = {}
        for name in pairs(own) do
            if rate_of(name) then names[#names + 1] = name end
        end
        for from = 1, #names, CHUNK do
            local to = from + CHUNK - 1
            if to > #names then to = #names end
            local values = call('ZMSCORE', KEYS[15], unpack(names, from, to))
            for i = from, to do full_at[names[i]] = tonumber(values[i - from + 1] or 0) end
        end
    end

    -- One command more counts, or it is refused: then the rate, and in how many microseconds to try again.
    function too_fast(participant)
        local rate = rate_of(participant)
        if not rate then return nil end
        if not full_at then load_buckets() end
        local at, interval = full_at[participant], math.floor(SECOND / rate)
        if at < time then at = time end
        at = at + (interval < 1 and 1 or interval)
        local wait = at - time - SECOND
        if wait > 0 then return rate, wait end
        full_at[participant] = at
        if not is_counted[participant] then
            is_counted[participant] = true
            counted[#counted + 1] = participant
        end
    end

    function write_rates()
        if #counted == 0 then return end
        local values = {}
        for i = 1, #counted do
            values[2 * i - 1], values[2 * i] = text(full_at[counted[i]]), counted[i]
        end
        each('ZADD', KEYS[15], values, #values)
        call('ZREMRANGEBYSCORE', KEYS[15], '-inf', text(time)) -- full buckets
    end
end
