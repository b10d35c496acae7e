"""Reading the journal of the engine in memory, by one that may fall behind."""

import asyncio

from wood.exchange.memory import MemoryExchange
from wood.exchange.tail import Page, Position, Skipped, Tail
from wood.model.events import Batch, Snapshot

PAGE = 100
"""Batches in a page at most."""

FULL = 5000
"""Events in a page after which no further batch is added."""


class MemoryTail(Tail):
    """A hold on the journal of `exchange`; all that it costs the engine is one flag for each batch.

    It begins with the oldest batch that is kept. What it keeps lives as long as the journal does:
    as this process.
    """

    def __init__(self, exchange: MemoryExchange) -> None:
        self._exchange = exchange
        self._grown = asyncio.Event()
        journal, (epoch, _) = exchange.journal, exchange.place
        first = journal.first_place - 1
        # An engine in memory has one journal and one epoch.
        self._position = Position(str(epoch), epoch, journal.trimmed, first, 0)
        self._kept = self._position
        exchange.attach(_Bell(self._grown))

    async def read(self) -> Page:
        """As of any tail. Cancelling it loses nothing."""
        journal = self._exchange.journal
        while True:
            self._grown.clear()
            place = self._position.batch + 1
            if place < journal.first_place:
                return self._trimmed()
            if place <= journal.count:
                return self._page(journal.page(place, PAGE))
            await self._grown.wait()

    def _trimmed(self) -> Page:
        journal, before = self._exchange.journal, self._position
        after = Position(
            *(before.journal, before.epoch, journal.trimmed, journal.first_place - 1, before.time)
        )
        self._position = after
        count = after.seq - before.seq
        return Page([], after, Skipped("trimmed", before.epoch, before.seq, count))

    def _page(self, found: list[Batch]) -> Page:
        batches: list[Batch] = []
        size = 0
        for batch in found:
            if size >= FULL:
                break
            batches.append(batch)
            size += len(batch.events)
        before, last = self._position, batches[-1]
        place = before.batch + len(batches)
        self._position = Position(before.journal, before.epoch, last.last, place, last.time)
        return Page(batches, self._position)

    async def keep(self, position: Position) -> None:
        """As of any tail; it never has to wait."""
        self._kept = position

    async def behind(self) -> int:
        """As of any tail."""
        _, seq = self._exchange.place
        return seq - self._kept.seq

    async def close(self) -> None:
        """There is nothing that it holds."""


class _Bell:
    """A reader that only says that there was something."""

    def __init__(self, grown: asyncio.Event) -> None:
        self._grown = grown

    def reset(self, snapshot: Snapshot) -> None:
        """Only an engine begins here."""

    def apply(self, batch: Batch) -> None:
        """There is more to read."""
        self._grown.set()
