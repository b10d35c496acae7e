-- Cutting the journal behind those who read it: in steps, by rows, since refusals have no number, but
-- take room.

local trim = {} -- Lua has room for 200 local names

do
    local MOST_KEPT = 4        -- times what is kept anyway, for the sake of a reader
    local AT_ONCE = 10000      -- rows, and a tenth of what is kept, that are cut at a time

    -- The last entry that all durable readers are done with; nil without any.
    local function slowest_reader()
        local found, slowest = call('HGETALL', KEYS[16]), nil
        for i = 2, #found, 2 do
            local journal, _, _, done = decode(found[i])
            -- Who knows only another journal may want all of this one.
            if journal ~= meta[11] then done = 0 end
            if not slowest or done < slowest then slowest = done end
        end
        return slowest
    end

    -- Read all that is needed: nothing is read after the first write.
    function trim.prepare()
        local step = kept >= 100 and kept / 100 or 1
        trim.rows = rows + (seq - first + 1) + unnumbered
        trim.due = math.floor(trim.rows / step) > math.floor(rows / step)
        if trim.due then trim.slowest = slowest_reader() end
    end

    -- Mark the entry `id`, and cut at the last mark that leaves enough, and every reader what it has
    -- not read. When one lets go of much at once that is done bit by bit: Redis stands still meanwhile.
    function trim.cut(id)
        call('RPUSH', KEYS[5], pack(trim.rows, id))
        local slowest, till, began = trim.slowest, nil, nil
        while true do
            local at, mark = decode(call('LINDEX', KEYS[5], 0))
            if at > trim.rows - kept or (began and at - began > AT_ONCE + kept / 10) then break end
            -- What is before the mark goes, it stays.
            local last = tonumber(match(mark, '%d+$')) - 1
            if slowest and last > slowest and at > trim.rows - MOST_KEPT * kept then break end
            began = began or at
            till = mark
            call('LPOP', KEYS[5])
        end
        if till then call('XTRIM', KEYS[4], 'MINID', till) end
    end
end

