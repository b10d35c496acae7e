"""TLS at the door: everything as without it, and certificates that name participants."""

import asyncio
import json
import re
import signal
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.engines import INSTRUMENTS, with_loop
from tests.sessions import HEARTBEAT, LOGIN, bad_end, log_in
from tests.support import Server, create, eventually, free_port, run_wood_here
from tests.test_node_introduction import ALL, HEADERS, NOTHING, TRUSTED
from tests.tls import HOST, Office, SecureServer, SlowTls, secure
from wood.exchange.memory import MemoryExchange
from wood.node import tls
from wood.node.node import Node
from wood.node.settings import Settings

Start = Callable[..., Server]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    return Office(tmp_path_factory.mktemp("office"))


@pytest.fixture
def server(start_server: Start, office: Office) -> SecureServer:
    return SecureServer(start_server, office)


class TestBothPorts:
    def test_speak_it(self, server: SecureServer) -> None:
        with server.trader() as peer, server.watcher() as watcher:
            assert peer.ask(create(1, "BUY", 5, 1))["report"] == "NEW"
            assert watcher.message()["price"] == 5

    def test_version_2_too(self, server: SecureServer) -> None:
        context = server.office.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with secure(server.plain.trader(), context) as peer:
            assert peer.ask(ALL) == NOTHING

    def test_who_speaks_plainly_is_let_go(self, server: SecureServer) -> None:
        with server.plain.trader() as peer:
            peer.send(ALL)
            assert b"cancelAll" not in peer.rest()
        eventually(lambda: "closed: no TLS handshake: " in server.plain.text())

    def test_much_is_said_and_heard(self, server: SecureServer) -> None:
        with server.trader() as peer:
            peer.send(*[create(number, "BUY", 5, 1) for number in range(9000)])
            assert len(peer.messages(9000)) == 9000
            peer.send(*[{"message": "orders"}] * 20)
            for _ in range(20):
                assert len(peer.message()["orders"]) == 9000

    def test_one_who_never_reads_is_not_read_and_not_kept(self, server: SecureServer) -> None:
        before = server.plain.memory()
        with server.trader(receive_buffer=4096) as lazy, server.trader() as other:
            lazy.socket.settimeout(0.3)
            try:
                for _ in range(100_000):
                    lazy.socket.sendall(b"1\n" * 2000)
            except TimeoutError:
                pass
            else:
                pytest.fail("the server read on and on")
            assert other.ask(ALL) == NOTHING
            assert server.plain.memory() - before < 40_000_000

    def test_the_last_words_are_heard(self, server: SecureServer) -> None:
        with server.trader() as peer:
            peer.send(b"x" * 200_000)
            bad_end(peer, "too_long")
        with server.trader() as idle:
            assert idle.ask(ALL) == NOTHING
            idle.send(ALL)
            assert server.plain.stop() == 0
            assert idle.message() in (NOTHING, None)
            assert idle.rest() == b"", "and the end is a proper one"

    def test_a_half_closed_client_gets_its_answers(self, server: SecureServer) -> None:
        lines = json.dumps(ALL).encode() + b"\n"
        client = SlowTls(server.plain.trader(), server.office.context())
        client.shake_hands()
        client.send(lines * 1000)
        client.say_no_more()
        assert client.rest().count(b"\n") == 1000
        with server.trader() as cut:
            cut.send(lines * 1000)
            socket.socket.shutdown(cut.socket, socket.SHUT_WR)
            assert cut.rest().count(b"\n") == 1000

    def test_what_comes_in_pieces(self, server: SecureServer) -> None:
        client = SlowTls(server.plain.trader(), server.office.context())
        client.shake_hands(piece=1)
        client.send(b'{"message":"cancelAll"}\n', piece=1)
        client.say_no_more()
        assert json.loads(client.rest()) == NOTHING

    def test_shared_ports(self, start_server: Start, office: Office) -> None:
        port, public = str(free_port()), str(free_port())
        options = ("--reuse-port", "--private", port, "--public", public)
        servers = [SecureServer(start_server, office, *options) for _ in range(2)]
        for _ in range(20):
            with servers[0].trader() as peer:
                assert peer.ask(ALL) == NOTHING
        eventually(lambda: all("opened" in each.plain.text() for each in servers))


@pytest.mark.parametrize(("header", "source"), HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("piece", [1 << 20, 1], ids=["at once", "by bytes"])
def test_behind_a_balancer(
    start_server: Start, office: Office, header: bytes, source: str, piece: int
) -> None:
    """The header comes in the plain, in the same segment as the hello or in bits."""
    server = start_server(*office.options, *TRUSTED)
    client = SlowTls(server.trader(), office.context(office.participant("alice")))
    client.shake_hands(header, piece)
    client.send(json.dumps(LOGIN).encode() + b"\n")
    client.say_no_more()
    assert json.loads(client.rest())["participant"] == "alice"
    assert re.search(rf"session \S+ opened from {source}\n", server.text())


class TestCertificates:
    @pytest.mark.parametrize("names", [("alice",), (None, "alice"), ("alice", "bob.example")])
    def test_name_a_participant(self, server: SecureServer, names: tuple[Any, ...]) -> None:
        with server.trader(server.office.participant(*names)) as peer:
            for other in (LOGIN | {"participant": "bob"}, LOGIN | {"participant": "bob.example"}):
                told = peer.ask(other | {"token": "any"})
                assert (told["error"], told["code"]) == (
                    "the certificate names another participant",
                    "unauthorized",
                )
            log_in(peer)

    def test_in_a_cluster(
        self, prefix: str, redis_url: str, start_server: Start, office: Office
    ) -> None:
        cluster = Cluster(start_server, redis_url, prefix, *office.options, nodes=2)
        cert = office.participant("alice")
        one, other = (secure(node.trader(), office.context(cert)) for node in cluster.nodes)
        with one, other:
            for peer in (one, other):
                assert peer.ask(LOGIN | {"participant": "bob"})["code"] == "unauthorized"
                log_in(peer)
            assert one.ask(create(1, "BUY", 5, 1))["report"] == "NEW"
            assert other.message()["report"] == "NEW"

    def test_or_a_token_is_needed_to_log_in(self, server: SecureServer) -> None:
        """Else anybody could be one who is known by its certificate alone."""
        with server.trader() as peer:
            told = peer.ask(LOGIN)
            why = "a login needs a certificate or a token here"
            assert (told["error"], told["code"]) == (why, "unauthorized")
            assert peer.ask({**LOGIN, "token": "guessed"})["code"] == "unauthorized"
            assert peer.ask(create(1, "BUY", 5, 1))["report"] == "NEW", "it may be anonymous"

    @pytest.mark.parametrize("name", ["a b", "~abc", "a\x1b[31m", "x" * 40, "a\nb", "é", "a:{b}"])
    def test_with_unusable_names(self, server: SecureServer, name: str) -> None:
        with server.trader(server.office.participant(name)) as peer:
            told = peer.ask(LOGIN)
            assert (told["error"], told["code"]) == (
                "the certificate names no participant",
                "unauthorized",
            )
            assert peer.ask(HEARTBEAT)["message"] == "heartbeat", "it may be anonymous"
        assert name not in server.plain.text()

    @pytest.mark.parametrize("kind", ["expired", "foreign"])
    def test_that_do_not_count(self, server: SecureServer, tmp_path: Path, kind: str) -> None:
        office = server.office if kind == "expired" else Office(tmp_path / "other")
        cert = office.participant("alice", expired=kind == "expired")
        with pytest.raises((ssl.SSLError, ConnectionError)), server.trader(cert) as peer:
            # In TLS 1.3 the client is done before the server has looked at the certificate.
            peer.ask(LOGIN)
        eventually(lambda: "closed: no TLS handshake: " in server.plain.text())
        assert "opened from" not in server.plain.text()

    def test_are_read_again_at_a_signal(self, start_server: Start, tmp_path: Path) -> None:
        server = SecureServer(start_server, Office(tmp_path / "office"))

        def certificate() -> bytes | None:
            with server.trader() as peer:
                assert isinstance(peer.socket, ssl.SSLSocket)
                return peer.socket.getpeercert(binary_form=True)

        with server.trader() as before:
            first = certificate()
            server.office.renew()
            assert certificate() == first
            server.plain.process.send_signal(signal.SIGHUP)
            eventually(lambda: certificate() != first)
            second = certificate()
            server.office.cert.write_bytes(b"-----BEGIN CERTIFICATE-----\nno\n")
            server.plain.process.send_signal(signal.SIGHUP)
            eventually(lambda: "the certificates are those of before: " in server.plain.text())
            assert certificate() == second
            assert before.ask(ALL) == NOTHING, "who is there stays"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--tls-key", "{ca}"), "go with --tls-cert"),
        (("--tls-cert", "{ca}"), "for --tls-cert: "),
        (
            ("--tls-cert", "{cert}", "--tls-key", "{other}"),
            "the key is not that of the certificate",
        ),
        (("--tls-cert", "{cert}", "--tls-client-ca", "{empty}"), "for --tls-client-ca: "),
        (("--tls-cert", "/nowhere"), "does not exist"),
    ],
)
def test_a_mistake_is_one_line(
    office: Office, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    other = Office(tmp_path / "other")
    empty = tmp_path / "empty"
    empty.touch()
    files = {"ca": office.ca, "cert": office.cert, "other": other.cert, "empty": empty}
    done = run_wood_here(
        "-s", "--private", "0", "--public", "0", *[option.format(**files) for option in options]
    )
    assert done.returncode
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


class TestHandshake:
    def test_has_a_time_limit(
        self, office: Office, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(tls, "HANDSHAKE", 0.05)

        async def test() -> None:
            here = await _node(office)
            for port in ("private", "public"):
                reader, writer = await asyncio.open_connection(HOST, here.port(port))
                assert await reader.read() == b""
                writer.close()
            await here.stop()

        with_loop(test)
        assert caplog.text.count("no TLS handshake within 0.05 seconds") == 2

    def test_has_a_longest(self, office: Office, caplog: pytest.LogCaptureFixture) -> None:
        """A hello that never ends costs no memory."""

        async def test() -> None:
            here = await _node(office)
            reader, writer = await asyncio.open_connection(HOST, here.port("private"))
            record = b"\x16\x03\x01\x40\x00"  # 16 KB of a hello of 128
            writer.write(record + b"\x01\x01\xff\xff" + b"\0" * 0x3FFC)
            with suppress(ConnectionError):
                for _ in range(6):
                    writer.write(record + b"\0" * 0x4000)
                assert await reader.read() == b""
            writer.close()
            await here.stop()

        with_loop(test)
        assert "the TLS handshake is too long" in caplog.text

    def test_counts_among_the_connections_of_an_address(self, office: Office) -> None:
        async def test() -> None:
            here = await _node(office, max_address_connections=2)
            silent = [await asyncio.open_connection(HOST, here.port("private")) for _ in range(5)]
            assert await silent[4][0].read() == b"", "two more than may are heard, no third"
            for _, writer in silent[:3]:
                writer.close()
            while len(here._newcomers) > 1:
                await asyncio.sleep(0)
            context = office.context()
            open_ = [
                await asyncio.open_connection(HOST, here.port("private"), ssl=context)
                for _ in range(2)
            ]
            assert b'"limit":"addressConnections"' in await open_[1][0].readline()
            for _, writer in [*silent, *open_]:
                writer.close()
            await here.stop()

        with_loop(test)


async def _node(office: Office, **more: int) -> Node:
    settings = Settings(private=0, public=0, tls_cert=office.cert, **more)  # type: ignore[arg-type]
    here = Node(MemoryExchange(INSTRUMENTS), settings, 100)
    await here.start()
    return here
