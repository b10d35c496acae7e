-- What the participants hold in each book: what they bought less what they sold, and what they have open.
--
-- A *holding* says how much this batch has changed that, until it is *known*: what lies in Redis is
-- added when somebody's limit depends on it, and at the end. Nothing before `write_positions` writes.

local unsettled, unsettled_count = {}, 0
local whose, settle, known_holding, gather_positions, write_positions

local function holding_of(book, participant)
    local holding = book.holdings[participant]
    if not holding then
        holding = {who = participant, position = 0, buys = 0, sells = 0, orders = 0}
        if string.byte(participant) == 126 or asks[participant] == false then
            -- One without a record has a position only while it has orders here. It had none when the
            -- count was least, if it ever had none: `at_low` is the position at the last such time.
            holding.low, holding.at_low = 0, 0
        end
        book.holdings[participant] = holding
    end
    return holding
end

-- The holding of the participant whose order this is.
function whose(order)
    local holding = holding_of(order.book, match(order.id, '^[^ ]+'))
    order.holding = holding
    return holding
end

-- So many lots more of an order are open.
local function lay(order, lots)
    local holding = order.holding or whose(order)
    if order.key < 0 then
        holding.buys = holding.buys + lots
    else
        holding.sells = holding.sells + lots
    end
end

-- At the end of a command: who of those without a record has nothing open any more.
function settle()
    for i = 1, unsettled_count do
        local holding = unsettled[i]
        if holding.orders <= holding.low then
            holding.low, holding.at_low = holding.orders, holding.position
            if holding.known then holding.position = 0 end
        end
    end
    unsettled_count = 0
end

do
    local wanted

    -- Add what lies in Redis: `value`, false if nothing does.
    local function learn(holding, value)
        local position, buys, sells, orders = 0, 0, 0, 0
        if value then position, buys, sells, orders = decode(value) end
        holding.known, holding.value = true, value
        holding.buys, holding.sells = buys + holding.buys, sells + holding.sells
        holding.orders = orders + holding.orders
        if holding.low and orders + holding.low == 0 then
            holding.position = holding.position - holding.at_low
        else
            holding.position = position + holding.position
        end
        if holding.low then holding.low = 0 end
    end

    local function load_positions(book, names)
        for from = 1, #names, CHUNK do
            local to = from + CHUNK - 1
            if to > #names then to = #names end
            local values = call('HMGET', book.positions_key, unpack(names, from, to))
            local holdings = book.holdings
            for i = from, to do
                learn(holdings[names[i]] or holding_of(book, names[i]), values[i - from + 1])
            end
        end
    end

    -- The participants on whose holdings the commands of this batch may depend, by book.
    local function find_wanted()
        local seen = {}
        wanted = {}
        for i = 1, #books do seen[i], wanted[books[i]] = {}, {} end
        for i = 1, #commands do
            local command = commands[i]
            local kind = command[1]
            if kind == NEW or kind == AMEND then
                local by, from = seen[command[3]], command[2]
                if not by[from] then
                    by[from] = true
                    local book, name = books[command[3]], sessions[from][1]
                    local holding = holding_of(book, name)
                    -- One may have several sessions.
                    if not holding.known and not by[name] then
                        by[name] = true
                        wanted[book][#wanted[book] + 1] = name
                    end
                end
            end
        end
    end

    -- The holding of one who says something in this batch, with what lies in Redis.
    function known_holding(book, participant)
        if not wanted then find_wanted() end
        load_positions(book, wanted[book])
        return book.holdings[participant]
    end

    -- Who has nothing open any more, and no record, has no position either. Of those who say nothing
    -- in this batch it is enough to look now.
    local function forget_strangers(book)
        local names = {}
        for name, holding in pairs(book.holdings) do
            if holding.orders == 0 and holding.position ~= 0 and asks[name] == nil then
                names[#names + 1] = name
            end
        end
        for from = 1, #names, CHUNK do
            local to = from + CHUNK - 1
            if to > #names then to = #names end
            local records = call('HMGET', KEYS[8], unpack(names, from, to))
            for i = from, to do
                if not records[i - from + 1] then book.holdings[names[i]].position = 0 end
            end
        end
    end

    -- What is to be written. This is the last that is read.
    function gather_positions()
        local names = {}
        for name in pairs(open) do
            if not open_before[name] then names[#names + 1] = name end
        end
        fetch_open(names)
        for i = 1, #books do
            local book, unknown = books[i], {}
            for name, holding in pairs(book.holdings) do
                if not holding.known then unknown[#unknown + 1] = name end
            end
            load_positions(book, unknown)
            forget_strangers(book)
            local set, unset, count = {}, {}, 0
            for name, holding in pairs(book.holdings) do
                local position, buys, sells = holding.position, holding.buys, holding.sells
                local orders = holding.orders
                if orders == 0 then buys, sells = 0, 0 end -- sums beyond 2^53 may not come back to it
                if orders ~= 0 or position ~= 0 then
                    local value = pack(position, buys, sells, orders)
                    if value ~= holding.value then
                        set[count + 1], set[count + 2] = name, value
                        count = count + 2
                    end
                elseif holding.value then
                    unset[#unset + 1] = name
                end
            end
            book.set_positions, book.set_count, book.unset_positions = set, count, unset
        end
    end

    function write_positions(book)
        each('HSET', book.positions_key, book.set_positions, book.set_count)
        each('HDEL', book.positions_key, book.unset_positions, #book.unset_positions)
    end
end
