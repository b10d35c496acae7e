-- Decide one batch of commands: check, match, number, keep, announce. All or nothing.
--
-- KEYS  [1] meta      hash    numbers and limits of the partition, see keys.py
--       [2] writers   hash    writer -> its last batch: number, taken, entry, in MessagePack
--       [3] epochs    list    where each epoch began: epoch, last number, batches, in MessagePack
--       [4] journal   stream  one entry for each batch, id <last number>-<batch>, field "b"
--       [5] marks     list    places where the journal may be cut: rows before, id, in MessagePack
--       [6] open      hash    participant -> how many orders it has open
--       [7] owned     zset    "participant symbol id", all scores 0: whose open orders
--       [8] participants hash  name -> digest of the token, added, operator, disabled
--       [9] sessions  hash    session -> participant, generation, writer, cancels
--       [10] present  zset    "participant session", all scores 0
--       [11] placed   zset    "writer session", all scores 0
--       [12] leaving  zset    participant -> since when it is gone
--       [13] state    hash    halted:<symbol> -> why, last:<symbol> -> price of its last trade
--       [14] limits   hash    participant -> its own limits: symbol or "*" -> limits, a MessagePack map
--       [15] rates    zset    participant -> when its bucket of messages is full again
--       [16] readers  hash    durable reader -> how far it is: journal, epoch, seq, batch and more
--       then five for each instrument of the batch, in the order of its symbols:
--           bids      zset    "arrival participant id" -> minus the price
--           asks      zset    "arrival participant id" -> the price
--           orders    hash    "participant id" -> left, key, arrival, taken, post only
--           levels    hash    key -> total left at that price
--           positions hash    participant -> bought less sold, open buys, open sells, open orders
--       A *key* is a price in ticks, negated for bids: on both sides the least one is the best,
--       and its sign tells the side. Quantities are lots. Equal keys sort by member, so by arrival,
--       which is the number of the event by which the order came to rest there.
-- ARGV  [1] writer  [2] number of the batch, from 1  [3] the batch in MessagePack, see formats.py
--       [4] what the channel begins with that it is announced on  [5] for each login of the batch
--       the digest of its token, or true for one who is certified, in MessagePack
--       [6] how each instrument of the batch is traded, in MessagePack, see trading.py
-- Returns {"ok", commands taken, entry, answers to queries} or, when this batch was decided before,
--       {"again", commands taken, id of its entry}, or {"fenced"} for a writer that is unknown or
--       out of step, whose commands are not taken.
-- Publishes the entry, once.
--
-- Redis does not undo what a script wrote before it failed, and refuses for want of memory only the
-- first write. So everything is decided on tables, and written at the end.

local sub = string.sub

local MAX_MET = 10000        -- resting orders that one command meets at most
local MAX_ROWS = 4096        -- rows of the entry after which no further command is taken
local MAX_LEVEL = 9007199254740992 -- lots that no level reaches
local CHUNK = 1000           -- values handed to one call; Lua's stack ends near 8,000
local WIDTH = 17             -- of the arrival number in a member, and the blank after it

-- What an entry says, see formats.py. Those up to STALE come first for their command.
local ACCEPTED, REFUSED, CANCELED, AMENDED, CANCEL_ALL, CLOSE, PASSED, QUERY = 1, 2, 3, 4, 5, 6, 7, 8
local OPENED, LIMITED, STALE = 9, 10, 11
local TRADE, REST_CANCELED, LEVEL, SYMBOL, ORDER_CANCELED, DONE = 12, 13, 14, 15, 16, 17
local OWNER, DISABLED, MAKER_CANCELED, STATE_CHANGED = 18, 19, 20, 21
-- What a command is.
local NEW, CANCEL, AMEND, ALL, LIST, INSTRUMENTS, REFUSE, GONE = 1, 2, 3, 4, 5, 6, 7, 8
local OPEN, BEAT, SWEEP, ANONYMOUS, STATE = 9, 10, 11, 12, 13
local GTC, IOC, FOK = 0, 1, 2

local writer, number = ARGV[1], tonumber(ARGV[2])
do
    local record = call('HGET', KEYS[2], writer)
    if not record then return {'fenced'} end
    local last_number, last_taken, last_entry = decode(record)
    if number == last_number then return {'again', last_taken, last_entry} end
    if number ~= last_number + 1 then return {'fenced'} end
end

local meta = call('HMGET', KEYS[1],
    'seq', 'batch', 'time', 'epoch', 'server', 'rows', 'resting',
    'max_open_orders', 'max_resting_orders', 'kept', 'id', 'max_rate')
local seq, batch, time, epoch = tonumber(meta[1]), tonumber(meta[2]), tonumber(meta[3]), tonumber(meta[4])
local rows, resting = tonumber(meta[6]), tonumber(meta[7])
local max_open, max_resting, kept = tonumber(meta[8]), tonumber(meta[9]), tonumber(meta[10])
local first = seq + 1

local now = microseconds()
local server, new_epoch
epoch, server, new_epoch = present_epoch(epoch, meta[5], now)
if now > time then time = now end
batch = batch + 1
