"""The engine on Redis: it passes the tests of every engine, on a real server."""

import asyncio

import pytest

from tests.engines import INSTRUMENTS, with_loop
from tests.test_exchange import ExchangeTests, asking, new
from wood.exchange.cluster.exchange import ClusterExchange
from wood.model.commands import Heartbeat
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
        exchange.when_room(room.set)
        await exchange.start()
        exchange.submit([new("A", 1, BUY, 1, 1)])
        await asyncio.sleep(0)  # it is on its way
        exchange.submit([asking(Heartbeat, "A")] * 10)
        assert exchange.full
        await room.wait()
        await exchange.drain()
        await exchange.close()

    with_loop(test)


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
