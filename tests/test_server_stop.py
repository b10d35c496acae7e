"""The orderly end: stop accepting, answer what was read, close, exit 0."""

import select
import signal
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.support import PATIENCE, Peer, Server, create, eventually, run_wood
from tests.test_server_clients import ALL, NOTHING_CANCELED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_everything_read_is_answered(
    start_server: Callable[..., Server], number: signal.Signals
) -> None:
    """Under load: each answered order is in the public book, and no answer is cut off."""
    server = start_server("--max-open-orders", "1000000")
    with server.trader() as peer, server.watcher() as watcher:
        orders = b"".join(
            b'{"message":"createOrder","orderId":%d,"side":"BUY","price":5,"quantity":1}\n' % n
            for n in range(200_000)
        )

        def send() -> None:
            with suppress(OSError):  # the server stops while we are talking
                peer.socket.sendall(orders)

        thread = threading.Thread(target=send)
        thread.start()
        for expected in range(1000):
            assert peer.message()["orderId"] == expected
        server.process.send_signal(number)
        reports = peer.rest().splitlines()
        thread.join()
        seen = watcher.rest().splitlines()
        assert len(seen) == 1000 + len(reports)
        assert all(b'"report":"NEW"' in line for line in reports)
        assert seen[-1].endswith(b'"quantity":%d}' % len(seen))
    assert server.stop() == 0
    assert "stopped" in server.text()


def test_new_connections_are_refused_while_it_drains(server: Server) -> None:
    with server.trader(receive_buffer=4096) as lazy, server.trader() as other:
        lazy.send(*[create(n, "BUY", 5, 1) for n in range(5000)], b'{"message":"orders"}\n' * 20)
        lazy.messages(5000)
        select.select([lazy.socket], [], [], PATIENCE)  # the first list is on its way
        server.process.send_signal(signal.SIGTERM)
        assert other.line() == b""
        with pytest.raises(ConnectionRefusedError):
            server.trader()
        answers = lazy.rest().splitlines()
        assert len(answers) == 20, "what was read before the signal is answered after it"
    assert server.stop() == 0


def test_a_client_that_never_reads_cannot_hold_it_up(server: Server) -> None:
    with server.trader(receive_buffer=4096) as lazy:
        lazy.send(*[create(n, "BUY", 5, 1) for n in range(9000)], b'{"message":"orders"}\n' * 20)
        lazy.line()
        assert server.stop() == 0


def test_idle_connections_are_closed_at_once(server: Server) -> None:
    with server.trader() as peer, server.watcher() as watcher:
        assert peer.ask(ALL) == NOTHING_CANCELED
        server.process.send_signal(signal.SIGTERM)
        assert peer.line() == b""
        assert watcher.line() == b""
    eventually(server.ended, "the end")
    assert server.stop() == 0


def test_twice_is_once(server: Server) -> None:
    with server.trader() as peer:
        assert peer.ask(ALL) == NOTHING_CANCELED
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGINT)
        server.process.send_signal(signal.SIGTERM)
        assert peer.line() == b""
    assert server.stop() == 0


@pytest.mark.parametrize("kind", ["private", "public"])
def test_a_port_in_use(server: Server, kind: str) -> None:
    port = getattr(server, kind)
    other = "public" if kind == "private" else "private"
    done = run_wood("-s", f"--{kind}", str(port), f"--{other}", "0")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"wood: port {port} is in use: stop what listens there, or choose another with "
        f"--{kind} PORT"
    )
    assert "Traceback" not in done.stderr


def test_a_new_server_takes_the_port_at_once(start_server: Callable[..., Server]) -> None:
    """Connections that the old one closed are still in TIME_WAIT."""
    first = start_server()
    with first.trader() as peer:
        assert peer.ask(ALL) == NOTHING_CANCELED
        assert first.stop() == 0
        assert peer.line() == b""
    again = start_server("--private", str(first.private))
    with Peer(again.host, first.private) as peer:
        assert peer.ask(ALL) == NOTHING_CANCELED
