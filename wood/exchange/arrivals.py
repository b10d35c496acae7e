"""When commands that wait in a queue were handed over.

Told once for each batch, not for each command: those that came since the last look count as handed
over when the first of them was.
"""

from collections import deque


class Arrivals:
    """The times, by `time.monotonic`, at which the commands of a queue came, oldest first."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, float]] = deque()  # so many commands, and when they came
        self._count = 0

    @property
    def count(self) -> int:
        """How many wait."""
        return self._count

    @property
    def oldest(self) -> float | None:
        """When the first one in the queue came; None if none waits."""
        return self._marks[0][1] if self._marks else None

    def look(self, queued: int, since: float) -> int:
        """The queue has grown to `queued` commands since `since`; by how many.

        What was thrown away meanwhile is forgotten.
        """
        new = queued - self._count
        if new > 0:
            self._marks.append((new, since))
            self._count = queued
            return new
        if new < 0:
            self.take(-new)
        return 0

    def take(self, count: int) -> float | None:
        """The first `count` leave the queue; when the first of them came."""
        marks, oldest = self._marks, self.oldest
        self._count -= count
        while count > 0:
            here, since = marks.popleft()
            if here > count:
                marks.appendleft((here - count, since))
            count -= here
        return oldest

    def put_back(self, count: int, since: float) -> None:
        """The queue has `count` commands again, at its head, that came at `since`."""
        if count:
            self._marks.appendleft((count, since))
            self._count += count
