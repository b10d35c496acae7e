"""Nodes on a master with a replica and three sentinels: real processes, fail-overs under load."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.redis_sentinel import NAME, RedisSentinel
from tests.soak import Load
from tests.support import Server, create, eventually
from tests.test_cluster_start import refused

StartServer = Callable[..., Server]

ORDERS = 1_500


@pytest.fixture
def five(tmp_path: Path, redis_binary: str | None) -> Iterator[RedisSentinel]:
    """A master, a replica, three sentinels."""
    sentinel = RedisSentinel(tmp_path, binary=redis_binary)
    yield sentinel
    sentinel.close()


@pytest.fixture
def orders(full: bool) -> int:
    """How many in a test."""
    return 10 * ORDERS if full else ORDERS


def pause(cluster: Cluster) -> None:
    """Let all nodes stand still, whatever they have under way."""
    for node in cluster.nodes:
        node.process.send_signal(signal.SIGSTOP)


def resume(cluster: Cluster) -> None:
    """Let them go on."""
    for node in cluster.nodes:
        node.process.send_signal(signal.SIGCONT)


def test_a_master_dies_whose_replica_has_everything(
    five: RedisSentinel, start_server: StartServer, orders: int, full: bool
) -> None:
    """The other one is promoted; nothing is lost, nobody is told of anything."""
    cluster = Cluster(start_server, five.url, "wood", "--lease", "20")
    with Load(cluster, orders) as load:
        load.go_on(0.3)
        load.allow(0.3)
        pause(cluster)  # in the middle of it: what is under way is sent again to the new master
        eventually(lambda: five.master.has_all(five.replica), "a replica that has everything")
        five.master.kill()
        eventually(lambda: five.promoted(five.replica), "a fail-over")
        resume(cluster)
        load.go_on(0.2)
        # The old one comes back; in ten seconds the sentinels make a replica of it.
        five.master.start()
        if full:
            eventually(five.master.follows, "a master that is a replica now")
        load.go_on(0.1)
        result = load.finish()
    assert not result.differences
    assert not any("snapshot" in node.text() for node in cluster.nodes)
    assert result.counts["taken"] > 0.8 * orders


def test_a_master_dies_whose_replica_was_behind(
    five: RedisSentinel, start_server: StartServer, orders: int
) -> None:
    """What it lacks is lost, and everybody is told."""
    cluster = Cluster(start_server, five.url, "wood", "--lease", "20")
    with Load(cluster, orders) as load:
        load.go_on(0.3)
        five.master.cut_off(five.replica)
        load.go_on(0.3)
        five.master.kill()
        eventually(lambda: five.promoted(five.replica), "a fail-over")
        load.go_on(0.2)
        result = load.finish(forks=True)
        assert load.told > 0
    assert not result.differences
    cluster.logged("starting again from a snapshot")


@pytest.mark.long
def test_a_master_dies_under_load(
    five: RedisSentinel, start_server: StartServer, orders: int
) -> None:
    """Whatever its replica had by then: who is told of no loss has lost nothing."""
    cluster = Cluster(start_server, five.url, "wood", "--lease", "20")
    with Load(cluster, orders) as load:
        load.go_on(0.3)
        load.allow(0.4)
        five.master.kill()
        load.go_on(0.1)
        result = load.finish(forks=True)
    assert not result.differences


def test_a_master_is_frozen_and_comes_back(
    five: RedisSentinel, start_server: StartServer, orders: int, full: bool
) -> None:
    """Nodes still have connections to it, and it takes itself for the master for a while."""
    if not full:
        pytest.skip("the sentinels take ten seconds to make it a replica (--full)")
    cluster = Cluster(start_server, five.url, "wood", "--lease", "60")
    with Load(cluster, orders) as load:
        load.go_on(0.2)
        five.master.freeze()
        load.allow(0.1)
        eventually(lambda: five.promoted(five.replica), "a fail-over")
        five.master.thaw()
        # What it took meanwhile is lost, and those are told whom it concerns.
        load.go_on(0.2)
        eventually(five.master.follows, "a master that is a replica now")
        load.go_on(0.2)
        result = load.finish(forks=True)
    assert not result.differences


def test_a_sentinel_is_away(five: RedisSentinel, start_server: StartServer) -> None:
    """Each of them may be the first in the list. With none left, all goes on as it was.

    One of three is no majority: no connection is made by its word alone.
    """
    other = five.url.replace(NAME, "other")
    refused("--redis", other, said="knows a master 'other'")
    for sentinel in five.sentinels:
        sentinel.freeze()
        cluster = Cluster(start_server, five.url, "wood", "--persist", nodes=1)
        sentinel.thaw()
        assert cluster.nodes[0].stop() == 0
    cluster = Cluster(start_server, five.url, "wood", "--persist", nodes=2)
    first, second = cluster.nodes
    with first.trader() as trader, second.watcher() as watcher:
        assert trader.ask(create(1, "BUY", 9.5, 5))["report"] == "NEW"
        assert watcher.message()["quantity"] == 5
        for sentinel in five.sentinels:
            sentinel.kill()
        assert trader.ask(create(3, "BUY", 9.5, 5))["report"] == "NEW"
        assert watcher.message()["quantity"] == 10
        with five.master.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal")
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        trader.send(create(2, "BUY", 9.5, 5))
        cluster.logged("Redis does not answer as it should")
        five.sentinels[1].start()
        refused("--redis", five.url, said=f"can say where '{NAME}' is, no majority")
        assert trader.silent()
        five.sentinels[2].start()
        assert trader.message()["report"] == "NEW"
        assert watcher.message()["quantity"] == 15
