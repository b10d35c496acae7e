"""The loop that tells Graylog a journal: nothing is kept that was not confirmed, in order."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.engines import INSTRUMENTS, until, with_loop
from wood.exchange.tail import Page, Position, Skipped, Tail
from wood.graylog import market_reader
from wood.graylog.market import Which, records
from wood.graylog.market_reader import MarketReader
from wood.graylog.record import Record
from wood.model.errors import ErrorCode
from wood.model.events import Batch, CommandRefused, Event, Trade
from wood.model.orders import BUY


class FakeTail(Tail):
    """A journal of pages; what is read goes on after the last one read."""

    def __init__(self) -> None:
        self.pages: asyncio.Queue[Page] = asyncio.Queue()
        self.kept: list[Position] = []
        self.reads = 0

    def add(self, *events: Event, skipped: Skipped | None = None) -> Position:
        """A page with a batch of these events."""
        seq = max((getattr(event, "seq", 0) for event in events), default=0)
        position = Position("j", 1, seq, seq, seq)
        batches = [Batch("main", 1, "w", 1, 1, seq, 10**6, list(events))] if events else []
        self.pages.put_nowait(Page(batches, position, skipped))
        return position

    async def read(self) -> Page:
        page = await self.pages.get()
        self.reads += 1
        return page

    async def keep(self, position: Position) -> None:
        self.kept.append(position)

    async def behind(self) -> int:
        return self.pages.qsize() + self.reads - len(self.kept)

    async def close(self) -> None:
        pass


class FakeCourier:
    """Confirms when it is told to."""

    def __init__(self, *, confirms: bool = True) -> None:
        self.given: list[list[Record]] = []
        self.makings = self.closings = 0
        self.may_confirm = asyncio.Event()
        if confirms:
            self.may_confirm.set()

    async def make(self) -> "FakeCourier":
        self.makings += 1
        return self

    async def close(self) -> None:
        self.closings += 1

    async def deliver(self, batches: Sequence[Batch], more: Sequence[Record] = ()) -> None:
        made = [r for batch in batches for r in records(batch, INSTRUMENTS, "n", Which.TRADES)]
        self.given.append([*more, *made])
        await self.may_confirm.wait()

    @property
    def seqs(self) -> list[list[object]]:
        return [[record.fields.get("seq") for record in each] for each in self.given]


def a_trade(seq: int) -> Trade:
    return Trade(seq, "WOOD", 100, 1, BUY, "m", 1, 0, "t", 1, 0)


def a_refusal() -> CommandRefused:
    return CommandRefused("p", "s", ErrorCode.INVALID, "text", 1, "WOOD")


class Told:
    """A reader that runs, with fakes about it."""

    def __init__(self, *, confirms: bool = True) -> None:
        self.tail, self.courier = FakeTail(), FakeCourier(confirms=confirms)
        self.reader = MarketReader("main", self.tail, self.courier.make, "n", Which.TRADES)

    async def __aenter__(self) -> "Told":
        self.running = asyncio.create_task(self.reader.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.reader.stop()
        self.courier.may_confirm.set()
        await self.running


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for: each page is told by itself."""
    monkeypatch.setattr(market_reader, "GATHER", 0.0)


@pytest.mark.usefixtures("_at_once")
def test_a_position_is_kept_after_it_is_confirmed_and_not_before() -> None:
    async def test() -> None:
        async with Told(confirms=False) as told:
            position = told.tail.add(a_trade(1))
            await until(lambda: told.courier.seqs == [[1]])
            for _ in range(10):
                await asyncio.sleep(0)
            assert told.tail.kept == []
            assert told.reader.told == 0
            told.courier.may_confirm.set()
            await until(lambda: told.tail.kept == [position])
            assert (told.reader.position, told.reader.told) == (position, 1)

    with_loop(test)


@pytest.mark.usefixtures("_at_once")
def test_what_comes_next_is_read_while_something_is_delivered_and_told_after_it() -> None:
    async def test() -> None:
        async with Told(confirms=False) as told:
            told.tail.add(a_trade(1))
            await until(lambda: told.courier.seqs == [[1]])
            told.tail.add(a_trade(3))
            last = told.tail.add(a_trade(5))
            await until(lambda: told.tail.reads == 2)
            assert told.courier.seqs == [[1]], "one thing after the other"
            told.courier.may_confirm.set()
            await until(lambda: last in told.tail.kept)
            assert [seq for each in told.courier.seqs for seq in each] == [1, 3, 5]

    with_loop(test)


def test_what_happens_shortly_after_each_other_is_confirmed_together() -> None:
    async def test() -> None:
        async with Told() as told:
            for seq in (1, 3, 5):
                last = told.tail.add(a_trade(seq))
            await until(lambda: told.tail.kept == [last])
            assert told.courier.seqs == [[1, 3, 5]]

    with_loop(test)


def test_no_more_than_so_much_is_told_before_it_is_confirmed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(market_reader, "FULL", 2)

    async def test() -> None:
        async with Told() as told:
            batches = [Batch("main", 1, "w", 1, 1, n, 1, [a_trade(n)]) for n in (1, 3, 5, 7, 9)]
            told.tail.pages.put_nowait(Page(batches, last := Position("j", 1, 9, 5, 1)))
            await until(lambda: told.tail.kept == [last])
            assert told.courier.seqs == [[1, 3], [5, 7], [9]]

    with_loop(test)


@pytest.mark.usefixtures("_at_once")
def test_where_there_is_nothing_to_tell_the_position_moves_on() -> None:
    """Or the journal could not be trimmed behind a reader of a market without trades."""

    async def test() -> None:
        async with Told() as told:
            position = told.tail.add(a_refusal())
            await until(lambda: told.tail.kept == [position])
            assert told.courier.given == []

    with_loop(test)


@pytest.mark.parametrize(
    ("reason", "event"),
    [("trimmed", "market.skipped"), ("forked", "journal.forked"), ("cleared", "market.skipped")],
)
def test_what_was_skipped_is_told_first(
    reason: str, event: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with Told() as told:
            told.tail.add(a_trade(9), skipped=Skipped(reason, 1, 2, 6))
            await until(lambda: len(told.tail.kept) == 1)
            skipped, trade = [record for each in told.courier.given for record in each]
            assert (skipped.fields["event"], skipped.fields["count"]) == (event, 6)
            assert trade.fields["seq"] == 9
            # A new journal may be one of other instruments.
            assert told.courier.makings == (2 if reason == "cleared" else 1)
        assert told.courier.makings == told.courier.closings
        assert caplog.messages == [skipped.text], "on standard error too"

    with_loop(test)


def test_who_is_told_to_stop_finishes_what_is_under_way() -> None:
    async def test() -> None:
        told = Told(confirms=False)
        running = asyncio.create_task(told.reader.run())
        position = told.tail.add(a_trade(1))
        await until(lambda: told.courier.seqs == [[1]])
        told.reader.stop()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not running.done()
        told.tail.add(a_trade(3))
        told.courier.may_confirm.set()
        await running
        assert told.tail.kept == [position]
        assert told.courier.seqs == [[1]]

    with_loop(test)


def test_who_waits_stops_at_once() -> None:
    async def test() -> None:
        told = Told()
        running = asyncio.create_task(told.reader.run())
        await asyncio.sleep(0)
        told.reader.stop()
        await running
        assert told.tail.kept == []

    with_loop(test)


def test_who_is_cancelled_keeps_nothing_that_is_not_confirmed() -> None:
    async def test() -> None:
        told = Told(confirms=False)
        running = asyncio.create_task(told.reader.run())
        told.tail.add(a_trade(1))
        await until(lambda: told.courier.seqs == [[1]])
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()
        assert told.tail.kept == []

    with_loop(test)


def test_after_an_error_it_begins_with_what_was_not_confirmed() -> None:
    class Failing(FakeCourier):
        async def deliver(self, batches: Sequence[Batch], more: Sequence[Record] = ()) -> None:
            if self.makings == 1:
                await asyncio.sleep(0)  # the next page is read meanwhile
                raise RuntimeError("it broke")
            await super().deliver(batches, more)

    async def test() -> None:
        tail, courier = FakeTail(), Failing()
        reader = MarketReader("main", tail, courier.make, "n", Which.TRADES)
        tail.add(a_trade(1))
        running = asyncio.create_task(reader.run())
        await until(lambda: tail.reads == 1)
        last = tail.add(a_trade(3))
        with pytest.raises(RuntimeError, match="it broke"):
            await running
        assert tail.kept == []
        running = asyncio.create_task(reader.run())
        await until(lambda: last in tail.kept)
        assert [seq for each in courier.seqs for seq in each] == [1, 3]
        reader.stop()
        await running

    with_loop(test)


def test_it_has_caught_up_when_all_is_confirmed() -> None:
    async def test() -> None:
        async with Told(confirms=False) as told:
            await told.reader.caught_up()
            told.tail.add(a_trade(1))
            waiting = asyncio.create_task(told.reader.caught_up())
            await until(lambda: told.courier.seqs == [[1]])
            assert not waiting.done()
            told.courier.may_confirm.set()
            await waiting
            assert len(told.tail.kept) == 1

    with_loop(test)


def test_a_journal_that_cannot_be_read_ends_it() -> None:
    class Broken(FakeTail):
        async def read(self) -> Page:
            raise RuntimeError("no such thing")

    async def test() -> None:
        reader = MarketReader("main", Broken(), FakeCourier().make, "n", Which.TRADES)
        with pytest.raises(RuntimeError, match="no such thing"):
            await reader.run()

    with_loop(test)
