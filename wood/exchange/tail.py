"""Reading a journal to its end and on, for one who keeps its position: each batch at least once.

A router or a feed lives with its node and begins from a snapshot. Somebody who must miss nothing,
and may be away for a while, reads with a `Tail` and says how far it is done (`keep`).
"""

from abc import ABC, abstractmethod

from msgspec import Struct

from wood.model.events import Batch


class Position(Struct, frozen=True):
    """After which batch somebody goes on. `journal` is the random id of the partition's journal."""

    journal: str
    epoch: int
    seq: int
    batch: int
    time: int
    """Of that batch, in microseconds; 0 at the beginning."""


class Skipped(Struct, frozen=True):
    """What cannot be read any more, or was told and is history no more.

    `trimmed`: `count` events after `seq` are no longer kept. `forked`: Redis lost what followed
    `seq`; the last `count` events that were read did not happen. `cleared`: a new journal began;
    what the old one still had is gone, nobody knows how much (`count` 0).
    """

    reason: str
    epoch: int
    seq: int
    count: int


class Page(Struct, frozen=True):
    """What came next: perhaps something that was skipped, then batches, and the position after."""

    batches: list[Batch]
    position: Position
    skipped: Skipped | None = None


class Tail(ABC):
    """One reader's hold on the journal of one partition. Close it in the end."""

    @abstractmethod
    async def read(self) -> Page:
        """Wait for what comes next, and return some of it: one batch at least, or what was skipped.

        Waits while the journal cannot be reached.
        """

    @abstractmethod
    async def keep(self, position: Position) -> None:
        """Begin after this position the next time. Waits while that cannot be written."""

    @abstractmethod
    async def behind(self) -> int:
        """How many events there are after what was kept."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of what it holds."""
