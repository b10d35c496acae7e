"""The counters of a node at one moment, so that two moments can be compared."""

from collections.abc import Iterable
from dataclasses import dataclass
from operator import add, sub

from wood.exchange.vitals import SECONDS, Histogram, Vitals, quantile
from wood.node.meter import Meter


@dataclass(frozen=True)
class Sample:
    """Counts since the node started, over all partitions; `time` is that of `time.monotonic`."""

    time: float
    commands: int
    events: int
    trades: int
    refusals: int
    unavailable: int
    errors: int
    slow: int
    gaps: int
    resyncs: int
    outages: int
    submit: tuple[int, ...]
    """Of a histogram over `SECONDS`, as are the following."""
    redis: tuple[int, ...]
    lag: tuple[int, ...]
    loop_lag: float
    """Seconds by which the event loop was late at most since the sample before."""

    @classmethod
    def of(
        cls,
        now: float,
        vitals: Iterable[Vitals],
        meters: Iterable[Meter],
        *,
        errors: int,
        slow: int,
        loop_lag: float,
    ) -> "Sample":
        """What stands in the counters."""
        vitals, meters = list(vitals), list(meters)
        return cls(
            time=now,
            commands=sum(each.commands for each in vitals),
            events=sum(each.events for each in meters),
            trades=sum(each.trades for each in meters),
            refusals=sum(each.refusals.total() for each in meters),
            unavailable=sum(each.unavailable for each in meters),
            errors=errors,
            slow=slow,
            gaps=sum(each.gaps for each in vitals),
            resyncs=sum(each.resyncs for each in vitals),
            outages=sum(each.outages for each in vitals),
            submit=_total(each.submit for each in vitals),
            redis=_total(each.redis for each in vitals),
            lag=_total(each.lag for each in meters),
            loop_lag=loop_lag,
        )

    def rate(self, before: "Sample", name: str) -> float:
        """How much the counter `name` grew a second since `before`."""
        seconds = self.time - before.time
        grown: int = getattr(self, name) - getattr(before, name)
        return round(grown / seconds, 3) if seconds > 0 else 0.0

    def quantile(self, before: "Sample", name: str, share: float) -> float | None:
        """Of the times `name` since `before`, in seconds; None if there were none."""
        counts = list(map(sub, getattr(self, name), getattr(before, name)))
        return quantile(share, SECONDS, counts)


def _total(histograms: Iterable[Histogram]) -> tuple[int, ...]:
    total: tuple[int, ...] = (0,) * (len(SECONDS) + 1)
    for histogram in histograms:
        total = tuple(map(add, total, histogram.counts))
    return total
