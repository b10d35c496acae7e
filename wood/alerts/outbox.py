"""What waits to be told to somebody who does not take it now: bounded, grouped, nothing forgotten.

All that is said of one alert is one entry: the newest notice, and how many it stands for. Where
there are more alerts than there is room for, the oldest are counted by name.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from wood.alerts.notices import Notice

LIMIT = 1000
"""Alerts that wait for one sink."""


class Letter(Struct, frozen=True):
    """What is delivered in one piece; either all of it arrives, or it is sent again."""

    notices: list[Notice]
    left_out: Mapping[str, int]
    """How many notices there was no room for, by the name of the alert."""

    @property
    def count(self) -> int:
        """How many notices it stands for."""
        return sum(notice.stands_for for notice in self.notices) + sum(self.left_out.values())


class Outbox:
    """What one sink is still to be told, the oldest first."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._waiting: dict[str, Notice] = {}
        self._left_out: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._waiting or self._left_out)

    def put(self, notices: Iterable[Notice]) -> None:
        """Have these told."""
        for notice in notices:
            older = self._waiting.pop(notice.id, None)
            if older is not None:
                stands_for = notice.stands_for + older.stands_for
                notice = replace(notice, stands_for=stands_for)
            self._waiting[notice.id] = notice
        while len(self._waiting) > self._limit:
            oldest = self._waiting.pop(next(iter(self._waiting)))
            self._left_out[oldest.alert.value] += oldest.stands_for

    def take(self) -> Letter:
        """All that waits; it waits no more, unless it is given back."""
        letter = Letter(list(self._waiting.values()), dict(self._left_out))
        self._waiting = {}
        self._left_out = Counter()
        return letter

    def give_back(self, letter: Letter) -> None:
        """It could not be delivered: it waits again, before what has come since."""
        since = self.take()
        self._left_out.update(letter.left_out)
        self._left_out.update(since.left_out)
        self.put(letter.notices)
        self.put(since.notices)
