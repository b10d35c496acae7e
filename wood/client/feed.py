"""The public port without sockets and without a clock: bytes in, updates and bytes out."""

from collections.abc import Sequence

import msgspec

from wood.client.book import Book
from wood.client.errors import ClientError, ProtocolError, SubscriptionRefused
from wood.client.frames import Frames, Lines, Maps
from wood.client.market_data import (
    EpochLine,
    ErrorLine,
    LevelLine,
    Public,
    SnapshotLine,
    StateLine,
    Subscribe,
    SubscribedLine,
    TradeLine,
    decode,
)
from wood.client.places import Partition, Places, by_partition
from wood.client.updates import LevelChanged, Resynchronised, StateChanged, Trade, Update
from wood.model.orders import BUY, SELL
from wood.model.text import printable

PASSING = frozenset({"unavailable", "limit", "rate"})
"""Codes of refusals after which another connection may do better."""


class Feed:
    """The market of some symbols, over as many connections as it takes.

    To the shell round it each connection is `connected`, then `receive` for what arrives. `lost`
    and `over` say that the connection must end: to be replaced, or for good. Without symbols it is
    the feed of the default instrument that everybody gets, which cannot be resumed.
    """

    def __init__(self, symbols: Sequence[str], depth: int | None, encoding: str) -> None:
        self.lost: str | None = None
        self.over: ClientError | None = None
        self._subscribe = Subscribe(list(symbols), encoding, depth) if symbols else None
        self._encoding = "json"
        self._frames: Frames = Lines()
        self._confirmed = False
        self._books: dict[str | None, Book] = {}  # until all of them are complete
        self._incomplete: set[Partition] = set()
        """Those whose books the server has not told to their end."""
        self._recovered: set[Partition] = set()
        """Those of these of which no trade is missing before the books."""
        self._trades_lost = False
        """In any partition, since the last `Resynchronised`."""
        self._places = Places()

    def connected(self) -> tuple[bytes, list[Update]]:
        """A new connection is there. Returns what to say first, and what there is to tell."""
        self._encoding = "json"
        self._frames = Lines()
        self.lost = None
        self._confirmed = False
        self._incomplete = set()
        if self._subscribe is None:
            return b"", [Resynchronised(trades_lost=True, books={None: Book()})]
        seen = {"last_seq": self._places.seq, "epoch": self._places.epoch}
        asked = msgspec.structs.replace(self._subscribe, **seen)
        return msgspec.json.encode(asked) + b"\n", []

    def receive(self, piece: bytes) -> list[Update]:
        """What the next bytes of the server say. After `lost` or `over` nothing more is read."""
        self._frames.feed(piece)
        updates: list[Update] = []
        try:
            while self.lost is None and self.over is None:
                frame = self._frames.next()
                if frame is None:
                    break
                updates += self._understand(decode(frame, self._encoding))
        except ProtocolError as error:
            self.over = error
        return updates

    def _understand(self, line: Public) -> list[Update]:
        match line:
            case ErrorLine():
                text = printable(line.error)
                if line.code in PASSING:
                    self.lost = f"{text} ({line.code})"
                else:
                    self.over = SubscriptionRefused(text, line.code)
                return []
            case SubscribedLine():
                self._begin(line)
                return []
        if self._subscribe is not None and not self._confirmed:
            return []  # of the feed that everybody gets
        match line:
            case TradeLine():
                return self._trade(line)
            case LevelLine():
                return self._level(line)
            case StateLine():
                return self._state(line)
            case SnapshotLine():
                return self._complete(line)
            case EpochLine():
                self._places.reached(line.partition, line.seq, line.epoch)
                return []

    def _begin(self, line: SubscribedLine) -> None:
        if self._subscribe is None or self._confirmed:
            raise ProtocolError("the server confirms a subscription that was not asked for")
        self._confirmed = True
        self._places.know(line.partitions)
        self._incomplete = {*line.partitions} or {None}
        self._recovered = {name for name, whole in by_partition(line.recovered).items() if whole}
        self._books = {symbol: Book() for symbol in line.symbols}
        if line.encoding != self._encoding:
            rest, self._frames = self._frames.rest(), Maps()
            self._encoding = line.encoding
            self._frames.feed(rest)

    def _trade(self, line: TradeLine) -> list[Update]:
        partition = self._places.of(line.symbol)
        if line.seq is not None and not self._places.goes_on(partition, line.seq):
            return []
        return [Trade(line.price, line.quantity, line.time, line.symbol, line.seq, line.trade)]

    def _level(self, line: LevelLine) -> list[Update]:
        side = BUY if line.side == "bid" else SELL
        partition = self._places.of(line.symbol)
        if line.seq is not None and partition not in self._incomplete:
            # The trades up to a level have been told before it, so that it counts as well.
            self._places.goes_on(partition, line.seq)
        if self._incomplete:
            book = self._books.setdefault(line.symbol, Book())
            book.change(side, line.price, line.quantity)
            return []
        return [LevelChanged(side, line.price, line.quantity, line.symbol, line.seq)]

    def _state(self, line: StateLine) -> list[Update]:
        partition = self._places.of(line.symbol)
        if partition not in self._incomplete:
            self._places.goes_on(partition, line.seq)
        if self._incomplete:
            self._books.setdefault(line.symbol, Book()).state = line.state
            return []
        return [StateChanged(line.symbol, line.state, line.seq, line.reason)]

    def _complete(self, line: SnapshotLine) -> list[Update]:
        """The books of a partition are complete: after subscribing, or it had to begin anew.

        They are told when those of all partitions are. What changes in those that are complete
        goes into them until then.
        """
        self._places.begin(line.partition, line.seq, line.epoch)
        self._trades_lost |= line.partition not in self._recovered
        self._recovered.discard(line.partition)
        self._incomplete.discard(line.partition)
        if self._incomplete:
            return []
        told = Resynchronised(trades_lost=self._trades_lost, books=self._books)
        self._books, self._trades_lost = {}, False
        return [told]
