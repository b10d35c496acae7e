"""What an engine counts and times of itself; whoever shows it reads it from here.

Plain numbers that only grow, written in the hot path once for each batch, never for each order.
"""

from bisect import bisect_left
from collections.abc import Sequence

SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""Upper bounds for times."""

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
"""Upper bounds for commands in a batch."""


class Histogram:
    """How many values there were up to each bound, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        """Of values up to each bound and above the one before; the last is of those above all."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)


def quantile(share: float, bounds: Sequence[float], counts: Sequence[int]) -> float | None:
    """The bound that `share` of the values do not pass; None without any.

    Above all bounds it is the highest one. `counts` are as of a `Histogram`, or differences of two.
    """
    total = sum(counts)
    if not total:
        return None
    below = 0
    for bound, count in zip(bounds, counts, strict=False):
        below += count
        if below >= share * total:
            return bound
    return bounds[-1]


class Vitals:
    """Of one partition at one node. Times are seconds."""

    def __init__(self) -> None:
        self.commands = 0
        """Handed to the engine."""
        self.waiting = 0
        """Commands that wait to be decided, now."""
        self.waiting_since: float | None = None
        """By `time.monotonic`: since when something has waited unanswered; None: nothing does."""
        self.batch_size = Histogram(SIZES)
        """Commands that were decided together."""
        self.submit = Histogram(SECONDS)
        """From when the first command of a batch was handed over until its events were told."""
        self.redis = Histogram(SECONDS)
        """Round trips of batches to Redis; none without Redis."""
        self.gaps = 0
        """Times that something was missing and was read from the stream."""
        self.resyncs = 0
        """Times that this node began again from a snapshot."""
        self.forks = 0
        """Times that it found that Redis had lost the end of the journal."""
        self.outages = 0
        """Times that Redis went away."""
        self.away = False
        """Whether it is."""
