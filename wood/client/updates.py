"""What a client of the public port is told."""

from decimal import Decimal

from msgspec import Struct

from wood.client.book import Book
from wood.client.reports import Disconnected
from wood.model.orders import Reason, Side, State


class Trade(Struct, frozen=True):
    """A trade, at `time` in seconds since the epoch.

    Only who subscribed to symbols is told `symbol`, the number `seq` and the id `trade`, which the
    two sides see too.
    """

    price: Decimal
    quantity: Decimal
    time: float
    symbol: str | None = None
    seq: int | None = None
    trade: int | None = None


class LevelChanged(Struct, frozen=True):
    """The total quantity now resting at a price is `quantity`; 0 removes the level."""

    side: Side
    price: Decimal
    quantity: Decimal
    symbol: str | None = None
    seq: int | None = None


class StateChanged(Struct, frozen=True):
    """Trading in an instrument was halted, or goes on. Only who subscribed to symbols is told.

    Without a `reason` the server repeats what is so, since it gives the books anew.
    """

    symbol: str
    state: State
    seq: int
    reason: Reason | None = None


class Resynchronised(Struct, frozen=True):
    """The thread was lost, and `books` were taken anew, by symbol; those that changed wholly.

    With `trades_lost` there may have been trades that were not told; without it none was missed.
    """

    trades_lost: bool
    books: dict[str | None, Book]


Update = Trade | LevelChanged | StateChanged | Resynchronised | Disconnected
