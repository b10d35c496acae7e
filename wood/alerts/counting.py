"""Counters of nodes that only grow, and how many of what they count were in the last while."""

from collections import deque

from wood.model.node_report import NodeReport


class Growth:
    """By how much a counter of each node has grown since it was last looked at.

    What a node counted before it was first seen does not count, unless it started only `young`
    seconds before: so nothing is missed of one that was started again. While it runs nothing counts
    down: of two ways to hear of it one may be older.
    """

    def __init__(self, young: float) -> None:
        self._young = young
        self._known: dict[tuple[str, str], tuple[int, int]] = {}

    def of(self, report: NodeReport, what: str, count: int) -> int:
        """How much more it is than the last time."""
        key = report.name, what
        known = self._known.get(key)
        if known is not None and known[0] == report.started:
            count = max(count, known[1])
        self._known[key] = report.started, count
        if known is None:
            return count if report.time - report.started < self._young * 1e6 else 0
        return count - known[1] if known[0] == report.started else count


class Recent:
    """How many there were within the last `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._counts: deque[tuple[float, int]] = deque()
        self._untold = 0

    def add(self, count: int, now: float) -> None:
        """Count so many, and forget what is too long ago."""
        if count:
            self._counts.append((now, count))
            self._untold += count
        while self._counts and now - self._counts[0][0] >= self._seconds:
            self._counts.popleft()
        self._untold = min(self._untold, self.sum)

    @property
    def sum(self) -> int:
        """How many there were."""
        return sum(count for _, count in self._counts)

    def tell(self) -> int:
        """Of these, how many were not told before."""
        untold, self._untold = self._untold, 0
        return untold
