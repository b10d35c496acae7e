"""`wood graylog` where much dies, again and again, and on a Redis Cluster."""

from collections.abc import Callable
from random import Random

import pytest

from tests.cluster import Cluster
from tests.gelf_receiver import GelfReceiver, needs_gelf
from tests.redis_cluster import RedisCluster
from tests.redis_server import RedisServer
from tests.support import Server
from tests.test_cluster_sharded import start_masters
from tests.test_graylog_market_cluster import ALWAYS, Tell, all_told, tell, trade
from tests.traders import Traders

__all__ = ["start_masters", "tell"]

pytestmark = needs_gelf

StartServer = Callable[..., Server]
StartRedis = Callable[..., RedisServer]
StartGelf = Callable[..., GelfReceiver]


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_missing_after_many_deaths(
    seed: int,
    start_redis: StartRedis,
    prefix: str,
    start_server: StartServer,
    start_gelf: StartGelf,
    tell: Tell,
) -> None:
    random = Random(seed)
    redis = start_redis(*ALWAYS)
    cluster = Cluster(start_server, redis.url, prefix, "--persist", nodes=2)
    receiver = start_gelf()
    teller = tell(cluster, receiver.url())

    def redis_dies() -> None:
        redis.kill()
        redis.start()

    def node_dies() -> None:
        cluster.nodes.pop(0).kill()
        cluster.nodes.append(cluster.start())
        traders.addresses = cluster.private

    def receiver_dies() -> None:
        receiver.kill()
        receiver.start()

    def receiver_sleeps() -> None:
        receiver.freeze()
        traders.go_on(20)
        receiver.go_on()

    def teller_dies() -> None:
        teller.kill()
        teller.start()

    strikes = [redis_dies, node_dies, receiver_dies, receiver_sleeps, teller_dies]
    with Traders(cluster.private, count=4) as traders:
        for _ in range(25):
            traders.go_on(random.randrange(1, 100))
            random.choice(strikes)()
        traders.settle()
    all_told(cluster, receiver)


def test_partitions_on_masters_of_a_redis_cluster(
    start_masters: Callable[..., RedisCluster],
    start_server: StartServer,
    start_gelf: StartGelf,
    tell: Tell,
) -> None:
    sharded = start_masters()
    listed = "--instrument", "WOOD", "--instrument", "GOLD@metals"
    cluster = Cluster(start_server, sharded.url, "wood", *listed, nodes=1)
    receiver = start_gelf()
    tell(cluster, receiver.url())
    trade(cluster.nodes[0], 1, 2)
    trade(cluster.nodes[0], 3, symbol="GOLD")
    all_told(cluster, receiver, "main", "metals")
