"""The shipped balancer in front of three nodes: the real HAProxy, the real configuration."""

import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.haproxy import BINARY, CONFIG, Balanced, Balancer, needs_haproxy
from tests.redis_server import RedisServer
from tests.robots import Fleet
from tests.soak import Result, judge, settle
from tests.support import Peer, Server, create, eventually
from wood.node.session import MAX_HEARTBEAT

StartServer = Callable[..., Server]
StartRedis = Callable[..., RedisServer]

pytestmark = needs_haproxy

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")
ALL = {"message": "cancelAll"}
NOTHING = {"message": "cancelAll", "canceled": 0}
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@pytest.fixture
def balancer(start_server: StartServer, tmp_path: Path) -> Iterator[Balancer]:
    """Not started yet; it goes before the nodes do."""
    folder = tmp_path / "haproxy"
    folder.mkdir()
    balancer = Balancer(folder)
    yield balancer
    balancer.stop()


# The configuration as it ships


def test_it_finds_no_fault() -> None:
    assert BINARY is not None
    done = subprocess.run([BINARY, "-c", "-f", CONFIG], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stdout + done.stderr


def test_connections_outlive_the_longest_heartbeat() -> None:
    found = re.findall(r"^ *timeout (client|server|tunnel) (\d+)(\w+)$", CONFIG.read_text(), re.M)
    assert {name for name, _, _ in found} == {"client", "server", "tunnel"}
    assert min(int(number) * UNITS[unit] for _, number, unit in found) >= 2 * MAX_HEARTBEAT


# Connections


def test_clients_are_spread_and_known_by_their_own_addresses(
    redis_url: str, prefix: str, start_server: StartServer, balancer: Balancer
) -> None:
    cluster = Balanced(start_server, redis_url, prefix, balancer)
    with ExitStack() as stack:
        traders = [stack.enter_context(balancer.trader()) for _ in range(6)]
        watchers = [stack.enter_context(balancer.watcher()) for _ in range(6)]
        for peers in (traders, watchers):
            holders = [cluster.holder(peer) for peer in peers]
            assert {holders.count(node) for node in cluster.nodes} == {2}
        assert traders[0].ask(create(1, "BUY", 5, 1))["report"] == "NEW"
        assert {peer.line() for peer in watchers} == {
            b'{"type":"orderbook","side":"bid","price":5,"quantity":1}'
        }
        quiet = cluster.holder(traders[0])
        for peer in [peer for peer in traders if cluster.holder(peer) is quiet]:
            peer.socket.close()
        eventually(lambda: 0 in balancer.connections())
        for _ in range(2):
            peer = stack.enter_context(balancer.trader())
            assert cluster.holder(peer) is quiet, "least connections"


def test_a_client_that_closed_its_half_gets_its_answers(
    redis_url: str, prefix: str, start_server: StartServer, balancer: Balancer
) -> None:
    Balanced(start_server, redis_url, prefix, balancer)
    with balancer.trader() as peer:
        peer.send(*[create(n, "BUY", 5, 1) for n in range(1000)])
        peer.socket.shutdown(1)
        assert len(peer.rest().splitlines()) == 1000


def test_a_draining_node_gets_nobody_new_and_keeps_whom_it_has(
    redis_url: str, prefix: str, start_server: StartServer, balancer: Balancer
) -> None:
    cluster = Balanced(start_server, redis_url, prefix, balancer, "--drain", "60")
    with balancer.trader() as old, ExitStack() as stack:
        holder = cluster.holder(old)
        place = cluster.nodes.index(holder)
        holder.process.terminate()
        balancer.until(place, "DOWN")
        for _ in range(6):
            peer = stack.enter_context(balancer.trader())
            assert cluster.holder(peer) is not holder
        assert old.ask(ALL) == NOTHING
        holder.process.terminate()
        assert old.line() == b""
    cluster.drain()


def test_a_killed_node_is_not_noticed_by_who_comes(
    redis_url: str, prefix: str, start_server: StartServer, balancer: Balancer
) -> None:
    """Also before the health checks find out: it has the least connections, and takes none."""
    cluster = Balanced(start_server, redis_url, prefix, balancer)
    balancer.do("disable health private_ready/node1")
    cluster.nodes[0].kill()
    for _ in range(30):
        with balancer.trader() as peer:
            assert peer.ask(ALL) == NOTHING
    balancer.do("enable health private_ready/node1")
    balancer.until(0, "DOWN")


def test_redis_goes_away_and_nobody_is_closed(
    start_redis: StartRedis, start_server: StartServer, balancer: Balancer
) -> None:
    """All nodes are unready then; who comes is held by one that lives, as those before are."""
    redis = start_redis(*ALWAYS)
    cluster = Balanced(start_server, redis.url, "wood", balancer, "--lease", "1")
    with ExitStack() as stack:
        old = [stack.enter_context(balancer.trader()) for _ in range(3)]
        watcher = stack.enter_context(balancer.watcher())
        assert old[0].ask(create(1, "BUY", 5, 1))["report"] == "NEW"
        level = watcher.line()
        redis.kill()
        for place in range(3):
            balancer.until(place, "DOWN")
        assert balancer.states("private_alive") == balancer.states("public_alive") == ["UP"] * 3
        new = [stack.enter_context(balancer.trader()) for _ in range(3)]
        assert {cluster.holder(peer) for peer in new} == set(cluster.nodes)
        with balancer.watcher() as late:
            assert late.line() == level, "the book as it was when Redis went"
        for peer in (*old, *new):
            peer.send(ALL)
        redis.start()
        assert old[0].message()["report"] == "CANCELED"
        assert old[0].message()["canceled"] == 1
        assert [peer.message() for peer in (*old[1:], *new)] == [NOTHING] * 5
        for place in range(3):
            balancer.until(place, "UP")
    assert not any("snapshot" in node.text() for node in cluster.nodes)


def test_when_all_are_full_the_refusal_is_heard(
    redis_url: str, prefix: str, start_server: StartServer, balancer: Balancer
) -> None:
    Balanced(start_server, redis_url, prefix, balancer, "--max-connections", "1")
    with ExitStack() as stack:
        for peer in [stack.enter_context(balancer.trader()) for _ in range(3)]:
            assert peer.ask(ALL) == NOTHING
        for place in range(3):
            balancer.until(place, "DOWN")
        with balancer.trader() as one_more:
            assert one_more.message()["code"] == "limit"


def test_without_any_node_a_client_is_closed_at_once(
    redis_url: str, prefix: str, start_server: StartServer, balancer: Balancer
) -> None:
    cluster = Balanced(start_server, redis_url, prefix, balancer)
    for node in cluster.nodes:
        node.kill()
    for place in range(3):
        balancer.until(place, "DOWN", "private_alive")
    with balancer.trader() as peer:
        assert peer.line() == b""


def test_the_balancer_itself_can_leave_without_closing_anybody(
    redis_url: str, prefix: str, start_server: StartServer, balancer: Balancer
) -> None:
    """As it does for a new one with another configuration."""
    Balanced(start_server, redis_url, prefix, balancer)
    with balancer.trader() as peer:
        assert peer.ask(ALL) == NOTHING
        balancer.leave()
        eventually(lambda: not _takes_connections(balancer), "an end of listening")
        assert peer.ask(ALL) == NOTHING
    eventually(balancer.ended, "the end of HAProxy")


def _takes_connections(balancer: Balancer) -> bool:
    try:
        with balancer.trader():
            return True
    except OSError:
        return False


# Under load


class Newcomers:
    """Connects again and again, asks one thing and goes; `failures` are those not answered."""

    def __init__(self, balancer: Balancer) -> None:
        self.count = 0
        self.failures: list[str] = []
        self._balancer = balancer
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Newcomers":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(0.02):
            self.count += 1
            try:
                with self._balancer.trader() as peer:
                    if (answer := peer.ask(ALL)) != NOTHING:
                        self.failures.append(f"private: {answer}")
                with self._balancer.watcher() as peer:
                    peer.send({"message": "subscribe", "symbols": ["WOOD"]})
                    self._until_subscribed(peer)
            except OSError as error:
                self.failures.append(repr(error))

    def _until_subscribed(self, peer: Peer) -> None:
        while (message := peer.message()) is not None:
            if message["type"] == "subscribed":
                return
        self.failures.append("public: closed")


class Load:
    """Lets robots send one more part of what is left every moment: they are never through."""

    def __init__(self, fleet: Fleet, orders: int) -> None:
        self._fleet = fleet
        self._orders = orders
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let them send the rest."""
        self._stopped.set()
        self._thread.join()
        self._allow(1.0)

    def _run(self) -> None:
        left = 1.0
        while not self._stopped.wait(0.02):
            left *= 0.995
            self._allow(1 - left)

    def _allow(self, share: float) -> None:
        if self._fleet.failure is None:
            for robot in self._fleet.robots:
                self._fleet.call(robot.allow, share)


@pytest.mark.parametrize("how", ["restarted", "killed"])
def test_all_nodes_one_after_the_other_under_load(
    how: str,
    start_redis: StartRedis,
    start_server: StartServer,
    balancer: Balancer,
    full: bool,
) -> None:
    """Those who log in come back through the balancer and lose no report, nor get one twice.

    Where nodes end in an orderly way nobody who comes meanwhile is turned away either.
    """
    options = ("--persist", "--lease", "1", "--reconnect-grace", "2", "--drain", "1")
    redis = start_redis(*ALWAYS)
    cluster = Balanced(start_server, redis.url, "wood", balancer, *options)
    orders, rounds = (30_000, 3) if full else (4_000, 1)
    address = balancer.host, balancer.private
    fleet = Fleet([address], 9, orders, seed=7, heartbeat=0.5, share=0.0)
    result = Result()
    try:
        with Newcomers(balancer) as newcomers, Load(fleet, orders):
            begin = time.monotonic()
            for place in [*range(3)] * rounds:
                before = fleet.sent
                assert fleet.wait(lambda before=before: fleet.sent > before + 50, 20)  # type: ignore[misc]
                if how == "killed":
                    cluster.nodes[place].kill()
                else:
                    assert cluster.nodes[place].stop() == 0
                cluster.begin_again(place)
            result.seconds = time.monotonic() - begin
        book = settle(cluster, fleet)
    finally:
        fleet.stop()
    judge(result, cluster, fleet, book)
    cluster.drain()
    print(result.summary())
    print(f"{newcomers.count} newcomers, failed: {newcomers.failures}")
    assert not result.differences
    assert result.counts["sessions resumed"] >= len(fleet.robots)
    if how == "restarted":
        assert newcomers.count > 30
        assert not newcomers.failures
