"""The journal of an engine in memory: the last batches, by number."""

from collections import deque
from itertools import takewhile

from wood.model.errors import JournalTrimmed
from wood.model.events import Batch

KEPT = 100_000
"""Events that are kept at least; at some 100 bytes each a bounded 10 MB or so."""


class Journal:
    """Batches in the order decided, trimmed from the oldest."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._batches: deque[Batch] = deque()
        self._size = 0
        self.trimmed = 0
        """The last number that is gone."""
        self.count = 0
        """Batches that there ever were; each has its place among them, from 1 on."""

    def append(self, batch: Batch) -> None:
        """Add the next batch; forget the oldest ones beyond what is kept."""
        batches = self._batches
        batches.append(batch)
        self.count += 1
        # Unnumbered answers take room too, so they count.
        self._size += len(batch.events)
        while self._size - len(batches[0].events) >= self._kept:
            oldest = batches.popleft()
            self._size -= len(oldest.events)
            self.trimmed = oldest.last

    @property
    def first_place(self) -> int:
        """The place of the oldest batch that is kept."""
        return self.count - len(self._batches) + 1

    def page(self, place: int, most: int) -> list[Batch]:
        """Up to `most` batches from that place on, which must be kept, or the next to come."""
        begin = place - self.first_place
        return [self._batches[i] for i in range(begin, min(begin + most, len(self._batches)))]

    def after(self, seq: int) -> list[Batch]:
        """The batches with numbers greater than `seq`. Raises `JournalTrimmed`."""
        if seq < self.trimmed:
            raise JournalTrimmed(f"the journal begins after number {self.trimmed}")
        newest_first = takewhile(lambda batch: batch.last > seq, reversed(self._batches))
        return list(newest_first)[::-1]
