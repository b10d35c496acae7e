"""Behind a balancer: whose connection it is, who may say so, and when the client is greeted."""

import asyncio
import re
import signal
import time
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.engines import INSTRUMENTS, with_loop
from tests.support import Peer, Server, create, eventually, free_port, run_wood_here
from tests.test_node_node import SlowExchange, until
from tests.test_node_proxy_protocol import V4, V6, binary
from wood.exchange.memory import MemoryExchange
from wood.node import introduction, node
from wood.node.node import Node
from wood.node.settings import Settings

LINE = b"PROXY TCP4 192.0.2.7 10.0.0.1 51234 7001\r\n"
ALL = {"message": "cancelAll"}
NOTHING = {"message": "cancelAll", "canceled": 0}
HEADERS = {
    "v1": (LINE, "192.0.2.7 port 51234"),
    "v2": (binary(0x21, 0x11, V4), "192.0.2.7 port 51234"),
    "IPv6": (binary(0x21, 0x21, V6), "2001:db8::7 port 51234"),
}
TRUSTED = ("--proxy-protocol", "10.0.0.0/8, 127.0.0.1")

Start = Callable[..., Server]


@pytest.fixture
def behind(start_server: Start) -> Server:
    """A server that trusts this machine."""
    return start_server(*TRUSTED)


@pytest.mark.parametrize(("header", "source"), HEADERS.values(), ids=HEADERS)
def test_the_log_has_the_clients_own_address(behind: Server, header: bytes, source: str) -> None:
    with behind.trader() as peer, behind.watcher() as watcher:
        peer.send(header)
        assert peer.ask(create(1, "BUY", 5, 1))["report"] == "NEW"
        watcher.send(header)
        assert watcher.message()["price"] == 5
        for kind in ("session", "subscriber"):
            assert re.search(rf"{kind} \S+ opened from {source}\n", behind.text())
    pattern = rf" closed: .*\({source}\)\n"
    eventually(lambda: len(re.findall(pattern, behind.text())) == 2)
    assert "127.0.0.1 port" not in behind.text()


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", binary(0x20, 0, b"")])
def test_a_balancer_that_speaks_for_itself_is_the_peer(behind: Server, header: bytes) -> None:
    with behind.trader() as peer:
        peer.send(header, ALL)
        assert peer.message() == NOTHING
        assert f"opened from 127.0.0.1 port {peer.socket.getsockname()[1]}" in behind.text()


def test_what_comes_with_the_header_is_the_clients(behind: Server) -> None:
    with behind.trader() as peer:
        peer.send(LINE, create(1, "BUY", 5, 1), b'{"message":"can')
        assert peer.message()["report"] == "NEW"
        assert peer.ask(b'celAll"}\n')["report"] == "CANCELED"
    with behind.trader() as packed:
        packed.send(binary(0x21, 0x11, V4), b"\x81\xa7message\xa6orders")
        assert packed.packed(1) == [{"message": "orders", "orders": []}]


def test_a_header_may_come_in_pieces_and_only_once(behind: Server) -> None:
    with behind.trader() as peer:
        for place in range(len(LINE)):
            peer.send(LINE[place : place + 1])
        assert peer.ask(ALL) == NOTHING
        assert peer.ask(LINE)["code"] == "invalid"


def test_nobody_is_greeted_before_the_header(behind: Server) -> None:
    """A subscriber gets the book once it is known whose connection it is."""
    with behind.trader() as peer, behind.watcher() as watcher:
        assert peer.ask(LINE, create(1, "BUY", 5, 1))["report"] == "NEW"
        watcher.send(LINE[:-1])
        assert peer.ask(ALL)["report"] == "CANCELED"
        assert peer.message()["canceled"] == 1
        assert watcher.silent()
        watcher.send(LINE[-1:])
        assert peer.ask(create(2, "BUY", 6, 1))["report"] == "NEW"
        assert watcher.message()["price"] == 6


@pytest.mark.parametrize(
    ("options", "said", "reason"),
    [
        (TRUSTED, b'{"message":"cancelAll"}\n', "it does not begin with a PROXY header"),
        (TRUSTED, b"PROXY TCP4 1.2.3.4\r\n", "the PROXY line is none"),
        (TRUSTED, b"PROXY UNKNOWN".ljust(2000), "the PROXY line is too long"),
        (("--proxy-protocol", "10.0.0.0/8,::1"), LINE, "only those named by --proxy-protocol"),
    ],
)
def test_a_claim_is_not_believed(
    start_server: Start, options: list[str], said: bytes, reason: str
) -> None:
    """Said once in the log, with the address that it really came from."""
    server = start_server(*options)
    with server.trader() as peer, server.watcher() as watcher:
        for each in (peer, watcher):
            try:
                each.send(said)
                assert each.rest() == b""
            except ConnectionError:
                pass  # closed before it had spoken
            port = each.socket.getsockname()[1]
            text = f"a connection from 127.0.0.1 port {port} closed: {reason}"
            eventually(lambda text=text: server.text().count(text) == 1)  # type: ignore[misc]
    assert "opened" not in server.text()
    assert "192.0.2.7" not in server.text()


def test_without_the_option_a_header_is_a_bad_line(server: Server) -> None:
    with server.trader() as peer:
        assert peer.ask(LINE)["code"] == "invalid"
        assert peer.ask(ALL) == NOTHING
    assert "192.0.2.7" not in server.text()


def test_failed_logins_are_counted_by_the_clients_own_address(
    start_server: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Who guesses behind a balancer does not slow down the others behind it."""
    file = str(tmp_path_factory.mktemp("names") / "participants")
    assert run_wood_here("participant", "add", "alice", "--participants", file).returncode == 0
    server = start_server(*TRUSTED, "--participants", file)
    login = {"message": "login", "participant": "alice", "token": "guessed"}
    count = 4

    def fail(client: str) -> None:
        with server.trader() as peer:
            peer.send(f"PROXY TCP4 {client} 10.0.0.1 51234 7001\r\n".encode(), login)
            assert peer.message()["code"] == "unauthorized"

    delays = []
    for client in [f"192.0.2.{n}" for n in range(count)] + ["192.0.2.0"] * 2:
        before = time.monotonic()
        fail(client)
        delays.append(time.monotonic() - before)
    assert max(delays[:count]) < 0.5 <= delays[count] < 1.0 <= delays[count + 1]
    assert "from 192.0.2.3: a login failed" in server.text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_stops_while_headers_are_awaited(behind: Server, number: signal.Signals) -> None:
    with behind.trader() as mute, behind.watcher() as half, behind.trader() as peer:
        half.send(LINE[:10])
        assert peer.ask(LINE, ALL) == NOTHING
        behind.process.send_signal(number)
        assert [each.line() for each in (mute, half, peer)] == [b""] * 3
    assert behind.stop() == 0
    assert "cutting off" not in behind.text()


def test_who_goes_before_the_header_is_no_matter(behind: Server) -> None:
    """As simple health checks do."""
    for said in (b"", LINE[:10]):
        with behind.trader() as peer:
            peer.send(said)
    with behind.trader() as peer:
        assert peer.ask(LINE, ALL) == NOTHING
    assert "WARNING" not in behind.text()


def test_the_refusal_for_want_of_room_is_heard(start_server: Start) -> None:
    server = start_server(*TRUSTED, "--max-connections", "2")
    with server.trader() as first, server.trader() as waits:
        assert first.ask(LINE, ALL) == NOTHING
        eventually(lambda: _clients(server) == 2, "two connections")
        with server.trader() as third:
            assert third.ask(LINE)["code"] == "limit"
        waits.socket.close()

        def room() -> bool:
            with server.trader() as fourth:
                fourth.send(LINE)
                return bool(fourth.ask(ALL) == NOTHING)

        eventually(room, "room")


def _clients(server: Server) -> int:
    """The connections that the server has accepted on its private port."""
    fds = Path(f"/proc/{server.process.pid}/fd")
    inodes = {str(fd.readlink()) for fd in fds.iterdir()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    mine = [row for row in rows if f"socket:[{row[9]}]" in inodes and row[3] == "01"]
    return sum(row[1].endswith(f":{server.private:04X}") for row in mine)


# In this process

SETTINGS = Settings(private=0, public=0, proxy_protocol=(ip_network("127.0.0.1"),), last_words=20)


def test_a_header_must_come_in_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(introduction, "HEADER", 0.05)

    async def test() -> None:
        here = Node(MemoryExchange(INSTRUMENTS), SETTINGS, 100)
        await here.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port("private"))
        writer.write(LINE[:10])
        assert await reader.read() == b""
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port("private"))
        writer.write(LINE)
        await asyncio.sleep(0.1)
        writer.write(b'{"message":"cancelAll"}\n')
        assert await reader.readline()
        writer.close()
        await here.stop()

    with_loop(test)
    assert caplog.text.count("no PROXY header within 0.05 seconds") == 1


def test_a_node_that_stops_waits_for_no_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it still waits for an answer to somebody else."""
    monkeypatch.setattr(introduction, "HEADER", 60)

    async def test() -> None:
        exchange = SlowExchange(limit=100)
        here = Node(exchange, SETTINGS, 100)
        await here.start()
        address = "127.0.0.1", here.port("private")
        reader, writer = await asyncio.open_connection(*address)
        writer.write(LINE + b'{"message":"cancelAll"}\n')
        muted, mute = await asyncio.open_connection(*address)
        await until(lambda: len(exchange.waiting) == 1 and len(here._newcomers) == 1)
        stopping = asyncio.create_task(here.stop())
        assert await muted.read() == b""
        assert not stopping.done()
        exchange.go()
        assert b"canceled" in await reader.read()
        await stopping
        for each in (writer, mute):
            each.close()

    with_loop(test)


def test_those_who_say_nothing_have_a_limit(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(node, "TO_REFUSE", 2)

    async def test() -> None:
        here = Node(MemoryExchange(INSTRUMENTS), SETTINGS, 1)
        await here.start()
        address = "127.0.0.1", here.port("private")
        streams = [await asyncio.open_connection(*address) for _ in range(4)]
        assert await streams[3][0].read() == b""
        assert len(here._newcomers) == 3
        for _, writer in streams:
            writer.close()
        while here._newcomers:
            await asyncio.sleep(0)
        await here.stop()

    with_loop(test)
    assert caplog.text.count("too many connections") == 1


@pytest.mark.parametrize(
    ("networks", "host", "trusted"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.0/8", "127.0.0.1", True),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("::1", "::1", True),
        ("fe80::/64", "fe80::1%lo", True),
        ("::/0", "127.0.0.1", False),
        ("127.0.0.2", "127.0.0.1", False),
        ("127.0.0.1", "", False),
    ],
)
def test_who_is_trusted(networks: str, host: str, trusted: bool) -> None:
    class Transport(asyncio.Transport):
        aborted = False

        def abort(self) -> None:
            self.aborted = True

    class Host:
        asked = 0

        def refuses(self, newcomer: introduction.Newcomer) -> None:
            self.asked += 1

        def introduced(self, newcomer: introduction.Newcomer) -> None:
            pass

    async def test() -> None:
        transport, owner = Transport({"peername": (host, 1, 0, 0) if host else None}), Host()
        made = introduction.Introduction(pytest.fail, owner, [ip_network(networks)])
        made.connection_made(transport)
        assert (not transport.aborted, owner.asked) == (trusted, trusted)
        made.abort()

    with_loop(test)


@pytest.mark.parametrize("value", ["", "somewhere", "127.0.0.1,", "10.0.0.1/8", "10.0.0.0/33"])
def test_a_mistake_is_one_line(value: str) -> None:
    done = run_wood_here("-s", "--proxy-protocol", value)
    assert done.returncode == 2
    assert "such as 127.0.0.1,10.0.0.0/8" in done.stderr.splitlines()[-1]


def test_nodes_share_ports(start_server: Start) -> None:
    """Each of many connections comes to one of them."""
    port, public = str(free_port()), str(free_port())
    options = ("--reuse-port", "--private", port, "--public", public)
    servers = [start_server(*options) for _ in range(2)]
    peers = [Peer("127.0.0.1", int(port)) for _ in range(40)]
    try:
        for peer in peers:
            assert peer.ask(ALL) == NOTHING
        assert all("opened" in server.text() for server in servers)
    finally:
        for peer in peers:
            peer.socket.close()
    with pytest.raises(AssertionError, match="is in use"):
        start_server("--private", port)
