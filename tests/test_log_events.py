"""What real servers send to Graylog, in both modes: each event with its fields, and no token."""

import logging
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.alert_process import AlertProcess
from tests.cluster import Cluster
from tests.hostile import From
from tests.log_fields import Ear, check, table
from tests.market_told import MarketTeller
from tests.redis_server import RedisServer
from tests.redis_user import PASSWORD, set_user, url_of
from tests.sessions import LOGIN, log_in
from tests.support import (
    PATIENCE,
    ROOT,
    Peer,
    Server,
    create,
    eventually,
    free_port,
    run_wood,
    run_wood_here,
)
from tests.tls import Office, SecureServer
from wood.graylog.address import Address
from wood.graylog.handler import start_log_sender
from wood.model.log_events import LogEvent, told
from wood.model.participants import digest

Start = Callable[..., Server]
StartRedis = Callable[..., RedisServer]


@pytest.fixture
def ear() -> Iterator[Ear]:
    heard = Ear()
    yield heard
    heard.close()


class Tokens:
    """Participants, by name, and their tokens, which nobody may see."""

    def __init__(self, *where: str) -> None:
        self.where = where
        self.known = {name: self.add(name) for name in ("alice", "bob")}
        self.known["root"] = self.add("root", "--operator")

    def add(self, name: str, *options: str) -> str:
        done = run_wood_here("participant", "add", name, *options, *self.where)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def log_in(self, peer: Peer, name: str) -> None:
        log_in(peer, name, token=self.known[name])

    def are_secret(self, *texts: str) -> None:
        """No token is in any of these, nor what is kept of it."""
        for token in self.known.values():
            for text in texts:
                assert token not in text
                assert digest(token) not in text


def test_a_single_server(ear: Ear, start_server: Start, tmp_path: Path) -> None:
    file = tmp_path / "participants.json"
    tokens = Tokens("--participants", str(file))
    server = start_server(
        *("--participants", str(file), "--graylog", ear.url, "--health", str(free_port())),
        *("--max-address-connections", "5", "--max-open-orders", "2", "--output-limit", "65536"),
        *("--drain", "0.1", "--name", "here"),
    )
    started = ear.wait(LogEvent.NODE_STARTED)
    assert (started["_node"], started["_mode"]) == ("here", "memory")
    assert (started["_private"], started["_public"]) == (server.private, server.public)
    _connections(server, tokens, ear)
    _limits(server, tokens, ear)
    _operators(server, tokens, ear)
    _slow(server, tokens, ear)
    _file(file, tokens, ear)
    server.stop()
    ear.wait(LogEvent.NODE_STOPPED)
    check(ear.messages, "memory")
    tokens.are_secret(server.text(), ear.heard.decode())


def _connections(server: Server, tokens: Tokens, ear: Ear) -> None:
    with server.trader() as alice, server.watcher():
        tokens.log_in(alice, "alice")
        client = f"127.0.0.1:{alice.socket.getsockname()[1]}"
    with server.trader() as guesser:
        secret = tokens.known["alice"][:-1] + "-"
        assert guesser.ask(LOGIN | {"participant": "alice", "token": secret})["code"]
        # One who takes the one for the other: what is no name is not told.
        guesser.send(LOGIN | {"participant": tokens.known["bob"], "token": "alice"})
    closed = [m for m in _until(ear, LogEvent.SESSION_CLOSED, 2) if m["_client"] == client]
    assert closed[0]["_participant"] == "alice"
    assert 0 < closed[0]["_duration_ms"] < PATIENCE * 1000
    named = ear.wait(LogEvent.SESSION_NAMED)
    opened = [m for m in ear.of(LogEvent.SESSION_OPENED) if m["_session"] == named["_session"]]
    assert opened[0]["_client"] == named["_client"] == client
    assert ear.wait(LogEvent.LOGIN_REFUSED)["_participant"] == "alice"
    ear.wait(LogEvent.SUBSCRIBER_CLOSED)


def _until(ear: Ear, event: LogEvent, count: int) -> list[dict[str, Any]]:
    ear.wait(event, count)
    return ear.of(event)


def _limits(server: Server, tokens: Tokens, ear: Ear) -> None:
    with server.trader() as bob:
        tokens.log_in(bob, "bob")
        bob.send(*[create(number, "BUY", 1, 1) for number in range(50)])
        assert [m.get("code") for m in bob.messages(50)] == [None] * 2 + ["limit"] * 48
        bob.send({"message": "cancelAll"})
        bob.messages(3)
    hit = ear.wait(LogEvent.LIMIT_HIT)
    assert (hit["_limit"], hit["_participant"], hit["_symbol"]) == ("openOrders", "bob", "WOOD")
    eventually(lambda: sum(hit["_count"] for hit in ear.of(LogEvent.LIMIT_HIT)) == 48)
    peers = [From("127.0.0.2", server.private) for _ in range(40)]
    assert {peer.message()["limit"] for peer in peers[5:]} == {"addressConnections"}
    for peer in peers:
        peer.socket.close()
    ear.wait(LogEvent.LINES_LEFT_OUT)
    assert {m["_limit"] for m in ear.of(LogEvent.CONNECTION_REFUSED)} == {"addressConnections"}


def _operators(server: Server, tokens: Tokens, ear: Ear) -> None:
    with server.trader() as root:
        tokens.log_in(root, "root")
        root.send({"message": "halt"}, {"message": "resume"})
        root.messages(2)
    ear.wait(LogEvent.OPERATOR_ACTED, 2)
    assert [m["_state"] for m in ear.of(LogEvent.OPERATOR_ACTED)] == ["halted", "open"]


def _slow(server: Server, tokens: Tokens, ear: Ear) -> None:
    """Reports go to all connections of a participant, and one of them does not read."""
    with server.trader(receive_buffer=4096) as idle, server.trader() as busy:
        tokens.log_in(idle, "alice")
        tokens.log_in(busy, "alice")
        orders = [create(number, "BUY", 1, 1) | {"timeInForce": "IOC"} for number in range(1000)]
        deadline = time.monotonic() + PATIENCE
        while not ear.of(LogEvent.CLIENT_SLOW):
            assert time.monotonic() < deadline
            busy.send(*orders)
            busy.lines(2000)
    assert ear.wait(LogEvent.CLIENT_SLOW)["_participant"] == "alice"


def _file(file: Path, tokens: Tokens, ear: Ear) -> None:
    tokens.known["carol"] = tokens.add("carol")
    assert ear.wait(LogEvent.PARTICIPANTS_READ)["_count"] == 4
    file.write_text("{")
    ear.wait(LogEvent.PARTICIPANTS_REFUSED)


def test_the_market_of_a_single_server(ear: Ear, start_server: Start, tmp_path: Path) -> None:
    """While Graylog is away more happens than the journal keeps; then some of everything."""
    ear.go_away()
    file = tmp_path / "participants.json"
    tokens = Tokens("--participants", str(file))
    server = start_server(
        *("--participants", str(file), "--graylog", ear.url, "--graylog-orders"),
        *("--journal", "100", "--max-open-orders", "3"),
    )
    with server.trader() as alice, server.trader() as bob, server.trader() as root:
        tokens.log_in(alice, "alice")
        tokens.log_in(bob, "bob")
        tokens.log_in(root, "root")
        for most in (1, 1000):
            bob.send(*[create(1, "SELL", 9, 1) | {"timeInForce": "IOC"}] * most)
            bob.messages(2 * most)
            eventually(lambda: "the market is told when it is back" in server.text())
        ear.come_back()
        assert ear.wait(LogEvent.MARKET_SKIPPED)["_reason"] == "trimmed"
        ear.wait(LogEvent.GRAYLOG_BACK)
        for first in (10, LONG):
            _trade(alice, bob, first)
        root.send({"message": "halt"}, {"message": "resume"})
        ear.wait(LogEvent.TRADING_RESUMED)
    server.stop()
    (trade, *_) = ear.of(LogEvent.TRADE_EXECUTED)
    assert (trade["_participant"], trade["_maker"]) == ("bob", "alice")
    assert (trade["_order_id"], trade["_maker_order_id"]) == (13, 10)
    assert (trade["_price"], trade["_quantity"], trade["_value"]) == (5.25, 3.0, 15.75)
    check(ear.messages, "market")
    tokens.are_secret(server.text(), ear.heard.decode())


LONG = 2**63
"""An order's id that no index of Graylog takes as a number."""


def _trade(alice: Peer, bob: Peer, first: int) -> None:
    """Some of all that can become of orders; their ids are from `first` on."""
    assert alice.ask(create(first, "BUY", 5.25, 7))["report"] == "NEW"
    assert alice.ask({"message": "amendOrder", "orderId": first, "quantity": 5})["report"]
    for number in (first + 1, first + 2):
        assert alice.ask(create(number, "BUY", 1, 1))["report"] == "NEW"
    refused = [alice.ask(create(number, "BUY", 1, 1)) for number in (first, first + 9)]
    assert [each["code"] for each in refused] == ["duplicate", "limit"]
    bob.send(create(first + 3, "SELL", 5, 3))
    assert [report["report"] for report in bob.messages(2)] == ["NEW", "FILL"]
    alice.message()
    alice.send({"message": "cancelAll"})
    alice.messages(4)


def test_certificates(ear: Ear, start_server: Start, tmp_path: Path) -> None:
    office = Office(tmp_path / "tls")
    server = SecureServer(start_server, office, "--graylog", ear.url).plain
    with Peer(server.host, server.private) as plain:
        plain.send(b"hello\n" * 10)
        assert "no TLS handshake" in ear.wait(LogEvent.CONNECTION_REFUSED)["_reason"]
    server.process.send_signal(signal.SIGHUP)
    ear.wait(LogEvent.CERTIFICATES_READ)
    office.cert.write_text("nothing")
    server.process.send_signal(signal.SIGHUP)
    ear.wait(LogEvent.CERTIFICATES_REFUSED)
    check(ear.messages, "tls")


def _redis(start_redis: StartRedis, *options: str) -> RedisServer:
    """A server that is entered with a password only."""
    server = start_redis(*options)
    set_user(server)
    return server


def test_redis_goes_away_comes_back_and_has_lost_something(
    ear: Ear, start_redis: StartRedis, start_server: Start
) -> None:
    redis = _redis(start_redis, "--appendonly", "yes", "--appendfsync", "always")
    url = url_of(redis.url)
    tokens = Tokens("--redis", url, "--prefix", "wood")
    cluster = Cluster(start_server, url, "wood", "--graylog", ear.url, nodes=1)
    (node,) = cluster.nodes
    assert ear.wait(LogEvent.NODE_STARTED)["_mode"] == "redis"
    with node.trader() as alice:
        tokens.log_in(alice, "alice")
        reports = [alice.ask(create(number, "BUY", 1, 1)) for number in range(5)]
        # An order that is taken has a number, and the level that it changes has the next one.
        after = reports[2]["seq"] + 1
        redis.kill()
        redis.cut(2, cluster.keys.journal)
        ear.wait(LogEvent.REDIS_LOST)
        redis.start()
        set_user(redis)
        assert alice.message()["code"] == "unavailable"
    assert 0 < ear.wait(LogEvent.REDIS_BACK)["_duration_ms"] < PATIENCE * 1000
    fork = ear.wait(LogEvent.JOURNAL_FORKED)
    assert (fork["_seq"], fork["_count"]) == (after, 4)
    ear.wait(LogEvent.NODE_RESYNCHRONISED)
    redis.kill()
    node.stop()
    ear.wait(LogEvent.NODE_STOPPED)
    check(ear.messages, "redis")
    tokens.are_secret(node.text(), ear.heard.decode())
    assert PASSWORD not in node.text() + ear.heard.decode()


def test_nodes_that_are_lost_and_a_redis_that_is_full(
    ear: Ear, start_redis: StartRedis, start_server: Start
) -> None:
    redis = _redis(start_redis)
    url = url_of(redis.url)
    tokens = Tokens("--redis", url, "--prefix", "wood")
    options = ("--lease", "1", "--persist", "--graylog", ear.url)
    cluster = Cluster(start_server, url, "wood", *options, nodes=2)
    frozen, other = cluster.nodes
    frozen.process.send_signal(signal.SIGSTOP)
    assert ear.wait(LogEvent.NODE_LOST)["_partition"] == "main"
    frozen.process.send_signal(signal.SIGCONT)
    ear.wait(LogEvent.NODE_FENCED)
    with other.trader() as alice, redis.client() as client:
        tokens.log_in(alice, "alice")
        assert alice.ask(create(1, "BUY", 1, 1))["report"] == "NEW"
        client.config_set("maxmemory", "1mb")
        assert alice.ask(create(2, "BUY", 1, 1))["code"] == "unavailable"
        ear.wait(LogEvent.REDIS_REFUSES)
        client.config_set("maxmemory", "0")
        assert alice.ask(create(3, "BUY", 1, 1))["report"] == "NEW"
        ear.wait(LogEvent.REDIS_WRITES)
    frozen.stop()
    other.stop()
    where = ("-m", "--redis", url, "--prefix", "wood", "--lease", "1", "--graylog", ear.url)
    last = start_server(*where)
    assert ear.wait(LogEvent.BOOK_CLEARED)["_count"] == 2
    last.stop()
    ear.wait(LogEvent.NODE_STOPPED, 3)
    check(ear.messages, "cluster")
    texts = [node.text() for node in (frozen, other, last)] + [ear.heard.decode()]
    tokens.are_secret(*texts)
    assert not any(PASSWORD in text for text in texts)


def test_graylog_hears_what_standard_error_is_spared(ear: Ear) -> None:
    private = free_port()
    ports = "--private", str(private), "--public", "0"
    command = [sys.executable, "-m", "wood", "-s", *ports, "--graylog", ear.url]
    with subprocess.Popen(
        [*command, "--log-level", "warning"], stderr=subprocess.PIPE, text=True
    ) as process:
        ear.wait(LogEvent.NODE_STARTED)
        with socket.create_connection(("127.0.0.1", private)):
            ear.wait(LogEvent.SESSION_OPENED)
        process.terminate()
        _, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (0, "")
    ear.wait(LogEvent.NODE_STOPPED)


def test_an_engine_that_breaks_while_somebody_logs_in(
    ear: Ear, start_redis: StartRedis, tmp_path: Path
) -> None:
    """The traceback goes to Graylog too; a token that was under way is not in it."""
    redis = _redis(start_redis)
    url = url_of(redis.url)
    tokens = Tokens("--redis", url, "--prefix", "wood")
    options = ("-m", "--redis", url, "--prefix", "wood", "--graylog", ear.url)
    node = Server(tmp_path, *options, "--log-level", "debug")
    with node.trader() as alice, redis.client() as client:
        client.set("wood:{main}:sessions", "somebody else wrote this")
        alice.send(LOGIN | {"token": tokens.known["alice"]})
        assert alice.rest() is not None
    assert node.process.wait(PATIENCE) == 1
    failed = ear.wait(LogEvent.NODE_FAILED)
    assert "Traceback" in failed["full_message"]
    check(ear.messages, "failure")
    tokens.are_secret(node.text(), ear.heard.decode())
    assert PASSWORD not in node.text() + ear.heard.decode()


def test_an_alert_from_its_beginning_to_its_end(
    ear: Ear, start_server: Start, tmp_path: Path
) -> None:
    port, secret = free_port(), "s3cret"
    options = ("--name", "s1", "--health", str(port))
    server = start_server(*options)
    alert = AlertProcess(
        tmp_path,
        *("--health", f"127.0.0.1:{port}", "--repeat", "1", "--graylog", ear.url),
        *("--webhook", f"http://u:{secret}@127.0.0.1:{free_port()}/{secret}"),
    )
    try:
        eventually(lambda: "(/status)" not in alert.text())
        server.kill()
        ear.wait(LogEvent.ALERT_REPEATED)
        start_server(*options)
        ended = ear.wait(LogEvent.ALERT_ENDED)
    finally:
        alert.stop()
    assert (ended["_alert"], ended["_log"]) == ("node-lost", "alerts")
    check(ear.messages, "alerts")
    assert secret not in alert.text() + ear.heard.decode()


@pytest.mark.long
def test_how_far_the_reader_of_the_market_is(
    ear: Ear, redis_url: str, prefix: str, start_server: Start, tmp_path: Path
) -> None:
    """Every ten seconds."""
    (node,) = Cluster(start_server, redis_url, prefix, nodes=1).nodes
    with node.trader() as trader:
        trader.ask(create(1, "BUY", 1, 1))
        trader.send(create(2, "SELL", 1, 1))
        teller = MarketTeller(tmp_path, redis_url, prefix, ear.url)
        try:
            ear.wait(LogEvent.READER_MEASURED)
        finally:
            teller.stop()
    check(ear.messages, "reader")


@pytest.mark.long
def test_what_a_node_measures(ear: Ear, redis_url: str, prefix: str, start_server: Start) -> None:
    """Every ten seconds."""
    (node,) = Cluster(start_server, redis_url, prefix, "--graylog", ear.url, nodes=1).nodes
    with node.trader() as trader:
        for number in range(100):
            trader.ask(create(number, "BUY", 1, 1))
        measured = ear.wait(LogEvent.NODE_MEASURED)
    assert (measured["_sessions"], measured["_commands"]) == (1, 100)
    check(ear.messages, "measured")


def test_what_is_dropped_while_graylog_is_away_is_counted_and_told(ear: Ear) -> None:
    ear.go_away()
    log = logging.Logger("here")
    sender = start_log_sender(Address.parse(ear.url), "here")
    log.addHandler(sender)
    try:
        for number in range(20_000):
            log.info("%d", number, extra=told(LogEvent.LINES_LEFT_OUT, about="it", count=number))
        ear.come_back()
        ear.wait(LogEvent.RECORDS_DROPPED)
    finally:
        sender.close()

    def accounted() -> int:
        arrived = {message["_count"] for message in ear.of(LogEvent.LINES_LEFT_OUT)}
        dropped: list[int] = [m["_count"] for m in ear.of(LogEvent.RECORDS_DROPPED)]
        return len(arrived) + sum(dropped)

    eventually(lambda: accounted() == 20_000, "an account of all")
    check(ear.messages, "dropped")


def test_a_server_that_does_not_start_says_so_too(ear: Ear, server: Server) -> None:
    done = run_wood("-s", "--private", str(server.private), "--graylog", ear.url)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) <= 2
    failed = ear.wait(LogEvent.NODE_FAILED)
    assert f"port {server.private} is in use" in failed["short_message"]


def test_each_event_has_a_row_and_stands_on_the_page_with_its_fields() -> None:
    rows = table()
    names = {event.value for event in LogEvent}
    assert rows.keys() == names
    page = (ROOT / "docs" / "log.md").read_text()
    told = dict(re.findall(r"^\| `([a-z]+(?:\.[a-z_]+)?)` \|.*\|([^|]*)\|$", page, re.M))
    assert names == told.keys() - {"event", "node", "log", "level"}
    for name, row in rows.items():
        assert set(re.findall("`([a-z0-9_]+)`", told[name])) == row.fields.keys(), name


def test_each_row_is_seen_in_a_run_that_there_is() -> None:
    sources = "".join(file.read_text() for file in (ROOT / "tests").glob("test_*.py"))
    runs = set(re.findall(r'\bcheck\([a-z_.]+, "([a-z]+)"', sources))
    for row in table().values():
        assert {row.seen_in, *row.also} <= runs
