"""What clients see on several nodes at once: one market, in one order, wherever they look."""

import asyncio
import json
import random
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.support import PATIENCE, Peer, Server, create
from tests.traders import Traders, bought_and_sold, check_accounts
from wood.model.events import CommandRefused, Event, OrderAccepted, OrderCanceled, Trade

StartServer = Callable[..., Server]

END = 123_456
"""The quantity of the last order of all, by which a watcher knows the end."""

SUBSCRIBE = {"message": "subscribe", "symbols": ["WOOD"]}
GONE = {"error": "no open order has this id", "code": "not_found"}


@pytest.fixture
def cluster(redis_url: str, prefix: str, start_server: StartServer) -> Cluster:
    """Three nodes, that start at the same time."""
    cluster = Cluster(start_server, redis_url, prefix, nodes=0)
    with ThreadPoolExecutor(3) as pool:
        cluster.nodes += [each.result() for each in [pool.submit(cluster.start) for _ in range(3)]]
    return cluster


@contextmanager
def reading(watchers: Iterable[Peer]) -> Iterator[list["Future[list[bytes]]"]]:
    """Have each read all that it is told up to the last order of all, in a thread of its own:
    who reads slowly is told less.
    """
    with ThreadPoolExecutor(16) as pool:
        yield [pool.submit(read_all, watcher) for watcher in watchers]


def read_all(watcher: Peer) -> list[bytes]:
    end = b'"quantity":%d' % END
    lines: list[bytes] = []
    while not lines or end not in lines[-1]:
        lines.append(watcher.line())
        assert lines[-1], "the watcher was closed"
    return lines


def finish(node: Server) -> None:
    """The last order of all, far from the market."""
    with node.trader() as trader:
        assert trader.ask(create(2**64 - 1, "BUY", 1, END))["report"] == "NEW"


def fold(lines: Iterable[bytes]) -> dict[int, int]:
    """The book that lines add up to, as Redis keeps it: total by price in ticks, bids negative."""
    book = {}
    for line in map(json.loads, lines):
        if line["type"] == "orderbook":
            sign = -1 if line["side"] == "bid" else 1
            book[sign * round(line["price"] * 100)] = line["quantity"]
    return {key: total for key, total in book.items() if total}


def seq(line: bytes) -> int:
    found: int = json.loads(line).get("seq", 0)
    return found


def test_every_node_tells_the_public_the_same(cluster: Cluster) -> None:
    """The same lines in the same order, byte for byte; and a participant's account is the one of
    the journal, in its order, whatever the node.
    """
    watchers = [node.watcher() for node in cluster.nodes for _ in range(2)]
    plain, numbered = watchers[::2], watchers[1::2]
    for watcher in numbered:
        assert watcher.ask(SUBSCRIBE)["type"] == "subscribed"
    with reading(watchers) as told:
        with Traders(cluster.private, count=12) as traders:
            traders.go_on(1500)
            traders.settle()
            left = check_accounts(traders, cluster.journal())
            assert not any(life.ended for life in traders.lives)
            assert cluster.orders() == left
            bought, sold = bought_and_sold(traders.lives)
            assert bought == sold > 0, "a fill was lost"
            batches = cluster.journal()
        finish(cluster.nodes[0])
    lines = [each.result() for each in told]
    for of_one_kind in (lines[::2], lines[1::2]):
        first, *others = of_one_kind
        assert len(first) > 2000
        assert all(other == first for other in others)
    assert fold(lines[0]) == fold(lines[1]) == cluster.levels()
    # And it is what the journal says, each trade once.
    trades = [e for batch in batches for e in batch.events if isinstance(e, Trade)]
    seen = [line for line in map(json.loads, lines[1]) if line["type"] == "trade"]
    assert [(line["seq"], line["quantity"]) for line in seen] == [
        (t.seq, t.quantity) for t in trades
    ]
    assert sum(trade.quantity for trade in trades) == bought
    writers = {batch.writer for batch in batches}
    assert len(writers) == 3, "all nodes took part"
    for watcher in (*plain, *numbered):
        watcher.socket.close()


def test_who_comes_late_sees_no_gap_and_no_repeat(cluster: Cluster) -> None:
    """On whatever node, and with whatever under way there: first the book, then all after it."""
    first = cluster.nodes[0].watcher()
    assert first.ask(SUBSCRIBE)["type"] == "subscribed"
    assert first.message()["type"] == "snapshot"
    late: list[Peer] = []
    plain: list[Peer] = []
    draw = random.Random(3)
    with Traders(cluster.private, count=9) as traders:
        for _ in range(6):
            traders.go_on(draw.randrange(20, 60))
            for node in cluster.nodes:
                late.append(node.watcher())
                late[-1].send(SUBSCRIBE)
                plain.append(node.watcher())
        traders.go_on(100)
        traders.settle()
    finish(cluster.nodes[1])
    everything = read_all(first)
    levels = cluster.levels()
    begun = set()
    for watcher in late:
        told = read_all(watcher)
        types = [json.loads(line)["type"] for line in told]
        start, end = types.index("subscribed"), types.index("snapshot")
        at = seq(told[end])
        begun.add(at)
        # The book of that moment, as the first one can reckon it.
        assert fold(told[start:end]) == fold(x for x in everything if seq(x) <= at)
        assert {seq(line) for line in told[start + 1 : end]} <= {at}
        # Then exactly what the first one was told after it, by another node.
        assert told[end + 1 :] == [line for line in everything if seq(line) > at]
        assert fold(told[start:]) == levels
    assert len(begun) > 5, "they came at different moments"
    for watcher in plain:
        assert fold(read_all(watcher)) == levels
    for watcher in (first, *late, *plain):
        watcher.socket.close()


def test_reports_come_in_the_order_of_the_engine(cluster: Cluster) -> None:
    """One participant's, with the errors in their places, while others trade with its orders on
    other nodes and it asks on without waiting.
    """
    draw = random.Random(7)
    asked: list[dict[str, Any]] = []
    for order_id in range(10**9, 10**9 + 600):
        kind = draw.randrange(5)
        if kind == 0:
            asked.append({"message": "cancelOrder", "orderId": order_id})  # there is no such order
        elif kind == 1:
            asked.append(create(order_id, draw.choice(["BUY", "SELL"]), 0, 1))  # nor such a price
        else:
            asked.append(create(order_id, draw.choice(["BUY", "SELL"]), 100, draw.randrange(1, 30)))
    told: list[dict[str, Any]] = []
    with Traders(cluster.private[1:], count=6) as traders, cluster.nodes[0].trader() as peer:
        traders.go_on(50)
        # More than all others together want, so that there is one to cancel in the end.
        told.append(peer.ask(create(10**9 - 1, "BUY", 1, 10**9)))
        for start in range(0, len(asked), 20):
            peer.send(*asked[start : start + 20])
            answers = 0
            while answers < 20:
                told.append(peer.message())
                answers += told[-1].get("report") in (None, "NEW")
        traders.settle()
        # The answer comes after all that happened before.
        peer.send({"message": "cancelAll"})
        while told[-1]["message"] != "cancelAll":
            told.append(peer.message())
    answers_to = [m["orderId"] for m in told[1:-1] if m.get("report") in (None, "NEW")]
    assert answers_to == [message["orderId"] for message in asked]
    events = [event for batch in cluster.journal() for event in batch.events]
    [me] = {
        e.participant for e in events if isinstance(e, OrderAccepted) and e.order_id >= 10**9 - 1
    }
    expected = [each for event in events for each in _reports(event, me)]
    assert [(m.get("report", "error"), m["orderId"]) for m in told[:-1]] == expected
    assert {"NEW", "FILL", "CANCELED", "error"} == {kind for kind, _ in expected}
    makers = [e for e in events if isinstance(e, Trade) and e.maker == me != e.taker]
    assert len(makers) > 20, "others traded with its orders"


def _reports(event: Event, participant: str) -> Iterator[tuple[str, int | None]]:
    """What an event means for a participant: a word and an order."""
    match event:
        case OrderAccepted(participant=who, order_id=order_id) if who == participant:
            yield "NEW", order_id
        case CommandRefused(participant=who, order_id=order_id) if who == participant:
            yield "error", order_id
        case OrderCanceled(participant=who, order_id=order_id) if who == participant:
            yield "CANCELED", order_id
        case Trade():
            if event.maker == participant:
                yield "FILL", event.maker_order_id
            if event.taker == participant:
                yield "FILL", event.taker_order_id


def test_nobody_touches_the_orders_of_others(cluster: Cluster) -> None:
    """Neither from the node on which they were sent nor from another, whatever the id."""
    with cluster.nodes[0].trader() as owner:
        for order_id in (7, 2**64 - 1):
            assert owner.ask(create(order_id, "BUY", 99, 10))["report"] == "NEW"
        mine = owner.ask({"message": "orders"})
        for node in cluster.nodes:
            with node.trader() as thief:
                for order_id in (7, 2**64 - 1):
                    refused = {"message": "error", **GONE, "orderId": order_id}
                    cancel = {"message": "cancelOrder", "orderId": order_id}
                    amend = {"message": "amendOrder", "orderId": order_id, "quantity": 1}
                    assert thief.ask(cancel) == refused
                    assert thief.ask(amend) == refused
                assert thief.ask({"message": "orders"}) == {"message": "orders", "orders": []}
                assert thief.ask({"message": "cancelAll"}) == {
                    "message": "cancelAll",
                    "canceled": 0,
                }
                # The same id is another order, if somebody else says it.
                assert thief.ask(create(7, "BUY", 98, 1))["report"] == "NEW"
                [order] = thief.ask({"message": "orders"})["orders"]
                assert (order["price"], order["quantity"]) == (98, 1)
                assert thief.ask({"message": "cancelOrder", "orderId": 7})["report"] == "CANCELED"
        assert owner.ask({"message": "orders"}) == mine
        assert owner.silent()
        assert owner.ask({"message": "cancelOrder", "orderId": 7})["report"] == "CANCELED"


async def _race(cluster: Cluster, rounds: int, clients: int) -> list[int]:
    """Rounds of a race for one order; returns who won each."""
    connected = [
        await asyncio.open_connection(*cluster.private[number % 3], limit=2**20)
        for number in range(clients)
    ]
    maker_reader, maker_writer = await asyncio.open_connection(*cluster.private[0])

    async def hear(reader: asyncio.StreamReader) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            message: dict[str, Any] = json.loads(await reader.readline())
            return message

    async def run(number: int, order: dict[str, Any], go: asyncio.Event) -> bool:
        reader, writer = connected[number]
        await go.wait()
        writer.write(json.dumps(order).encode() + b"\n")
        name = {"message": "executionReport", "orderId": order["orderId"]}
        assert await hear(reader) == name | {"report": "NEW"}
        report = await hear(reader)
        if report["report"] == "FILL":
            assert report == name | {"report": "FILL", "price": 100, "quantity": 1000}
            return True
        assert report == name | {"report": "CANCELED"}
        return False

    winners = []
    for round_ in range(rounds):
        maker_writer.write(json.dumps(create(round_, "SELL", 100, 1000)).encode() + b"\n")
        assert (await hear(maker_reader))["report"] == "NEW"
        order = create(round_, "BUY", 100, 1000) | {"timeInForce": "FOK"}
        if round_ % 2:
            order = {"message": "marketOrder", "orderId": round_, "side": "BUY", "quantity": 1000}
        go = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            runs = [group.create_task(run(number, order, go)) for number in range(clients)]
            # All wait at the line before anybody runs.
            group.create_task(_set_soon(go))
        won = [number for number, each in enumerate(runs) if each.result()]
        assert len(won) == 1
        winners += won
        report = await hear(maker_reader)
        assert report == {
            "message": "executionReport",
            "orderId": round_,
            "report": "FILL",
            "price": 100,
            "quantity": 1000,
        }
    for _, writer in [*connected, (maker_reader, maker_writer)]:
        writer.close()
        await writer.wait_closed()
    return winners


async def _set_soon(event: asyncio.Event) -> None:
    event.set()


def test_two_hundred_race_for_one_order_and_one_wins(cluster: Cluster, full: bool) -> None:
    rounds = 100 if full else 10
    asyncio.run(_race(cluster, rounds, 200))
    events = [event for batch in cluster.journal() for event in batch.events]
    assert sum(isinstance(event, Trade) for event in events) == rounds
    assert sum(isinstance(event, OrderAccepted) for event in events) == rounds * 201
    assert not any(isinstance(event, CommandRefused) for event in events)
    assert cluster.orders() == {}
    assert cluster.levels() == {}
