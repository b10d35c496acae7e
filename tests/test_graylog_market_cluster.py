"""`wood graylog` beside a cluster of real processes: whatever dies, no trade is missing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.gelf_receiver import GelfReceiver, needs_gelf
from tests.market_told import MarketTeller, told_in, trades_in
from tests.redis_server import RedisServer
from tests.support import Server, create, eventually, run_wood, run_wood_here
from tests.tls import Office
from tests.traders import Traders
from wood.model.events import CommandRefused, OrderAccepted, OrderCanceled

StartServer = Callable[..., Server]
StartRedis = Callable[..., RedisServer]
StartGelf = Callable[..., GelfReceiver]
Tell = Callable[..., MarketTeller]

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")

pytestmark = needs_gelf


@pytest.fixture
def tell(tmp_path: Path) -> Iterator[Tell]:
    """Start `wood graylog` for a cluster; afterwards each must end well."""
    tellers: list[MarketTeller] = []

    def start(cluster: Cluster, graylog: str, *options: str) -> MarketTeller:
        tellers.append(MarketTeller(tmp_path, cluster.url, cluster.prefix, graylog, *options))
        return tellers[-1]

    yield start
    for teller in tellers:
        code = teller.stop()
        assert "Traceback" not in teller.text()
        assert code in (0, -9), teller.text()


def trade(node: Server, *order_ids: int, **more: object) -> None:
    """As many trades."""
    with node.trader() as trader:
        for order_id in order_ids:
            sell, buy = (
                create(2 * order_id + n, side, 100, 1) | more
                for n, side in enumerate(["SELL", "BUY"])
            )
            trader.send(sell, buy)
            reports = [m.get("report", m) for m in trader.messages(4)]
            assert reports == ["NEW", "NEW", "FILL", "FILL"]


def told(receiver: GelfReceiver, *events: str) -> list[dict[str, Any]]:
    """The messages that have come of these events."""
    return [m for m in receiver.messages() if m.get("_event") in events]


def all_told(cluster: Cluster, receiver: GelfReceiver, *partitions: str) -> None:
    """Wait until every trade of the journal has arrived; and no other has."""
    expected = trades_in(cluster, *partitions)
    assert expected
    eventually(
        lambda: expected.keys() <= told_in(receiver.messages()).keys(),
        "every trade of the journal",
    )
    assert told_in(receiver.messages()) == expected


@pytest.mark.parametrize("scheme", ["tcp", "udp"])
def test_trades_arrive(
    scheme: str,
    redis_url: str,
    prefix: str,
    start_server: StartServer,
    start_gelf: StartGelf,
    tell: Tell,
) -> None:
    cluster = Cluster(start_server, redis_url, prefix, nodes=1)
    receiver = start_gelf(scheme)
    trade(cluster.nodes[0], 1)
    teller = tell(cluster, receiver.url(), "--name", "teller")
    all_told(cluster, receiver)
    [message] = told(receiver, "trade.executed")
    assert (message["host"], message["_node"], message["_log"]) == ("teller", "teller", "market")
    [batch] = [b for b in cluster.journal() if b.first <= message["_seq"] <= b.last]
    assert message["timestamp"] == pytest.approx(batch.time / 1e6, abs=0.001)
    trade(cluster.nodes[0], 2, 3)
    all_told(cluster, receiver)
    # Who ends in order goes on after what was told.
    assert teller.stop() == 0
    trade(cluster.nodes[0], 4)
    teller.start()
    all_told(cluster, receiver)
    numbers = [message["_seq"] for message in told(receiver, "trade.executed")]
    assert len(numbers) == len(set(numbers)) == 4


@pytest.mark.parametrize("scheme", ["tcp", pytest.param("tls", marks=pytest.mark.long)])
def test_nothing_is_missing_whatever_dies(
    scheme: str,
    start_redis: StartRedis,
    prefix: str,
    start_server: StartServer,
    start_gelf: StartGelf,
    tell: Tell,
    tmp_path: Path,
) -> None:
    redis = start_redis(*ALWAYS)
    cluster = Cluster(start_server, redis.url, prefix, "--persist", nodes=3)
    office = Office(tmp_path / "office")
    tls = scheme == "tls"
    receiver = start_gelf(scheme, cert=office.cert if tls else None)
    teller = tell(cluster, receiver.url(**{"ca": office.ca} if tls else {}))
    with Traders(cluster.private, count=6) as traders:
        traders.go_on(200)
        teller.kill()
        traders.go_on(100)
        teller.start()
        traders.go_on(100)
        receiver.kill()
        traders.go_on(100)
        cluster.nodes[0].kill()
        eventually(lambda: "is away" in teller.text(), "a word of Graylog's absence")
        receiver.start()
        traders.go_on(100)
        redis.kill()
        eventually(lambda: "Redis does not answer" in teller.text(), "a word of Redis' absence")
        redis.start()
        # Such things are told too, beside the market.
        for event in ("graylog.lost", "graylog.back", "redis.lost", "redis.back"):
            eventually(lambda event=event: bool(told(receiver, event)), event)  # type: ignore[misc]
            first = told(receiver, event)[0]
            assert first["_log"] == "nodes"
            assert ("_duration_ms" in first) == event.endswith("back")
        receiver.kill()
        teller.kill()
        traders.go_on(100)
        receiver.start()
        teller.start()
        traders.settle()
    all_told(cluster, receiver)


@pytest.mark.long
def test_a_graylog_that_is_away_for_a_while(
    redis_url: str,
    prefix: str,
    start_server: StartServer,
    start_gelf: StartGelf,
    tell: Tell,
) -> None:
    """Also when `wood graylog` is started, and is told to stop meanwhile."""
    cluster = Cluster(start_server, redis_url, prefix, nodes=1)
    receiver = start_gelf()
    receiver.kill()
    trade(cluster.nodes[0], 1, 2)
    teller = tell(cluster, receiver.url())
    eventually(lambda: "is away" in teller.text(), "a word of it")
    assert teller.stop() == 0
    assert "it is sent again after the next start" in teller.text()
    teller.start()
    trade(cluster.nodes[0], 3)
    receiver.start()
    all_told(cluster, receiver)


def test_each_partition_is_told_also_one_that_is_added_later(
    redis_url: str,
    prefix: str,
    start_server: StartServer,
    start_gelf: StartGelf,
    tell: Tell,
) -> None:
    wood, gold = ("--instrument", "WOOD"), ("--instrument", "GOLD@metals")
    cluster = Cluster(start_server, redis_url, prefix, *wood, nodes=1)
    receiver = start_gelf()
    tell(cluster, receiver.url())
    trade(cluster.nodes[0], 1)
    all_told(cluster, receiver)
    larger = cluster.start(*gold)
    trade(larger, 2, symbol="GOLD")
    trade(larger, 3)
    all_told(cluster, receiver, "main", "metals")
    assert {m["_symbol"] for m in told(receiver, "trade.executed")} == {"WOOD", "GOLD"}


def test_orders_on_request(
    redis_url: str,
    prefix: str,
    start_server: StartServer,
    start_gelf: StartGelf,
    tell: Tell,
) -> None:
    cluster = Cluster(start_server, redis_url, prefix, nodes=1)
    receiver = start_gelf()
    tell(cluster, receiver.url(), "--orders")
    with Traders(cluster.private, count=2) as traders:
        traders.go_on(100)
        traders.settle()
    with cluster.nodes[0].trader() as trader:
        assert trader.ask({"message": "cancelOrder", "orderId": 99})["code"] == "not_found"
    all_told(cluster, receiver)
    events = [event for batch in cluster.journal() for event in batch.events]
    for kind, name in ((OrderAccepted, "order.accepted"), (OrderCanceled, "order.canceled")):
        numbers = [event.seq for event in events if isinstance(event, kind)]
        assert numbers
        assert [m["_seq"] for m in told(receiver, name)] == numbers
    refusals = [event.code for event in events if isinstance(event, CommandRefused)]
    assert [m["_code"] for m in told(receiver, "order.refused")] == refusals
    assert refusals[-1] == "not_found"


def test_what_was_trimmed_before_it_was_read_is_said(
    redis_url: str,
    prefix: str,
    start_server: StartServer,
    start_gelf: StartGelf,
    tell: Tell,
) -> None:
    """A reader that is away holds the journal up to a cap, not for ever."""
    cluster = Cluster(start_server, redis_url, prefix, "--journal", "100", nodes=1)
    receiver = start_gelf()
    teller = tell(cluster, receiver.url())
    trade(cluster.nodes[0], 1)
    all_told(cluster, receiver)
    assert teller.stop() == 0
    [last] = [batch.last for batch in cluster.journal()][-1:]
    with Traders(cluster.private, count=4) as traders:
        traders.wait(lambda: cluster.journal()[0].first > last + 1, "a journal that was trimmed")
        traders.settle()
    teller.start()
    eventually(lambda: bool(told(receiver, "market.skipped")), "a word of it")
    [skipped, *more] = told(receiver, "market.skipped")
    assert (skipped["_reason"], skipped["_seq"], more) == ("trimmed", last, [])
    assert (skipped["level"], skipped["_log"]) == (4, "market")
    eventually(
        lambda: trades_in(cluster).keys() <= told_in(receiver.messages()).keys(), "what was left"
    )
    numbers = [m["_seq"] for m in told(receiver, "trade.executed")]
    hole = range(skipped["_seq"] + 1, skipped["_seq"] + 1 + skipped["_count"])
    assert not set(hole) & set(numbers)


def test_history_that_forks_is_said(
    start_redis: StartRedis,
    prefix: str,
    start_server: StartServer,
    start_gelf: StartGelf,
    tell: Tell,
) -> None:
    """Trades were told that Redis lost after that; who counts is told which."""
    redis = start_redis(*ALWAYS)
    cluster = Cluster(start_server, redis.url, prefix, "--persist", nodes=1)
    receiver = start_gelf()
    tell(cluster, receiver.url())
    trade(cluster.nodes[0], *range(1, 20))
    all_told(cluster, receiver)
    redis.kill()
    redis.cut(5, cluster.keys.journal)
    redis.start()
    cluster.logged("starting again from a snapshot")
    eventually(lambda: _rests(cluster.nodes[0]), "a node that goes on")
    trade(cluster.nodes[0], 30, 31)
    expected = trades_in(cluster)
    eventually(lambda: expected.keys() <= told_in(receiver.messages()).keys(), "what is true")
    [forked] = told(receiver, "journal.forked")
    undone = told_in(receiver.messages()).keys() - expected.keys()
    assert undone
    numbers = range(forked["_seq"] + 1, forked["_seq"] + 1 + forked["_count"])
    assert all(seq in numbers and epoch == forked["_epoch"] for _, epoch, seq in undone)
    assert not [1 for _, epoch, seq in expected if epoch == forked["_epoch"] and seq in numbers]


def _rests(node: Server) -> bool:
    """Whether a node takes an order."""
    with node.trader() as trader:
        answer = trader.ask(create(1, "BUY", 1, 1))
        return answer is not None and answer.get("report") == "NEW"


def test_a_new_book_of_other_instruments(
    redis_url: str,
    prefix: str,
    start_server: StartServer,
    start_gelf: StartGelf,
    tell: Tell,
) -> None:
    cluster = Cluster(start_server, redis_url, prefix, "--instrument", "WOOD", nodes=1)
    receiver = start_gelf()
    tell(cluster, receiver.url())
    trade(cluster.nodes[0], 1)
    all_told(cluster, receiver)
    assert cluster.nodes[0].stop() == 0
    where = "--redis", redis_url, "--prefix", prefix
    assert "cleared" in run_wood("reset", *where, "--yes").stdout
    # The symbol is the same, and its tick another.
    new = start_server("-m", *where, "--instrument", "WOOD:5", "--instrument", "PEAR")
    trade(new, 2)
    eventually(lambda: len(told(receiver, "trade.executed")) == 2, "the trade in the new book")
    assert [m["_price"] for m in told(receiver, "trade.executed")] == [100, 100]
    [cleared] = told(receiver, "market.skipped")
    assert cleared["_reason"] == "cleared"


def test_who_is_forgotten_holds_nothing(
    redis_url: str,
    prefix: str,
    start_server: StartServer,
    start_gelf: StartGelf,
    tell: Tell,
) -> None:
    cluster = Cluster(start_server, redis_url, prefix, nodes=1)
    receiver = start_gelf()
    teller = tell(cluster, receiver.url(), "--reader", "second")
    trade(cluster.nodes[0], 1)
    all_told(cluster, receiver)
    assert teller.stop() == 0
    where = "--redis", redis_url, "--prefix", prefix
    with cluster.redis() as client:
        assert client.hkeys(cluster.keys.readers) == [b"second"]
        done = run_wood_here("graylog", *where, "--reader", "second", "--forget")
        assert done.returncode == 0
        assert done.stdout.startswith("second is forgotten\n")
        assert client.hkeys(cluster.keys.readers) == []
    done = run_wood_here("graylog", *where, "--reader", "second", "--forget")
    assert (done.returncode, done.stderr) == (
        1,
        f"wood: nobody reads as 'second' under the prefix {prefix!r}\n",
    )
