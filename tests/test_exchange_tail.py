"""What every tail does, whichever engine's journal it reads."""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from tests.engines import (
    INSTRUMENTS,
    ClusterEngine,
    Engine,
    EngineTests,
    InMemory,
    MemoryEngine,
    OnRedis,
    with_loop,
)
from tests.test_exchange import asking, new
from wood.exchange import memory_tail
from wood.exchange.cluster import stored_tail
from wood.exchange.cluster.formats import Entry
from wood.exchange.cluster.journal import StoredJournal
from wood.exchange.cluster.stored_tail import StoredTail
from wood.exchange.memory_tail import MemoryTail
from wood.exchange.tail import Page, Skipped, Tail
from wood.model.commands import ListOrders, Refuse
from wood.model.errors import ErrorCode
from wood.model.events import Batch, CommandRefused
from wood.model.orders import BUY, SELL


async def orders(engine: Engine, count: int, first: int = 0) -> None:
    """So many batches of one order each."""
    for number in range(first, first + count):
        await engine.say(new("A", number, BUY, 100, 1))


async def read_to(tail: Tail, last: int) -> list[Page]:
    """All pages up to the event with that number."""
    pages = [await tail.read()]
    while pages[-1].position.seq < last:
        pages.append(await tail.read())
    return pages


def batches(pages: list[Page]) -> list[Batch]:
    assert not any(page.skipped for page in pages)
    assert all(page.batches for page in pages)
    return [batch for page in pages for batch in page.batches]


class TailTests(EngineTests):
    """A tail that is opened while the engine runs."""

    @abstractmethod
    def tail(self, engine: Any, reader: str = "reader") -> Tail:
        """One that reads the journal of `engine`."""

    @asynccontextmanager
    async def opened(self, **rules: Any) -> AsyncIterator[tuple[Engine, Tail]]:
        async with self.engine(**rules) as engine:
            tail = self.tail(engine)
            try:
                yield engine, tail
            finally:
                await tail.close()

    def test_it_reads_what_readers_saw(self) -> None:
        async def test() -> None:
            async with self.opened() as (engine, tail):
                await orders(engine, 3)
                await engine.say(new("B", 1, SELL, 100, 2))
                await engine.say(new("B", 2, SELL, 200, 5, "PEAR"))
                found = batches(await read_to(tail, engine.seq))
                assert found == engine.said.batches

        with_loop(test)

    def test_it_waits_for_what_comes(self) -> None:
        async def test() -> None:
            async with self.opened() as (engine, tail):
                await orders(engine, 1)
                await read_to(tail, 2)
                coming = asyncio.ensure_future(tail.read())
                await asyncio.sleep(0)
                assert not coming.done()
                await orders(engine, 1, first=1)
                page = await coming
                assert page.batches == engine.said.batches[1:]
                coming = asyncio.ensure_future(tail.read())
                await asyncio.sleep(0)
                coming.cancel()
                await asyncio.wait([coming])
                await orders(engine, 1, first=2)
                assert (await tail.read()).batches == engine.said.batches[2:]

        with_loop(test)

    def test_it_waits_before_there_is_anything(self) -> None:
        async def test() -> None:
            async with self.opened() as (engine, tail):
                coming = asyncio.ensure_future(tail.read())
                await asyncio.sleep(0)
                await orders(engine, 1)
                assert batches([await coming]) == engine.said.batches

        with_loop(test)

    def test_refusals_have_no_number_and_are_read_all_the_same(self) -> None:
        async def test() -> None:
            async with self.opened() as (engine, tail):
                await orders(engine, 1)
                await read_to(tail, 2)
                for text in ("one", "two"):
                    await engine.say(asking(Refuse, "A", ErrorCode.INVALID, text, 1, "WOOD"))
                    page = await tail.read()
                    [batch] = page.batches
                    [event] = batch.events
                    assert isinstance(event, CommandRefused)
                    assert event.text == text
                    assert page.position.seq == 2
                await orders(engine, 1, first=1)
                assert (await tail.read()).position.seq == 4

        with_loop(test)

    def test_a_position_says_where_it_is(self) -> None:
        async def test() -> None:
            async with self.opened() as (engine, tail):
                await orders(engine, 2)
                *_, page = await read_to(tail, 4)
                last = engine.said.batches[-1]
                position = page.position
                assert (position.epoch, position.seq, position.time) == (engine.epoch, 4, last.time)
                await engine.say(asking(ListOrders, "A", None))
                await orders(engine, 1, first=2)
                *_, after = await read_to(tail, 6)
                assert after.position.journal == position.journal
                assert after.position.batch > position.batch

        with_loop(test)

    def test_how_far_it_is_behind(self) -> None:
        async def test() -> None:
            async with self.opened() as (engine, tail):
                assert await tail.behind() == 0
                await orders(engine, 3)
                page = await tail.read()
                assert await tail.behind() == 6, "it is what was kept that counts"
                await tail.keep(page.position)
                assert await tail.behind() == 6 - page.position.seq
                *_, page = [page] if page.position.seq == 6 else await read_to(tail, 6)
                await tail.keep(page.position)
                assert await tail.behind() == 0
                await orders(engine, 1, first=3)
                assert await tail.behind() == 2

        with_loop(test)

    def test_pages_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (memory_tail, stored_tail):
            monkeypatch.setattr(module, "PAGE", 7)
            monkeypatch.setattr(module, "FULL", 6)

        async def test() -> None:
            async with self.opened() as (engine, tail):
                await orders(engine, 20)
                pages = await read_to(tail, 40)
                assert batches(pages) == engine.said.batches
                assert {len(page.batches) for page in pages} <= {1, 2, 3}

        with_loop(test)

    def test_what_was_trimmed_is_told_with_its_count(self) -> None:
        async def test() -> None:
            async with self.opened(kept=20) as (engine, tail):
                await orders(engine, 1)
                page = await tail.read()
                await tail.keep(page.position)
                await orders(engine, 100, first=1)
                page = await tail.read()
                assert page.batches == []
                skipped = page.skipped
                assert skipped is not None
                assert (skipped.reason, skipped.epoch, skipped.seq) == ("trimmed", engine.epoch, 2)
                assert page.position.seq == 2 + skipped.count
                assert 80 <= skipped.count < 200
                found = batches(await read_to(tail, engine.seq))
                assert found[0].first == page.position.seq + 1
                assert found == engine.said.batches[-len(found) :]

        with_loop(test)

    def test_a_new_one_begins_with_the_oldest_that_is_kept(self) -> None:
        async def test() -> None:
            async with self.engine(kept=20) as engine:
                await orders(engine, 100)
                tail = self.tail(engine)
                found = batches(await read_to(tail, engine.seq))
                assert 9 <= len(found) <= 12
                assert found == engine.said.batches[-len(found) :]
                await tail.close()

        with_loop(test)

    def test_two_of_them_do_not_disturb_each_other(self) -> None:
        async def test() -> None:
            async with self.opened() as (engine, tail):
                other = self.tail(engine, "other")
                await orders(engine, 3)
                both = await asyncio.gather(read_to(tail, 6), read_to(other, 6))
                assert [batches(pages) for pages in both] == [engine.said.batches] * 2
                await other.close()

        with_loop(test)


class TestMemory(InMemory, TailTests):
    def tail(self, engine: Any, reader: str = "reader") -> Tail:
        assert isinstance(engine, MemoryEngine)
        return MemoryTail(engine.memory)

    def test_batches_of_queries_alone_are_not_in_the_journal(self) -> None:
        async def test() -> None:
            async with self.opened() as (engine, tail):
                await orders(engine, 1)
                for _ in range(3):
                    await engine.say(asking(ListOrders, "A", None))
                await orders(engine, 1, first=1)
                assert [batch.last for batch in batches(await read_to(tail, 4))] == [2, 4]

        with_loop(test)

    def test_one_that_never_reads_costs_nothing(self) -> None:
        """What it has not read goes with what nobody keeps."""

        async def test() -> None:
            async with self.opened(kept=20) as (engine, tail):
                assert isinstance(engine, MemoryEngine)
                await orders(engine, 200)
                assert len(engine.memory.journal.after(engine.memory.journal.trimmed)) < 20
                assert (await tail.read()).skipped == Skipped("trimmed", engine.epoch, 0, 380)

        with_loop(test)


class TestRedis(OnRedis, TailTests):
    def engine(self, **rules: Any) -> ClusterEngine:
        self._last_prefix = next(self._prefixes)
        return ClusterEngine(self.url, self._last_prefix, **rules)

    def tail(self, engine: Any, reader: str = "reader", **more: Any) -> StoredTail:
        return StoredTail(self.url, self._last_prefix, "main", INSTRUMENTS, reader, **more)

    def test_it_begins_after_what_was_kept(self) -> None:
        async def test() -> None:
            async with self.opened() as (engine, tail):
                await orders(engine, 5)
                *_, page = await read_to(tail, 10)
                await tail.keep(page.position)
                await orders(engine, 2, first=5)
                await read_to(tail, 14)
                again = self.tail(engine)
                assert await again.behind() == 4
                assert batches(await read_to(again, 14)) == engine.said.batches[5:]
                await again.close()

        with_loop(test)

    def test_without_instruments_they_are_those_of_the_nodes(self) -> None:
        async def test() -> None:
            async with self.opened() as (engine, _):
                await orders(engine, 1)
                tail = StoredTail(self.url, self._last_prefix, "main", None, "r", partition="x")
                [batch] = batches([await tail.read()])
                assert batch.events == engine.said.events
                assert batch.partition == "x"
                assert tail.instruments is not None
                assert list(tail.instruments) == list(INSTRUMENTS)
                await tail.close()

        with_loop(test)

    def test_a_cancellation_that_meets_a_page_loses_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def after(journal: StoredJournal, place: str, count: int) -> list[Entry]:
            """As a client that swallows the cancellation which meets a reply."""
            found = await since(journal, f"({place}", count)
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            return found

        since = StoredJournal.since

        async def test() -> None:
            async with self.opened() as (engine, tail):
                found: list[Batch] = []
                await orders(engine, 3)
                for last in (6, 8):
                    with monkeypatch.context() as patch:
                        patch.setattr(StoredJournal, "after", after)
                        [canceled] = await asyncio.gather(tail.read(), return_exceptions=True)
                        assert isinstance(canceled, asyncio.CancelledError)
                    found += batches(await read_to(tail, last))
                    assert found == engine.said.batches
                    await orders(engine, 1, first=last)

        with_loop(test)
