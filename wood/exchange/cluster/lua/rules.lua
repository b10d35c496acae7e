-- How the instruments of this batch are traded: their state, and what stops an order beside its own price.
-- The rules are those of wood/book/rules.py and wood/book/matching.py. Nothing here writes.

local HUGE = math.huge
local CANCEL_NEWEST, CANCEL_OLDEST = 'cancel-newest', 'cancel-oldest'

-- What a trade may cost now: `lower` and `upper` bound it, nil where there is no bound.
local function set_band(book)
    local reference = book.collar and (book.last or book.reference)
    if not reference then return end
    local width = math.floor(reference * book.collar / 10000)
    book.lower, book.upper = reference - width, reference + width
end

do
    local rules, fields = decode(ARGV[6]), {}
    for i = 1, #books do
        fields[2 * i - 1], fields[2 * i] = 'halted:' .. symbols[i], 'last:' .. symbols[i]
    end
    for from = 1, #fields, CHUNK do
        local to = from + CHUNK - 1
        if to > #fields then to = #fields end
        local values = call('HMGET', KEYS[13], unpack(fields, from, to))
        for i = from, to, 2 do
            local book, rule = books[(i + 1) / 2], rules[(i + 1) / 2]
            local last = values[i - from + 2]
            book.halted = values[i - from + 1] -- why, false if it is not
            book.last = last and tonumber(last) or nil
            book.prevents, book.collar, book.halts, book.reference = rule[1], rule[2], rule[3], rule[4]
            book.tick, book.lot = rule[5], rule[6]
            book.bounds = {open_orders = rule[7] or HUGE, quantity = rule[8] or HUGE,
                           value = rule[9] or HUGE, position = rule[10] or HUGE}
            book.bounds.any = (rule[8] or rule[9] or rule[10]) and true or false
            set_band(book)
        end
    end
end

-- The same as keys of a side.
local function keys_within(book, side)
    if not book.lower then return -HUGE, HUGE end
    if side == book.asks then return book.lower, book.upper end
    return -book.upper, -book.lower
end

local function change_state(book, state, reason)
    book.halted = state == 'halted' and reason
    book.state_changed = true
    seq = seq + 1
    out[n + 1], out[n + 2], out[n + 3] = STATE_CHANGED, state, reason
    n = n + 3
    size = size + 1
end

-- Halt trading, or let it go on, for an operator.
local function set_state(book, halts)
    if halts == (book.halted and true or false) then return end
    change_state(book, halts and 'halted' or 'open', 'operator')
end

local halted_symbols

do
    -- The symbols of the partition that are halted; of many that ask in a batch one asks Redis.
    local halted_before

    function halted_symbols()
        local answer, here = {}, {}
        for i = 1, #books do
            here[books[i].symbol] = true
            if books[i].halted then answer[#answer + 1] = books[i].symbol end
        end
        if not halted_before then
            halted_before = {}
            local found = call('HKEYS', KEYS[13])
            for i = 1, #found do
                if sub(found[i], 1, 7) == 'halted:' then
                    halted_before[#halted_before + 1] = sub(found[i], 8)
                end
            end
        end
        for i = 1, #halted_before do
            if not here[halted_before[i]] then answer[#answer + 1] = halted_before[i] end
        end
        return answer
    end
end

local function write_states()
    local set, unset = {}, {}
    for i = 1, #books do
        local book = books[i]
        if book.last_changed then
            set[#set + 1] = 'last:' .. book.symbol
            set[#set + 1] = text(book.last)
        end
        if book.state_changed and book.halted then
            set[#set + 1] = 'halted:' .. book.symbol
            set[#set + 1] = book.halted
        elseif book.state_changed then
            unset[#unset + 1] = 'halted:' .. book.symbol
        end
    end
    each('HSET', KEYS[13], set, #set)
    each('HDEL', KEYS[13], unset, #unset)
end
