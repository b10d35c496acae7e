"""Readers of the journal that do not keep up."""

from collections.abc import Iterator

from wood.alerts.conditions import Condition, Since
from wood.alerts.look import REDIS, Look, ReaderSeen
from wood.alerts.notices import Alert, Finding
from wood.alerts.thresholds import Thresholds


class ReaderBehind(Condition):
    """A reader is far behind, or is behind and does not move.

    How long it has not moved is counted from when that was first seen; with `at_once`, from when
    the reader last kept a position, which may be long before something came that it could read.
    """

    def __init__(self, thresholds: Thresholds, *, at_once: bool = False) -> None:
        super().__init__(thresholds)
        self._at_once = at_once
        self._still = Since()
        self._places: dict[str, object] = {}
        """Of each reader its position; of one that is part of a node, how far behind it was."""

    def judge(self, look: Look) -> Iterator[Finding]:
        """As of any condition."""
        for partition in look.partitions:
            for name, reader in partition.readers.items():
                key = f"{name} of {partition.name}"
                yield from self._stored(key, reader, look.now)
        for source, report in look.reports:
            for name, behind in report.readers.items():
                key = f"{name} in {report.name}"
                before = self._places.get(key)
                moves = not behind or not isinstance(before, int) or behind < before
                self._places[key] = behind
                still = self._still.note(key, not moves, look.now)
                yield from self._behind(key, source, behind, still, look.now)

    def _stored(self, key: str, reader: ReaderSeen, now: float) -> Iterator[Finding]:
        before = self._places.get(key)
        self._places[key] = reader.position
        still = self._still.note(key, reader.behind > 0 and before == reader.position, now)
        if self._at_once and reader.behind > 0 and before == reader.position:
            still = max(still, reader.kept)
        yield from self._behind(key, REDIS, reader.behind, still, now)

    def _behind(
        self, key: str, source: str, behind: int, still: float, now: float
    ) -> Iterator[Finding]:
        if still >= self.thresholds.behind_seconds:
            text = f"the reader {key} has {behind} events to go and has not moved for {still:.0f} s"
            yield Finding(Alert.READER_BEHIND, key, source, text, now - still)
        elif behind >= self.thresholds.behind_events:
            text = f"the reader {key} has {behind} events to go"
            yield Finding(Alert.READER_BEHIND, key, source, text)
