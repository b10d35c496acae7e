"""What is proven to those who resume, and what is read for them, whatever happens meanwhile."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import msgspec
import pytest

from tests.engines import INSTRUMENTS, with_loop
from wood.exchange.exchange import Partition
from wood.exchange.memory import MemoryExchange
from wood.model.commands import Command
from wood.model.errors import JournalTrimmed
from wood.model.events import Batch, BookSnapshot, Event, LevelChanged, Snapshot, Trade
from wood.model.orders import BUY
from wood.node import recovery as module
from wood.node.public_book import PublicBook
from wood.node.recovery import Recovery
from wood.node.subscriber import Channel
from wood.wire.market_data import SubscribedJson

BOOKS = {symbol: BookSnapshot([], []) for symbol in INSTRUMENTS}


class Past(Partition):
    """A journal that a test writes as it likes: of one history, until it is changed."""

    def __init__(self) -> None:
        super().__init__(INSTRUMENTS)
        self.batches: list[Batch] = []
        self.true = True
        """What it says when it is asked whether it continues."""
        self.asked: list[tuple[int, int]] = []
        self.read = 0
        self.reading = 0
        self.most_reading = 0
        self.reachable = asyncio.Event()
        self.reachable.set()

    async def events(
        self, after: int, concerning: str | None = None
    ) -> AsyncGenerator[Batch, None]:
        self.read += 1
        self.reading += 1
        self.most_reading = max(self.most_reading, self.reading)
        try:
            await self.reachable.wait()
            if self.batches and self.batches[0].first > after + 1:
                raise JournalTrimmed("gone")
            for batch in [batch for batch in self.batches if batch.last > after]:
                yield batch
        finally:
            self.reading -= 1

    async def continues(self, epoch: int, seq: int) -> bool:
        self.asked.append((epoch, seq))
        await self.reachable.wait()
        return self.true

    async def start(self) -> None: ...

    def submit(self, commands: Sequence[Command]) -> str | None: ...

    @property
    def full(self) -> bool:
        return False

    async def snapshot(self) -> Snapshot:
        raise NotImplementedError

    async def drain(self) -> None: ...

    async def close(self) -> None: ...


class Scene:
    """A book that is at `seq` of `epoch`, and one who reads for subscribers."""

    def __init__(self, epoch: int = 1, seq: int = 0) -> None:
        self.past = Past()
        self.book = PublicBook()
        self.recovery = Recovery(self.past, self.book)
        self.reset(epoch, seq)
        key = ("json", ("WOOD",), None)
        self.channel = Channel(key, SubscribedJson(INSTRUMENTS), self.book)

    def reset(self, epoch: int, seq: int) -> None:
        snapshot = Snapshot("main", epoch, seq, 0, BOOKS)
        self.book.reset(snapshot)
        self.recovery.reset(snapshot)

    def happen(self, *events: Event, epoch: int | None = None) -> None:
        """A batch of ten numbers."""
        first = self.book.seq + 1
        epoch = self.book.epoch if epoch is None else epoch
        batch = Batch("main", epoch, "w", 1, first, first + 9, 2_000_000, list(events))
        self.past.batches.append(batch)
        self.book.epoch, self.book.seq = epoch, batch.last
        self.recovery.apply(batch)

    def trade(self, symbol: str = "WOOD") -> Trade:
        return Trade(self.book.seq + 1, symbol, 5, 5, BUY, "A", 1, 0, "B", 2, 0)

    async def told(self, after: int) -> list[int]:
        """The numbers of the trades."""
        return [seq async for seq in self.one_by_one(after)]

    async def one_by_one(self, after: int) -> AsyncGenerator[int, None]:
        async for page in self.recovery.trades(self.channel, after):
            for line in page.splitlines():
                yield msgspec.json.decode(line)["seq"]


async def turns(count: int = 10) -> None:
    """Let the event loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_number_alone_is_taken_for_one_of_the_present_epoch() -> None:
    async def test() -> None:
        scene = Scene(epoch=7, seq=50)
        scene.happen()
        assert await scene.recovery.proves(None, 50)
        assert await scene.recovery.proves(None, 60)
        assert scene.past.asked == [(7, 50), (7, 60)]

    with_loop(test)


def test_unless_it_may_be_of_an_older_one() -> None:
    """The node then asks nobody: what it would ask about is perhaps not what the client saw."""

    async def test() -> None:
        scene = Scene(epoch=7, seq=50)
        assert not await scene.recovery.proves(None, 49), "nobody knows when the epoch began"
        scene.happen()
        scene.happen(epoch=8)
        assert not await scene.recovery.proves(None, 59)
        assert await scene.recovery.proves(None, 60), "up to there nothing was lost"
        # Redis lost something, was given another epoch, and is further than it was.
        scene.reset(9, 90)
        assert not await scene.recovery.proves(None, 89)
        assert await scene.recovery.proves(None, 90)
        # It lost something, and is not as far as it was: 90 was another event.
        scene.reset(10, 75)
        scene.happen()
        scene.happen()
        assert not await scene.recovery.proves(None, 90)
        assert await scene.recovery.proves(None, 91)
        # The same before anybody has given it another epoch.
        scene.reset(10, 80)
        scene.happen()
        scene.happen()
        assert not await scene.recovery.proves(None, 95)
        assert await scene.recovery.proves(None, 96)
        # A node that took a snapshot since it was too slow knows no less than before.
        scene.reset(10, 200)
        assert await scene.recovery.proves(None, 150)

    with_loop(test)


def test_an_epoch_is_asked_about_as_it_was_given() -> None:
    async def test() -> None:
        scene = Scene(epoch=7, seq=50)
        assert await scene.recovery.proves(3, 20)
        scene.past.true = False
        assert not await scene.recovery.proves(7, 50)
        assert scene.past.asked == [(3, 20), (7, 50)]

    with_loop(test)


def test_who_was_ahead_of_this_node_waits_until_it_is_as_far() -> None:
    """Otherwise trades would be told again that the client has seen on another node."""

    async def test() -> None:
        scene = Scene(epoch=1, seq=50)
        proof = asyncio.create_task(scene.recovery.proves(1, 65))
        for _ in range(2):
            await turns()
            assert not proof.done()
            scene.happen()
        assert await proof

    with_loop(test)


def test_an_answer_is_not_taken_for_a_book_that_came_after_the_question() -> None:
    async def test() -> None:
        scene = Scene(epoch=1, seq=50)
        scene.past.reachable.clear()
        proof = asyncio.create_task(scene.recovery.proves(1, 40))
        await turns()
        scene.reset(2, 45)
        scene.past.reachable.set()
        await turns()
        assert await proof
        assert len(scene.past.asked) == 2
        scene.past.reachable.clear()
        proof = asyncio.create_task(scene.recovery.proves(1, 40))
        await turns()
        scene.reset(3, 30)
        scene.past.true = False
        scene.past.reachable.set()
        assert not await proof

    with_loop(test)


@pytest.mark.parametrize("page", [1, 3, 1000])
def test_the_trades_between_two_numbers(page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", page)

    async def test() -> None:
        scene = Scene()
        for symbol in ("WOOD", "PEAR", "WOOD", "WOOD", "PEAR"):
            scene.happen(scene.trade(symbol), LevelChanged(0, "WOOD", BUY, 1, 1))
            scene.happen()
        pages = scene.one_by_one(1)
        first = await anext(pages)
        scene.happen(scene.trade())  # after the book that the client is to be given
        assert [first, *[seq async for seq in pages]] == [41, 61]
        assert await scene.told(0) == [1, 41, 61, 101]
        assert await scene.told(scene.book.seq) == []

    with_loop(test)


def test_others_get_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a million events have no trade that the client wants."""
    monkeypatch.setattr(module, "TURN", 10)

    async def test() -> None:
        scene = Scene()
        for _ in range(100):
            scene.happen(*[scene.trade("PEAR")] * 5)
        counted = 0
        told = asyncio.create_task(scene.told(0))
        while not told.done():
            await asyncio.sleep(0)
            counted += 1
        assert await told == []
        assert counted > 40
        assert scene.past.read == 1

    with_loop(test)


def test_nothing_is_held_for_who_reads_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 5)

    async def test() -> None:
        scene = Scene()
        for _ in range(10):
            scene.happen(scene.trade())
        pages = scene.recovery.trades(scene.channel, 0)
        await anext(pages)
        assert scene.past.reading == 0, "though it has not asked for the next page"
        assert await scene.told(85) == [91]
        await anext(pages)
        assert scene.past.read == 3
        await pages.aclose()

    with_loop(test)


@pytest.mark.parametrize("what", ["trimmed", "forked", "reset", "ended"])
def test_a_promise_that_cannot_be_kept_is_not(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 1)

    async def test() -> None:
        scene = Scene()
        for _ in range(5):
            scene.happen(scene.trade())
        pages = scene.one_by_one(0)
        assert await anext(pages) == 1
        match what:
            case "trimmed":
                del scene.past.batches[:3]
            case "forked":
                scene.past.true = False
            case "reset":
                scene.reset(1, 50)
            case "ended":
                del scene.past.batches[3:]
        with pytest.raises(JournalTrimmed):
            async for _ in pages:
                pass
        assert scene.past.reading == 0

    with_loop(test)


def test_with_an_engine() -> None:
    """Its own idea of epochs and numbers."""

    async def test() -> None:
        exchange = MemoryExchange(INSTRUMENTS)
        book = PublicBook()
        recovery = Recovery(exchange, book)
        exchange.attach(recovery)
        await exchange.start()
        snapshot = await exchange.snapshot()
        book.reset(snapshot)
        assert await recovery.proves(None, 0)
        assert await recovery.proves(snapshot.epoch, 0)
        assert not await recovery.proves(snapshot.epoch - 1, 0)
        assert not await recovery.proves(None, 1)

    with_loop(test)
