-- How much one participant may do. The arithmetic is that of wood/model/limits.py and
-- wood/exchange/rates.py. Nothing before `write_rates` writes.

local max_rate = tonumber(meta[12] or 0)
local own, any_own = {}, false    -- participant -> its own limits by symbol; whether there are any
local any_rate = max_rate > 0     -- whether anybody's messages are counted
local bounds_of, bucket_of, write_rates

do
    local NONE = -1                 -- the limit of one who has none
    local NEARLY = 1 + 2 ^ -40      -- a quotient that is this close below a whole number is that number
    local buckets                   -- participant -> its bucket, false without limit; once read

    local names, seen = {}, {}
    for i = 1, #sessions do
        local name = sessions[i][1]
        if not seen[name] then
            seen[name] = true
            names[#names + 1] = name
        end
    end
    for from = 1, #names, CHUNK do
        local to = from + CHUNK - 1
        if to > #names then to = #names end
        local values = call('HMGET', KEYS[14], unpack(names, from, to))
        for i = from, to do
            local value = values[i - from + 1]
            -- One without a name has no limits of its own, whatever stands there.
            if value and string.byte(names[i]) ~= 126 then
                local mine = decode(value)
                own[names[i]], any_own = mine, true
                if mine['*'] and mine['*'].rate then any_rate = true end
            end
        end
    end

    local function units(step, otherwise, here, everywhere)
        local limit = here
        if limit == nil then limit = everywhere end
        if limit == nil then return otherwise end
        return limit == NONE and HUGE or math.floor(limit / step * NEARLY)
    end

    -- What counts for a participant in an instrument, in its units.
    function bounds_of(book, participant)
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

    local function load_buckets()
        buckets = {}
        local limited = {}
        for i = 1, #names do
            local name = names[i]
            local everywhere = own[name] and own[name]['*']
            local rate = everywhere and everywhere.rate or max_rate
            if rate == NONE or rate == 0 then
                buckets[name] = false
            else
                local interval = math.floor(1000000 / rate)
                buckets[name] = {rate = rate, interval = interval < 1 and 1 or interval}
                limited[#limited + 1] = name
            end
        end
        for from = 1, #limited, CHUNK do
            local to = from + CHUNK - 1
            if to > #limited then to = #limited end
            local values = call('ZMSCORE', KEYS[15], unpack(limited, from, to))
            for i = from, to do
                local full_at = tonumber(values[i - from + 1] or 0)
                buckets[limited[i]].full_at = full_at > time and full_at or time
            end
        end
    end

    -- The bucket of one whose messages are counted: when it is full again, and by how much each
    -- message puts that off.
    function bucket_of(participant)
        if not buckets then load_buckets() end
        return buckets[participant]
    end

    function write_rates()
        if not buckets then return end
        local values = {}
        for name, bucket in pairs(buckets) do
            if bucket and bucket.full_at > time then
                values[#values + 1] = text(bucket.full_at)
                values[#values + 1] = name
            end
        end
        each('ZADD', KEYS[15], values, #values)
        call('ZREMRANGEBYSCORE', KEYS[15], '-inf', text(time)) -- full buckets
    end
end
