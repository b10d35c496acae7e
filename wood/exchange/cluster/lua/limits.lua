-- How much one participant may do. The arithmetic is that of wood/model/limits.py and
-- wood/exchange/rates.py. Nothing before `write_rates` writes.

local max_rate = tonumber(meta[12] or 0)
local askers = {}                 -- the participants whose sessions say something in this batch
local own, any_own = {}, false    -- participant -> its own limits by symbol; whether there are any
local any_rate = max_rate > 0     -- whether anybody's messages are counted
local asks = {}                   -- asker -> whether it has a record
local bounds_of, bucket_of, write_rates

do
    local NONE = -1                 -- the limit of one who has none
    local NEARLY = 1 + 2 ^ -40      -- a quotient that is this close below a whole number is that number
    local FORGET = 16               -- batches from which to which full buckets are kept
    local buckets                   -- participant -> its bucket, false without limit; once read

    local names, named = askers, {}
    for i = 1, #sessions do
        local name = sessions[i][1]
        if asks[name] == nil then
            asks[name] = false
            names[#names + 1] = name
            -- One without a name has no record, and no limits of its own, whatever stands there.
            if string.byte(name) ~= 126 then named[#named + 1] = name end
        end
    end
    for from = 1, #named, CHUNK do
        local to = from + CHUNK - 1
        if to > #named then to = #named end
        local values = call('HMGET', KEYS[14], unpack(named, from, to))
        local records = call('HMGET', KEYS[8], unpack(named, from, to))
        for i = from, to do
            local value = values[i - from + 1]
            if records[i - from + 1] then asks[named[i]] = true end
            if value then
                local mine = decode(value)
                own[named[i]], any_own = mine, true
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
                if full_at < now then full_at = now end
                -- A clock that went back must not make anybody wait for it.
                if full_at > now + 1000000 then full_at = now + 1000000 end
                buckets[limited[i]].full_at = full_at
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
            if bucket and bucket.full_at > now then
                values[#values + 1] = text(bucket.full_at)
                values[#values + 1] = name
            end
        end
        each('ZADD', KEYS[15], values, #values)
        -- Full buckets need not be kept; those of who goes on come back at once.
        if batch % FORGET == 0 then call('ZREMRANGEBYSCORE', KEYS[15], '-inf', text(now)) end
    end
end
