"""The public port without sockets and without a clock: bytes in, updates and bytes out."""

from collections.abc import Sequence

import msgspec

from wood.client.book import Book
from wood.client.errors import ClientError, ProtocolError, SubscriptionRefused
from wood.client.frames import Frames, Lines, Maps
from wood.client.market_data import (
    ErrorLine,
    LevelLine,
    Public,
    SnapshotLine,
    Subscribe,
    SubscribedLine,
    TradeLine,
    decode,
)
from wood.client.updates import LevelChanged, Resynchronised, Trade, Update
from wood.model.orders import BUY, SELL

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
        self._books: dict[str | None, Book] | None = None  # those that are not complete yet
        self._recovered = False
        self._seq: int | None = None
        self._epoch: int | None = None

    def connected(self) -> tuple[bytes, list[Update]]:
        """A new connection is there. Returns what to say first, and what there is to tell."""
        self._encoding = "json"
        self._frames = Lines()
        self.lost = None
        self._confirmed = False
        self._books = None
        if self._subscribe is None:
            return b"", [Resynchronised(trades_lost=True, books={None: Book()})]
        asked = msgspec.structs.replace(self._subscribe, last_seq=self._seq, epoch=self._epoch)
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
                if line.code in PASSING:
                    self.lost = f"{line.error} ({line.code})"
                else:
                    self.over = SubscriptionRefused(line.error, line.code)
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
            case SnapshotLine():
                return [self._complete(line)]

    def _begin(self, line: SubscribedLine) -> None:
        if self._subscribe is None or self._confirmed:
            raise ProtocolError("the server confirms a subscription that was not asked for")
        self._confirmed = True
        self._recovered = line.recovered is True
        self._books = {symbol: Book() for symbol in line.symbols}
        if line.encoding != self._encoding:
            rest, self._frames = self._frames.rest(), Maps()
            self._encoding = line.encoding
            self._frames.feed(rest)

    def _trade(self, line: TradeLine) -> list[Update]:
        if line.seq is not None:
            if self._seq is not None and line.seq <= self._seq:
                return []
            self._seq = line.seq
        return [Trade(line.price, line.quantity, line.time, line.symbol, line.seq, line.trade)]

    def _level(self, line: LevelLine) -> list[Update]:
        side = BUY if line.side == "bid" else SELL
        if self._books is not None:
            book = self._books.setdefault(line.symbol, Book())
            book.change(side, line.price, line.quantity)
            return []
        if line.seq is not None and self._seq is not None:
            # The trades up to a level have been told before it, so that it counts as well.
            self._seq = max(self._seq, line.seq)
        return [LevelChanged(side, line.price, line.quantity, line.symbol, line.seq)]

    def _complete(self, line: SnapshotLine) -> Update:
        """The books are complete: after subscribing, or the server had to begin anew by itself."""
        books, self._books = self._books, None
        recovered = self._recovered and books is not None
        self._seq, self._epoch = line.seq, line.epoch
        return Resynchronised(trades_lost=not recovered, books=books or {})
