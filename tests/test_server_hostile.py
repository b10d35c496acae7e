"""Clients that want the server's memory or time: both stay bounded, and others do not notice."""

from collections.abc import Callable

from tests.support import Server, create, eventually
from tests.test_server_clients import (
    ALL,
    NOTHING_CANCELED,
    read_until_type,
    send_until_blocked,
)

MEGABYTE = 1_000_000


def test_lists_that_are_read_are_not_kept(server: Server) -> None:
    """300 answers of half a megabyte each, all of them read."""
    with server.trader() as peer:
        peer.send(*[create(number, "BUY", 5, 1) for number in range(9000)])
        peer.messages(9000)
        assert len(peer.ask({"message": "orders"})["orders"]) == 9000
        before = server.memory()
        for _ in range(300):
            peer.send({"message": "orders"})
            assert peer.line().endswith(b"}]}")
        assert server.memory() - before < 40 * MEGABYTE


def test_a_thousand_subscriptions_in_one_write(server: Server) -> None:
    with server.trader() as peer, server.watcher() as watcher:
        assert peer.ask(create(1, "BUY", 5, 1))["report"] == "NEW"
        watcher.send(b'{"message":"subscribe","symbols":["WOOD"]}\n' * 2000)
        for number in range(2000):
            lines = read_until_type(watcher, "snapshot")
            # The first one also reads the book of before it asked for anything.
            assert [line["type"] for line in lines[-3:]] == ["subscribed", "orderbook", "snapshot"]
            assert len(lines) == (4 if number == 0 else 3)


def test_watchers_that_say_nonsense_and_never_read(server: Server) -> None:
    before = server.memory()
    watchers = [server.watcher(receive_buffer=4096) for _ in range(10)]
    with server.trader() as other:
        for watcher in watchers:
            send_until_blocked(watcher, (b"1\n" for _ in iter(int, 1)), patience=0.05)
            assert other.ask(ALL) == NOTHING_CANCELED
        assert server.memory() - before < 40 * MEGABYTE
    for watcher in watchers:
        watcher.socket.close()


def test_one_who_floods_does_not_starve_others(server: Server) -> None:
    """Each is heard in its turn: the other's answers come long before all of the flood's."""
    with server.trader() as flood, server.trader() as other:
        flood.send(b"x\n" * 60_000)
        for _ in range(20):
            assert other.ask(ALL) == NOTHING_CANCELED
        flood.socket.setblocking(False)
        so_far = 0
        try:
            while data := flood.socket.recv(1 << 20):
                so_far += data.count(b"\n")
        except BlockingIOError:
            pass
        assert so_far < 60_000
        flood.socket.setblocking(True)
        while so_far < 60_000:
            so_far += flood.socket.recv(1 << 20).count(b"\n")
        assert so_far == 60_000, "and every line of it is answered in the end"


def test_orders_of_those_who_left_have_a_bound(start_server: Callable[..., Server]) -> None:
    server = start_server("--max-resting-orders", "250")
    refused = 0
    for _ in range(3):
        with server.trader() as peer:
            peer.send(*[create(number, "BUY", 5, 1) for number in range(100)])
            refused += sum("code" in answer for answer in peer.messages(100))
    assert refused == 50
    with server.trader() as peer:
        answer = peer.ask(create(1, "BUY", 5, 1))
        assert (answer["code"], answer["error"]) == (
            "limit",
            "the exchange has 250 open orders, its limit",
        )
        ioc = create(2, "SELL", 5, 1) | {"timeInForce": "IOC"}
        assert [m["report"] for m in (peer.ask(ioc), peer.message())] == ["NEW", "FILL"]
        assert peer.ask(create(3, "BUY", 5, 1))["report"] == "NEW", "there is room again"


def test_a_half_closed_client_that_never_reads_is_let_go(server: Server) -> None:
    """Its answers would fill the buffers for ever; the node's end cuts it off."""
    with server.trader(receive_buffer=4096) as lazy:
        lazy.send(*[create(n, "BUY", 5, 1) for n in range(9000)], b'{"message":"orders"}\n' * 20)
        lazy.socket.shutdown(1)
        assert server.stop() == 0
    eventually(server.ended)
