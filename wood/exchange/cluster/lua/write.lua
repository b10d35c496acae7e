-- Write back what was decided. Nothing before this has written anything.

-- The journal is cut in steps, by rows: refusals have no number, but take room. Only then it is asked
-- how far the slowest durable reader is. In fields, since Lua has room for 200 local names; and no
-- function, since each takes longer to make than this, for every batch.
meta.rows = rows + (seq - first + 1) + unnumbered
do
    local step = kept >= 100 and kept / 100 or 1
    if math.floor(meta.rows / step) > math.floor(rows / step) then
        meta.slowest = HUGE
        local readers = call('HGETALL', KEYS[16])
        for i = 2, #readers, 2 do
            local journal, _, _, done = decode(readers[i])
            -- Who knows only another journal may want all of this one.
            if journal ~= meta[11] then done = 0 end
            if done < meta.slowest then meta.slowest = done end
        end
    end
end

-- A right that was taken away meanwhile would leave half of it written: all is asked for before.
if redis.acl_check_cmd then
    local function may(...)
        -- A command that this server does not have raises an error.
        local known, allowed = pcall(redis.acl_check_cmd, ...)
        if not (known and allowed) then
            error({err = 'NOPERM this user may not use ' .. select(1, ...) .. ' any more'})
        end
    end
    may('XADD', KEYS[4], '*', 'b', '')
    may('HSET', KEYS[1], 'f', 'v')
    may('HDEL', KEYS[1], 'f')
    may('ZADD', KEYS[7], '0', 'm')
    may('ZREM', KEYS[7], 'm')
    may('RPUSH', KEYS[3], 'v')
    may('LTRIM', KEYS[3], '0', '0')
    may('LINDEX', KEYS[5], '0')
    may('LPOP', KEYS[5])
    may('XTRIM', KEYS[4], 'MINID', '0')
    may('ZREMRANGEBYSCORE', KEYS[15], '0', '0')
    may('SPUBLISH', ARGV[4], '')
end

local id = format('%.0f-%.0f', seq, batch)
-- This is refused for want of memory, if any of it is; after it nothing is.
call('XADD', KEYS[4], id, 'b', entry)
call('HSET', KEYS[2], writer, pack(number, taken, id))
if new_epoch then begin_epoch(KEYS[3], epoch, first - 1, batch - 1) end

do
    local owned, not_owned = {}, {}
    local owned_count, not_owned_count = 0, 0
    for i = 1, #books do
        local book = books[i]
        book.gone_bids, book.gone_asks, book.new_bids, book.new_asks = {}, {}, {}, {}
        book.gone, book.values = {}, {}
    end
    for i = 1, touched_count do
        local order = touched[i]
        local book, id, key = order.book, order.id, order.key
        if order.dead then
            if order.stored then
                local gone = key < 0 and book.gone_bids or book.gone_asks
                gone[#gone + 1] = order.member
                book.gone[#book.gone + 1] = id
                local participant, name = match(id, '^([^ ]+) (.*)$')
                not_owned_count = not_owned_count + 1
                not_owned[not_owned_count] = participant .. ' ' .. book.symbol .. ' ' .. name
            end
        else
            local values = book.values
            local count = #values
            values[count + 1] = id
            values[count + 2] = pack(order.left, key, order.arrival, order.taken, order.post_only)
            if not order.stored then
                local new = key < 0 and book.new_bids or book.new_asks
                count = #new
                new[count + 1] = text(key)
                new[count + 2] = format('%016.0f ', order.arrival) .. id
                local participant, name = match(id, '^([^ ]+) (.*)$')
                owned[owned_count + 1] = 0
                owned[owned_count + 2] = participant .. ' ' .. book.symbol .. ' ' .. name
                owned_count = owned_count + 2
            end
        end
    end
    for i = 1, #books do
        local book = books[i]
        each('ZREM', book.bids.zset, book.gone_bids, #book.gone_bids)
        each('ZREM', book.asks.zset, book.gone_asks, #book.gone_asks)
        each('HDEL', book.orders_key, book.gone, #book.gone)
        each('ZADD', book.bids.zset, book.new_bids, #book.new_bids)
        each('ZADD', book.asks.zset, book.new_asks, #book.new_asks)
        each('HSET', book.orders_key, book.values, #book.values)
        local set, unset, count = {}, {}, 0
        for key in pairs(book.changed) do
            local field, value = text(key), book.totals[key]
            if value == 0 then
                unset[#unset + 1] = field
            else
                set[count + 1], set[count + 2] = field, text(value)
                count = count + 2
            end
        end
        each('HSET', book.levels_key, set, count)
        each('HDEL', book.levels_key, unset, #unset)
        write_positions(book)
    end
    each('ZREM', KEYS[7], not_owned, not_owned_count)
    each('ZADD', KEYS[7], owned, owned_count)
    local counts, none = {}, {}
    for participant, more in pairs(open) do
        local count = open_before[participant] + more
        if count == 0 then
            none[#none + 1] = participant
        else
            counts[#counts + 1] = participant
            counts[#counts + 1] = text(count)
        end
    end
    each('HSET', KEYS[6], counts, #counts)
    each('HDEL', KEYS[6], none, #none)
end

write_sessions()
write_states()
write_rates()

if meta.slowest then
    local MOST_KEPT = 4       -- times what is kept anyway, for the sake of a reader
    local CUT_AT_ONCE = 10000 -- rows, and a tenth of what is kept
    call('RPUSH', KEYS[5], pack(meta.rows, id))
    local cut, began
    while true do
        local at, till = decode(call('LINDEX', KEYS[5], 0))
        if at > meta.rows - kept then break end
        -- When a reader lets go of much at once, that is cut bit by bit: Redis stands still meanwhile.
        if began and at - began > CUT_AT_ONCE + kept / 10 then break end
        -- What is before that entry goes, it stays.
        local last = tonumber(match(till, '%d+$')) - 1
        if last > meta.slowest and at > meta.rows - MOST_KEPT * kept then break end
        began = began or at
        cut = till
        call('LPOP', KEYS[5])
    end
    if cut then call('XTRIM', KEYS[4], 'MINID', cut) end
end
call('HSET', KEYS[1], 'seq', text(seq), 'batch', text(batch),
    'time', text(time), 'epoch', text(epoch), 'server', server,
    'rows', text(meta.rows), 'resting', text(resting))
call('SPUBLISH', ARGV[4] .. meta[11], entry)
return {'ok', taken, entry, pack(answers)}
