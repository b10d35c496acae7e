"""Nodes on a Redis Cluster: real processes; fail-overs, and slots that move, under load."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis.crc import key_slot

from tests.cluster import Cluster
from tests.redis_cluster import RedisCluster
from tests.redis_server import RedisServer
from tests.redis_user import PASSWORD, set_user, url_of
from tests.soak import Load
from tests.support import Server, create, eventually
from tests.test_cluster_sentinel import ORDERS, pause, resume
from tests.test_cluster_start import refused

StartServer = Callable[..., Server]
Start = Callable[..., RedisCluster]


@pytest.fixture
def start_masters(tmp_path: Path, redis_binary: str | None) -> Iterator[Start]:
    """Start Redis Clusters of three masters, with replicas if asked."""
    started: list[RedisCluster] = []

    def start(replicas: int = 0) -> RedisCluster:
        started.append(RedisCluster(tmp_path, replicas=replicas, binary=redis_binary))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def orders(full: bool) -> int:
    """How many in a test."""
    return 10 * ORDERS if full else ORDERS


def master(sharded: RedisCluster, cluster: Cluster) -> RedisServer:
    """The server that has the partition."""
    return sharded.master_of(cluster.keys.meta)


def undisturbed(cluster: Cluster) -> None:
    """No node had to begin again."""
    for node in cluster.nodes:
        assert "snapshot" not in node.text()
        assert "declared dead" not in node.text()


@pytest.mark.long  # with partitions, every day
def test_a_master_dies_whose_replica_has_everything(
    start_masters: Start, start_server: StartServer, orders: int
) -> None:
    sharded = start_masters(replicas=1)
    cluster = Cluster(start_server, sharded.url, "wood", "--lease", "20")
    old = master(sharded, cluster)
    new = sharded.replica_of(old)
    with Load(cluster, orders) as load:
        load.go_on(0.3)
        load.allow(0.3)
        pause(cluster)
        eventually(lambda: old.has_all(new), "a replica that has everything")
        old.kill()
        eventually(lambda: _owns(sharded, cluster, new), "a fail-over")
        resume(cluster)
        load.go_on(0.3)
        old.start()
        eventually(old.follows, "a master that is a replica now")
        result = load.finish()
    assert not result.differences
    undisturbed(cluster)
    assert result.counts["taken"] > 0.8 * orders


@pytest.mark.long  # with partitions, every day
def test_a_master_dies_whose_replica_was_behind(
    start_masters: Start, start_server: StartServer, orders: int
) -> None:
    sharded = start_masters(replicas=1)
    cluster = Cluster(start_server, sharded.url, "wood", "--lease", "20")
    old = master(sharded, cluster)
    new = sharded.replica_of(old)
    with Load(cluster, orders) as load:
        load.go_on(0.3)
        old.cut_off(new)
        load.go_on(0.3)
        old.kill()
        eventually(lambda: _owns(sharded, cluster, new), "a fail-over")
        load.go_on(0.2)
        result = load.finish(forks=True)
        assert load.told > 0
    assert not result.differences
    cluster.logged("starting again from a snapshot")


def _owns(sharded: RedisCluster, cluster: Cluster, server: RedisServer) -> bool:
    try:
        return master(sharded, cluster) is server
    except ValueError:
        return False  # nobody does


def test_a_slot_moves_under_load_and_back(
    start_masters: Start, start_server: StartServer, orders: int
) -> None:
    """Key by key: the partition pauses, no order is lost or doubled, nobody is told of anything."""
    sharded = start_masters()
    cluster = Cluster(start_server, sharded.url, "wood")
    slot = key_slot(cluster.keys.meta.encode())
    home = master(sharded, cluster)
    away = sharded.others(home)[0]
    subscribed = _subscribers(home, cluster)
    assert subscribed == len(cluster.nodes)
    with Load(cluster, orders) as load:
        load.go_on(0.1)
        for source, target in ((home, away), (away, home)):
            for _ in sharded.migrate(slot, source, target):
                load.allow(0.01)  # there is always something under way
            eventually(
                lambda target=target: _subscribers(target, cluster) == subscribed,  # type: ignore[misc]
                "subscriptions at the new place",
            )
            load.go_on(0.1)
        result = load.finish()
    assert not result.differences
    undisturbed(cluster)
    assert master(sharded, cluster) is home
    with away.client() as client:
        assert client.dbsize() == 0
    # Each move began an epoch, the one back home too, and all of them were gone on from.
    epochs = [batch.epoch for batch in cluster.journal()]
    assert len(set(epochs)) == 3
    assert epochs == sorted(epochs)


@pytest.mark.long
def test_a_slot_is_moved_by_the_server_itself(
    start_masters: Start, start_server: StartServer, orders: int
) -> None:
    """As Valkey does from 9 on: all at once."""
    sharded = start_masters()
    if not sharded.moves_slots_itself:
        pytest.skip("this server does not do that")
    cluster = Cluster(start_server, sharded.url, "wood")
    slot = key_slot(cluster.keys.meta.encode())
    home = master(sharded, cluster)
    away = sharded.others(home)[0]
    with Load(cluster, orders) as load:
        load.go_on(0.1)
        for source, target in ((home, away), (away, home)):
            load.allow(0.2)
            sharded.migrate_at_once(slot, source, target)
            load.go_on(0.1)
        result = load.finish()
    assert not result.differences
    undisturbed(cluster)


def _subscribers(server: RedisServer, cluster: Cluster) -> int:
    with server.client() as client:
        (channel,) = client.execute_command("PUBSUB", "SHARDCHANNELS") or [b""]
        assert not channel or channel.decode().startswith(cluster.keys.channels())
        return int(client.execute_command("PUBSUB", "SHARDNUMSUB", channel)[1])


@pytest.mark.long
def test_a_master_is_frozen_and_comes_back(
    start_masters: Start, start_server: StartServer, orders: int
) -> None:
    """Nodes still have connections to it; what it takes before it hears the news is lost."""
    sharded = start_masters(replicas=1)
    cluster = Cluster(start_server, sharded.url, "wood", "--lease", "60")
    old = master(sharded, cluster)
    new = sharded.replica_of(old)
    with Load(cluster, orders) as load:
        load.go_on(0.2)
        load.allow(0.3)
        old.freeze()
        eventually(
            lambda: sharded.takes_for_master(new, sharded.others(old, new)[0]), "a fail-over"
        )
        old.thaw()
        load.go_on(0.2)
        eventually(old.follows, "a master that is a replica now")
        result = load.finish(forks=True)
    assert not result.differences
    assert master(sharded, cluster) is new


def test_one_address_and_few_rights_are_enough_and_others_are_left_alone(
    start_masters: Start, start_server: StartServer
) -> None:
    sharded = start_masters()
    for server in sharded.servers:
        set_user(server)
    other = sharded.others(sharded.master_of("wood:{main}:meta"))[0]
    url = url_of(f"cluster://{other.host}:{other.port}")
    cluster = Cluster(start_server, url, "wood", nodes=2)
    first, second = cluster.nodes
    with first.trader() as trader, second.watcher() as watcher:
        assert trader.ask(create(1, "BUY", 9.5, 5))["report"] == "NEW"
        assert watcher.message()["quantity"] == 5
    home = master(sharded, cluster)
    for server in sharded.servers:
        with server.client() as client:
            assert (client.dbsize() > 0) is (server is home)
            assert client.execute_command("ACL", "LOG") == []
    assert not any(PASSWORD in node.text() for node in cluster.nodes)
    assert "wr0ng" not in refused("--redis", url.replace(PASSWORD, "wr0ng"), said="let us in")
