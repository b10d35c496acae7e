"""Reading the journal of a partition in Redis from a position that is kept there."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self, TypeVar

import msgspec

from wood.exchange.cluster import positions
from wood.exchange.cluster.client import FAILURES, BackOff, Fault, connect, fault
from wood.exchange.cluster.formats import FORMAT, Entry
from wood.exchange.cluster.history import Fork, Trusted, follow, is_true
from wood.exchange.cluster.journal import StoredJournal
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.rules import instruments_in
from wood.exchange.tail import Page, Position, Skipped, Tail
from wood.model.errors import ConfigError
from wood.model.events import Batch
from wood.model.instruments import Instruments

POLL = 0.05
"""Seconds from look to look at the end of the journal."""

PAGE = 100
"""Entries that are fetched at once."""

FULL = 5000
"""Events in a page after which no further batch is added."""

WhenAway = Callable[[Exception | None], None]

T = TypeVar("T")


class StoredTail(Tail):
    """The hold of `reader` on the partition whose keys are hashed by `tag`.

    It begins after the position that was kept, or with the oldest entry there is. While Redis is
    away it waits; `when_away` is called with what is wrong, and with None when all is well again.
    Without `instruments` they are those that the nodes wrote down, as symbol, tick and lot only.
    `partition` is what batches name it, the tag unless it has another name.
    """

    def __init__(
        self,
        url: str,
        prefix: str,
        tag: str,
        instruments: Instruments | None,
        reader: str,
        *,
        partition: str | None = None,
        when_away: WhenAway = lambda error: None,
    ) -> None:
        self._keys = Keys(prefix, tag)
        self._client = connect(url, self._keys.meta)
        self._reader = reader
        self._partition = partition or tag
        self._given = instruments
        self.instruments = instruments
        """Those that are traded, as soon as anything was read."""
        self._journal: StoredJournal | None = None
        self._when_away = when_away
        self._away = False
        self._position: Position | None = None  # after what was read
        self._kept: Position | None = None
        self._end = "", 0  # the journal and its last number, as far as is known
        self._trusted: Trusted = {}
        self._ahead: list[Entry] = []  # fetched, and not yet read

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def read(self) -> Page:
        """As of any tail; waits too until there is a partition. Cancelling it loses nothing.

        Raises `ConfigError` if the data are of another format, and what the client raises if they
        are broken.
        """
        position = self._position
        try:
            while True:
                page = await self._until_it_works(self._next)
                if page is not None:
                    return page
                await asyncio.sleep(POLL)
        except asyncio.CancelledError:
            # It may have met a page that was whole, and nobody gets that one now.
            self._position, self._ahead, self._trusted = position, [], {}
            raise

    async def keep(self, position: Position) -> None:
        """As of any tail. Raises what the client raises if data are broken."""
        await self._until_it_works(
            lambda: positions.keep(self._client, self._keys, self._reader, position)
        )
        self._kept = position

    async def behind(self) -> int:
        """As of any tail; of what was known last, while Redis is away."""
        with suppress(*FAILURES):
            if self._kept is None:
                known = await positions.kept(self._client, self._keys, self._reader)
                self._kept = None if known is None else known.position
            found = await self._client.hmget(self._keys.meta, "id", "seq")
            if None not in found:
                self._end = found[0].decode(), int(found[1])
        journal, seq = self._end
        if self._kept is None or journal != self._kept.journal:
            return seq
        return max(0, seq - self._kept.seq)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    async def _until_it_works(self, ask: Callable[[], Awaitable[T]]) -> T:
        back_off = BackOff()
        canceled = _cancellations()
        while True:
            try:
                answer = await ask()
                if _cancellations() > canceled:
                    # A cancellation that meets a reply gets lost on its way through the client.
                    raise asyncio.CancelledError
            except FAILURES as error:
                if fault(error) is Fault.BROKEN:
                    raise
                if not self._away:
                    self._away = True
                    self._when_away(error)
                await back_off.wait()
                continue
            if self._away:
                self._away = False
                self._when_away(None)
            return answer

    async def _next(self) -> Page | None:
        """What comes next, if there is something. Raises what the client raises."""
        meta = self._keys.meta
        journal, epoch, rules = await self._client.hmget(meta, "id", "epoch", "rules")
        if journal is None:
            return None  # there is none yet, or none any more
        if self._journal is None:
            self._learn(rules.decode())
        if self._position is None:
            self._position = await self._begin()
            return None
        if journal.decode() != self._position.journal:
            return await self._cleared(rules.decode())
        if int(epoch) not in self._trusted:
            page = await self._look()
            if page is not None or not self._trusted:
                return page
        if not self._ahead:
            assert self._journal is not None
            place = f"{self._position.seq}-{self._position.batch}"
            self._ahead = await self._journal.after(place, PAGE)
        return await self._read_on()

    def _learn(self, rules: str) -> None:
        """Of the partition what does not change before it is cleared. Raises `ConfigError`."""
        there = msgspec.json.decode(rules)["format"]
        if there != FORMAT:
            raise ConfigError(
                f"the data in Redis have format {there}, and this reads format {FORMAT}: use the "
                "version of wood that the nodes have"
            )
        self.instruments = self._given or instruments_in(rules)
        self._journal = StoredJournal(self._client, self._keys, self.instruments)
        self._journal.partition = self._partition

    async def _begin(self) -> Position | None:
        """The position that was kept, or that before the oldest entry, which is kept from now on.

        None if there is no partition any more.
        """
        known = await positions.kept(self._client, self._keys, self._reader)
        while known is None:
            position = await self._oldest()
            if position is None:
                return None
            await positions.keep(self._client, self._keys, self._reader, position)
            if await self._oldest() == position:  # else it was trimmed before it was held
                self._kept = position
                return position
        self._kept = known.position
        return known.position

    async def _oldest(self) -> Position | None:
        """That before the oldest entry. Raises what the client raises."""
        assert self._journal is not None
        while True:
            fields = ("id", "epoch", "seq", "batch")
            before = await self._client.hmget(self._keys.meta, fields)
            oldest = await self._journal.since("-", 1)
            after = await self._client.hget(self._keys.meta, "id")
            if after is None:
                return None
            if before[0] == after:
                break
        if oldest:
            entry = oldest[0]
            return Position(after.decode(), entry.epoch, entry.first - 1, entry.batch - 1, 0)
        epoch, seq, batch = map(int, before[1:])
        return Position(after.decode(), epoch, seq, batch, 0)

    async def _cleared(self, rules: str) -> Page | None:
        """A new journal began. Raises what the client raises."""
        self._learn(rules)
        position, before = await self._oldest(), self._position
        if position is None:
            return None
        assert before is not None
        return self._skip("cleared", before.epoch, before.seq, 0, position)

    async def _look(self) -> Page | None:
        """See how history goes on from here; a page if it does not."""
        assert self._journal is not None
        assert self._position is not None
        self._ahead, self._trusted = [], {}
        position = self._position
        epochs, begun = await self._journal.history()
        found = follow(epochs, position, begun=begun)
        if await self._client.hget(self._keys.meta, "id") != position.journal.encode():
            return None  # it was cleared under our hands
        if isinstance(found, Fork):
            entries = await self._journal.since(f"{found.seq}-{found.batch}", 1)
            is_it = bool(entries) and entries[0].batch == found.batch
            time = entries[0].time if is_it else position.time
            place = Position(position.journal, found.epoch, found.seq, found.batch, time)
            count = position.seq - found.seq
            return self._skip("forked", found.epoch, found.seq, count, place)
        self._trusted = found or {}
        return None

    async def _read_on(self) -> Page | None:
        """The batches that were fetched, until a page is full."""
        assert self._journal is not None
        assert self._position is not None
        position = self._position
        batches: list[Batch] = []
        size = read = 0
        for entry in self._ahead:
            if size >= FULL or not is_true(self._trusted, entry.epoch, entry.batch):
                break
            if entry.batch != position.batch + 1:
                break
            batch = self._journal.batch(entry)
            batches.append(batch)
            size += len(batch.events)
            read += 1
            position = Position(position.journal, entry.epoch, entry.last, entry.batch, entry.time)
            await asyncio.sleep(0)  # others want their turn while much is decoded
        if batches:
            self._ahead = self._ahead[read:]
            self._position = position
            return Page(batches, position)
        if not self._ahead:
            return None
        entry, self._ahead = self._ahead[0], []
        if not is_true(self._trusted, entry.epoch, entry.batch) or entry.batch <= position.batch:
            self._trusted = {}  # history has changed since it was looked at
            return None
        count = entry.first - 1 - position.seq
        place = (entry.epoch, entry.first - 1, entry.batch - 1, position.time)
        after = Position(position.journal, *place)
        return self._skip("trimmed", position.epoch, position.seq, count, after)

    def _skip(self, reason: str, epoch: int, seq: int, count: int, after: Position) -> Page:
        self._position, self._ahead, self._trusted = after, [], {}
        return Page([], after, Skipped(reason, epoch, seq, count))


def _cancellations() -> int:
    """How often this task was asked to end."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
