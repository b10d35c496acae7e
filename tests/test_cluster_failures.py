"""What each failure of a node or of Redis costs: real processes, under load, exact accounts."""

import signal
from collections.abc import Callable

from tests.cluster import Cluster, until_read
from tests.redis_server import RedisServer
from tests.support import Peer, Server, create, eventually
from tests.traders import Traders, bought_and_sold, check_accounts

StartServer = Callable[..., Server]
StartRedis = Callable[..., RedisServer]

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")
PATIENT = ("--lease", "60")
"""For nodes that stand still and shall not be declared dead for it."""


def settled(cluster: Cluster, traders: Traders, *, forked: bool = False) -> None:
    """At the end: the clients' accounts, the journal and the book in Redis agree."""
    traders.settle()
    left = check_accounts(traders, cluster.journal(), forked=forked)
    assert cluster.orders() == left
    assert sum(cluster.levels().values()) == sum(left.values())


def undisturbed(traders: Traders) -> None:
    """Nobody lost the connection, and what was bought is what was sold."""
    assert not any(life.ended or life.unavailable for life in traders.lives)
    bought, sold = bought_and_sold(traders.lives)
    assert bought == sold > 0


def test_a_node_dies(redis_url: str, prefix: str, start_server: StartServer) -> None:
    """Nothing acknowledged is lost, the others go on, its clients trade on elsewhere."""
    cluster = Cluster(start_server, redis_url, prefix)
    with Traders(cluster.private) as traders:
        traders.go_on(300)
        victim, *others = cluster.nodes
        with victim.trader() as holder:
            # Far from the market, and too large to be used up.
            assert holder.ask(create(2**63, "BUY", 1, 10**9))["report"] == "NEW"
            before = [life for life in traders.lives if life.address[1] == victim.private]
            victim.kill()
        traders.wait(lambda: all(life.ended for life in before), "the end of its connections")
        known = len(traders.lives)
        traders.go_on(300)
        later = {life.address[1] for life in traders.lives[known:]}
        assert later <= {node.private for node in others}
        settled(cluster, traders)
        assert 2**63 in {order_id for _, order_id in cluster.orders()}


def test_redis_dies_and_comes_back(start_redis: StartRedis, start_server: StartServer) -> None:
    """With appendfsync always nothing acknowledged is lost and nobody is resynchronised."""
    server = start_redis(*ALWAYS)
    cluster = Cluster(start_server, server.url, "wood")
    with Traders(cluster.private) as traders:
        for _ in range(3):
            traders.go_on(200)
            server.kill()
            server.start()
        traders.go_on(200)
        settled(cluster, traders)
        undisturbed(traders)
    assert not any("snapshot" in node.text() for node in cluster.nodes)


def test_nodes_hold_their_clients_back_while_redis_is_away(
    start_redis: StartRedis, start_server: StartServer
) -> None:
    server = start_redis(*ALWAYS)
    cluster = Cluster(start_server, server.url, "wood", nodes=1)
    (node,) = cluster.nodes
    with node.trader() as client:
        assert client.ask(create(1, "BUY", 1, 1))["report"] == "NEW"
        before = node.memory()
        server.kill()
        client.socket.setblocking(False)
        data = b"".join(
            b'{"message":"createOrder","orderId":%d,"side":"BUY","price":1,"quantity":1}\n' % n
            for n in range(2, 9_002)
        )
        flood = data + b'{"message":"nothing"}\n' * 2_000_000
        sent = _send_until_full(client, flood)
        assert sent < len(flood) / 2, "the node reads on without end"
        assert node.memory() - before < 50e6
        server.start()
        client.socket.settimeout(20)
        reports = client.messages(8_000)
        assert [report["orderId"] for report in reports] == list(range(2, 8_002))
        client.socket.setblocking(True)


def _send_until_full(client: Peer, data: bytes) -> int:
    """Send until the other side has taken nothing for as long as an answer would need."""
    sent, idle = 0, 0
    while idle < 50 and sent < len(data):
        try:
            sent += client.socket.send(data[sent : sent + 65536])
            idle = 0
        except BlockingIOError:
            idle += 1
            signal.sigtimedwait([], 0.01)
    return sent


def test_redis_loses_its_last_batches(start_redis: StartRedis, start_server: StartServer) -> None:
    """As after a power cut. Also a node notices that slept while others wrote past its number."""
    server = start_redis(*ALWAYS)
    cluster = Cluster(start_server, server.url, "wood", *PATIENT)
    *awake, sleeper = cluster.nodes
    with Traders(cluster.private) as traders:
        traders.wait(lambda: _batches(cluster) > 60, "batches")
        sleeper.process.send_signal(signal.SIGSTOP)
        server.kill()
        lost = [life for life in traders.lives if not life.ended]
        server.cut(20, cluster.keys.journal)
        server.start()
        traders.addresses = [(node.host, node.private) for node in awake]
        # So much more that nobody could tell by the number alone.
        before = _batches(cluster)
        traders.wait(lambda: _batches(cluster) > before + 60, "batches after the cut")
        sleeper.process.send_signal(signal.SIGCONT)
        traders.wait(lambda: all(life.ended for life in lost), "the end of all who were there")
        assert all(life.unavailable for life in lost)
        traders.go_on(200)
        settled(cluster, traders, forked=True)
    cluster.logged("Redis lost")
    cluster.logged("starting again from a snapshot")


def _batches(cluster: Cluster) -> int:
    with cluster.redis() as client:
        return int(client.hget(cluster.keys.meta, "batch"))


def test_a_replica_that_was_behind_is_promoted(
    start_redis: StartRedis, start_server: StartServer
) -> None:
    master, replica = start_redis("--repl-diskless-sync-delay", "0"), start_redis()
    with replica.client() as client:
        client.replicaof(master.host, str(master.port))
        cluster = Cluster(start_server, master.url, "wood")
        with Traders(cluster.private) as traders:
            traders.go_on(200)
            eventually(lambda: client.hget(cluster.keys.meta, "seq") is not None, "a replica")
            client.replicaof("NO", "ONE")
            traders.go_on(200)
            lost = [life for life in traders.lives if not life.ended]
            master.kill()
            # Where the nodes look for Redis there is now the other one.
            client.config_set("port", str(master.port))
            traders.wait(lambda: all(life.ended for life in lost), "the end of all connections")
            assert all(life.unavailable for life in lost)
            traders.go_on(200)
            settled(cluster, traders, forked=True)
        cluster.logged("starting again from a snapshot")


def test_subscriptions_are_cut_again_and_again(
    redis_url: str, prefix: str, start_server: StartServer
) -> None:
    """Everybody still gets every event once, in order; also what comes before a silence."""
    cluster = Cluster(start_server, redis_url, prefix)
    watchers = [node.watcher() for node in cluster.nodes]
    cluster.logged("subscriber")
    with cluster.redis() as client, Traders(cluster.private) as traders:
        for _ in range(30):
            traders.go_on(20)
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        settled(cluster, traders)
        undisturbed(traders)
        for node in cluster.nodes:
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            with node.trader() as last:
                # Below all others, so that these lines end the feed.
                assert last.ask(create(2**63, "BUY", 0.5, 1))["report"] == "NEW"
                assert last.ask({"message": "cancelOrder", "orderId": 2**63})["report"]
    end = b'{"type":"orderbook","side":"bid","price":0.5,"quantity":0}'
    first, *others = [_lines_until(watcher, end, len(cluster.nodes)) for watcher in watchers]
    assert all(lines == first for lines in others)
    for watcher in watchers:
        watcher.socket.close()


def _lines_until(watcher: Peer, end: bytes, times: int) -> list[bytes]:
    lines: list[bytes] = []
    while lines.count(end) < times:
        lines.append(watcher.line())
    return lines


def test_the_stream_is_trimmed_past_a_node(
    redis_url: str, prefix: str, start_server: StartServer
) -> None:
    cluster = Cluster(start_server, redis_url, prefix, "--journal", "100", *PATIENT)
    *awake, sleeper = cluster.nodes
    with cluster.redis() as client, sleeper.trader() as waiting, sleeper.watcher() as watcher:
        assert waiting.ask(create(2**63, "BUY", 1, 7))["report"] == "NEW"
        assert watcher.line()
        sleeper.process.send_signal(signal.SIGSTOP)
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        addresses = [(node.host, node.private) for node in awake]
        with Traders(addresses, count=4) as traders:
            traders.go_on(500)
            traders.settle()
        sleeper.process.send_signal(signal.SIGCONT)
        assert waiting.message()["code"] == "unavailable"
        assert waiting.message() is None
    cluster.logged("the journal was trimmed past this node's position", [sleeper])
    with sleeper.trader() as new:
        assert new.ask(create(2**63 + 1, "BUY", 1, 7))["report"] == "NEW"


def test_a_node_that_was_declared_dead_does_nothing_more(
    start_redis: StartRedis, start_server: StartServer
) -> None:
    """It is stopped with batches queued; what it had not sent is never applied."""
    server = start_redis()
    cluster = Cluster(start_server, server.url, "wood", "--lease", "1", nodes=2)
    frozen, other = cluster.nodes
    with frozen.trader() as client, other.trader() as rival:
        assert client.ask(create(1, "BUY", 1, 1))["report"] == "NEW"
        # One batch is under way and the next one queued when the node stops.
        server.freeze()
        client.send(create(2, "BUY", 1, 1))
        with frozen.trader() as second:
            second.send(b'{"message":"nothing"}\n')
            client.send(create(3, "BUY", 1, 1))
            until_read(frozen, client)
        frozen.process.send_signal(signal.SIGSTOP)
        client.send(create(4, "BUY", 1, 1))
        server.thaw()
        cluster.logged("declared dead", [other])
        assert rival.ask(create(5, "BUY", 1, 1))["report"] == "NEW"
        frozen.process.send_signal(signal.SIGCONT)
        told = [client.message() for _ in range(2)]
        if told[0].get("orderId") == 2:
            assert told[0]["report"] == "NEW"
            del told[0]
        assert told[0]["code"] == "unavailable"
        assert client.rest() in (b"", b"\n")
        ids = {order_id for _, order_id in cluster.orders()}
        assert ids <= {1, 2, 5}
        assert {1, 5} <= ids
    with frozen.trader() as again:
        assert again.ask(create(6, "BUY", 1, 1))["report"] == "NEW"
