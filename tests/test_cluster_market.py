"""A subscriber who resumes in a cluster: on another node, after Redis was away, after a fork."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.redis_server import RedisServer
from tests.support import Peer, Server, create, eventually
from tests.test_server_market import Lines, best, fold, subscribe, until_snapshot
from tests.traders import Traders

StartServer = Callable[..., Server]
StartRedis = Callable[..., RedisServer]

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")


def trade(node: Server, count: int = 1, price: int = 5) -> None:
    """One unit at a time, each in a batch of its own."""
    with node.trader() as trader:
        for number in range(count):
            assert trader.ask(create(number, "BUY", price, 1))["report"] == "NEW"
            trader.send(create(number + count, "SELL", price, 1))
            trader.messages(3)


def trades(lines: Lines) -> list[int]:
    return [line["seq"] for line in lines if line["type"] == "trade"]


def resume(node: Server, **asked: object) -> Lines:
    with node.watcher() as watcher:
        watcher.send(subscribe(**asked))
        return until_snapshot(watcher)


def seen_until(watcher: Peer, count: int) -> Lines:
    """Lines up to so many trades, and the level after the last."""
    lines: Lines = []
    while len(trades(lines)) < count or lines[-1]["type"] == "trade":
        lines.append(watcher.message())
    return lines


def test_a_subscriber_resumes_on_another_node(
    redis_url: str, prefix: str, start_server: StartServer
) -> None:
    """Under load, again and again: every trade once, in order, as one sees them who stays."""
    cluster = Cluster(start_server, redis_url, prefix)
    with cluster.nodes[0].watcher() as first, Traders(cluster.private, count=6) as traders:
        first.send(subscribe())
        at = until_snapshot(first)[-1]
        told: Lines = []
        depth = 3
        for number in range(12):
            traders.go_on(25)
            with cluster.nodes[number % 3].watcher() as watcher:
                watcher.send(subscribe(lastSeq=at["seq"], epoch=at["epoch"], depth=depth))
                reply, *lines = until_snapshot(watcher)
                assert reply["recovered"] is True
                # It goes away somewhere in what is live, as far as it happens to have come.
                lines += watcher.messages(5)
                told += lines
                place = next(line for line in lines if line["type"] == "snapshot")
                at = {"epoch": place["epoch"], "seq": max([place["seq"], *trades(lines)])}
        traders.settle()
        node = cluster.nodes[1]
        _, *lines = resume(node, lastSeq=at["seq"], epoch=at["epoch"], depth=depth)
        told += lines
        first.send(subscribe(lastSeq=lines[-1]["seq"], epoch=at["epoch"]))
        everything: Lines = []
        while not everything or everything[-1]["type"] != "subscribed":
            everything.append(first.message())
    assert trades(told) == trades(everything)
    assert len(trades(told)) > 50
    levels: dict[tuple[str, float], float] = {
        ("bid" if key < 0 else "ask", abs(key) / 100): total
        for key, total in cluster.levels().items()
    }
    assert fold(lines) == best(levels, depth)


def test_who_was_further_than_the_node_waits_for_it(
    redis_url: str, prefix: str, start_server: StartServer
) -> None:
    """It is told no trade again that it saw on the node that was quicker."""
    cluster = Cluster(start_server, redis_url, prefix, "--lease", "60", nodes=2)
    quick, slow = cluster.nodes
    at = resume(quick)[-1]
    # Nothing reaches the slow one, which is not asked before all has happened.
    slow.process.send_signal(signal.SIGSTOP)
    trade(quick, 20)
    _, *lines = resume(quick, lastSeq=at["seq"], epoch=at["epoch"])
    assert len(trades(lines)) == 20
    last = lines[-1]["seq"]
    with slow.watcher() as watcher:
        watcher.send(subscribe(lastSeq=last, epoch=at["epoch"]))
        slow.process.send_signal(signal.SIGCONT)
        reply, *lines = until_snapshot(watcher)
        assert reply["recovered"] is True
        assert lines == [{"type": "snapshot", "seq": last, "epoch": at["epoch"]}]


def test_redis_was_restarted_and_lost_nothing(
    start_redis: StartRedis, start_server: StartServer
) -> None:
    """While it is away the answer waits; the old epoch with its number is still good."""
    server = start_redis(*ALWAYS)
    cluster = Cluster(start_server, server.url, "wood", nodes=2)
    one, other = cluster.nodes
    with one.watcher() as watcher:
        watcher.send(subscribe())
        at = until_snapshot(watcher)[-1]
        trade(one, 3)
        seen = trades(seen_until(watcher, 3))
        server.kill()
        watcher.send(subscribe(lastSeq=seen[0], epoch=at["epoch"]))
        watcher.send(subscribe(symbols=["NIL"]))
        server.start()
        trade(other, 2)
        lines: Lines = []
        while not lines or lines[-1]["type"] != "error":
            lines.append(watcher.message())
        reply = next(n for n, line in enumerate(lines) if line["type"] == "subscribed")
        assert lines[reply]["recovered"] is True
        assert trades(lines[reply:])[:2] == seen[1:]
    _, *lines = resume(other, lastSeq=seen[1], epoch=at["epoch"])
    assert len(trades(lines)) == 3
    epochs = [(batch.epoch, batch.last) for batch in cluster.journal()]
    assert lines[-1]["epoch"] > at["epoch"], f"the new one, from then on: {lines} {epochs}"
    # Without its epoch nobody can know which history that number is of.
    assert resume(other, lastSeq=at["seq"])[0]["recovered"] is False


def test_a_stopping_node_does_not_wait_for_the_past(
    start_redis: StartRedis, start_server: StartServer
) -> None:
    server = start_redis(*ALWAYS)
    cluster = Cluster(start_server, server.url, "wood", nodes=1)
    (node,) = cluster.nodes
    trade(node)
    with node.watcher() as watcher:
        server.kill()
        watcher.send(subscribe(lastSeq=0))
        watcher.send(subscribe(depth=0))
        eventually(lambda: "Redis does not answer" in node.text(), "a word about it")
        assert node.stop() == 0
        assert b"subscribed" not in watcher.rest()


@pytest.mark.parametrize("further", [False, True], ids=["not as far", "further than it was"])
def test_after_a_fork_nothing_is_called_recovered(
    further: bool, start_redis: StartRedis, start_server: StartServer
) -> None:
    """What the client saw is not in the history any more; who stays is given the book anew."""
    server = start_redis(*ALWAYS)
    cluster = Cluster(start_server, server.url, "wood", nodes=2)
    one, other = cluster.nodes
    trade(one, 3)
    with one.watcher() as here, other.watcher() as there:
        for stays in (here, there):
            stays.send(subscribe(depth=2))
            at = until_snapshot(stays)[-1]
        trade(one, 10)
        seen = trades(seen_until(here, 10))
        assert trades(seen_until(there, 10)) == seen
        server.kill()
        server.cut(6, cluster.keys.journal)
        server.start()
        for stays in (here, there):
            again: Any = stays.message()
            while again["type"] != "snapshot":
                again = stays.message()
            assert again["seq"] < seen[-1]
    cluster.logged("starting again from a snapshot")
    if further:
        trade(other, 20, price=6)  # at 5 there is an order whose other half was lost
    for node in cluster.nodes:
        for epoch in ({"epoch": at["epoch"]}, {}):
            reply, *rest = resume(node, lastSeq=seen[-1], **epoch)
            assert reply["recovered"] is False
            assert trades(rest) == []
        # What both histories have can be told.
        reply, *rest = resume(node, lastSeq=at["seq"], epoch=at["epoch"])
        assert reply["recovered"] is True
        assert trades(rest)[:6] == seen[:6]
        assert rest[-1]["epoch"] > at["epoch"] or not further
