"""Clients that only take room: silent ones, slow ones, half messages. Others go on being answered,
and memory stays within bounds.
"""

import asyncio
import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.engines import INSTRUMENTS, with_loop
from tests.hostile import From
from tests.sessions import ALL, HEARTBEAT
from tests.support import Server, create, eventually
from tests.test_node_introduction import LINE, NOTHING
from tests.tls import Office
from wood.exchange.memory import MemoryExchange
from wood.node import introduction, tls
from wood.node.node import Node
from wood.node.settings import Settings

Start = Callable[..., Server]

EACH = 32 * 1024
"""Bytes that a silent connection may cost, TLS apart."""


@contextmanager
def descriptors(count: int) -> Iterator[None]:
    """Let this process have so many, if the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"the limit on open files, {hard}, does not allow {count}: see 'ulimit -Hn'")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("count", [500, pytest.param(5000, marks=pytest.mark.long)])
def test_twice_so_many_that_never_speak(server: Server, count: int) -> None:
    """On each port, one half of them."""
    with descriptors(2 * count + 100), ExitStack() as stack:
        other = stack.enter_context(server.trader())
        before = server.memory()
        for _ in range(count):
            stack.enter_context(server.trader())
            stack.enter_context(server.watcher())
            if _ % 100 == 0:
                assert other.ask(ALL) == NOTHING
        eventually(lambda: server.text().count("opened") >= min(2 * count, 150))
        with server.trader() as last:
            assert last.ask(ALL) == NOTHING
        grown = server.memory() - before
        assert grown < 2 * count * EACH, f"{grown / 2 / count:.0f} bytes each"
        for _ in range(20):
            assert other.ask(ALL) == NOTHING


class TestOneAddress:
    def test_has_so_many_connections_on_both_ports(self, start_server: Start) -> None:
        server = start_server("--max-address-connections", "3")
        with server.trader() as first, server.watcher(), server.trader() as third:
            assert first.ask(ALL) == third.ask(ALL) == NOTHING
            with server.trader() as fourth:
                assert fourth.message() == {
                    "message": "error",
                    "error": "too many connections from this address",
                    "code": "limit",
                    "limit": "addressConnections",
                }
                assert fourth.message() is None
            with server.watcher() as fourth:
                assert fourth.message() is None
            with From("127.0.0.2", server.private) as other:
                assert other.ask(ALL) == NOTHING
        eventually(lambda: _lets_in(server), "room for another one")

    def test_behind_a_balancer_it_is_the_clients_own(self, start_server: Start) -> None:
        server = start_server("--max-address-connections", "1", "--proxy-protocol", "127.0.0.1")
        with server.trader() as one, server.trader() as same, server.trader() as other:
            one.send(LINE)
            assert one.ask(ALL) == NOTHING
            same.send(LINE.replace(b" 51234 ", b" 51235 "))
            assert same.message()["limit"] == "addressConnections"
            other.send(LINE.replace(b"192.0.2.7", b"192.0.2.8"))
            assert other.ask(ALL) == NOTHING

    def test_of_ipv6_it_is_a_network(self, start_server: Start) -> None:
        server = start_server("--max-address-connections", "1", "--proxy-protocol", "127.0.0.1")
        line = b"PROXY TCP6 2001:db8::%d 2001:db8:f::1 51234 7001\r\n"
        with server.trader() as one, server.trader() as same:
            one.send(line % 1)
            assert one.ask(ALL) == NOTHING
            same.send(line % 2)
            assert same.message()["limit"] == "addressConnections"


def _lets_in(server: Server) -> bool:
    with server.trader() as peer:
        return bool(peer.ask(ALL) == NOTHING)


class TestSlowLoris:
    def test_half_messages_hold_no_more_than_their_bytes(self, server: Server) -> None:
        before = server.memory()
        with ExitStack() as stack:
            other = stack.enter_context(server.trader())
            for kind in (server.trader, server.watcher):
                for _ in range(100):
                    peer = stack.enter_context(kind())
                    peer.send(b'{"message":"' + b"x" * 60_000)
            for _ in range(50):
                assert other.ask(ALL) == NOTHING
            assert server.memory() - before < 200 * 60_000 * 2.5

    def test_bytes_one_by_one(self, server: Server) -> None:
        line = b'{"message":"heartbeat"}'
        with server.trader() as slow, server.watcher() as watcher, server.trader() as other:
            for at in range(len(line)):
                slow.send(line[at : at + 1])
                watcher.send(line[at : at + 1])
                assert other.ask(ALL) == NOTHING
            assert slow.ask(b"\n")["message"] == "heartbeat"
            assert watcher.ask(b"\n")["code"] == "invalid"

    def test_who_must_log_in_and_trickles_is_let_go(
        self, start_server: Start, tmp_path: Path
    ) -> None:
        file = tmp_path / "participants"
        file.write_text("{}")
        file.chmod(0o600)
        server = start_server(
            *("--auth", "token", "--participants", str(file), "--login-timeout", "0.5")
        )
        with server.trader() as slow:
            said = 0
            slow.socket.settimeout(0.02)
            while True:
                try:
                    slow.send(b"x")
                    said += 1
                    if slow.socket.recv(1 << 16):
                        break
                except TimeoutError:
                    pass
            assert said > 3

    @pytest.mark.parametrize("kind", ["private", "public"])
    @pytest.mark.parametrize("what", ["header", "handshake"])
    def test_a_header_and_a_handshake_have_a_time_limit_in_all(
        self,
        what: str,
        kind: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> None:
        """Bytes that go on coming do not move it."""
        monkeypatch.setattr(introduction, "HEADER", 0.1)
        monkeypatch.setattr(tls, "HANDSHAKE", 0.1)
        office = Office(tmp_path_factory.mktemp("office"))
        settings = Settings(private=0, public=0, tls_cert=office.cert)
        if what == "header":
            here_only = (ip_network("127.0.0.1"),)
            settings = Settings(private=0, public=0, proxy_protocol=here_only)

        async def test() -> None:
            here = Node(MemoryExchange(INSTRUMENTS), settings, 100)
            await here.start()
            reader, writer = await asyncio.open_connection("127.0.0.1", here.port(kind))
            hello = b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc" + b"\0" * 60
            closed = asyncio.create_task(reader.read())
            for byte in LINE[:-2] if what == "header" else hello:
                writer.write(bytes([byte]))
                if (await asyncio.wait([closed], timeout=0.01))[0]:
                    break
            with suppress(ConnectionError):  # it was cut off in the middle of a word
                assert await closed == b""
            writer.close()
            await here.stop()

        with_loop(test)
        assert "within 0.1 seconds" in caplog.text


def test_connections_come_and_go(server: Server) -> None:
    """Each leaves nothing behind, and the log has a bound."""
    with server.trader() as other:
        for _ in range(200):
            server.trader().socket.close()
        assert other.ask(HEARTBEAT)["message"] == "heartbeat"
        before = server.memory()
        for _ in range(2000):
            with server.trader() as peer:
                peer.send(create(1, "BUY", 5, 1))
        assert other.ask(HEARTBEAT)["message"] == "heartbeat"
        assert server.memory() - before < 20_000_000
    lines = server.text().splitlines()
    seconds = {line[:19] for line in lines}
    assert len(lines) < 260 * (len(seconds) + 1)
