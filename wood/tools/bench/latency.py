"""How long answers took, without a clock reading for each request."""

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from itertools import accumulate


class Latencies:
    """Seconds from the write of a request to the read of its answer, as (seconds, how many)."""

    def __init__(self) -> None:
        self._seconds = array("d")
        self._counts = array("L")

    def add(self, seconds: float, count: int) -> None:
        """`count` requests were answered after `seconds`."""
        self._seconds.append(seconds)
        self._counts.append(count)

    def percentiles(self, shares: Sequence[float]) -> list[float]:
        """For each share the least time, in seconds, within which that share was answered."""
        ordered = sorted(zip(self._seconds, self._counts, strict=True))
        totals = list(accumulate(count for _, count in ordered))
        return [ordered[bisect_left(totals, share * totals[-1])][0] for share in shares]


class Questions:
    """The requests of one connection that wait for their answers, oldest first.

    Answers keep the order of the questions, so the k-th answer belongs to the k-th request. What
    left in one write left at one time.
    """

    def __init__(self) -> None:
        self._writes: deque[tuple[float, int]] = deque()
        self.open = 0

    def asked(self, count: int, now: float) -> None:
        """`count` requests were written at `now`."""
        self._writes.append((now, count))
        self.open += count

    def answered(self, count: int, now: float, latencies: Latencies) -> None:
        """`count` answers, of at most `open`, were read at `now`."""
        self.open -= count
        writes = self._writes
        while count:
            sent, size = writes[0]
            if size > count:
                writes[0] = (sent, size - count)
                size = count
            else:
                writes.popleft()
            latencies.add(now - sent, size)
            count -= size
