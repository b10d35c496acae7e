"""Telling Graylog the market of one partition: from the journal, at least once, in order."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from wood.exchange.tail import Page, Position, Tail
from wood.graylog.market import Which, skipped_record
from wood.graylog.market_batches import Packed, pack, pack_record
from wood.model.events import Batch

GATHER = 0.25
"""Seconds in which what happens is told together: each confirmation takes a connection of its own,
and a machine has only some 28,000 ports for those of the last minute.
"""

FULL = 2000
"""Records after which nothing more is gathered: what is sent again if a connection breaks."""


class Courier(Protocol):
    """Who takes records to Graylog."""

    async def deliver(self, batches: Sequence[bytes]) -> None:
        """Return when the receiver has confirmed all that came of what was packed.

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
        self._which = which
        self._clock = clock
        self._stop = asyncio.Event()
        self._reading: asyncio.Task[Page] | None = None

    async def run(self) -> None:
        """Tell until `stop`; what is under way then is confirmed first. Cancelling gives it up.

        Nothing is lost either way: what is not confirmed is read again the next time.
        """
        stopping = asyncio.create_task(self._stop.wait())
        try:
            while not self._stop.is_set():
                pages = await self._gather(stopping)
                if pages:
                    await self._tell(pages)
        finally:
            stopping.cancel()
            if self._reading is not None:
                self._reading.cancel()
                await asyncio.wait([self._reading])
            await self._dismiss()

    def stop(self) -> None:
        """Have `run` end when what is under way is confirmed."""
        self._stop.set()

    async def behind(self) -> int:
        """How many events of the journal are not told yet."""
        return await self._tail.behind()

    async def _gather(self, stopping: "asyncio.Task[bool]") -> list[Page]:
        """What comes next and what follows soon; nothing if it is time to stop before that."""
        loop = asyncio.get_running_loop()
        pages: list[Page] = []
        size, deadline = 0, None
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
            pages.append(page)
            size += sum(len(batch.events) for batch in page.batches)
            deadline = deadline or loop.time() + GATHER
        return pages

    def _read(self) -> "asyncio.Task[Page]":
        if self._reading is None:
            self._reading = asyncio.create_task(self._tail.read())
        return self._reading

    async def _tell(self, pages: list[Page]) -> None:
        """Deliver what is in pages, a bounded number of records at a time; then keep the place."""
        if not self._stop.is_set():
            self._read()  # so that the next page is there when this one is confirmed
        parcel: list[Packed] = []
        for page in pages:
            if page.skipped is not None:
                skipped = skipped_record(page.skipped, self.partition, self._node, self._clock())
                await self._deliver([*parcel, pack_record(skipped)])
                parcel = []
                if page.skipped.reason == "cleared":
                    await self._dismiss()  # what begins now may have other instruments
            parcel = await self._tell_batches(page.batches, parcel)
        await self._deliver(parcel)
        position = pages[-1].position
        await self._tail.keep(position)
        self.position = position

    async def _tell_batches(self, batches: list[Batch], parcel: list[Packed]) -> list[Packed]:
        """Deliver what is too much for one parcel; return the rest."""
        records = sum(packed.records for packed in parcel)
        for batch in batches:
            packed = pack(batch, self._which)
            if packed is None:
                continue
            parcel.append(packed)
            records += packed.records
            if records >= FULL:
                await self._deliver(parcel)
                parcel, records = [], 0
        return parcel

    async def _deliver(self, parcel: list[Packed]) -> None:
        if not parcel:
            return
        if self._courier is None:
            self._courier = await self._make_courier()
        await self._courier.deliver([packed.data for packed in parcel])
        self.told += sum(packed.records for packed in parcel)

    async def _dismiss(self) -> None:
        courier, self._courier = self._courier, None
        if courier is not None:
            await courier.close()
