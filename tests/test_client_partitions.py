"""The client library on real nodes that serve two partitions."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

import pytest

from tests.cluster import Cluster
from tests.redis_server import RedisServer
from tests.support import Server, create
from tests.test_client_feed import shown
from tests.test_cluster_failures import ALWAYS
from wood.client import (
    Client,
    Disconnected,
    Fill,
    LevelChanged,
    New,
    NotTaken,
    OrderReport,
    PublicClient,
    Report,
    ReportsLost,
    Resumed,
    Resynchronised,
    Trade,
)
from wood.client import addresses as addresses_module
from wood.exchange.cluster.keys import Keys

TWO = ("--instrument", "WOOD", "--instrument", "GOLD@metals")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses_module, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(addresses_module, "LONGEST_DELAY", 0.01)


@pytest.fixture
def pair(redis_url: str, prefix: str, start_server: Callable[..., Server]) -> Cluster:
    """Two nodes."""
    return Cluster(start_server, redis_url, prefix, *TWO, nodes=2)


def private(cluster: Cluster) -> list[str]:
    return [f"{host}:{port}" for host, port in cluster.private]


def public(cluster: Cluster) -> list[str]:
    return [f"{node.host}:{node.public}" for node in cluster.nodes]


async def until(client: Client, kind: type[Report], count: int = 1) -> list[Report]:
    """What is told up to the `count`th report of a kind."""
    heard: list[Report] = []
    async with asyncio.timeout(20):
        while sum(isinstance(each, kind) for each in heard) < count:
            heard.append(await anext(client))
    return heard


def told(reports: list[Report]) -> list[tuple[str, str | None, int]]:
    return [
        (type(report).__name__, report.symbol, report.order_id)
        for report in reports
        if isinstance(report, OrderReport)
    ]


@asynccontextmanager
async def bob(cluster: Cluster) -> AsyncIterator[Client]:
    """Another one who trades, at the last node."""
    async with Client([private(cluster)[-1]], "bob") as client:
        yield client


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_a_session_is_resumed_in_all_partitions_at_another_node(
    pair: Cluster, encoding: Literal["json", "msgpack"]
) -> None:
    async def play() -> None:
        async with Client(private(pair), "alice", encoding=encoding) as alice, bob(pair) as other:
            for order_id, symbol in ((1, "WOOD"), (2, "GOLD")):
                await alice.create("BUY", 100, 10, order_id=order_id, symbol=symbol)
            assert {*told(await until(alice, New, 2))} == {("New", "WOOD", 1), ("New", "GOLD", 2)}
            pair.nodes[0].kill()
            for order_id, symbol in ((1, "WOOD"), (2, "GOLD")):
                await other.create("SELL", 100, 4, order_id=order_id, symbol=symbol)
            await until(other, Fill, 2)
            heard = await until(alice, Resumed)
            assert isinstance(heard[0], Disconnected)
            assert {*told(heard)} == {("Fill", "WOOD", 1), ("Fill", "GOLD", 2)}
            assert len(heard) == 4, heard
            await alice.cancel(2, "GOLD")
            await alice.cancel_all()
            assert [(order.order_id, order.symbol) for order in await alice.orders()] == []

    asyncio.run(play(), debug=True)


def test_all_are_asked_and_answer_once(pair: Cluster) -> None:
    async def play() -> None:
        async with Client(private(pair), "alice") as alice:
            await alice.create("BUY", 100, 10, order_id=1, symbol="GOLD")
            await alice.create("BUY", 100, 10, order_id=1)
            open_now = [(order.order_id, order.symbol) for order in await alice.orders()]
            assert open_now == [(1, "WOOD"), (1, "GOLD")]
            assert [each.symbol for each in await alice.instruments()] == ["WOOD", "GOLD"]
            await alice.cancel_all()
            assert await alice.orders() == []
            assert not alice.under_way

    asyncio.run(play(), debug=True)


def test_history_is_lost_in_one_partition_alone(
    start_redis: Callable[..., RedisServer], start_server: Callable[..., Server]
) -> None:
    """Its instruments begin anew; what happened in the others is told to the last report."""
    redis = start_redis(*ALWAYS)
    cluster = Cluster(start_server, redis.url, "wood", *TWO, nodes=1)
    metals = Keys("wood", "metals")

    async def play() -> None:
        async with (
            PublicClient(public(cluster), ["WOOD", "GOLD"]) as market,
            Client(private(cluster), "alice") as alice,
        ):
            for order_id in (1, 2):
                await alice.create("BUY", 100, 10, order_id=order_id, symbol="GOLD")
                await alice.create("BUY", 100, 10, order_id=order_id)
                await until(alice, New, 2)  # so that each has a batch of its own
            for _ in range(4):
                assert isinstance(await anext(market), LevelChanged)
            redis.kill()
            redis.lose(1, metals.journal)
            await alice.create("BUY", 90, 7, order_id=3)
            redis.start()
            heard = await until(alice, ReportsLost)
            lost = heard[-1]
            assert isinstance(lost, ReportsLost)
            assert lost.symbols == ("GOLD",)
            assert [(order.order_id, order.symbol) for order in lost.orders] == [(1, "GOLD")]
            # Whether the last order got there, the report of it says, or that it was not taken.
            if not told(heard):
                heard += await until(alice, NotTaken)
            open_now = {(order.order_id, order.symbol) for order in await alice.orders()}
            taken = {(3, "WOOD")} if told(heard) else set()
            assert open_now == {(1, "WOOD"), (2, "WOOD"), (1, "GOLD")} | taken
            async with asyncio.timeout(20):
                while not isinstance(update := await anext(market), Resynchronised):
                    pass
            assert update.trades_lost
            assert shown(market.book("GOLD").bids) == [(100, 10)]
            assert shown(market.book("WOOD").bids)[0] == (100, 20)

    asyncio.run(play(), debug=True)


def test_the_trades_of_all_partitions_are_told_once(pair: Cluster) -> None:
    async def play() -> None:
        with pair.nodes[1].trader() as trader:
            for symbol in ("WOOD", "GOLD"):
                trader.ask(create(1, "BUY", 100, 50) | {"symbol": symbol})
            async with PublicClient(public(pair), ["GOLD", "WOOD"]) as market:
                assert shown(market.book("WOOD").bids) == [(100, 50)]
                pair.nodes[0].kill()
                assert isinstance(await anext(market), Disconnected)
                found: list[tuple[str | None, int]] = []
                for quantity in range(1, 4):
                    for symbol in ("WOOD", "GOLD"):
                        order = create(quantity + 1, "SELL", 100, quantity)
                        trader.send(order | {"symbol": symbol})
                while len(found) < 6:
                    update = await anext(market)
                    if isinstance(update, Trade):
                        found.append((update.symbol, int(update.quantity)))
                    elif isinstance(update, Resynchronised):
                        assert not update.trades_lost
                for symbol in ("WOOD", "GOLD"):
                    assert [q for s, q in found if s == symbol] == [1, 2, 3]

    asyncio.run(play(), debug=True)
