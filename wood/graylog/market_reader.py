"""Telling Graylog the market of one partition: from the journal, at least once, in order."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from wood.exchange.tail import Page, Position, Tail
from wood.graylog.handler import HERE_ONLY
from wood.graylog.market import EVENTS, Which, skipped_record
from wood.graylog.record import Record
from wood.model.events import Batch, Event

log = logging.getLogger(HERE_ONLY)

GATHER = 0.25
"""Seconds in which what happens is told together: each confirmation takes a connection of its own,
and a machine has only some 28,000 ports for those of the last minute.
"""

FULL = 2000
"""Records, at least, after which they are confirmed: what is sent again if a connection breaks."""


class Courier(Protocol):
    """Who takes records to Graylog."""

    async def deliver(self, batches: Sequence[Batch], records: Sequence[Record] = ()) -> None:
        """Return when the receiver has confirmed the records, and then those of the batches.

        Waits, and sends again, while the receiver is away.
        """

    async def close(self) -> None:
        """Let go of what it holds; what is not confirmed is given up."""


MakeCourier = Callable[[], Awaitable[Courier]]
"""A courier that knows the instruments as they are now. May wait."""


class MarketReader:
    """Reads one journal and has it delivered; keeps a position only of what is confirmed."""

    def __init__(
        self,
        partition: str,
        tail: Tail,
        make_courier: MakeCourier,
        node: str,
        which: Which,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.partition = partition
        self.position: Position | None = None
        """Of the last that was told, and confirmed."""
        self.told = 0
        """How many records that were, since the start."""
        self._tail = tail
        self._make_courier = make_courier
        self._courier: Courier | None = None
        self._node = node
        self._wanted = EVENTS[which]
        self._clock = clock
        self._stop = asyncio.Event()
        self._moved = asyncio.Event()  # when a position was kept
        self._reading: asyncio.Task[Page] | None = None
        self._pages: list[Page] = []  # read, and not confirmed

    async def run(self) -> None:
        """Tell until `stop`; what is under way then is confirmed first. Cancelling gives it up.

        Nothing is lost either way: no position of it is kept. After an error it may be run again,
        and begins with what was not confirmed.
        """
        stopping = asyncio.create_task(self._stop.wait())
        try:
            while not self._stop.is_set():
                await self._gather(stopping)
                if self._pages:
                    await self._tell(self._pages)
                    self._pages = []
        finally:
            stopping.cancel()
            await self._read_no_more()
            await self._dismiss()

    def stop(self) -> None:
        """Have `run` end when what is under way is confirmed."""
        self._stop.set()

    async def behind(self) -> int:
        """How many events of the journal are not told yet."""
        return await self._tail.behind()

    async def caught_up(self) -> None:
        """Wait until nothing is left to be told."""
        self._moved.clear()
        while await self.behind():
            await self._moved.wait()
            self._moved.clear()

    async def _gather(self, stopping: "asyncio.Task[bool]") -> None:
        """Wait for what comes next and what follows soon, or for the time to stop."""
        loop = asyncio.get_running_loop()
        size = 0
        deadline = loop.time() if self._pages else None
        while size < FULL and not stopping.done():
            reading = self._read()
            timeout = None if deadline is None else max(0.0, deadline - loop.time())
            await asyncio.wait(
                [reading, stopping], timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if not reading.done():
                break
            self._reading = None
            page = reading.result()
            self._pages.append(page)
            size += sum(len(batch.events) for batch in page.batches)
            deadline = deadline or loop.time() + GATHER

    def _read(self) -> "asyncio.Task[Page]":
        if self._reading is None:
            self._reading = asyncio.create_task(self._tail.read())
        return self._reading

    async def _read_no_more(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.wait([reading])
            if not reading.cancelled() and reading.exception() is None:
                self._pages.append(reading.result())

    async def _tell(self, pages: list[Page]) -> None:
        """Deliver what is in pages, a bounded number of records at a time; then keep the place."""
        if not self._stop.is_set():
            self._read()  # so that the next page is there when this one is confirmed
        parcel = _Parcel()
        for page in pages:
            if page.skipped is not None:
                await self._deliver(parcel)
                skipped = skipped_record(page.skipped, self.partition, self._node, self._clock())
                log.warning("%s", skipped.text)
                parcel = _Parcel([skipped])
                if page.skipped.reason == "cleared":
                    # What begins now may have other instruments.
                    await self._deliver(parcel)
                    await self._dismiss()
                    parcel = _Parcel()
            for batch in page.batches:
                parcel.add(batch, self._wanted)
                if parcel.size >= FULL:
                    await self._deliver(parcel)
                    parcel = _Parcel()
        await self._deliver(parcel)
        position = pages[-1].position
        await self._tail.keep(position)
        self.position = position
        self._moved.set()

    async def _deliver(self, parcel: "_Parcel") -> None:
        if not parcel.size:
            return
        if self._courier is None:
            self._courier = await self._make_courier()
        await self._courier.deliver(parcel.batches, parcel.records)
        self.told += parcel.size

    async def _dismiss(self) -> None:
        courier, self._courier = self._courier, None
        if courier is not None:
            await courier.close()


class _Parcel:
    """What is delivered at once: records, then batches; `size` is how many records that makes."""

    def __init__(self, records: Sequence[Record] = ()) -> None:
        self.records = records
        self.batches: list[Batch] = []
        self.size = len(records)

    def add(self, batch: Batch, wanted: frozenset[type[Event]]) -> None:
        """Add a batch, if anything of it is told."""
        count = sum(type(event) in wanted for event in batch.events)
        if count:
            self.batches.append(batch)
            self.size += count
