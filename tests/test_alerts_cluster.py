"""`wood alert` over real clusters in which something really goes wrong."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.alert_process import AlertProcess
from tests.cluster import Cluster
from tests.redis_sentinel import RedisSentinel
from tests.redis_server import RedisServer
from tests.redis_user import PASSWORD, set_user, url_of
from tests.support import Server, create, eventually, free_port, run_wood
from tests.test_operations import SmallDisk
from wood.exchange.cluster.client import connect
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.positions import keep
from wood.exchange.tail import Position

StartServer = Callable[..., Server]
StartRedis = Callable[..., RedisServer]
StartAlert = Callable[..., AlertProcess]

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")
LEASE = ("--lease", "1")


@pytest.fixture
def start_alert(tmp_path: Path) -> Iterator[StartAlert]:
    """Start one; afterwards it must end well."""
    started: list[AlertProcess] = []

    def start(*options: str, **environment: str) -> AlertProcess:
        started.append(AlertProcess(tmp_path, *options, **environment))
        return started[-1]

    yield start
    codes = [each.stop() for each in started]
    for each, code in zip(started, codes, strict=True):
        assert "Traceback" not in each.text()
        assert code == 0, each.text()


def start_nodes(start: StartServer, url: str, prefix: str, *names: str) -> Cluster:
    """A cluster whose nodes have names, and are soon declared dead."""
    cluster = Cluster(start, url, prefix, *LEASE, nodes=0)
    cluster.nodes = [cluster.start("--name", name) for name in names]
    return cluster


def trade(node: Server, first: int, count: int = 1) -> None:
    """Orders one after the other, so that each is a batch."""
    eventually(lambda: _taken(node, first), "an order that is taken")
    with node.trader() as trader:
        for number in range(first + 1, first + count):
            assert trader.ask(create(number, "BUY", 1, 1))["report"] == "NEW"


def _taken(node: Server, number: int) -> bool:
    """Whether a node takes an order: after a fork it refuses those that it cannot vouch for."""
    with node.trader() as trader:
        return "report" in trader.ask(create(number, "BUY", 1, 1))


def test_a_node_that_dies_is_told_and_that_it_is_back(
    redis_url: str, prefix: str, start_server: StartServer, start_alert: StartAlert
) -> None:
    """One that is stopped in order raises nothing."""
    cluster = start_nodes(start_server, redis_url, prefix, "a", "b", "c")
    alert = start_alert("--redis", redis_url, "--prefix", prefix)
    assert cluster.nodes[2].stop() == 0
    cluster.nodes[0].kill()
    alert.tells("RAISED node-lost a")
    cluster.start("--name", "a")
    alert.tells("ENDED node-lost a")
    assert alert.told() == ["RAISED node-lost a", "ENDED node-lost a"]


def test_a_node_that_dies_and_is_started_again_at_once_is_told_too(
    redis_url: str, prefix: str, start_server: StartServer, start_alert: StartAlert
) -> None:
    """Or nobody would notice one that dies again and again, and has a supervisor."""
    cluster = Cluster(start_server, redis_url, prefix, "--lease", "4", nodes=0)
    cluster.start("--name", "b")
    victim = cluster.start("--name", "a")
    alert = start_alert("--redis", redis_url, "--prefix", prefix)
    victim.kill()
    cluster.start("--name", "a")
    alert.tells("RAISED node-lost a", "ENDED node-lost a")
    assert alert.told() == ["RAISED node-lost a", "ENDED node-lost a"]


def test_the_last_node_dies_and_nobody_is_left_to_say_so(
    redis_url: str, prefix: str, start_server: StartServer, start_alert: StartAlert
) -> None:
    cluster = start_nodes(start_server, redis_url, prefix, "a")
    alert = start_alert("--redis", redis_url, "--prefix", prefix)
    cluster.nodes[0].kill()
    alert.tells("RAISED node-lost a")


def test_what_is_wrong_already_when_it_starts_is_told(
    redis_url: str, prefix: str, start_server: StartServer, start_alert: StartAlert
) -> None:
    cluster = start_nodes(start_server, redis_url, prefix, "a", "b")
    options = "--redis", redis_url, "--prefix", prefix
    assert (run_wood("alert", *options, "--once").stdout) == "no alerts\n"
    cluster.nodes[0].kill()
    eventually(lambda: len(cluster.writers()) == 1)
    start_alert(*options).tells("RAISED node-lost a")
    once = run_wood("alert", *options, "--once")
    assert once.returncode == 1
    assert once.stdout.startswith("RAISED node-lost a: the node a was silent for a lease")
    assert once.stdout.endswith(", once; see docs/operations.md#node-lost)\n")


def test_redis_is_killed_and_comes_back(
    start_redis: StartRedis, start_server: StartServer, start_alert: StartAlert
) -> None:
    server = start_redis(*ALWAYS)
    start_nodes(start_server, server.url, "wood", "a")
    alert = start_alert("--redis", server.url)
    server.kill()
    alert.tells("RAISED redis-unreachable redis")
    server.start()
    alert.tells("ENDED redis-unreachable redis")
    assert {title.split()[1] for title in alert.told()} == {"redis-unreachable"}


def test_redis_stands_still_and_goes_on(
    start_redis: StartRedis, start_server: StartServer, start_alert: StartAlert
) -> None:
    server = start_redis()
    start_nodes(start_server, server.url, "wood", "a")
    alert = start_alert("--redis", server.url)
    server.freeze()
    alert.tells("RAISED redis-unreachable redis")
    server.thaw()
    alert.tells("ENDED redis-unreachable redis")
    assert {title.split()[1] for title in alert.told()} == {"redis-unreachable"}


def test_redis_answers_and_takes_no_writes(
    start_redis: StartRedis, start_server: StartServer, start_alert: StartAlert
) -> None:
    """Nodes are silent then, and none of them is lost."""
    server = start_redis()
    start_nodes(start_server, server.url, "wood", "a")
    alert = start_alert("--redis", server.url)
    with server.client() as client:
        client.client_pause(600_000, all=False)
        alert.tells("RAISED journal-stalled main")
        assert run_wood("alert", "--redis", server.url, "--stalled", "1", "--once").returncode == 1
        client.client_unpause()
    alert.tells("ENDED journal-stalled main")
    assert {title.split()[1] for title in alert.told()} == {"journal-stalled"}


def test_a_node_says_that_orders_wait(
    start_redis: StartRedis, start_server: StartServer, start_alert: StartAlert
) -> None:
    """Also where `wood alert` cannot see Redis."""
    server, port = start_redis(), free_port()
    cluster = Cluster(start_server, server.url, "wood", nodes=0)
    node = cluster.start("--name", "a", "--health", str(port))
    alert = start_alert("--health", f"127.0.0.1:{port}")
    with server.client() as client, node.trader() as trader:
        client.client_pause(600_000, all=False)
        trader.send(create(1, "BUY", 1, 1))
        alert.tells("RAISED journal-stalled main")
        assert "1 commands wait at the node a" in alert.text()
        client.client_unpause()
        assert trader.message()["report"] == "NEW"
    alert.tells("ENDED journal-stalled main")


def test_redis_refuses_to_write(
    start_redis: StartRedis, start_server: StartServer, start_alert: StartAlert
) -> None:
    server = start_redis()
    start_nodes(start_server, server.url, "wood", "a")
    alert = start_alert("--redis", server.url)
    with server.client() as client:
        client.config_set("min-replicas-to-write", 1)
        alert.tells("RAISED redis-not-writing main")
        assert "NOREPLICAS" in alert.text()
        client.config_set("min-replicas-to-write", 0)
        alert.tells("ENDED redis-not-writing main")
        client.config_set("maxmemory", 500_000)
        eventually(lambda: alert.told().count("RAISED redis-not-writing main") == 2)
        assert "of its maxmemory" in alert.text()
        client.config_set("maxmemory", 0)
    assert {title.split()[1] for title in alert.told()} == {"redis-not-writing"}


def test_the_disk_of_redis_is_full(
    tmp_path: Path,
    redis_binary: str | None,
    start_server: StartServer,
    start_alert: StartAlert,
    request: pytest.FixtureRequest,
) -> None:
    server = SmallDisk(tmp_path, "everysec", redis_binary)
    request.addfinalizer(server.close)
    node = start_nodes(start_server, server.url, "wood", "a").nodes[0]
    alert = start_alert("--redis", server.url)
    with node.trader() as trader:
        trader.send(*[create(n, "BUY", 1, 1) for n in range(300)])
        assert [m["report"] for m in trader.messages(300)] == ["NEW"] * 300
        server.fill()
        numbers = iter(range(300, 100_000))

        def refused() -> bool:
            return "code" in trader.ask(create(next(numbers), "BUY", 1, 1))

        eventually(refused, "a refusal")
        alert.tells("RAISED redis-not-writing main")
        # Whichever is seen first: the file's state, a refusal, or what the node was refused.
        why = ("append-only file", "Redis refuses to write", "did not take them")
        assert any(reason in alert.text() for reason in why)
        server.empty()
        eventually(lambda: not refused(), "an order that is taken")
    alert.tells("ENDED redis-not-writing main")


def test_a_reader_does_not_move(
    redis_url: str, prefix: str, start_server: StartServer, start_alert: StartAlert
) -> None:
    cluster = start_nodes(start_server, redis_url, prefix, "a")
    alert = start_alert("--redis", redis_url, "--prefix", prefix)

    def read_up_to(seq: int, batch: int) -> None:
        async def write() -> None:
            keys = Keys(prefix)
            client = connect(redis_url, keys.meta)
            journal = (await client.hget(keys.meta, "id")).decode()
            await keep(client, keys, "graylog", Position(journal, 1, seq, batch, 0))
            await client.aclose()

        asyncio.run(write())

    read_up_to(0, 0)
    trade(cluster.nodes[0], 1, count=3)
    alert.tells("RAISED reader-behind graylog of main")
    last = cluster.journal()[-1]
    read_up_to(last.last, len(cluster.journal()))
    alert.tells("ENDED reader-behind graylog of main")
    assert {title.split()[1] for title in alert.told()} == {"reader-behind"}


def test_a_fork_while_nobody_looked(
    start_redis: StartRedis, start_server: StartServer, start_alert: StartAlert
) -> None:
    """It was asked only before and after, when the numbers had grown past where they were."""
    server = start_redis(*ALWAYS)
    cluster = start_nodes(start_server, server.url, "wood", "a", "b")
    trade(cluster.nodes[0], 1, count=20)
    options = "--redis-away", "60", "--forked-for", "3"
    alert = start_alert("--redis", server.url, *options)
    eventually(lambda: _has_looked(server))
    alert.freeze()
    server.kill()
    server.cut(5, Keys("wood").journal)
    server.start()
    cluster.logged("starting again from a snapshot")
    trade(cluster.nodes[1], 100, count=30)
    alert.thaw()
    alert.tells("RAISED journal-forked main", "ENDED journal-forked main")
    assert alert.told("RAISED") == ["RAISED journal-forked main"]
    assert ", once; see docs/operations.md#journal-forked" in alert.text()


def test_a_fork_that_only_the_nodes_saw(
    start_redis: StartRedis, start_server: StartServer, start_alert: StartAlert
) -> None:
    """What was lost had been written since the last look."""
    server = start_redis(*ALWAYS)
    cluster = start_nodes(start_server, server.url, "wood", "a", "b")
    trade(cluster.nodes[0], 1, count=5)
    alert = start_alert("--redis", server.url, "--redis-away", "60")
    eventually(lambda: _has_looked(server))
    alert.freeze()
    trade(cluster.nodes[0], 50, count=20)
    server.kill()
    server.cut(5, Keys("wood").journal)
    server.start()
    cluster.logged("starting again from a snapshot")
    trade(cluster.nodes[1], 100, count=30)
    alert.thaw()
    alert.tells("RAISED journal-forked main")
    assert "found that Redis had lost the end of the journal" in alert.text()
    assert alert.told("RAISED") == ["RAISED journal-forked main"]


def _has_looked(server: RedisServer) -> bool:
    """Whether `wood alert` has asked at least twice."""
    with server.client() as client:
        return bool(client.info("commandstats").get("cmdstat_unlink", {}).get("calls", 0) > 1)


def test_an_empty_redis_after_a_restart_is_the_worst_fork(
    start_redis: StartRedis, start_server: StartServer, start_alert: StartAlert
) -> None:
    server = start_redis()
    cluster = start_nodes(start_server, server.url, "wood", "a")
    trade(cluster.nodes[0], 1, count=5)
    alert = start_alert("--redis", server.url, "--redis-away", "60")
    eventually(lambda: _has_looked(server))
    server.kill()
    server.start()
    alert.tells("RAISED journal-forked main")
    assert "the journal began anew while nodes ran" in alert.text()


def test_the_nodes_and_the_book_are_gone_and_nothing_is_said_to_be_over(
    start_redis: StartRedis, start_server: StartServer, start_alert: StartAlert
) -> None:
    server = start_redis()
    cluster = start_nodes(start_server, server.url, "wood", "a")
    alert = start_alert("--redis", server.url)
    cluster.nodes[0].kill()
    alert.tells("RAISED node-lost a")
    server.kill()
    server.start()
    alert.tells("RAISED journal-forked main")
    assert "the book of the nodes a is gone" in alert.text()
    assert not alert.told("ENDED node-lost|ENDED journal-forked")
    cluster.start("--name", "a")
    alert.tells("ENDED node-lost a", "ENDED journal-forked main")


def test_where_there_is_no_book_it_says_so(
    redis_url: str, prefix: str, start_alert: StartAlert
) -> None:
    options = "--redis", redis_url, "--prefix", prefix
    text = f"there is no book under the prefix '{prefix}'"
    once = run_wood("alert", *options, "--once")
    assert (once.returncode, once.stdout) == (1, text + "\n")
    alert = start_alert(*options, "--repeat", "0.2")
    eventually(lambda: alert.text().count(f"WARNING {text}") >= 2, "two warnings")
    assert alert.told() == []


def test_it_needs_no_more_rights_than_a_node(
    start_redis: StartRedis, start_server: StartServer, start_alert: StartAlert
) -> None:
    server = start_redis()
    set_user(server)
    url = url_of(server.url)
    cluster = start_nodes(start_server, url, "wood", "a", "b")
    alert = start_alert("--redis", url)
    eventually(lambda: _has_looked(server))
    cluster.nodes[0].kill()
    alert.tells("RAISED node-lost a")
    assert alert.told() == ["RAISED node-lost a"]
    assert PASSWORD not in alert.text()
    with server.client() as client:
        assert client.execute_command("ACL", "LOG") == []


def test_of_two_partitions_the_one_that_forked_is_told(
    start_redis: StartRedis, start_server: StartServer, start_alert: StartAlert
) -> None:
    server = start_redis(*ALWAYS)
    markets = "--instrument", "WOOD:1:1", "--instrument", "TIN:1:1@metals"
    cluster = Cluster(start_server, server.url, "wood", *LEASE, *markets, nodes=1)
    with cluster.nodes[0].trader() as trader:
        for number in range(1, 20):
            order = create(number, "BUY", 1, 1) | {"symbol": "TIN"}
            assert trader.ask(order)["report"] == "NEW"
    journal = cluster.of("metals").journal
    alert = start_alert("--redis", server.url, "--redis-away", "60")
    eventually(lambda: _has_looked(server))
    server.kill()
    server.lose(5, journal)
    server.start()
    alert.tells("RAISED journal-forked metals")
    assert alert.told("RAISED") == ["RAISED journal-forked metals"]


def test_it_is_told_to_stop_while_redis_is_away(start_alert: StartAlert) -> None:
    alert = start_alert("--redis", f"redis://127.0.0.1:{free_port()}")
    alert.tells("RAISED redis-unreachable redis")
    alert.process.send_signal(signal.SIGTERM)
    assert alert.process.wait(5) == 0


@pytest.mark.long
def test_a_fail_over_is_an_outage_that_ends(
    tmp_path: Path,
    redis_binary: str | None,
    start_server: StartServer,
    start_alert: StartAlert,
    request: pytest.FixtureRequest,
) -> None:
    """What the replica lacked is told as a fork; no node is lost."""
    five = RedisSentinel(tmp_path, binary=redis_binary)
    request.addfinalizer(five.close)
    cluster = Cluster(start_server, five.url, "wood", nodes=2)
    trade(cluster.nodes[0], 1, count=5)
    eventually(lambda: five.master.has_all(five.replica), "a replica that has everything")
    alert = start_alert("--redis", five.url)
    five.master.cut_off(five.replica)
    trade(cluster.nodes[0], 10, count=20)
    eventually(lambda: _has_looked(five.master))
    five.master.kill()
    eventually(lambda: five.promoted(five.replica), "a fail-over")
    alert.tells("RAISED redis-unreachable redis", "RAISED journal-forked main")
    alert.tells("ENDED redis-unreachable redis")
    assert set(alert.told("RAISED")) == {
        "RAISED redis-unreachable redis",
        "RAISED journal-forked main",
    }
