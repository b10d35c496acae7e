"""What happens on the exchange, counted from the journal: what every node sees alike."""

import time
from collections import Counter
from collections.abc import Callable

from wood.exchange.vitals import SECONDS, Histogram
from wood.model.errors import ErrorCode
from wood.model.events import Batch, CommandRefused, LoginRefused, Snapshot, StateChanged, Trade
from wood.model.instruments import Instruments
from wood.model.orders import State

_COUNTED = frozenset({Trade, StateChanged, CommandRefused, LoginRefused})
"""All others are passed over at the speed of C."""


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


class Meter:
    """A reader of the journal of one partition; attached last, so that it knows when all is told.

    It passes over each batch once, and touches only what is traded, refused or halted.
    """

    def __init__(self, instruments: Instruments, clock: Callable[[], int] = microseconds) -> None:
        self._clock = clock
        self.epoch = 0
        self.seq = 0
        self.time = 0
        """Of the last batch of the journal; microseconds, 0 before the first."""
        self.batches = 0
        self.events = 0
        """Numbered ones; a trade has two numbers."""
        self.traded = {symbol: Traded() for symbol in instruments}
        self.refusals: Counter[ErrorCode] = Counter()
        """As the journal has them."""
        self.unavailable = 0
        """Refusals that stand in no journal, since it could not be written to."""
        self.halted: set[str] = set()
        self.lag = Histogram(SECONDS)
        """From when a batch was decided until it was told to this node's clients."""

    @property
    def trades(self) -> int:
        """Of all instruments."""
        return sum(traded.count for traded in self.traded.values())

    def reset(self, snapshot: Snapshot) -> None:
        """Go on from there. What was counted stays, and what was missed is not known."""
        self.epoch, self.seq, self.time = snapshot.epoch, snapshot.seq, snapshot.time
        self.halted = set(snapshot.halted)

    def apply(self, batch: Batch) -> None:
        """Count what is in it."""
        if batch.number == 0:
            self._of_no_journal(batch)
            return
        for event in [event for event in batch.events if type(event) in _COUNTED]:
            if type(event) is Trade:
                traded, quantity, price = self.traded[event.symbol], event.quantity, event.price
                traded.count += 1
                traded.lots += quantity
                traded.value += price * quantity
                traded.last = price
            elif isinstance(event, StateChanged):
                self._state_changed(event)
            elif isinstance(event, CommandRefused | LoginRefused):
                self.refusals[event.code] += 1
        self.batches += 1
        self.events += batch.last - batch.first + 1
        self.epoch, self.seq, self.time = batch.epoch, batch.last, batch.time
        # Of a cluster the clock is that of Redis, which may be ahead of this machine's.
        self.lag.observe(max(0, self._clock() - batch.time) / 1e6)

    def _state_changed(self, event: StateChanged) -> None:
        if event.state is State.HALTED:
            self.halted.add(event.symbol)
        else:
            self.halted.discard(event.symbol)

    def _of_no_journal(self, batch: Batch) -> None:
        """This node's own answers: to heartbeats, and to those who ask while Redis is away."""
        kinds = CommandRefused | LoginRefused
        self.unavailable += sum(isinstance(event, kinds) for event in batch.events)
