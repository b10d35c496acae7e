"""A Redis that says no, not now, or nothing: a retry or a clear error, and never half a batch."""

import os
import threading
from collections.abc import Callable, Iterator

import pytest
import redis

from tests.cluster import Cluster
from tests.proxy import Proxy
from tests.redis_books import contents
from tests.redis_server import RedisServer
from tests.support import Server, create, eventually
from tests.test_cluster_failures import settled, undisturbed
from tests.traders import Traders

StartServer = Callable[..., Server]
StartRedis = Callable[..., RedisServer]

SELL_ALL = {"message": "marketOrder", "orderId": 2**63, "side": "SELL", "quantity": 50_000}


@pytest.fixture
def server(start_redis: StartRedis) -> RedisServer:
    """A Redis that may be ill-treated."""
    return start_redis("--enable-debug-command", "yes")


@pytest.fixture
def cluster(server: RedisServer, start_server: StartServer) -> Cluster:
    """Two nodes on it."""
    return Cluster(start_server, server.url, "wood", nodes=2)


@pytest.fixture
def traders(cluster: Cluster) -> Iterator[Traders]:
    """Load, which must end with exact accounts and nobody disturbed."""
    with Traders(cluster.private, count=6) as traders:
        traders.go_on(50)
        yield traders
        traders.resume()
        traders.go_on(100)
        settled(cluster, traders)
        undisturbed(traders)


def test_the_script_cache_is_flushed(server: RedisServer, traders: Traders) -> None:
    with server.client() as client:
        for _ in range(20):
            client.script_flush()
            traders.go_on(10)


def test_redis_is_slow(server: RedisServer, traders: Traders) -> None:
    """It stands still for longer than a node waits for an answer; the batch is sent again."""
    with server.client(socket_timeout=None) as client:
        client.execute_command("DEBUG", "SLEEP", "6")
    traders.go_on(50)


def test_redis_is_busy_with_a_script(server: RedisServer, traders: Traders) -> None:
    def hang() -> None:
        with server.client() as client, pytest.raises(redis.ResponseError):
            client.eval("while true do end", 0)

    with server.client() as client:
        client.config_set("busy-reply-threshold", "10")
        thread = threading.Thread(target=hang)
        thread.start()
        eventually(lambda: _says(client, "BUSY"), "a busy server")
        client.script_kill()
        thread.join()


def _says(client: redis.Redis, word: str) -> bool:
    try:
        client.get("nothing")
    except redis.ResponseError as error:
        return str(error).startswith(word)
    return False


def test_redis_is_read_only_for_a_while(server: RedisServer, traders: Traders) -> None:
    """As a master that was made a replica by mistake, and is made a master again."""
    traders.settle()
    with server.client() as client:
        # A replica of nobody who is there keeps its data, and refuses to write.
        client.replicaof("127.0.0.1", "1")
        traders.resume()
        eventually(lambda: client.info("stats")["total_error_replies"] > 3, "refused batches")
        client.replicaof("NO", "ONE")


def test_a_question_is_answered_in_a_new_epoch(server: RedisServer, cluster: Cluster) -> None:
    """Its batch is the first one of the epoch, and only the reply to it has the answer."""
    with cluster.nodes[0].trader() as trader, server.client() as client:
        assert trader.ask(create(1, "BUY", 1, 5))["report"] == "NEW"
        for question in ("orders", "instruments", "orders"):
            client.replicaof("127.0.0.1", "1")
            client.replicaof("NO", "ONE")
            assert trader.ask({"message": question})["message"] == question


def test_redis_loads_its_data(start_redis: StartRedis, start_server: StartServer) -> None:
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    cluster = Cluster(start_server, server.url, "wood", nodes=2)
    with Traders(cluster.private, count=6) as traders:
        traders.go_on(100)
        traders.settle()
        with server.client() as client:
            # Much to load, in the form that is loaded key by key, which can be made slow.
            client.mset({f"filler-{number}": os.urandom(2000) for number in range(200)})
            client.bgrewriteaof()
            eventually(lambda: not client.info("persistence")["aof_rewrite_in_progress"], "a file")
        server.kill()
        traders.resume()
        loading: list[bool] = []
        server.start(
            *("--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024"),
            while_loading=lambda: loading.append(True),
        )
        assert loading
        traders.go_on(100)
        settled(cluster, traders)
        undisturbed(traders)


def test_redis_is_out_of_memory(server: RedisServer, cluster: Cluster) -> None:
    """Orders are refused with a code, nothing is half done, and all goes on afterwards."""
    node = cluster.nodes[0]
    with server.client() as client, node.trader() as trader, node.watcher() as watcher:
        assert trader.ask(create(1, "BUY", 100, 5))["report"] == "NEW"
        assert watcher.message()["quantity"] == 5
        client.config_set("maxmemory", "1mb")
        before = _everything(client)
        trader.send(create(2, "SELL", 100, 5), {"message": "nothing"}, {"message": "orders"})
        refused, unknown = trader.messages(2)
        assert (refused["code"], refused["orderId"]) == ("unavailable", 2)
        assert unknown["code"] == "invalid"
        assert _everything(client) == before
        client.config_set("maxmemory", "0")
        # The question that Redis could not take was kept, and is answered now.
        assert [order["orderId"] for order in trader.message()["orders"]] == [1]
        assert trader.ask(create(2, "SELL", 100, 5))["report"] == "NEW"
        assert {m["report"] for m in trader.messages(2)} == {"FILL"}
        assert watcher.messages(2)[1]["quantity"] == 0


def _everything(client: redis.Redis) -> dict[bytes, object]:
    # The beats go on; they need no memory to speak of and decide nothing.
    return {key: value for key, value in contents(client).items() if not key.endswith(b"beats")}


def test_connections_break_after_a_batch_was_applied(
    server: RedisServer, start_server: StartServer
) -> None:
    proxy = Proxy(server.port)
    cluster = Cluster(start_server, server.url, "wood", nodes=1)
    cluster.nodes.append(start_server("-m", "--redis", proxy.url, "--prefix", "wood"))
    with Traders(cluster.private, count=6) as traders:
        for _ in range(10):
            traders.go_on(30)
            proxy.lose_replies = 1
            traders.wait(lambda: not proxy.lose_replies, "a lost reply")
        settled(cluster, traders)
        undisturbed(traders)
    with cluster.nodes[1].trader() as asker:
        # A question whose answer went with the connection is asked again.
        assert asker.ask(create(1, "BUY", 1, 5))["report"] == "NEW"
        proxy.lose_replies = 1
        assert [order["orderId"] for order in asker.ask({"message": "orders"})["orders"]] == [1]
        assert not proxy.lose_replies
    for node in cluster.nodes:
        assert node.stop() == 0
    proxy.close()


def test_one_order_over_fifty_thousand(
    redis_url: str, prefix: str, start_server: StartServer
) -> None:
    """It meets 10,000 and is cancelled, whole; no script takes more than it must."""
    cluster = Cluster(start_server, redis_url, prefix, "--max-open-orders", "50000", nodes=2)
    holder_node, taker_node = cluster.nodes
    count = 50_000
    with holder_node.trader() as holder, taker_node.trader() as taker:
        for first in range(0, count, 1000):
            ids = range(first, first + 1000)
            holder.send(*(create(n, "BUY", 100 + n % 7, 1) for n in ids))
            assert {m["report"] for m in holder.messages(1000)} == {"NEW"}
        taker.send(SELL_ALL)
        told = taker.messages(10_002)
        assert [told[0]["report"], told[-1]["report"]] == ["NEW", "CANCELED"]
        fills = told[1:-1]
        assert {fill["report"] for fill in fills} == {"FILL"}
        # Best price first, and the oldest of it: 106 has 7142 orders, and so on.
        assert [fill["price"] for fill in fills] == [106] * 7142 + [105] * 2858
        theirs = holder.messages(10_000)
        assert [m["orderId"] for m in theirs[:3]] == [6, 13, 20]
        assert len({m["orderId"] for m in theirs}) == 10_000
        assert len(cluster.orders()) == count - 10_000
        assert sum(cluster.levels().values()) == count - 10_000
        # Somebody else's order in the same moment is not kept from anything.
        assert taker.ask({"message": "orders"})["orders"] == []
