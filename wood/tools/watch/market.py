"""The market as a watcher sees it: the fold of the public feed."""

from collections import deque
from collections.abc import Iterable
from decimal import Decimal
from heapq import nlargest, nsmallest

from msgspec import Struct

from wood.tools.watch.feed import Level, Message, StateTold, Subscribed, Trade

Levels = list[tuple[Decimal, Decimal]]
"""(price, total quantity), best price first."""


class Book:
    """Total quantities by price. Best prices are looked for when they are shown, not per change."""

    def __init__(self) -> None:
        self._sides: dict[str, dict[Decimal, Decimal]] = {"bid": {}, "ask": {}}

    def change(self, level: Level) -> None:
        """Set one level; quantity 0 removes it."""
        side = self._sides[level.side]
        if level.quantity:
            side[level.price] = level.quantity
        else:
            side.pop(level.price, None)

    def clear(self) -> None:
        """Forget everything."""
        for side in self._sides.values():
            side.clear()

    def bids(self, count: int) -> Levels:
        """Up to `count` best levels."""
        side = self._sides["bid"]
        return [(price, side[price]) for price in nlargest(count, side)]

    def asks(self, count: int) -> Levels:
        """Up to `count` best levels."""
        side = self._sides["ask"]
        return [(price, side[price]) for price in nsmallest(count, side)]

    @property
    def spread(self) -> Decimal | None:
        """From the best bid to the best ask; None unless there are both."""
        bids, asks = self.bids(1), self.asks(1)
        return asks[0][0] - bids[0][0] if bids and asks else None


class TapeLine(Struct, frozen=True):
    """A trade; `move` is 1, -1 or 0 as its price is above, below or at that of the last one."""

    time: float
    price: Decimal
    quantity: Decimal
    move: int


class Market:
    """Everything on the screen: the book, the last `tape_size` trades and what they sum up to."""

    def __init__(self, tape_size: int) -> None:
        self.book = Book()
        self.tape: deque[TapeLine] = deque(maxlen=tape_size)
        self.trades = 0
        self.volume = Decimal(0)
        self.last: TapeLine | None = None
        self.halted = False

    def apply(self, messages: Iterable[Message]) -> None:
        """Fold `messages` into the market, in order."""
        change = self.book.change
        for message in messages:
            if isinstance(message, Level):
                change(message)
            elif isinstance(message, Trade):
                self._print(message)
            elif isinstance(message, Subscribed):
                self.book.clear()
                self.halted = False
            elif isinstance(message, StateTold):
                self.halted = message.state == "halted"

    def _print(self, trade: Trade) -> None:
        """Print a trade on the tape, newest first."""
        move = _move(trade.price, self.last.price) if self.last else 0
        self.last = TapeLine(trade.time, trade.price, trade.quantity, move)
        self.tape.appendleft(self.last)
        self.trades += 1
        self.volume += trade.quantity


def _move(price: Decimal, before: Decimal) -> int:
    return (price > before) - (price < before)
