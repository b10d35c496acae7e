"""How a cluster begins and ends: who keeps the book, who clears it, who may not join."""

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.cluster import Cluster
from tests.engines import INSTRUMENTS, Recorder, with_loop
from tests.redis_books import contents
from tests.redis_server import RedisServer
from tests.support import (
    PATIENCE,
    ROOT,
    Server,
    clean_environment,
    create,
    eventually,
    run_wood,
    run_wood_here,
)
from wood.exchange.cluster.exchange import ClusterExchange
from wood.exchange.cluster.rights import acl_rules
from wood.model.commands import NewOrder
from wood.model.orders import BUY

StartServer = Callable[..., Server]
StartRedis = Callable[..., RedisServer]
T = TypeVar("T")

NODE = ("-s", "-m", "--private", "0", "--public", "0")
OFFLINE = "redis://127.0.0.1:1/0"
"""Where nobody listens."""


def at_once(works: Iterable[Callable[[], T]]) -> list[T]:
    """Do several things at the same time."""
    with ThreadPoolExecutor(16) as pool:
        return [each.result() for each in [pool.submit(work) for work in works]]


def refused(*words: str, said: str, **environment: str) -> str:
    """A node that must not start says why in one line, and ends. Returns the line."""
    return one_line(run_wood(*NODE, *words, **environment), said)


def refused_here(*words: str, said: str, **environment: str) -> str:
    """The same in this process."""
    return one_line(run_wood_here(*NODE, *words, **environment), said)


def one_line(done: "subprocess.CompletedProcess[str]", said: str) -> str:
    assert done.returncode == 1, done
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("wood: ")
    assert said in line
    return line


def _agreed(client: Any) -> dict[bytes, object]:
    """All but what those who are there say of themselves every second."""
    said = (b"beats", b"nodes")
    return {k: v for k, v in contents(client).items() if not k.endswith(said)}


def rest(node: Server, *numbers: int) -> None:
    """Put an order of one's own at each of these prices, which is its id too."""
    with node.trader() as trader:
        for number in numbers:
            report = trader.ask(create(number, "BUY", number, 5))
            assert report == {"message": "executionReport", "orderId": number, "report": "NEW"}
        name = f"port {trader.socket.getsockname()[1]}"
    # The end of the session is a batch of its own.
    (line,) = (line for line in node.text().splitlines() if line.endswith(name))
    session = line.split("session ")[1].split()[0]
    eventually(lambda: f"session {session} closed" in node.text(), "the end of the session")


def ids(cluster: Cluster, symbol: str = "WOOD") -> list[int]:
    """The ids of the open orders in Redis."""
    return sorted(order_id for _, order_id in cluster.orders(symbol))


def prices(node: Server) -> list[int]:
    """The prices of the bids that this node shows to the public, the lowest first."""
    found = []
    with node.watcher() as watcher:
        watcher.send({"message": "subscribe", "symbols": ["WOOD"]})
        while (line := watcher.message())["type"] != "snapshot":
            if "seq" in line:
                found.append(line["price"])
    return sorted(found)


def shows(node: Server, *expected: int) -> None:
    """Wait until this node shows exactly these bids: what another one took is a moment away."""
    eventually(lambda: prices(node) == list(expected), f"bids {expected}")


def partition(cluster: Cluster) -> bytes:
    """The random id that a partition has from when it was cleared to when it is again."""
    with cluster.redis() as client:
        found: bytes = client.hget(cluster.keys.meta, "id")
    return found


class TestPersist:
    def test_the_book_survives_the_stop_of_all_nodes_and_of_redis(
        self, start_redis: StartRedis, start_server: StartServer
    ) -> None:
        server = start_redis("--appendonly", "yes")
        cluster = Cluster(start_server, server.url, "wood", "--persist", nodes=0)
        nodes = at_once([cluster.start] * 2)
        rest(nodes[0], 11)
        rest(nodes[1], 12)
        assert [node.stop() for node in nodes] == [0, 0]
        # Politely: after kill -9, appendfsync everysec may lose the last second.
        server.process.terminate()
        server.process.wait(PATIENCE)
        server.start()
        node = cluster.start()
        assert prices(node) == [11, 12]
        with node.trader() as trader:  # the orders are there to trade with, not only to look at
            trader.send(create(1, "SELL", 12, 6))
            assert [m["report"] for m in trader.messages(2)] == ["NEW", "FILL"]
        assert ids(cluster) == [1, 11]
        assert "cleared" not in node.text().lower()
        assert "append-only" not in node.text(), "it is on"

    def test_it_is_said_that_the_append_only_file_is_off(
        self, start_redis: StartRedis, start_server: StartServer
    ) -> None:
        server = start_redis("--appendonly", "no")
        cluster = Cluster(start_server, server.url, "wood", "--persist", nodes=1)
        cluster.logged("the append-only file of Redis is off")

    def test_a_first_node_keeps_what_is_there(
        self, redis_url: str, prefix: str, start_server: StartServer
    ) -> None:
        """Also what was not persisted so far; and the flag is kept from then on."""
        cluster = Cluster(start_server, redis_url, prefix, nodes=1)
        rest(cluster.nodes[0], 11)
        cluster.nodes[0].stop()
        node = cluster.start("--persist")
        assert prices(node) == [11]
        with cluster.redis() as client:
            assert client.hget(cluster.keys.meta, "persist") == b"1"
        node.kill()
        # Nobody has to wait for the leases of the dead: there is nothing to clear.
        with cluster.redis() as client:
            writers = client.hlen(cluster.keys.writers)
        assert prices(cluster.start("--persist")) == [11]
        assert len(cluster.writers()) == writers + 1

    def test_a_first_node_with_other_instruments_refuses_and_touches_nothing(
        self, start_redis: StartRedis, start_server: StartServer
    ) -> None:
        server = start_redis("--appendonly", "yes")
        cluster = Cluster(start_server, server.url, "wood", "--persist", nodes=1)
        rest(cluster.nodes[0], 11)
        cluster.nodes[0].stop()
        words = ("--redis", server.url, "--persist")
        with cluster.redis() as client:
            before = contents(client)
            refused(*words, "--instrument", "GOLD", said="WOOD:0.01:1 there")
            assert contents(client) == before
        # Limits are another matter: the book does not depend on them.
        node = cluster.start("--max-open-orders", "1")
        assert prices(node) == [11]
        with node.trader() as trader:
            assert trader.ask(create(1, "BUY", 12, 1))["report"] == "NEW"
            assert trader.ask(create(2, "BUY", 12, 1))["code"] == "limit"

    def test_to_clear_what_was_persisted_is_said_aloud(
        self, redis_url: str, prefix: str, start_server: StartServer
    ) -> None:
        cluster = Cluster(start_server, redis_url, prefix, nodes=0)
        first = cluster.start("--persist")
        rest(first, 11, 12)
        first.stop()
        node = cluster.start()
        assert prices(node) == []
        cluster.logged("WARNING the book was persisted and is CLEARED: 2 open orders", [node])


class TestClear:
    def test_several_first_nodes_at_once_delete_no_acknowledged_order(
        self, redis_url: str, prefix: str, start_server: StartServer, full: bool
    ) -> None:
        cluster = Cluster(start_server, redis_url, prefix, "--lease", "1", nodes=0)

        def start(number: int) -> Server:
            node = cluster.start()
            rest(node, number)  # as soon as it answers, while others are still starting
            return node

        for round_ in range(20 if full else 3):
            numbers = range(10 + 10 * round_, 13 + 10 * round_)
            nodes = at_once([partial(start, number) for number in numbers])
            assert ids(cluster) == list(numbers), "none is lost, and none left of those before"
            said = [node.text().count("a book of 3 open orders is cleared") for node in nodes]
            assert sum(said) == (round_ > 0), "the first of them said so, if any"
            if round_ % 2:  # then those who come next have to wait for the leases of these
                at_once([node.kill for node in nodes])
            else:
                assert at_once([node.stop for node in nodes]) == [0] * 3

    def test_forty_first_nodes_in_one_process(self, redis_url: str, prefix: str) -> None:
        """As many as can join between two answers of Redis; each sends as soon as it may."""

        async def start(number: int) -> ClusterExchange:
            node = ClusterExchange(INSTRUMENTS, redis_url, prefix)
            node.attach(Recorder())
            await node.start()
            node.submit([NewOrder("~p", "~p", 0, "WOOD", number, BUY, 100, 1)])
            await node.drain()
            return node

        async def test() -> None:
            for first in (0, 40):
                nodes = await asyncio.gather(*(start(first + n) for n in range(40)))
                assert ids(cluster) == list(range(first, first + 40))
                await asyncio.gather(*(node.close() for node in nodes))

        cluster = Cluster(lambda *_: pytest.fail("no process"), redis_url, prefix, nodes=0)
        with_loop(test)

    def test_who_comes_later_or_leaves_clears_nothing(
        self, redis_url: str, prefix: str, start_server: StartServer
    ) -> None:
        cluster = Cluster(start_server, redis_url, prefix, nodes=1)
        first = cluster.nodes[0]
        rest(first, 11)
        second = cluster.start()
        assert prices(second) == [11]
        rest(second, 12)
        assert len(cluster.writers()) == 2
        assert first.stop() == 0
        assert len(cluster.writers()) == 1, "who leaves says so, without its lease having to end"
        third = cluster.start()
        assert prices(third) == [11, 12]
        assert second.stop() == 0
        assert prices(third) == [11, 12]
        assert third.stop() == 0
        assert cluster.writers() == set()
        assert ids(cluster) == [11, 12], "only the next first node clears"
        assert prices(cluster.start()) == []
        assert ids(cluster) == []

    def test_what_other_instruments_held_is_cleared_too(
        self, redis_url: str, prefix: str, start_server: StartServer
    ) -> None:
        cluster = Cluster(start_server, redis_url, prefix, nodes=1)
        rest(cluster.nodes[0], 11)
        cluster.nodes[0].stop()
        cluster.start("--instrument", "GOLD")
        with cluster.redis() as client:
            assert list(client.scan_iter(f"{prefix}*WOOD*", count=1000)) == []
            assert json.loads(client.hget(cluster.keys.meta, "rules"))["instruments"] == [
                ["GOLD", "0.01", "1"]
            ]

    def test_an_outage_longer_than_all_leases_clears_nothing(
        self, start_redis: StartRedis, start_server: StartServer
    ) -> None:
        """Neither those who were there before it nor one that starts just then."""
        server = start_redis()
        cluster = Cluster(start_server, server.url, "wood", "--lease", "1", nodes=0)
        nodes = at_once([cluster.start] * 2)
        before = partition(cluster)
        with nodes[0].trader() as trader, ThreadPoolExecutor(1) as pool:
            assert trader.ask(create(11, "BUY", 11, 5))["report"] == "NEW"
            rest(nodes[1], 12)
            frozen = time.monotonic()
            server.freeze()
            try:
                newcomer = pool.submit(cluster.start)
                eventually(lambda: time.monotonic() > frozen + 1.5, "the end of all leases")
            finally:
                server.thaw()
            node = newcomer.result()
            assert prices(node) == [11, 12]
            # Whoever was connected is, and still has what it had.
            report = trader.ask({"message": "cancelOrder", "orderId": 11})
            assert report["report"] == "CANCELED"
        for each in (*nodes, node):
            shows(each, 12)
            assert "clear" not in each.text().lower()
        assert partition(cluster) == before
        assert len(cluster.writers()) == 3

    def test_a_node_that_comes_back_to_nobody_clears_nothing(
        self, redis_url: str, prefix: str, start_server: StartServer
    ) -> None:
        """It was declared dead, and then the others left: it is alone, but it did not start."""
        cluster = Cluster(start_server, redis_url, prefix, "--lease", "1", nodes=0)
        sleeper, other = at_once([cluster.start] * 2)
        before = partition(cluster)
        rest(other, 12)
        with sleeper.trader() as trader:
            assert trader.ask(create(11, "BUY", 11, 5))["report"] == "NEW"
            sleeper.process.send_signal(signal.SIGSTOP)
            try:
                eventually(lambda: len(cluster.writers()) == 1, "that it is declared dead")
                assert other.stop() == 0
                assert cluster.writers() == set()
            finally:
                sleeper.process.send_signal(signal.SIGCONT)
            # It takes nothing more from those who were connected, and from then on is as new.
            assert b'"unavailable"' in trader.rest()
        cluster.logged("comes back as a new one", [sleeper])
        assert partition(cluster) == before
        rest(sleeper, 13)
        shows(sleeper, 11, 12, 13)
        assert len(cluster.writers()) == 1

    def test_after_all_were_killed_the_next_waits_for_their_leases(
        self, redis_url: str, prefix: str, start_server: StartServer
    ) -> None:
        cluster = Cluster(start_server, redis_url, prefix, "--lease", "1", nodes=0)
        nodes = at_once([cluster.start] * 2)
        rest(nodes[0], 11)
        rest(nodes[1], 12)
        for node in nodes:
            node.kill()
        with cluster.redis() as client:
            beats = client.zrange(cluster.keys.beats, 0, -1, withscores=True)
            last = max(score for _, score in beats)
        before = partition(cluster)
        node = cluster.start()
        with cluster.redis() as client:
            # Nothing has happened in it since it was created.
            created = int(client.hget(cluster.keys.meta, "time"))
        assert partition(cluster) != before
        assert created - last >= 1_000_000, "it waited until they were certainly dead"
        assert ids(cluster) == []
        assert prices(node) == []
        assert len(cluster.writers()) == 1
        cluster.logged("a book of 2 open orders is cleared", [node])


class TestRefusal:
    @pytest.mark.parametrize("persist", [False, True])
    def test_a_node_that_differs_may_not_join(
        self, start_redis: StartRedis, start_server: StartServer, persist: bool
    ) -> None:
        server = start_redis("--appendonly", "yes")
        flag = ["--persist"] if persist else []
        cluster = Cluster(start_server, server.url, "wood", *flag, nodes=1)
        rest(cluster.nodes[0], 11)
        words = ["--redis", server.url]
        here = "without" if persist else "with"
        other = [] if persist else ["--persist"]
        with cluster.redis() as client:
            before = _agreed(client)
            differing = {
                f"and this node {here}": other,
                "WOOD:0.5:1 here": [*flag, "--instrument", "WOOD:0.5"],
            }
            if not persist:
                for limit in ("--max-open-orders", "--max-resting-orders", "--journal"):
                    differing[f"{limit}: "] = [limit, "7"]
            runs = [partial(refused, *words, *more, said=said) for said, more in differing.items()]
            at_once(runs)
            assert _agreed(client) == before
            assert client.zcard(cluster.keys.beats) == 1, "they are not waited for"
        assert prices(cluster.nodes[0]) == [11]

    def test_a_node_that_cannot_listen_leaves_at_once(
        self, redis_url: str, prefix: str, start_server: StartServer
    ) -> None:
        cluster = Cluster(start_server, redis_url, prefix, nodes=1)
        rest(cluster.nodes[0], 11)
        words = ("--redis", redis_url, "--prefix", prefix)
        taken = str(cluster.nodes[0].private)
        refused(*words, "--private", taken, said=f"port {taken} is in use")
        assert len(cluster.writers()) == 1
        assert prices(cluster.nodes[0]) == [11]

    def test_options_that_need_others(self) -> None:
        mistakes = [
            (["-m"], "-m goes with -s"),
            (["-s", "--persist"], "--persist needs -m"),
            (["-s", "-m", "--prefix", "a{b}"], "Invalid value for '--prefix'"),
            (["-s", "-m", "--lease", "0.5"], "Invalid value for '--lease'"),
        ]
        for words, said in mistakes:
            done = run_wood_here(*words)
            assert done.returncode == 2
            [line] = done.stderr.splitlines()
            assert line.startswith("wood: ")
            assert said in line

    def test_a_url_that_leads_nowhere(self) -> None:
        no_url = [
            "http://127.0.0.1:1",
            "127.0.0.1:1",
            "redis://127.0.0.1:port/0",
            "redis://127.0.0.1:1/0?no_such_setting=1",
        ]
        said = {OFFLINE: f"cannot reach Redis at {OFFLINE}"}
        said |= dict.fromkeys(no_url, "this is no URL of a Redis")
        for url, line in said.items():
            refused_here("--redis", url, said=line)

    def test_a_socket_that_is_not_there(self) -> None:
        url = "unix:///no/such/socket?db=0"
        refused_here("--redis", url, said="cannot reach Redis at unix:///no/such/socket")

    def test_a_database_that_is_no_number(self) -> None:
        """The client library would take another one than was meant: number 0."""
        refused_here("--redis", "redis://127.0.0.1:1/abc", said="--redis redis://127.0.0.1:1/abc")

    @pytest.mark.parametrize(
        "url", ["redis://user:p4ssw0rd@127.0.0.1:1", "redis://127.0.0.1:1/0?password=p4ssw0rd"]
    )
    def test_a_password_is_not_shown(self, url: str) -> None:
        assert "p4ssw0rd" not in refused_here("--redis", url, said="cannot reach Redis")

    def test_the_environment_says_where_redis_is(
        self, redis_url: str, prefix: str, start_server: StartServer
    ) -> None:
        refused(WOOD_REDIS=OFFLINE, said=OFFLINE)
        node = start_server("-m", before=f"export WOOD_REDIS={redis_url} WOOD_PREFIX={prefix}")
        rest(node, 11)
        cluster = Cluster(start_server, redis_url, prefix, nodes=0)
        assert ids(cluster) == [11]

    def test_a_server_that_throws_keys_away(self, start_redis: StartRedis) -> None:
        server = start_redis("--maxmemory-policy", "allkeys-lru")
        refused("--redis", server.url, said="set maxmemory-policy to noeviction")


class TestWays:
    """All that a URL can say."""

    @pytest.fixture
    def folder(self) -> Iterator[Path]:
        """The path of a socket may have some 100 characters: that of pytest may be too long."""
        path = Path(tempfile.mkdtemp(prefix="wood-"))
        yield path
        shutil.rmtree(path)

    def test_a_unix_socket(
        self, start_redis: StartRedis, start_server: StartServer, folder: Path
    ) -> None:
        server = start_redis("--unixsocket", str(folder / "redis"))
        url = f"unix://{folder}/redis?db=3"
        cluster = Cluster(start_server, url, "wood", nodes=0)
        nodes = at_once([cluster.start] * 2)
        rest(nodes[0], 11)
        shows(nodes[1], 11)
        with server.client(db=3) as there, server.client(db=0) as elsewhere:
            assert there.exists(cluster.keys.meta)
            assert elsewhere.dbsize() == 0

    def test_two_databases_of_one_server_are_two_exchanges(
        self, start_redis: StartRedis, start_server: StartServer
    ) -> None:
        """Though all databases share the channels."""
        server = start_redis()
        base = server.url.removesuffix("/0")
        clusters = [Cluster(start_server, f"{base}/{db}", "wood", nodes=0) for db in (0, 5)]
        one, other = at_once([cluster.start for cluster in clusters])
        listener = clusters[0].start()
        rest(one, 11)
        rest(other, 20, 21, 22)
        rest(one, 12)
        assert [ids(cluster) for cluster in clusters] == [[11, 12], [20, 21, 22]]
        assert prices(other) == [20, 21, 22]
        for node in (one, listener):
            shows(node, 11, 12)
            assert "WARNING" not in node.text()
        refused("--redis", f"{base}/99", said="out of range")

    def test_a_password(self, start_redis: StartRedis, start_server: StartServer) -> None:
        # Given later, since the harness could not look whether a locked server is up.
        server = start_redis()
        with server.client() as client:
            client.config_set("requirepass", "p4ssw0rd")
        host = f"127.0.0.1:{server.port}"
        good, wrong = f"redis://:p4ssw0rd@{host}/0", f"redis://:wr0ng@{host}/0"
        assert "wr0ng" not in refused("--redis", wrong, said="Redis does not let us in")
        refused("--redis", f"redis://{host}/0", said="Redis does not let us in")
        cluster = Cluster(start_server, good, "wood", nodes=1)
        rest(cluster.nodes[0], 11)
        assert ids(cluster) == [11]
        assert "p4ssw0rd" not in cluster.nodes[0].text()

    def test_a_user_with_few_rights(
        self, start_redis: StartRedis, start_server: StartServer
    ) -> None:
        """Those of deploy/redis.acl, for another prefix."""
        server = start_redis()
        rights = acl_rules("w1").split()
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "market", "reset", ">p4ssw0rd", *rights)
            url = f"redis://market:p4ssw0rd@127.0.0.1:{server.port}/0"
            cluster = Cluster(start_server, url, "w1", nodes=0)
            nodes = at_once([cluster.start] * 2)
            rest(nodes[0], 11)
            shows(nodes[1], 11)
            assert [node.stop() for node in nodes] == [0, 0]
            assert prices(cluster.start()) == [], "it may clear, too"
            assert client.execute_command("ACL", "LOG") == []
        refused("--redis", url, "--prefix", "w2", said="on names that begin with w2:")

    def test_tls(self, start_server: StartServer, tmp_path: Path, redis_binary: str | None) -> None:
        certificate = self._certificate(tmp_path)
        port, server = self._tls_server(tmp_path, certificate, redis_binary)
        url = f"rediss://127.0.0.1:{port}/0"
        try:
            trusted = f"{url}?ssl_ca_certs={certificate}"
            cluster = Cluster(start_server, trusted, "wood", nodes=0)
            nodes = at_once([cluster.start] * 2)
            rest(nodes[0], 11)
            shows(nodes[1], 11)
            refused("--redis", url, said="certificate verify failed")
            refused("--redis", url.replace("rediss", "redis"), said="cannot reach Redis")
            for node in nodes:
                node.stop()
        finally:
            server.close()

    @staticmethod
    def _certificate(folder: Path) -> Path:
        openssl = shutil.which("openssl")
        if openssl is None:
            pytest.skip("there is no openssl to make a certificate with")
        words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key -out crt"
        subprocess.run(
            [openssl, *words.split(), "-addext", "subjectAltName=IP:127.0.0.1"],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        return folder / "crt"

    @staticmethod
    def _tls_server(folder: Path, certificate: Path, given: str | None) -> tuple[int, RedisServer]:
        """The first of those that can be had which speaks TLS."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = ["--tls-port", str(port), "--tls-auth-clients", "no"]
        options += ["--tls-cert-file", str(certificate), "--tls-key-file", str(folder / "key")]
        binaries = [given, shutil.which("redis-server"), shutil.which("valkey-server"), None]
        for number, binary in enumerate(binaries):
            if binary is None and number != len(binaries) - 1:
                continue
            try:
                return port, RedisServer(folder, *options, binary=binary)
            except AssertionError:
                pass  # it ended at once, saying that it knows no TLS
        pytest.skip("no Redis or Valkey here was built with TLS")


def test_keys_of_others_are_never_touched(
    start_server: StartServer, start_redis: StartRedis
) -> None:
    """Whatever they are called, by start, clear, stop, or what a market does."""
    server = start_redis()
    with server.client() as client:
        client.set("wood", "a forest")
        client.rpush("wood:{main}", "a", "b")
        client.hset("wood:{other}:meta", "rules", "none")
        client.hset("woods:{main}:meta", "rules", "none")
        client.zadd("wood:{main}:bids:WOODEN", {"x": 1})
        client.set("session", "1", ex=1000)
        client.sadd("x:wood:{main}:meta", "x")
        others = set(client.keys())
        before = {key: value for key, value in contents(client).items() if key != b"session"}
        cluster = Cluster(start_server, server.url, "wood", nodes=0)
        for _ in range(2):  # the second clears what the first has left
            node = cluster.start()
            rest(node, 11, 12)
            with node.trader() as trader:
                trader.send(create(1, "SELL", 11, 7))
                trader.messages(2)
            assert node.stop() == 0
        assert {key: value for key, value in contents(client).items() if key in before} == before
        assert 900 < client.ttl("session") <= 1000
        mine = set(client.keys()) - others
        assert mine
        assert all(key.startswith(b"wood:{main}:") for key in mine)


def test_a_candidate_that_gives_up_leaves_no_trace(
    redis_url: str, prefix: str, start_server: StartServer
) -> None:
    """While it waits for the dead it shows that it lives; once stopped, nobody waits for it."""
    cluster = Cluster(start_server, redis_url, prefix, "--lease", "1", nodes=1)
    rest(cluster.nodes[0], 11)
    cluster.nodes[0].kill()
    with cluster.redis() as client:
        [dead] = client.zrange(cluster.keys.beats, 0, -1)
        words = [*NODE, "--redis", redis_url, "--prefix", prefix, "--lease", "60"]
        candidate = subprocess.Popen(
            [sys.executable, "-m", "wood", *words], cwd=ROOT, env=clean_environment()
        )
        try:
            eventually(lambda: client.zcard(cluster.keys.beats) == 2, "that it waits")
        finally:
            candidate.kill()
            candidate.wait(20)
        assert dead in client.zrange(cluster.keys.beats, 0, -1)
        node = cluster.start()
        assert prices(node) == []
        eventually(lambda: client.zcard(cluster.keys.beats) == 1, "that the dead are forgotten")


def test_a_candidate_that_is_told_to_stop_stops_at_once(
    redis_url: str, prefix: str, start_server: StartServer
) -> None:
    cluster = Cluster(start_server, redis_url, prefix, "--lease", "60", nodes=1)
    cluster.nodes[0].kill()
    with cluster.redis() as client:
        words = [*NODE, "--redis", redis_url, "--prefix", prefix, "--lease", "60"]
        candidate = subprocess.Popen(
            [sys.executable, "-m", "wood", *words], cwd=ROOT, env=clean_environment()
        )
        eventually(lambda: client.zcard(cluster.keys.beats) == 2, "that it waits")
        candidate.terminate()
        assert candidate.wait(20) == 0
        assert client.zcard(cluster.keys.beats) == 1
