"""The names of everything in Redis: the schema, beside the scripts that keep it.

All keys of a partition begin with `<prefix>:{<tag>}:`, so that they lie in one slot of a Redis
Cluster; the tag is the name of the partition, unless that lay on the master of another one. None
has a time to live. Nothing else in the database is ever touched.

    meta            hash    what nodes agree on: rules, market (JSON), persist, max_open_orders,
                            max_resting_orders, max_rate, kept, lease, outage, auth, grace; and how
                            far things are: id, seq, batch, time, epoch, server, rows, resting; and
                            gone:<writer>, since when one is whose sessions are still to be ended
    writers         hash    writer -> [number, taken, entry id] of its last batch; who is not in
                            it is dead, and takes no part
    beats           zset    writer or candidate -> when it was last heard of, in microseconds
    epochs          list    [epoch, last number, batches] where each epoch began
    journal         stream  id `<last number>-<batch>`, field b: an entry, see formats.py
    marks           list    [rows, entry id]: where the journal may be cut
    open            hash    participant -> how many orders it has open
    owned           zset    `participant symbol id`, score 0: whose open orders
    participants    hash    name -> [SHA-256 of the token, added, operator, disabled]; no start of a
                            node and no `wood reset` clears it
    limits          hash    participant -> its own limits, a MessagePack map of symbol, or `*` for
                            all, to a map of the fields of `Limits` that it has; cleared as
                            little as the participants
    sessions        hash    session -> [participant, generation, writer, cancel on disconnect]:
                            those who have logged in and have a connection
    present         zset    `participant session`, score 0: the same by participant
    placed          zset    `writer session`, score 0: the same by node
    leaving         zset    participant -> since when it is gone, if its orders are to be cancelled;
                            0 for one who was disabled
    state           hash    halted:<symbol> -> why, of those that are; last:<symbol> -> the price of
                            the last trade in ticks
    rates           zset    participant -> when its bucket of messages is full again, in
                            microseconds; those that are full are removed
    readers         hash    durable reader -> [journal id, epoch, seq, batch, time, kept at]: after
                            which batch it goes on, both times in microseconds. Trimming does not
                            pass the slowest one, up to a cap. A first node that clears the book
                            leaves them, since who comes back shall know what it missed
    nodes           hash    writer -> [name, when, report]: what a node said of itself with its last
                            beats, a `NodeReport`. It stays when the node dies, for a day or until
                            another of that name beats; who leaves takes it along
    partitions      hash    partition -> its tag; under the tag `main` only, and not for that itself
    listed          hash    symbol -> its partition, and `*` -> the default symbol; where there are
                            several partitions, under the tag `main` only, until `wood reset`
    bids:<symbol>   zset    `<arrival, 16 digits> participant id` -> minus the price in ticks
    asks:<symbol>   zset    `<arrival, 16 digits> participant id` -> the price in ticks
    orders:<symbol> hash    `participant id` -> [left, key, arrival, taken, post only]
    levels:<symbol> hash    key -> lots at that price
    positions:<symbol> hash participant -> [bought less sold, open buys, open sells, open orders],
                            the first three in lots, while any is not 0; of one without a name only
                            while it has open orders there

What stands in brackets are MessagePack values one after the other. A *key* is a price in ticks,
negative for bids. Lots, numbers and times are whole; Lua adds them up exactly as far as 2^53.

The channel `<prefix>:{<tag>}:events:<id>` carries each entry as it is written. It ends with
the id of the partition, since all databases of a server share its channels; an empty message asks
every node for a beat.
"""

from collections.abc import Iterable

from wood.model.instruments import PARTITION

PREFIX = "wood"
"""What all keys begin with, unless the operator says otherwise."""

_FIXED = (
    *("meta", "writers", "epochs", "journal", "marks", "open", "owned"),
    *("participants", "sessions", "present", "placed", "leaving"),
    *("state", "limits", "rates", "readers"),
)
_BY_INSTRUMENT = ("bids", "asks", "orders", "levels", "positions")


class Keys:
    """The keys of the partition under `prefix` that has this hash tag."""

    def __init__(self, prefix: str, tag: str = PARTITION) -> None:
        self._start = f"{prefix}:{{{tag}}}:"
        self.fixed = [self._start + name for name in _FIXED]
        """Those that every batch needs, in the order in which `decide.lua` has them."""
        self.meta, self.writers, self.epochs, self.journal, *_ = self.fixed
        self.participants, self.sessions, _, self.placed, self.leaving = self.fixed[7:12]
        self.state, self.limits, self.rates, self.readers = self.fixed[12:]
        self.beats = self._start + "beats"
        self.nodes = self._start + "nodes"
        self.partitions = self._start + "partitions"
        self.listed = self._start + "listed"
        kept = self.participants, self.limits, self.readers
        self.cleared = [key for key in self.fixed[3:] if key not in kept]
        """What goes when a node clears the book, beside the first three and the instruments'."""

    def of(self, symbols: Iterable[str]) -> list[str]:
        """The keys of instruments: bids, asks, orders, levels and positions of each."""
        return [self._start + f"{name}:{symbol}" for symbol in symbols for name in _BY_INSTRUMENT]

    def levels(self, symbol: str) -> str:
        """The totals by price."""
        return self._start + "levels:" + symbol

    def channel(self, partition_id: str) -> str:
        """Where entries are announced."""
        return f"{self._start}events:{partition_id}"

    def channels(self) -> str:
        """What every channel begins with."""
        return f"{self._start}events:"
