"""What is particular to the engine in memory: its turns, its queue and its clock."""

import asyncio

from tests.engines import INSTRUMENTS, Recorder, with_loop
from wood.exchange import memory
from wood.exchange.memory import MemoryExchange
from wood.model.commands import Command, ListOrders, NewOrder, Refuse
from wood.model.errors import ErrorCode
from wood.model.orders import BUY, FOK, SELL


def refuse(text: str) -> Command:
    return Refuse("A", "A", 0, ErrorCode.INVALID, text)


async def started(exchange: MemoryExchange) -> Recorder:
    recorder = Recorder()
    exchange.attach(recorder)
    await exchange.start()
    return recorder


def test_what_arrives_together_shares_a_batch() -> None:
    async def test() -> None:
        exchange = MemoryExchange(INSTRUMENTS)
        recorder = await started(exchange)
        exchange.submit([refuse("1")])
        exchange.submit([refuse("2"), refuse("3")])
        assert recorder.batches == [], "nothing is decided inside submit"
        await exchange.drain()
        assert [len(batch.events) for batch in recorder.batches] == [3]

    with_loop(test)


def test_a_batch_is_bounded_and_others_get_their_turn() -> None:
    async def test() -> None:
        exchange = MemoryExchange(INSTRUMENTS)
        recorder = await started(exchange)
        exchange.submit([refuse("")] * (memory.MAX_COMMANDS + 1))
        turns: list[int] = []
        asyncio.get_running_loop().call_soon(lambda: turns.append(len(recorder.batches)))
        await exchange.drain()
        assert [len(batch.events) for batch in recorder.batches] == [memory.MAX_COMMANDS, 1]
        assert turns == [1]

    with_loop(test)


def test_long_answers_end_a_batch() -> None:
    async def test() -> None:
        exchange = MemoryExchange(INSTRUMENTS, max_open_orders=memory.MAX_EVENTS)
        recorder = await started(exchange)
        exchange.submit(
            [NewOrder("A", "A", 0, "WOOD", n, BUY, 5, 1) for n in range(memory.MAX_EVENTS)]
        )
        await exchange.drain()
        recorder.batches.clear()
        recorder.snapshots.append(await exchange.snapshot())
        exchange.submit([ListOrders("A", "A", 0)] * 3)
        await exchange.drain()
        assert [len(batch.events) for batch in recorder.batches] == [1, 1, 1]

    with_loop(test)


def test_many_events_end_a_batch() -> None:
    async def test() -> None:
        exchange = MemoryExchange(INSTRUMENTS)
        recorder = await started(exchange)
        makers = [NewOrder("A", "A", 0, "WOOD", n, BUY, 5, 1) for n in range(9000)]
        exchange.submit([*makers, NewOrder("B", "B", 0, "WOOD", 1, SELL, 5, 9000), refuse("")])
        await exchange.drain()
        longest = recorder.batches[-2]
        assert len(longest.events) >= 9000
        assert len(recorder.batches[-1].events) == 1

    with_loop(test)


def test_the_queue_says_when_it_is_full_and_when_it_has_room() -> None:
    async def test() -> None:
        exchange = MemoryExchange(INSTRUMENTS, max_queue=2000)
        recorder = await started(exchange)
        rooms: list[int] = []
        exchange.when_room(lambda partition: rooms.append(len(recorder.batches)))
        full: list[bool] = []
        exchange.submit([refuse("")] * 1999)
        full.append(exchange.full)
        exchange.submit([refuse("")])
        full.append(exchange.full)
        await exchange.drain()
        full.append(exchange.full)
        assert full == [False, True, False]
        assert rooms == [2], "once, when at most half of the queue was left"
        exchange.submit([refuse("")])
        await exchange.drain()
        assert rooms == [2]

    with_loop(test)


def test_time_never_runs_backwards() -> None:
    async def test() -> None:
        times = iter([1000, 2000, 1500, 3000])
        exchange = MemoryExchange(INSTRUMENTS, clock=lambda: next(times))
        recorder = await started(exchange)
        for _ in range(3):
            exchange.submit([refuse("")])
            await exchange.drain()
        assert [batch.time for batch in recorder.batches] == [2000, 2000, 3000]

    with_loop(test)


def test_answers_to_queries_are_told_but_not_kept() -> None:
    async def test() -> None:
        exchange = MemoryExchange(INSTRUMENTS)
        recorder = await started(exchange)
        exchange.submit([refuse("1"), ListOrders("A", "A", 0), refuse("2")])
        await exchange.drain()
        exchange.submit([refuse("3")])
        await exchange.drain()
        assert [len(batch.events) for batch in recorder.batches] == [3, 1]
        assert [len(batch.events) for batch in exchange.journal._batches] == [2, 1]

    with_loop(test)


def test_orders_looked_at_in_vain_end_a_batch() -> None:
    async def test() -> None:
        exchange = MemoryExchange(INSTRUMENTS)
        recorder = await started(exchange)
        makers = [NewOrder("A", "A", 0, "WOOD", n, BUY, 5, 1) for n in range(5000)]
        kill = NewOrder("B", "B", 0, "WOOD", 1, SELL, 5, 9000, FOK)
        exchange.submit(makers)
        await exchange.drain()
        exchange.submit([kill] * 3)
        await exchange.drain()
        assert [len(batch.events) for batch in recorder.batches[-3:]] == [2, 2, 2]

    with_loop(test)


def test_an_engine_or_a_reader_that_breaks_decides_nothing_more() -> None:
    async def test() -> None:
        exchange = MemoryExchange(INSTRUMENTS)
        recorder = await started(exchange)
        failures: list[Exception] = []
        exchange.when_failed(failures.append)
        exchange.submit([NewOrder("A", "A", 0, "NO SUCH SYMBOL", 1, BUY, 5, 1), refuse("1")])
        await exchange.drain()
        exchange.submit([refuse("2")])
        for _ in range(10):
            await asyncio.sleep(0)
        assert [type(failure) for failure in failures] == [KeyError]
        assert recorder.batches == []

    with_loop(test)
