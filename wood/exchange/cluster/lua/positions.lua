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
        if string.byte(participant) == 126 then
            -- One without a name has a position only while it has orders here. It had none when the
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

-- At the end of a command: who of those without a name has nothing open any more.
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
    local NOTHING = {0, 0, 0, 0}
    local wanted

    -- Add what lies in Redis.
    local function learn(holding, held)
        holding.known = held
        holding.buys, holding.sells = held[2] + holding.buys, held[3] + holding.sells
        holding.orders = held[4] + holding.orders
        if holding.low and held[4] + holding.low == 0 then
            holding.position = holding.position - holding.at_low
        else
            holding.position = held[1] + holding.position
        end
        if holding.low then holding.low = 0 end
    end

    local function load_positions(book, names)
        for from = 1, #names, CHUNK do
            local to = from + CHUNK - 1
            if to > #names then to = #names end
            local values = call('HMGET', book.positions_key, unpack(names, from, to))
            for i = from, to do
                local value = values[i - from + 1]
                learn(holding_of(book, names[i]), value and {decode(value)} or NOTHING)
            end
        end
    end

    -- The participants on whose holdings the commands of this batch may depend, by book.
    local function find_wanted()
        wanted = {}
        for i = 1, #books do wanted[books[i]] = {} end
        local seen = {}
        for i = 1, #commands do
            local command = commands[i]
            if command[1] == NEW or command[1] == AMEND then
                local book, name = books[command[3]], sessions[command[2]][1]
                seen[book] = seen[book] or {}
                if not seen[book][name] then
                    seen[book][name] = true
                    local holding = book.holdings[name]
                    if not (holding and holding.known) then
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

    -- What is to be written. This is the last that is read.
    function gather_positions()
        for i = 1, #books do
            local book, unknown = books[i], {}
            for name, holding in pairs(book.holdings) do
                if not holding.known then unknown[#unknown + 1] = name end
            end
            load_positions(book, unknown)
            local set, unset, count = {}, {}, 0
            for name, holding in pairs(book.holdings) do
                local held, position, buys = holding.known, holding.position, holding.buys
                local sells, orders = holding.sells, holding.orders
                if orders == 0 then buys, sells = 0, 0 end -- more than 2^53 may not add up to it
                if position == 0 and orders == 0 then
                    if held ~= NOTHING then unset[#unset + 1] = name end
                elseif position ~= held[1] or buys ~= held[2] or sells ~= held[3] or orders ~= held[4] then
                    set[count + 1], set[count + 2] = name, pack(position, buys, sells, orders)
                    count = count + 2
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
