"""What may meet in a node: answers that come late or not at all, forks, refusals, clocks.

Two engines in this process share a real server; what is rare outside is made to happen here.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace
from redis.exceptions import ConnectionError as ConnectionBroken
from redis.exceptions import OutOfMemoryError

from tests.engines import INSTRUMENTS, Recorder, with_loop
from tests.redis_server import RedisServer
from tests.test_exchange import new
from wood.exchange.cluster.exchange import ClusterExchange
from wood.exchange.cluster.formats import decode_entry
from wood.exchange.cluster.keys import Keys
from wood.model.commands import Command, ListOrders
from wood.model.events import CommandRefused, OrderAccepted, Snapshot
from wood.model.orders import BUY


class Witness(Recorder):
    """Keeps in one list what is told and when the thread was lost."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def reset(self, snapshot: Snapshot) -> None:
        super().reset(snapshot)
        self.batches.clear()
        self.told.append("reset")

    def apply(self, batch: Any) -> None:
        super().apply(batch)
        for event in batch.events:
            if isinstance(event, OrderAccepted | CommandRefused):
                self.told.append(f"{type(event).__name__} {event.order_id}")


class Twice:
    """Two nodes, `a` and `b`, and what each told."""

    def __init__(self, url: str, prefix: str) -> None:
        self.keys = Keys(prefix)
        self.a, self.b = (ClusterExchange(INSTRUMENTS, url, prefix, max_queue=8) for _ in "ab")
        self.told_a, self.told_b = Witness(), Witness()
        self.a.attach(self.told_a)
        self.b.attach(self.told_b)
        self.redis: Any = self.a._client

    async def __aenter__(self) -> "Twice":
        await self.a.start()
        await self.b.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.a.close()
        await self.b.close()

    async def orders(self) -> set[int]:
        """The ids of the open orders in Redis."""
        names = await self.redis.hkeys(self.keys.of(["WOOD"])[2])
        return {int(name.split()[1]) for name in names}


def race(url: str, prefix: str, test: Callable[[Twice], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Twice(url, prefix) as twice:
            await test(twice)

    with_loop(main)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def order(order_id: int, who: str = "A") -> Command:
    return new(who, order_id, BUY, 100, 1)


def interfere(
    exchange: ClusterExchange, what: Callable[[int, Callable[[], Awaitable[Any]]], Awaitable[Any]]
) -> None:
    """Have `what` called with the number of each batch's sending and with what sends it."""
    client = exchange._fast
    send, count = client.execute_command, 0

    async def command(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        if arguments[0] != "EVALSHA":
            return await send(*arguments, **options)
        count += 1
        return await what(count, lambda: send(*arguments, **options))

    client.execute_command = command


def test_a_leftover_of_a_lost_history_jams_nothing(redis_url: str, prefix: str) -> None:
    async def test(twice: Twice) -> None:
        a, b = twice.a, twice.b
        a.submit([order(1)])
        await a.drain()
        [(_, fields)] = await twice.redis.xrange(twice.keys.journal)
        entry = decode_entry(fields[b"b"])
        for ahead in (1, 2):
            lost = replace(entry, epoch=entry.epoch - 1, batch=entry.batch + ahead, writer="lost")
            b._follower.offer(lost)
        for number in (2, 3, 4):
            a.submit([order(number)])
            await a.drain()
        b.submit([order(5, "B")])
        await b.drain()
        assert twice.told_b.told == ["reset"] + [f"OrderAccepted {n}" for n in range(1, 6)]

    race(redis_url, prefix, test)


def test_nothing_is_taken_after_its_session_was_told(redis_url: str, prefix: str) -> None:
    """A batch is under way and others wait while the node loses the thread."""

    async def test(twice: Twice) -> None:
        a, told = twice.a, twice.told_a
        go_on = asyncio.Event()
        later = iter(range(100, 200))

        async def held(count: int, send: Callable[[], Awaitable[Any]]) -> Any:
            await go_on.wait()
            return await send()

        def room(partition: str) -> None:
            # As connections that waited for room, and say then what they had held back.
            if len(told.snapshots) == 1:
                a.submit([order(next(later))])

        a.when_room(room)
        interfere(a, held)
        a.submit([order(1)])
        await asyncio.sleep(0.01)
        a.submit([order(number) for number in range(2, 12)])
        assert a.full
        a._follower.start_again("the test wants it")
        await until(lambda: not a.full)
        go_on.set()
        await until(lambda: len(told.snapshots) == 2)
        assert told.told == ["reset", "OrderAccepted 1", "reset"]
        a.submit([order(50)])
        await a.drain()
        assert await twice.orders() == {1, 50}

    race(redis_url, prefix, test)


def test_a_refusal_does_not_overtake_an_answer(redis_url: str, prefix: str) -> None:
    async def test(twice: Twice) -> None:
        a, b = twice.a, twice.b
        a._follower._heard = lambda data: None  # type: ignore[method-assign]

        async def no_memory(count: int, send: Callable[[], Awaitable[Any]]) -> Any:
            if count == 2:
                raise OutOfMemoryError("no")
            return await send()

        interfere(a, no_memory)
        b.submit([order(50, "B")])
        await b.drain()
        a.submit([order(1)])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        a.submit([order(2)])
        await until(lambda: len(twice.told_a.told) == 4)
        assert twice.told_a.told[1:] == [
            "OrderAccepted 50",
            "OrderAccepted 1",
            "CommandRefused 2",
        ]

    race(redis_url, prefix, test)


def test_a_query_that_is_refused_is_as_old_as_it_was(redis_url: str, prefix: str) -> None:
    """It is sent again, and what came while it was under way makes it no younger."""

    async def test(twice: Twice) -> None:
        a, waiting_since = twice.a, list[float | None]()

        async def no_memory(count: int, send: Callable[[], Awaitable[Any]]) -> Any:
            waiting_since.append(a.vitals.waiting_since)
            if count == 1:
                a.submit([order(1)])
            if count <= 2:
                raise OutOfMemoryError("no")
            return await send()

        interfere(a, no_memory)
        a.submit([ListOrders("A", "A", 0)])
        asked = a.vitals.waiting_since
        await a.drain()
        assert asked is not None
        assert set(waiting_since) == {asked}
        assert a.vitals.waiting_since is None
        assert twice.told_a.told == ["reset", "CommandRefused 1"]

    race(redis_url, prefix, test)


def test_a_lost_reply_is_made_good_while_redis_has_no_memory(
    start_redis: Callable[..., RedisServer],
) -> None:
    """What was applied can still be read, though nothing can be written."""

    async def test(twice: Twice) -> None:
        a = twice.a
        a._follower._heard = lambda data: None  # type: ignore[method-assign]

        async def lost(count: int, send: Callable[[], Awaitable[Any]]) -> Any:
            answer = await send()
            if count == 1:
                await twice.redis.config_set("maxmemory", "1mb")
                raise ConnectionBroken("cut")
            return answer

        interfere(a, lost)
        a.submit([order(1)])
        await a.drain()
        assert twice.told_a.told == ["reset", "OrderAccepted 1"]
        await twice.redis.config_set("maxmemory", "0")

    race(start_redis().url, "wood", test)


def test_a_clock_that_goes_back_kills_nobody(redis_url: str, prefix: str) -> None:
    async def test(twice: Twice) -> None:
        beats = twice.keys.beats
        for writer in await twice.redis.zrange(beats, 0, -1):
            await twice.redis.zincrby(beats, 3600e6, writer)
        before = dict(await twice.redis.zrange(beats, 0, -1, withscores=True))
        for _ in range(3):
            for exchange in (twice.a, twice.b):
                assert (await exchange.state()).alive
        after = dict(await twice.redis.zrange(beats, 0, -1, withscores=True))
        assert all(after[writer] > before[writer] for writer in before)

    race(redis_url, prefix, test)


def test_a_late_answer_does_not_kill_the_new_writer(redis_url: str, prefix: str) -> None:
    async def test(twice: Twice) -> None:
        a, told = twice.a, twice.told_a
        await twice.redis.hdel(twice.keys.writers, a._membership.writer)
        late = await a._membership.beat()
        assert late is not None
        assert not late.alive
        await a.state()
        await until(lambda: len(told.snapshots) == 2)
        new_writer = a._membership.writer

        async def beat() -> Any:
            return late

        real, a._membership.beat = a._membership.beat, beat  # type: ignore[method-assign]
        await a.state()
        a._membership.beat = real  # type: ignore[method-assign]
        a.submit([order(1)])
        await a.drain()
        assert a._membership.writer == new_writer
        assert told.told == ["reset", "reset", "OrderAccepted 1"]

    race(redis_url, prefix, test)
