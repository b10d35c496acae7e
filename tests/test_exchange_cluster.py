"""The engine on Redis: it passes the tests of every engine, on a real server."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tests.engines import INSTRUMENTS, ClusterEngine, with_loop
from tests.test_exchange import ExchangeTests, asking, new
from wood.exchange.cluster.exchange import PAGE, READERS, ClusterExchange
from wood.model.commands import Heartbeat
from wood.model.events import Batch
from wood.model.orders import BUY


class TestClusterExchange(ExchangeTests):
    @pytest.fixture(autouse=True)
    def _server(self, redis_url: str, prefix: str) -> None:
        self.url, self.prefix, self.count = redis_url, prefix, 0

    def exchange(self, max_open_orders: int = 100, kept: int = 100_000) -> ClusterExchange:
        self.count += 1
        return ClusterExchange(
            INSTRUMENTS,
            self.url,
            f"{self.prefix}:{self.count}",
            max_open_orders=max_open_orders,
            kept=kept,
        )


def test_a_queue_full_of_heartbeats_has_room_again(redis_url: str, prefix: str) -> None:
    """They need no batch, so that nothing is left whose end would tell."""

    async def test() -> None:
        exchange, room = (
            ClusterExchange(INSTRUMENTS, redis_url, prefix, max_queue=8),
            asyncio.Event(),
        )
        exchange.when_room(lambda partition: room.set())
        await exchange.start()
        exchange.submit([new("A", 1, BUY, 1, 1)])
        await asyncio.sleep(0)  # it is on its way
        exchange.submit([asking(Heartbeat, "A")] * 10)
        assert exchange.full
        await room.wait()
        await exchange.drain()
        await exchange.close()

    with_loop(test)


@pytest.mark.parametrize("question", ["events", "continues"])
def test_only_so_many_ask_about_the_past_at_once(
    redis_url: str, prefix: str, question: str
) -> None:
    """When a node dies, all its clients come at once; each that asks has a connection to Redis."""

    async def test() -> None:
        async with ClusterEngine(redis_url, prefix) as engine:
            for n in range(PAGE + 1):
                await engine.say(new("A", n, BUY, 1, 1))
            exchange, last = engine.exchange, engine.seq
            journal, asking, most, go_on = engine.cluster._journal, 0, 0, asyncio.Event()
            name = "since" if question == "events" else "continues"
            ask = getattr(journal, name)

            async def counted(*arguments: Any) -> Any:
                nonlocal asking, most
                asking += 1
                most = max(most, asking)
                await go_on.wait()
                answer = await ask(*arguments)
                asking -= 1
                return answer

            setattr(journal, name, counted)
            clients = [exchange.events(0) for _ in range(5 * READERS)]

            async def first(batches: AsyncGenerator[Batch, None]) -> bool:
                if question == "continues":
                    return await exchange.continues(engine.epoch, last)
                return (await anext(batches)).first == 1

            answers = [asyncio.ensure_future(first(batches)) for batches in clients]
            for _ in range(100):
                await asyncio.sleep(0)
            assert asking == READERS
            go_on.set()
            assert all(await asyncio.gather(*answers))
            assert most == READERS
            # Nobody waits for those who have a page and read it slowly.
            assert len([batch async for batch in exchange.events(0)]) == PAGE + 1
            for batches in clients:
                await batches.aclose()


def test_a_node_that_begins_anew_is_not_ready(redis_url: str, prefix: str) -> None:
    """Closed, as it is when history forked or it was declared dead, until it is open again."""

    async def test() -> None:
        exchange = ClusterExchange(INSTRUMENTS, redis_url, prefix)
        await exchange.start()
        told = [exchange.ready]
        exchange._writer.close()
        told.append(exchange.ready)
        exchange._writer.open()
        told.append(exchange.ready)
        await exchange.close()
        assert told == [None, "this node begins anew from a snapshot", None]

    with_loop(test)
