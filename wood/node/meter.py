"""What happens on the exchange, counted from the journal: what every node sees alike."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from wood.exchange.vitals import SECONDS, Histogram
from wood.model.errors import ErrorCode
from wood.model.events import Batch, Snapshot, Trade
from wood.node.feed import Feed


def microseconds() -> int:
    """Now, in microseconds since the epoch."""
    return time.time_ns() // 1000


class Traded:
    """What was traded in an instrument since the node started; ticks and lots."""

    __slots__ = ("count", "last", "lots", "value")

    def __init__(self) -> None:
        self.count = 0
        self.lots = 0
        self.value = 0
        """Ticks times lots."""
        self.last: int | None = None
        """The price of the last trade, in ticks; None until there is one."""

    def add(self, trades: Sequence[Trade]) -> None:
        """Count some more."""
        self.count += len(trades)
        self.lots += sum([trade.quantity for trade in trades])
        self.value += sum([trade.price * trade.quantity for trade in trades])
        self.last = trades[-1].price


class Meter:
    """A reader of the journal of one partition, for which `feed` has found what it counts.

    Attached last: so it knows when all is told. To pass over the events of a batch once more is
    what it would cost.
    """

    def __init__(
        self, symbols: Iterable[str], feed: Feed, clock: Callable[[], int] = microseconds
    ) -> None:
        self._feed = feed
        self._clock = clock
        self.book = feed.book
        """Which knows the epoch, the last number, and what is halted."""
        self.time = 0
        """Of the last batch of the journal; microseconds, 0 before the first."""
        self.batches = 0
        self.events = 0
        """Numbered ones; a trade has two numbers."""
        self.traded = {symbol: Traded() for symbol in symbols}
        self.refusals: Counter[ErrorCode] = Counter()
        """As the journal has them."""
        self.unavailable = 0
        """Refusals that stand in no journal, since it could not be written to."""
        self.lag = Histogram(SECONDS)
        """From when a batch was decided until it was told to this node's clients."""

    @property
    def trades(self) -> int:
        """Of all instruments."""
        return sum(traded.count for traded in self.traded.values())

    def reset(self, snapshot: Snapshot) -> None:
        """Go on from there. What was counted stays, and what was missed is not known."""
        self.time = snapshot.time

    def apply(self, batch: Batch) -> None:
        """Count what is in it."""
        if batch.number == 0:
            # This node's own answers: to heartbeats, and to those who ask while Redis is away.
            self.unavailable += len(self._feed.refusals)
            return
        numbers, trades = batch.last - batch.first + 1, self._feed.trades
        if trades:
            self._count(trades)
        if refusals := self._feed.refusals:
            self.refusals.update(refusals)
        self.batches += 1
        self.events += numbers
        self.time = batch.time
        # Of a cluster the clock is that of Redis, which may be ahead of this machine's.
        self.lag.observe(max(0, self._clock() - batch.time) / 1e6)

    def _count(self, trades: list[Trade]) -> None:
        if len(self.traded) == 1:
            self.traded[trades[0].symbol].add(trades)
            return
        by_symbol: dict[str, list[Trade]] = {}
        for trade in trades:
            by_symbol.setdefault(trade.symbol, []).append(trade)
        for symbol, those in by_symbol.items():
            self.traded[symbol].add(those)
