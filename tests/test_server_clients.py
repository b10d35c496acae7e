"""Clients in every state, at a real server over real sockets."""

import select
import socket
import struct
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from tests.support import PATIENCE, Peer, Server, create, eventually, run_wood

ALL = {"message": "cancelAll"}
NOTHING_CANCELED = {"message": "cancelAll", "canceled": 0}


def reset(peer: Peer) -> None:
    """Break the connection instead of closing it."""
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.socket.close()


class TestPieces:
    def test_byte_by_byte(self, server: Server) -> None:
        with server.trader() as peer:
            peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in b'{"message":"cancelAll"}\r\n\n\r\n{"message":"cancelAll"}\n':
                peer.send(bytes([byte]))
            assert peer.messages(2) == [NOTHING_CANCELED] * 2

    def test_thousands_in_one_write(self, server: Server) -> None:
        with server.trader() as peer:
            orders = [create(number, "BUY", 5, 1) for number in range(5000)]
            peer.send(*orders, ALL)
            news = peer.messages(5000)
            assert [report["orderId"] for report in news] == list(range(5000))
            assert {report["report"] for report in news} == {"NEW"}
            assert [r["orderId"] for r in peer.messages(5000)] == list(range(5000))
            assert peer.message() == {"message": "cancelAll", "canceled": 5000}


class TestEnds:
    def test_a_half_closed_connection_gets_its_answers(self, server: Server) -> None:
        with server.trader() as peer:
            peer.send(*[create(number, "BUY", 5, 1) for number in range(3000)])
            peer.socket.shutdown(socket.SHUT_WR)
            assert len(peer.rest().splitlines()) == 3000

    def test_half_a_message_and_the_end(self, server: Server) -> None:
        with server.trader() as peer:
            peer.send(ALL, b'{"message":"cancelAll"}')
            peer.socket.shutdown(socket.SHUT_WR)
            assert peer.message() == NOTHING_CANCELED
            assert peer.message()["error"] == "the last line has no end"
            assert peer.line() == b""

    def test_half_a_message_and_a_reset(self, server: Server) -> None:
        with server.trader() as other:
            peer = server.trader()
            assert peer.ask(create(1, "BUY", 5, 10))["report"] == "NEW"
            peer.send(b'{"message":"cancelAl')
            reset(peer)
            eventually(lambda: "closed: " in server.text(), "the close in the log")
            answers = [other.ask(create(2, "SELL", 5, 10)), other.message()]
            assert [a["report"] for a in answers] == ["NEW", "FILL"], "the order stayed"

    def test_a_watcher_that_closes_its_half_gets_its_answers(self, server: Server) -> None:
        with server.trader() as peer, server.watcher() as watcher:
            peer.ask(create(1, "BUY", 5, 10))
            assert watcher.message()["price"] == 5
            watcher.send({"message": "subscribe", "symbols": ["WOOD"]}, b"half")
            watcher.socket.shutdown(socket.SHUT_WR)
            lines = [line.split(b'"')[3] for line in watcher.rest().splitlines()]
            assert lines == [b"subscribed", b"orderbook", b"snapshot", b"error"]

    def test_who_comes_and_goes_leaves_nothing(self, start_server: Callable[..., Server]) -> None:
        """Neither a descriptor nor a place, also when the market is silent."""
        server = start_server("--max-connections", "20")
        for _ in range(60):
            server.watcher().socket.close()
            server.trader().socket.close()
        eventually(lambda: accepted(server), "room for another one")
        descriptors = Path(f"/proc/{server.process.pid}/fd")
        eventually(lambda: len(list(descriptors.iterdir())) < 20, "descriptors given back")

    def test_two_lines_in_the_log_for_each(self, server: Server) -> None:
        with server.trader() as peer, server.watcher() as watcher:
            peer.send(*[ALL] * 50)
            peer.messages(50)
            reset(watcher)
        eventually(lambda: server.text().count(" closed: ") == 2, "both closes")
        lines = [line for line in server.text().splitlines() if " INFO s" in line]
        assert len(lines) == 4

    def test_orders_stay_by_default(self, server: Server) -> None:
        with server.trader() as peer:
            peer.ask(create(1, "BUY", 5, 10))
        eventually(lambda: " closed: " in server.text())
        with server.watcher() as watcher:
            assert watcher.message()["quantity"] == 10

    def test_cancel_on_disconnect(self, start_server: Callable[..., Server]) -> None:
        server = start_server("--cancel-on-disconnect")
        with server.watcher() as watcher:
            for end in ("close", "half", "reset"):
                peer = server.trader()
                peer.ask(create(1, "BUY", 5, 10))
                assert watcher.message()["quantity"] == 10
                if end == "half":
                    peer.socket.shutdown(socket.SHUT_WR)
                elif end == "reset":
                    reset(peer)
                else:
                    peer.socket.close()
                assert watcher.message()["quantity"] == 0, end
                peer.socket.close()


def send_until_blocked(peer: Peer, lines: Iterator[bytes], patience: float = 1) -> int:
    """Send, never reading, until the server takes no more; the lines that it was sent whole."""
    sent, data = 0, b""
    while select.select([], [peer.socket], [], patience)[1]:
        if not data:
            data = b"".join(next(lines) for _ in range(500))
            sent += 500
        peer.socket.setblocking(False)
        try:
            data = data[peer.socket.send(data) :]
        except BlockingIOError:
            pass
        finally:
            peer.socket.settimeout(PATIENCE)
    peer.pending = data  # type: ignore[attr-defined]
    return sent


class TestSlowReaders:
    def test_who_does_not_read_is_not_heard_and_loses_nothing(self, server: Server) -> None:
        """Its answers fill buffers, then its questions do; when it reads, all are answered."""
        before = server.memory()
        with server.trader(receive_buffer=4096) as peer, server.trader() as other:
            line = b'{"message":"cancelOrder","orderId":1}\n'
            sent = send_until_blocked(peer, (line for _ in count()))
            assert server.memory() - before < 40_000_000
            assert other.ask(ALL) == NOTHING_CANCELED
            rest: bytes = peer.pending  # type: ignore[attr-defined]
            answers = 0
            while rest or answers < sent:
                if rest and select.select([], [peer.socket], [], 0)[1]:
                    peer.socket.setblocking(False)
                    try:
                        rest = rest[peer.socket.send(rest) :]
                    except BlockingIOError:
                        pass
                    finally:
                        peer.socket.settimeout(PATIENCE)
                assert peer.message()["code"] == "not_found"
                answers += 1
            assert peer.ask(ALL) == NOTHING_CANCELED

    def test_reports_that_pile_up_unread_close_it(
        self, start_server: Callable[..., Server]
    ) -> None:
        server = start_server("--output-limit", "100000")
        before = server.memory()
        with server.trader(receive_buffer=4096) as lazy, server.trader() as busy:
            assert lazy.ask(create(1, "BUY", 5, 10**6))["report"] == "NEW"
            # The kernel's buffers take some megabytes before the server's own begins to fill.
            for _ in range(200):
                busy.send(*[create(number, "SELL", 5, 1) for number in range(500)])
                busy.messages(1000)
            eventually(lambda: "too slow: its reports pile up" in server.text())
            assert server.memory() - before < 40_000_000
            assert busy.ask(ALL) == NOTHING_CANCELED

    def test_asking_for_long_answers_again_and_again(self, server: Server) -> None:
        """20 bytes ask for half a megabyte: a read full of them must not become gigabytes."""
        with server.trader(receive_buffer=4096) as peer, server.trader() as other:
            peer.send(*[create(number, "BUY", 5, 1) for number in range(9000)])
            peer.messages(9000)
            before = server.memory()
            peer.send(b'{"message":"orders"}\n' * 2000)
            assert other.ask(ALL) == NOTHING_CANCELED
            for _ in range(20):
                assert len(peer.message()["orders"]) == 9000
            assert server.memory() - before < 60_000_000

    def test_a_slow_watcher_gets_the_latest_totals_and_all_trades(self, server: Server) -> None:
        with server.trader() as peer, server.watcher(receive_buffer=4096) as slow:
            book: dict[tuple[str, int], int] = {}
            # Each round says 1,500 lines; the kernel's buffers take the first megabytes.
            rounds = 150
            for _ in range(rounds):
                pairs = [
                    (create(n, "BUY", 5, 1), create(500 + n, "SELL", 5, 1)) for n in range(500)
                ]
                peer.send(*[order for pair in pairs for order in pair])
                peer.messages(500 * 4)
            peer.ask(create(1, "BUY", 3, 77))
            lines = read_until(slow, 77)
            trades = [line for line in lines if line["type"] == "trade"]
            assert len(trades) == rounds * 500, "every trade"
            assert len(lines) < rounds * 1500 * 0.9, "but not every level"
            for line in lines:
                if line["type"] == "orderbook":
                    book[line["side"], line["price"]] = line["quantity"]
            assert {key: total for key, total in book.items() if total} == {("bid", 3): 77}

    def test_a_watcher_that_never_reads_is_closed(
        self, start_server: Callable[..., Server]
    ) -> None:
        server = start_server("--backlog-limit", "1000")
        before = server.memory()
        with server.trader() as peer, server.watcher(receive_buffer=4096):
            number = 0
            while "too slow: too many trades" not in server.text():
                number += 1
                assert number < 500, "it should have been closed by now"
                for n in range(500):
                    peer.send(create(n, "BUY", 5, 1), create(1000 + n, "SELL", 5, 1))
                peer.messages(500 * 4)
            assert server.memory() - before < 40_000_000
            assert peer.ask(ALL) == NOTHING_CANCELED

    def test_subscribing_again_and_again_without_reading(self, server: Server) -> None:
        with server.trader() as peer, server.watcher(receive_buffer=4096) as watcher:
            peer.send(*[create(n, "BUY", n + 1, 1) for n in range(5000)])
            peer.messages(5000)
            before = server.memory()
            line = b'{"message":"subscribe","symbols":["WOOD"]}\n'
            watcher.send(line * 3000)
            assert peer.ask({"message": "instruments"})["message"] == "instruments"
            kinds = [read_until_type(watcher, "snapshot") for _ in range(5)]
            assert [len(lines) for lines in kinds[1:]] == [5002] * 4
            assert server.memory() - before < 40_000_000


def read_until(watcher: Peer, quantity: int) -> list[Any]:
    lines = [watcher.message()]
    while lines[-1]["quantity"] != quantity:
        lines.append(watcher.message())
    return lines


def read_until_type(watcher: Peer, kind: str) -> list[Any]:
    lines = [watcher.message()]
    while lines[-1]["type"] != kind:
        lines.append(watcher.message())
    return lines


class TestLimits:
    def test_connections(self, start_server: Callable[..., Server]) -> None:
        server = start_server("--max-connections", "3")
        with server.trader() as first, server.trader() as second, server.watcher():
            assert first.ask(ALL) == second.ask(ALL) == NOTHING_CANCELED
            with server.trader() as third:
                error = {"message": "error", "error": "too many connections", "code": "limit"}
                error["limit"] = "connections"
                assert third.message() == error
                assert third.line() == b""
            with server.watcher() as fourth:
                assert fourth.line() == b"", "who asked for no extension is told no error"
            first.socket.close()
            eventually(lambda: accepted(server), "room for another one")
            assert second.ask(ALL) == NOTHING_CANCELED

    def test_descriptors(self, start_server: Callable[..., Server]) -> None:
        """The soft limit is raised to the hard one; past that newcomers are told, others go on."""
        server = start_server(before="ulimit -Sn 20; ulimit -Hn 100")
        peers = [server.trader() for _ in range(60)]
        told = [peer.ask(ALL) for peer in peers]
        assert told[:36] == [NOTHING_CANCELED] * 36
        assert {message["code"] for message in told[36:]} == {"limit"}
        for peer in peers[30:]:
            peer.socket.close()
        eventually(lambda: accepted(server), "room for another one")
        assert [peer.ask(ALL) for peer in peers[:30]] == [NOTHING_CANCELED] * 30
        for peer in peers[:30]:
            peer.socket.close()

    def test_more_connections_than_descriptors_is_a_mistake(self) -> None:
        done = run_wood("-s", "--max-connections", "99999999")
        assert done.returncode == 1
        assert "is more than the" in done.stderr

    def test_rate(self, start_server: Callable[..., Server]) -> None:
        server = start_server("--max-rate", "10")
        with server.trader() as peer, server.trader() as other:
            peer.send(*[ALL] * 100)
            codes = [message.get("code") for message in peer.messages(100)]
            assert codes[:10] == [None] * 10
            assert codes.count("rate") > 80
            assert other.ask(ALL) == NOTHING_CANCELED

    def test_open_orders(self, start_server: Callable[..., Server]) -> None:
        server = start_server("--max-open-orders", "2")
        with server.trader() as peer:
            peer.send(*[create(number, "BUY", 5, 1) for number in range(3)])
            assert [m.get("code") for m in peer.messages(3)] == [None, None, "limit"]


def accepted(server: Server) -> bool:
    """Whether a new connection is taken."""
    with server.trader() as peer:
        return bool(peer.ask(ALL) == NOTHING_CANCELED)


def test_a_thousand_connections_at_once(server: Server) -> None:
    peers = [server.trader() for _ in range(1000)]
    for number, peer in enumerate(peers):
        peer.send(create(number, "BUY", 5, 1))
    assert {peer.message()["orderId"] for peer in peers} == set(range(1000))
    with server.trader() as taker:
        taker.send(create(1, "SELL", 5, 1000))
        fills = [taker.message() for _ in range(1001)][1:]
        assert sum(fill["quantity"] for fill in fills) == 1000
    for peer in peers:
        assert peer.message()["report"] == "FILL"
        peer.socket.close()
