"""What waits to be sent, and what was sent and is not confirmed yet: bounded, and counted."""

from collections import deque
from itertools import islice

from wood.graylog.record import Record
from wood.model.log_events import LogEvent


class Outbox:
    """At most `most` records; more are dropped, the latest first, and counted.

    Not for several threads at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._records: deque[Record] = deque()
        self._sent = 0
        self.dropped = 0
        """How many were dropped and not told yet."""

    def __len__(self) -> int:
        return len(self._records)

    @property
    def unsent(self) -> int:
        """How many wait to be sent."""
        return len(self._records) - self._sent

    @property
    def unconfirmed(self) -> int:
        """How many were sent."""
        return self._sent

    @property
    def full(self) -> bool:
        """Whether the next one would be dropped."""
        return len(self._records) >= self._most

    def put(self, record: Record) -> None:
        """Add a record, or count it; of one that tells of others that were dropped, those."""
        if self.full:
            self.dropped += _stands_for(record)
        else:
            self._records.append(record)

    def waiting(self, most: int) -> list[Record]:
        """The next ones to be sent."""
        return list(islice(self._records, self._sent, self._sent + most))

    def sent(self, count: int) -> None:
        """So many of `waiting` were sent."""
        self._sent += count

    def confirmed(self) -> None:
        """What was sent has arrived."""
        for _ in range(self._sent):
            self._records.popleft()
        self._sent = 0

    def lost(self) -> None:
        """What was sent may not have arrived, and waits again."""
        self._sent = 0


def _stands_for(record: Record) -> int:
    """How many records are missing without it."""
    count = record.fields.get("count")
    if record.fields.get("event") == LogEvent.RECORDS_DROPPED.value and isinstance(count, int):
        return count
    return 1
