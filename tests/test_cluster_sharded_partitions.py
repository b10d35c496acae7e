"""Partitions on different masters of a Redis Cluster: what happens to one is its own affair."""

from collections.abc import Callable

import pytest
from redis.crc import key_slot

from tests.cluster import Cluster
from tests.redis_cluster import RedisCluster
from tests.redis_server import RedisServer
from tests.soak import MARKETS, Load
from tests.support import Server, create, eventually
from tests.test_cluster_sentinel import pause, resume
from tests.test_cluster_sharded import orders, start_masters
from wood.exchange.cluster.keys import Keys

StartServer = Callable[..., Server]
Start = Callable[..., RedisCluster]

__all__ = ["orders", "start_masters"]

TWO = dict(list(MARKETS.items())[:2])
(HOME, HERE), (OTHER, THERE) = TWO.items()
LISTED = tuple(f"--instrument={symbol}@{name}" for name, symbol in TWO.items())


def master(sharded: RedisCluster, cluster: Cluster, partition: str) -> RedisServer:
    """The server that has a partition."""
    return sharded.master_of(cluster.of(partition).meta)


def test_each_goes_to_a_master_of_its_own_whatever_it_is_called(
    start_masters: Start, start_server: StartServer
) -> None:
    sharded = start_masters()
    home = sharded.master_of(Keys("wood").meta)
    # Three names that all hash to the slots of one master.
    names = (f"p{n}" for n in range(1000))
    alike = [name for name in names if sharded.master_of(Keys("wood", name).meta) is home][:5]
    listed = ["--instrument=WOOD", *(f"--instrument=I{n}@{name}" for n, name in enumerate(alike))]
    first = Cluster(start_server, sharded.url, "wood", *listed, nodes=2)
    load = [master(sharded, first, partition) for partition in ("main", *alike)]
    assert [load.count(server) for server in sharded.servers] == [2, 2, 2]
    assert len(set(load[:3])) == 3
    here, there = first.nodes
    with here.trader() as trader, there.trader() as other:
        for n in range(len(alike)):
            order = create(1, "BUY", 5, 1) | {"symbol": f"I{n}"}
            assert trader.ask(order)["report"] == "NEW"
            assert other.ask(order | {"side": "SELL"})["report"] == "NEW"
            assert other.message()["report"] == trader.message()["report"] == "FILL"
    for server in sharded.servers:
        with server.client() as client:
            assert client.execute_command("DBSIZE") > 0


def test_one_master_is_away_and_the_others_go_on(
    start_masters: Start, start_server: StartServer
) -> None:
    sharded = start_masters()
    cluster = Cluster(start_server, sharded.url, "wood", *LISTED, "--lease", "30", nodes=1)
    away = master(sharded, cluster, OTHER)
    assert away is not master(sharded, cluster, HOME)
    (node,) = cluster.nodes
    with node.trader() as trader, node.trader() as late, node.watcher() as watcher:
        away.freeze()
        there = create(1, "BUY", 5, 1) | {"symbol": THERE}
        trader.send(there, create(2, "BUY", 5, 1))
        assert trader.message()["orderId"] == 2, "it does not wait for the other"
        assert watcher.message()["price"] == 5
        late.send({"message": "login", "participant": "late"})
        assert late.silent()
        away.thaw()
        assert trader.message() == {
            "message": "executionReport",
            "orderId": 1,
            "report": "NEW",
            "symbol": THERE,
        }
        assert late.message()["message"] == "login"


@pytest.mark.parametrize("replica", ["has everything", "was behind"])
def test_the_master_of_one_dies(
    start_masters: Start, start_server: StartServer, orders: int, replica: str
) -> None:
    """With everything: exact accounts. Without: those of that partition are told, and no others."""
    sharded = start_masters(replicas=1)
    cluster = Cluster(start_server, sharded.url, "wood", *LISTED, "--lease", "20")
    old = master(sharded, cluster, OTHER)
    new = sharded.replica_of(old)
    with Load(cluster, orders, markets=TWO) as load:
        load.go_on(0.3)
        if replica == "was behind":
            old.cut_off(new)
        load.go_on(0.2)
        load.allow(0.2)
        if replica == "has everything":
            pause(cluster)
            eventually(lambda: old.has_all(new), "a replica that has everything")
        old.kill()
        eventually(lambda: owns(sharded, cluster, new), "a fail-over")
        resume(cluster)
        load.go_on(0.2)
        result = load.finish(forks=replica == "was behind")
        assert (load.told > 0) is (replica == "was behind")
    assert not result.differences
    assert len({batch.epoch for batch in cluster.journal(HOME)}) == 1
    assert len({batch.epoch for batch in cluster.journal(OTHER)}) == 2


def owns(sharded: RedisCluster, cluster: Cluster, server: RedisServer) -> bool:
    try:
        return master(sharded, cluster, OTHER) is server
    except ValueError:
        return False  # nobody does


@pytest.mark.long  # without partitions, every day
def test_the_slot_of_one_moves_under_load(
    start_masters: Start, start_server: StartServer, orders: int
) -> None:
    sharded = start_masters()
    cluster = Cluster(start_server, sharded.url, "wood", *LISTED)
    slot = key_slot(cluster.of(OTHER).meta.encode())
    home = master(sharded, cluster, OTHER)
    away = master(sharded, cluster, HOME)
    with Load(cluster, orders, markets=TWO) as load:
        load.go_on(0.1)
        for source, target in ((home, away), (away, home)):
            for _ in sharded.migrate(slot, source, target):
                load.allow(0.01)
            load.go_on(0.1)
        result = load.finish()
    assert not result.differences
    for node in cluster.nodes:
        assert "snapshot" not in node.text()
    assert len({batch.epoch for batch in cluster.journal(HOME)}) == 1
