-- The books as this batch sees them: what lies in Redis, loaded as far as needed, and what the batch
-- has done to it so far. Nothing here writes.

local sessions, symbols, commands = unpack(decode(ARGV[3]))
local books = {}
local open, open_before = {}, {} -- participant -> how many orders more it has open now; and before
local touched, touched_count = {}, 0
local out, n = {}, 0         -- the rows of the entry, flat
local size = 0               -- how many they are, and orders looked at beside
local unnumbered = 0

-- For the end: hand many values to a command, some at a time.
local function each(command, key, values, count)
    for from = 1, count, CHUNK do
        local to = from + CHUNK - 1
        call(command, key, unpack(values, from, to < count and to or count))
    end
end

-- A side is what lies in Redis, loaded as far as needed, and what this batch added to it. What lies
-- there does not change before the end, so ranks stay true meanwhile.
local function new_side(zset)
    return {zset = zset, stored = {}, count_stored = 0, at = 1, loaded = 0, step = 4, done = false,
            added = {}, keys = {}, count = 0}
end

for i = 1, #symbols do
    local k = 12 + 5 * i
    books[i] = {symbol = symbols[i], bids = new_side(KEYS[k]), asks = new_side(KEYS[k + 1]),
                orders_key = KEYS[k + 2], levels_key = KEYS[k + 3], positions_key = KEYS[k + 4],
                orders = {}, totals = {}, changed = {}, holdings = {}, held = {}, own_bounds = {}}
end

local function keep(book, id, value, member)
    local left, key, arrival, taken, post_only = decode(value)
    local order = {id = id, book = book, left = left, key = key, arrival = arrival, taken = taken,
                   post_only = post_only, stored = true,
                   member = member or format('%016.0f ', arrival) .. id}
    book.orders[id] = order
    return order
end

-- Load orders by id; those that do not exist become false.
local function fetch(book, ids)
    local orders = book.orders
    for from = 1, #ids, CHUNK do
        local to = from + CHUNK - 1
        if to > #ids then to = #ids end
        local values = call('HMGET', book.orders_key, unpack(ids, from, to))
        for i = from, to do
            local value = values[i - from + 1]
            if value then keep(book, ids[i], value) else orders[ids[i]] = false end
        end
    end
end

-- Load the totals of levels.
local function fetch_totals(book, fields)
    for from = 1, #fields, CHUNK do
        local to = from + CHUNK - 1
        if to > #fields then to = #fields end
        local values = call('HMGET', book.levels_key, unpack(fields, from, to))
        for i = from, to do book.totals[tonumber(fields[i])] = tonumber(values[i - from + 1] or 0) end
    end
end

-- Load how many orders these had open before this batch.
local function fetch_open(names)
    for from = 1, #names, CHUNK do
        local to = from + CHUNK - 1
        if to > #names then to = #names end
        local values = call('HMGET', KEYS[6], unpack(names, from, to))
        for i = from, to do open_before[names[i]] = tonumber(values[i - from + 1] or 0) end
    end
end

-- Load the next orders of a side, best first.
local function load(book, side)
    local found = call('ZRANGE', side.zset, text(side.loaded), text(side.loaded + side.step - 1))
    local orders, missing, where = book.orders, {}, {}
    for i = 1, #found do
        local id = sub(found[i], WIDTH + 1)
        if orders[id] == nil then
            missing[#missing + 1] = id
            where[#missing] = found[i]
        end
    end
    if #missing > 0 then
        local values = call('HMGET', book.orders_key, unpack(missing))
        for i = 1, #missing do keep(book, missing[i], values[i], where[i]) end
    end
    local stored, count = side.stored, side.count_stored
    for i = 1, #found do
        local order = orders[sub(found[i], WIDTH + 1)]
        -- It may be gone by now, or another one have its id.
        if order and order.member == found[i] and not order.dead then
            count = count + 1
            stored[count] = order
        end
    end
    side.count_stored = count
    side.loaded = side.loaded + #found
    side.done = #found < side.step
    if side.step < CHUNK / 4 then side.step = side.step * 4 end
end

-- The first order of a side, nil if there is none.
local function best(book, side)
    local stored, at = side.stored, side.at
    local order = stored[at]
    while true do
        if order == nil then
            if side.done then break end
            load(book, side)
        elseif order.dead then
            stored[at] = nil
            at = at + 1
        else
            break
        end
        order = stored[at]
    end
    side.at = at
    local keys, count = side.keys, side.count
    while count > 0 do
        local key = keys[count]
        local level = side.added[key]
        local i = level.at
        local added = level[i]
        while added and added.dead do
            i = i + 1
            added = level[i]
        end
        level.at = i
        if added then
            side.count = count
            -- At the same price the stored ones came first.
            if order and order.key <= key then return order end
            return added
        end
        side.added[key] = nil
        keys[count] = nil
        count = count - 1
    end
    side.count = 0
    return order
end

-- Put an order to the back of its price.
local function add(side, order)
    local key = order.key
    local level = side.added[key]
    if level then
        level[level.n] = order
        level.n = level.n + 1
        return
    end
    side.added[key] = {order, at = 1, n = 2}
    local keys, i = side.keys, side.count
    while i > 0 and keys[i] < key do
        keys[i + 1] = keys[i]
        i = i - 1
    end
    keys[i + 1] = key
    side.count = side.count + 1
end
