"""A public client as the feed sees it: live, or behind and catching up.

Live, it is handed each batch's lines as they are. Behind, because it reads too slowly or has only
just joined, trades are kept for it and levels only marked, and it is written to as fast as it
reads: first the book if it has none yet, then the kept trades, then each marked level's latest
total. What is kept is bounded; past that the client is closed. Halts have their place among trades.
"""

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Protocol

from wood.model.orders import BUY, SELL, Side, State
from wood.node.public_book import PublicBook, Totals, View
from wood.wire.market_data import MarketData, epoch_began, snapshot_end

Key = tuple[str, tuple[str, ...], int | None]
"""What a channel carries: the encoding (`basic`, `json`, `msgpack`), the symbols, sorted, and how
many of the best levels of each side, None for all.
"""

LevelKey = tuple[str, Side, int]
"""Symbol, side and price in ticks."""

CHUNK = 500
"""Lines that are encoded at once for one who catches up."""

BURST = 10
"""Chunks after which others get their turn."""


class Sink(Protocol):
    """Where a subscriber's bytes go."""

    def write(self, data: bytes) -> None:
        """Send, or buffer, `data`."""

    def writable(self) -> bool:
        """Whether the client has read enough for more to be written."""

    def later(self) -> None:
        """Have `Subscriber.catch_up` called soon."""

    def live(self) -> None:
        """The client has caught up."""

    def overflow(self) -> None:
        """The client is too slow: close it."""


class Channel:
    """All subscribers who get the same bytes."""

    def __init__(
        self, key: Key, encoder: MarketData, book: PublicBook, partition: str | None = None
    ) -> None:
        self._partition = partition
        self.key = key
        self.encoding, self.symbols, self.depth = key
        self.encoder = encoder
        self.book = book
        self.live: set[Subscriber] = set()
        self.behind: set[Subscriber] = set()
        self.lines: list[bytes] = []
        self.views: dict[tuple[str, Side], View] = {}
        """The levels that are told, where not all are."""
        self.look()

    @property
    def totals(self) -> Mapping[tuple[str, Side], Totals]:
        """The levels that are told."""
        return self.book.totals if self.depth is None else self.views

    def snapshot_end(self, seq: int, epoch: int) -> bytes:
        """The line after the books."""
        return snapshot_end(seq, epoch, self.encoding, self._partition)

    def epoch_began(self, epoch: int, seq: int) -> bytes:
        """The line that says that history goes on under another epoch."""
        return epoch_began(epoch, seq, self.encoding, self._partition)

    def look(self) -> None:
        """View the book anew."""
        if self.depth is not None:
            totals, sides = self.book.totals, (BUY, SELL)
            for key in ((symbol, side) for symbol in self.symbols for side in sides):
                self.views[key] = View(totals[key], key[1], self.depth)


class Subscriber:
    """One public client."""

    def __init__(self, sink: Sink, limit: int) -> None:
        self.channel: Channel | None = None
        self.overflowed = False
        self.held = False
        """Whether trades that are not kept here must be told before all else."""
        self._sink = sink
        self._limit = limit
        self._books: dict[tuple[str, Side], None] = {}  # still to be sent, the next one first
        self._reached: int | None = None  # the last price sent of the next book
        self._anew = False  # whether the client knows older books of the same levels
        self._place = (0, 0)  # number and epoch that the books are at least as new as
        self._place_owed = False  # to be said after the books
        self._states: dict[str, State] = {}  # to be said before that
        self._halted: set[str] = set()
        """All symbols that the client may take for halted, kept while it is behind: one who is live
        knows what the book knows."""
        self._trades_first = False  # the kept trades come before the books
        self._trades: list[bytes] = []
        self._levels: dict[LevelKey, int | None] = {}  # the total that the client knows, if known

    @property
    def is_live(self) -> bool:
        """Whether it gets each batch as it comes."""
        return self.channel is not None and self in self.channel.live

    def begin(
        self,
        channel: Channel,
        symbols: tuple[str, ...],
        gone: Iterable[LevelKey] = (),
        halted: Collection[str] = (),
    ) -> None:
        """Owe the client the books of `symbols` and what comes after; `catch_up` pays.

        `gone` are levels that it may have been told of on this channel and that are no more: only
        a total of 0 can say so. `halted` are symbols that were halted when it was told so, if it
        was live.
        """
        if channel is not self.channel:
            self._halted = set()
        elif self in channel.live:
            self._halted = set(halted)
        known = {key: None for key in (*gone, *self._levels) if self._knows(channel, key)}
        self._anew = channel is self.channel
        self.channel = channel
        channel.live.discard(self)
        self._books = dict.fromkeys((symbol, side) for symbol in symbols for side in (BUY, SELL))
        self._reached = None
        self._note_place(channel)
        self._place_owed = channel.encoding != "basic"
        self._trades_first = False
        self._trades.clear()
        # What is in the books is told with them.
        self._levels = {key: None for key in known if not channel.totals[key[:2]][key[2]]}
        channel.behind.add(self)

    def _note_place(self, channel: Channel) -> None:
        """The books are at least as new as now, and what is told of states is as it is now."""
        book = channel.book
        self._place = book.seq, book.epoch
        self._states = {
            symbol: State.HALTED if symbol in book.halted else State.OPEN
            for symbol, _ in self._books
            if symbol in book.halted or symbol in self._halted
        }

    def release(self) -> None:
        """It was told all trades before the kept ones: those come next, and then the books."""
        self.held = False
        self._trades_first = True
        self.catch_up()

    def take(self, data: bytes) -> bool:
        """Take a batch's lines; False if the client can take no more after them."""
        self._sink.write(data)
        return self._sink.writable()

    def fall_behind(self) -> None:
        """Be told no more until the client has read, or be closed if too much is kept for it."""
        if self.overflowed:
            self._sink.overflow()
        elif self.channel is not None:
            self.channel.live.discard(self)
            self.channel.behind.add(self)
            self._halted = set(self.channel.book.halted)

    def traded(self, line: bytes) -> None:
        """Keep a trade, or what else has its place among them."""
        self._trades.append(line)
        self._check()

    def state_changed(self, line: bytes, symbol: str) -> None:
        """Keep a change of state in its place among the trades."""
        self._halted.add(symbol)  # if it is halted, or if this is not told any more
        self.traded(line)

    def level_changed(self, symbol: str, side: Side, price: int) -> None:
        """Mark a level, unless it is still to come with its book."""
        channel = self.channel
        if channel is not None and not self._to_come(channel, symbol, side, price):
            self._levels[symbol, side, price] = None
            self._check()

    def view_changed(self, symbol: str, side: Side, price: int, before: int) -> None:
        """Mark a level of the best ones, unless it is again as the client knows it."""
        channel = self.channel
        if channel is not None and not self._to_come(channel, symbol, side, price):
            # Of a side that is being sent anew nobody can say what the client knows.
            first = None if self._anew and (symbol, side) in self._books else before
            known = self._levels.setdefault((symbol, side, price), first)
            if known == channel.totals[symbol, side][price]:
                del self._levels[symbol, side, price]
            else:
                self._check()

    def _check(self) -> None:
        if len(self._trades) + len(self._levels) > self._limit:
            self.overflowed = True
            self._trades.clear()
            self._levels.clear()

    def _knows(self, channel: Channel, key: LevelKey) -> bool:
        """Whether the client may know a level that was on the channel, or is marked."""
        if channel is not self.channel or key[0] not in channel.symbols:
            return False
        return self._levels[key] != 0 if key in self._levels else not self._to_come(channel, *key)

    def _to_come(self, channel: Channel, symbol: str, side: Side, price: int) -> bool:
        if (symbol, side) not in self._books:
            return False
        totals = channel.totals[symbol, side]
        if self._anew and not totals[price]:
            return False  # it will not come, and the client may know it from before
        if (symbol, side) != next(iter(self._books)) or self._reached is None:
            return True
        return not totals.better(price, self._reached)

    def catch_up(self) -> None:
        """Write as much as the client takes; become live when nothing is left."""
        channel = self.channel
        if channel is None or self.held or self.overflowed or self not in channel.behind:
            return
        for _ in range(BURST):
            if not self._sink.writable():
                return
            lines = self._next(channel)
            if lines is None:
                channel.behind.discard(self)
                channel.live.add(self)
                self._sink.live()
                return
            if lines:
                self._sink.write(b"".join(lines))
        self._sink.later()

    def _next(self, channel: Channel) -> list[bytes] | None:
        """The next lines of what is owed, None if nothing is."""
        if self._trades_first:
            if self._trades:
                return self._next_trades()
            self._trades_first = False
            self._note_place(channel)
        if self._books:
            return self._next_of_book(channel)
        if self._place_owed:
            self._place_owed = False
            return [*self._told_states(channel), channel.snapshot_end(*self._place)]
        if self._trades:
            return self._next_trades()
        if self._levels:
            return self._next_levels(channel)
        return None

    def _told_states(self, channel: Channel) -> list[bytes]:
        states, self._states = self._states, {}
        self._halted |= {symbol for symbol, state in states.items() if state is State.HALTED}
        line, (seq, _) = channel.encoder.state, self._place
        return [line(symbol, state, seq) for symbol, state in states.items()]

    def _next_trades(self) -> list[bytes]:
        lines, self._trades = self._trades[:CHUNK], self._trades[CHUNK:]
        return lines

    def _next_of_book(self, channel: Channel) -> list[bytes]:
        symbol, side = next(iter(self._books))
        levels = channel.totals[symbol, side].after(self._reached, CHUNK)
        if len(levels) < CHUNK:
            del self._books[symbol, side]
            self._reached = None
        else:
            self._reached = levels[-1][0]
        level, seq = channel.encoder.level, self._place[0]
        return [level(symbol, side, price, total, seq) for price, total in levels]

    def _next_levels(self, channel: Channel) -> list[bytes]:
        marked = list(islice(self._levels, CHUNK))
        for key in marked:
            del self._levels[key]
        level, totals, seq = channel.encoder.level, channel.totals, channel.book.seq
        return [
            level(symbol, side, price, totals[symbol, side][price], seq)
            for symbol, side, price in marked
        ]
