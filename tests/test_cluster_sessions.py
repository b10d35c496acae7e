"""Sessions that outlive a node and a Redis: several node processes, the client at any of them."""

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.redis_server import RedisServer
from tests.sessions import (
    ALL,
    HEARTBEAT,
    LOGIN,
    MANY,
    again,
    bad_end,
    is_open,
    log_in,
    numbers,
    open_orders,
    rest_of,
    resume,
    until_canceled,
)
from tests.support import Peer, Server, create, eventually, run_wood_here

StartServer = Callable[..., Server]
StartRedis = Callable[..., RedisServer]

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")
QUICK = ("--lease", "1", "--reconnect-grace", "0.2")


@pytest.fixture
def pair(redis_url: str, prefix: str, start_server: StartServer) -> Cluster:
    """Two nodes."""
    return Cluster(start_server, redis_url, prefix, *QUICK, nodes=2)


def test_resumed_on_another_node(pair: Cluster) -> None:
    """While others trade with it: complete, in order, none twice; the older connection ends."""
    here, there = pair.nodes
    with here.trader() as before, there.trader() as bob, there.trader() as after:
        login = log_in(before)
        before.send(*[create(n, "BUY", 5, 10) for n in range(300)])
        before.messages(300)
        bob.send(*[create(n, "SELL", 5, 1) for n in range(1000)])
        seen = before.messages(100)
        after.send(again(login, seen[-1]["seq"]))
        reports, reply = rest_of(after)
        assert (reply["recovered"], reply["session"]) == (True, login["session"])
        bob.messages(2000)
        live = after.messages(1000 - 100 - len(reports))
        filled = seen + reports + live
        assert [report["report"] for report in filled] == ["FILL"] * 1000
        assert len(numbers(filled)) == 1000
        assert all(r["seq"] < reply["seq"] for r in reports)
        assert all(r["seq"] > reply["seq"] for r in live)
        before.send(create(7777, "BUY", 4, 1))
        *told, last = before.rest().splitlines()
        assert b'"superseded"' in last
        assert sum(b"FILL" in line for line in told) >= len(reports)
        assert not is_open(after, 7777)
        assert after.ask(create(7777, "BUY", 4, 1))["report"] == "NEW"


def test_a_frozen_node_takes_nothing_after_its_client_resumed_elsewhere(pair: Cluster) -> None:
    here, there = pair.nodes
    with here.trader() as before, there.trader() as after:
        login = log_in(before)
        report = before.ask(create(1, "BUY", 5, 1))
        here.process.send_signal(signal.SIGSTOP)
        before.send(*[create(n, "BUY", 5, 1) for n in range(2, 500)])
        reports, reply = resume(after, again(login))
        assert (reports, reply["recovered"]) == ([report], True)
        here.process.send_signal(signal.SIGCONT)
        told = before.rest()
        assert b'"superseded"' in told or b'"unavailable"' in told
        assert after.ask(HEARTBEAT)["seq"] >= reply["seq"]
        assert {order_id for _, order_id in pair.orders()} == {1}


def test_connections_of_one_participant_at_two_nodes(pair: Cluster) -> None:
    here, there = pair.nodes
    with here.trader() as first, there.trader() as second, there.trader() as nobody:
        log_in(first, cancelOnDisconnect=True)
        log_in(second, cancelOnDisconnect=True)
        report = first.ask(create(1, "BUY", 5, 10))
        assert second.message() == report
        assert second.ask({"message": "cancelOrder", "orderId": 9})["code"] == "not_found"
        nobody.send(create(1, "SELL", 5, 4))
        assert [list(m) for m in nobody.messages(2)] == [
            ["message", "orderId", "report"],
            ["message", "orderId", "report", "price", "quantity"],
        ]
        assert first.message() == second.message()
        assert first.ask(HEARTBEAT)["message"] == "heartbeat", "and nothing else before it"
        first.socket.close()
        pair.logged(" closed: ", [here])
        assert is_open(second, 1)
        with here.watcher() as watcher:
            assert watcher.message()["quantity"] == 6
            second.socket.close()
            until_canceled(watcher, 5)


def test_a_replay_of_many_from_redis(
    redis_url: str, prefix: str, start_server: StartServer, full: bool
) -> None:
    """Read slowly: the node's memory does not grow with it, and others are answered."""
    pair = Cluster(start_server, redis_url, prefix, *MANY, *QUICK, nodes=2)
    here, there = pair.nodes
    count = 200_000 if full else 20_000
    with here.trader() as alice, there.trader() as bob:
        login = log_in(alice)
        open_orders(alice, count)
        alice.socket.close()
        before = there.memory()
        with there.trader(receive_buffer=4096) as slow:
            slow.send(again(login))
            slow.line()
            for start in range(0, 1000, 100):
                bob.send(*[create(10**6 + start + n, "SELL", 1, 1) for n in range(100)])
                assert len(bob.messages(200)) == 200
            assert there.memory() - before < 40e6
            reports, reply = rest_of(slow)
            fills = [report for report in reports if report["report"] == "FILL"]
            fills += slow.messages(1000 - len(fills))
        assert reply["recovered"]
        assert len(numbers(reports)) == len(reports)
        news = [report["orderId"] for report in reports if report["report"] == "NEW"]
        assert news == list(range(1, count))
        assert [fill["orderId"] for fill in fills] == list(range(1000))


class TestDeadNodes:
    """The node that has the clients dies, and the others find what is to be done."""

    def prepare(self, node: Server) -> tuple[list[Peer], Any]:
        """alice asks that her orders be cancelled, and so does bob; carol does not."""
        peers = [node.trader() for _ in range(3)]
        logins = [
            log_in(peer, name, cancelOnDisconnect=name != "carol")
            for peer, name in zip(peers, ("alice", "bob", "carol"), strict=True)
        ]
        for peer in peers:
            for number in range(5):
                assert peer.ask(create(number, "BUY", 5, 1))["report"] == "NEW"
        return peers, logins[1]

    @pytest.mark.parametrize("end", ["killed", "stopped"])
    def test_orders_are_cancelled_once(
        self, redis_url: str, prefix: str, start_server: StartServer, end: str
    ) -> None:
        cluster = Cluster(
            start_server, redis_url, prefix, "--lease", "1", "--reconnect-grace", "1.5"
        )
        victim, second, third = cluster.nodes
        peers, login = self.prepare(victim)
        with second.watcher() as watcher, third.trader() as bob:
            while watcher.message()["quantity"] != 15:
                pass  # it may be told the last orders one by one
            if end == "killed":
                victim.kill()
            else:
                victim.process.send_signal(signal.SIGTERM)
            begin = time.monotonic()
            for peer in peers:
                assert peer.rest().count(b"error") == 0
                peer.socket.close()
            reports, reply = resume(bob, again(login))
            assert len(reports) == 5, "bob is back in time"
            assert reply["recovered"]
            eventually(lambda: len(cluster.orders()) == 10, "alice's orders are gone")
            assert time.monotonic() - begin < 10, "a few seconds"
            assert {name for name, _ in cluster.orders()} == {"bob", "carol"}
            # A heartbeat later nothing else has been done, by whomever.
            with second.trader() as alice:
                told, _ = resume(alice, LOGIN | {"lastSeq": 0, "epoch": login["epoch"]})
                assert [m["report"] for m in told].count("CANCELED") == 5
                assert alice.ask({"message": "orders"})["orders"] == []
            assert len([m for m in bob_reports(bob) if m["message"] == "executionReport"]) == 0

    def test_also_those_of_who_has_no_name(
        self, redis_url: str, prefix: str, start_server: StartServer
    ) -> None:
        options = ("--cancel-on-disconnect", *QUICK)
        cluster = Cluster(start_server, redis_url, prefix, *options, nodes=2)
        victim, other = cluster.nodes
        with victim.trader() as nobody, victim.trader() as alice, other.trader() as there:
            log_in(alice)
            for peer in (nobody, alice, there):
                assert peer.ask(create(1, "BUY", 5, 1))["report"] == "NEW"
            victim.kill()
            eventually(lambda: len(cluster.orders()) == 2, "the order is gone")
            assert is_open(there, 1)
            assert ("alice", 1) in cluster.orders()

    def test_a_login_that_its_client_did_not_wait_for(self, pair: Cluster) -> None:
        """The engine must not take for connected who went while its login was under way."""
        here, there = pair.nodes
        with there.watcher() as watcher:
            with here.trader() as alice:
                login = log_in(alice, cancelOnDisconnect=True)
                alice.ask(create(1, "BUY", 5, 1))
                here.process.send_signal(signal.SIGSTOP)
                gone = here.trader()
                gone.send(again(login, cancelOnDisconnect=True))
                gone.socket.close()
                here.process.send_signal(signal.SIGCONT)
            until_canceled(watcher, 5)


def bob_reports(peer: Peer) -> list[Any]:
    """What came before the answer to a heartbeat."""
    peer.send(HEARTBEAT)
    found = [peer.message()]
    while found[-1]["message"] != "heartbeat":
        found.append(peer.message())
    return found


class TestRedis:
    def test_a_restart_that_lost_nothing(
        self, start_redis: StartRedis, start_server: StartServer
    ) -> None:
        """Whoever has a name is told the new epoch before any report of it, and can resume."""
        server = start_redis(*ALWAYS)
        cluster = Cluster(start_server, server.url, "wood", "--lease", "60", nodes=2)
        here, there = cluster.nodes
        with here.trader() as alice, there.trader() as bob, there.trader() as nobody:
            login = log_in(alice)
            log_in(bob, "bob")
            first = alice.ask(create(1, "BUY", 5, 10))
            server.kill()
            server.start()
            nobody.send(create(1, "SELL", 5, 4))
            assert [m["report"] for m in nobody.messages(2)] == ["NEW", "FILL"]
            beat, fill = alice.messages(2)
            assert beat["message"] == "heartbeat"
            assert beat["epoch"] > login["epoch"]
            assert first["seq"] <= beat["seq"] < fill["seq"]
            assert bob.message() == beat, "also who is not concerned"
            assert bob.silent()
            with there.trader() as back:
                # By the new epoch, through the session of the old one.
                reports, reply = resume(back, again(login, beat["seq"]) | {"epoch": beat["epoch"]})
                assert (reports, reply["recovered"]) == ([fill], True)
                assert reply["epoch"] == beat["epoch"]
            with there.trader() as old:
                # By the old one too: it went on.
                old.send(again(login, participant="alice"))
                told = [old.message()]
                while told[-1]["message"] != "login":
                    told.append(old.message())
                assert [m for m in told[:-1] if m["message"] != "heartbeat"] == [first, fill]
                assert told[-1]["recovered"] is True
        assert not any("snapshot" in node.text() for node in cluster.nodes)

    def test_the_older_connection_is_told_across_a_restart_too(
        self, start_redis: StartRedis, start_server: StartServer
    ) -> None:
        server = start_redis(*ALWAYS)
        cluster = Cluster(start_server, server.url, "wood", "--lease", "60", nodes=2)
        here, there = cluster.nodes
        with here.trader() as before, there.trader() as after:
            login = log_in(before)
            server.kill()
            server.start()
            _, reply = resume(after, again(login))
            assert reply["recovered"]
            assert before.message()["message"] == "heartbeat"
            before.socket.settimeout(3)
            bad_end(before, "superseded")

    def test_a_fork(self, start_redis: StartRedis, start_server: StartServer) -> None:
        """What was lost cannot be replayed: the client is told what is open in truth."""
        server = start_redis(*ALWAYS)
        cluster = Cluster(start_server, server.url, "wood", "--lease", "60", nodes=2)
        here, there = cluster.nodes
        with here.trader() as alice, there.trader() as back, there.watcher() as watcher:
            login = log_in(alice)
            kept = alice.ask(create(1, "BUY", 5, 10))
            lost = alice.ask(create(2, "BUY", 5, 10))
            while watcher.message()["quantity"] != 20:
                pass
            server.kill()
            server.cut(1, cluster.keys.journal)
            server.start()
            bad_end(alice, "unavailable")
            bad_end(back, "unavailable")
        with there.trader() as back:
            reports, reply = resume(back, again(login, lost["seq"]))
            assert (reports, reply["recovered"]) == ([], False)
            assert [order["orderId"] for order in reply["orders"]] == [1]
            assert reply["epoch"] > login["epoch"]
            assert back.ask(create(2, "BUY", 5, 10))["report"] == "NEW"
        with there.trader() as old:
            # What it saw of the part that both histories share can still be proven.
            old.send(again(login, kept["seq"]))
            told = [old.message()]
            while told[-1]["message"] != "login":
                told.append(old.message())
            assert told[-1]["recovered"] is True
            assert [m["orderId"] for m in told if "orderId" in m] == [2]


def test_a_node_that_stops_while_redis_stands_still(
    start_redis: StartRedis, start_server: StartServer, full: bool
) -> None:
    """A login that cannot be answered does not keep it."""
    if not full:
        pytest.skip("takes as long as a node waits for its answers")
    server = start_redis()
    cluster = Cluster(start_server, server.url, "wood", nodes=1)
    (node,) = cluster.nodes
    with node.trader() as alice:
        assert alice.ask(ALL)["message"] == "cancelAll"
        server.freeze()
        alice.send(LOGIN, HEARTBEAT)
        node.process.send_signal(signal.SIGTERM)
        assert alice.message() is None
        assert node.process.wait(20) == 0
        server.thaw()


def test_operators_and_the_disabled(redis_url: str, prefix: str, start_server: StartServer) -> None:
    """Tokens are in Redis; who is disabled is cut off on every node."""
    where = ("--redis", redis_url, "--prefix", prefix)
    token = run_wood_here("participant", "add", "alice", *where).stdout.split()[-1]
    cluster = Cluster(start_server, redis_url, prefix, "--auth", "token", *QUICK, nodes=2)
    here, there = cluster.nodes
    with here.trader() as first, there.trader() as second, there.trader() as wrong:
        assert wrong.ask(LOGIN | {"token": "wrong"})["code"] == "unauthorized"
        assert wrong.ask(ALL)["error"] == "log in first"
        for peer in (first, second):
            log_in(peer, token=token)
        assert first.ask(create(1, "BUY", 5, 1))["report"] == "NEW"
        assert run_wood_here("participant", "disable", "alice", *where).returncode == 0
        assert first.message()["report"] == "CANCELED"
        bad_end(first, "disabled")
        assert [m["report"] for m in second.messages(2)] == ["NEW", "CANCELED"]
        bad_end(second, "disabled")
        assert cluster.orders() == {}
