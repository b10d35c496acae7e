"""Floods through TLS hold no more memory than those in the plain."""

import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import PATIENCE, Peer, Server, eventually
from tests.test_node_introduction import ALL, NOTHING
from tests.tls import Office, SecureServer

Start = Callable[..., Server]

LINE = b"1" + b" " * 4000 + b"\n"
"""Long, so that the answers are little beside what is said."""


def test_a_handshake_is_a_message_of_its_address(start_server: Start, tmp_path: Path) -> None:
    """Who has no message left is let go before the handshake, which costs most."""
    limit = ("--max-address-rate", "5", "--log-level", "info")
    server = SecureServer(start_server, Office(tmp_path / "office"), *limit)
    done = 0
    for _ in range(30):
        with suppress(OSError), server.trader():
            done += 1
    assert 1 <= done <= 29
    eventually(lambda: "too many connections per second from this address" in server.plain.text())
    text = server.plain.text()
    assert text.count(" opened from ") == done, "and each of them once"


@pytest.fixture
def server(start_server: Start, tmp_path: Path) -> SecureServer:
    return SecureServer(start_server, Office(tmp_path / "office"))


def flood(peer: Peer, lines: int) -> None:
    """Say so many lines as fast as they are taken, and read the answers meanwhile."""
    said = memoryview(LINE * lines)
    answers = 0
    peer.socket.setblocking(False)

    def hear() -> bool:
        nonlocal answers
        with suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            answers += peer.socket.recv(1 << 20).count(b'"error"')
        return answers >= lines

    def speak() -> bool:
        nonlocal said
        with suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            said = said[peer.socket.send(said[: 1 << 20]) :]
        hear()
        return not said

    eventually(speak)
    eventually(hear)
    peer.socket.settimeout(PATIENCE)


@pytest.mark.parametrize("kind", ["private", "public"])
def test_what_is_not_decrypted_yet_stays_in_the_kernel(server: SecureServer, kind: str) -> None:
    """TCP is heard 256 kB at once and decrypted 16 at most: the rest must not pile up."""
    before = server.plain.memory()
    with server.trader() if kind == "private" else server.watcher() as peer:
        flood(peer, 5000)  # 20 MB
        assert server.plain.memory() - before < 8_000_000


def test_a_connection_that_said_much_keeps_nothing_of_it(server: SecureServer) -> None:
    peers = [server.trader() for _ in range(20)]
    for peer in peers:
        assert peer.ask(ALL) == NOTHING
    before = server.plain.memory()
    for peer in peers:
        flood(peer, 500)
    held = server.plain.memory() - before
    for peer in peers:
        peer.socket.close()
    assert held < 20 * 250_000
