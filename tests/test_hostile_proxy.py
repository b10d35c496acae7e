"""Claims about where one comes from: only a trusted balancer is believed, and only once."""

from collections.abc import Callable

import pytest

from tests.hostile import From
from tests.support import Server, create, eventually
from tests.test_node_introduction import ALL, LINE, NOTHING
from tests.test_node_proxy_protocol import V4, binary

Start = Callable[..., Server]
TRUSTED = ("--proxy-protocol", "127.0.0.1", "--max-address-rate", "1000")


@pytest.fixture
def server(start_server: Start) -> Server:
    return start_server(*TRUSTED)


@pytest.mark.parametrize("header", [LINE, binary(0x21, 0x11, V4)], ids=["v1", "v2"])
def test_a_second_header_is_a_bad_message(server: Server, header: bytes) -> None:
    """As a client may send that knows where the balancer's goes."""
    with server.trader() as peer:
        peer.send(LINE.replace(b"192.0.2.7", b"198.51.100.1") + header + b"\n" + b"\n")
        told = peer.message()
        assert told["code"] == "invalid"
        while told.get("code"):
            told = peer.ask(ALL)
        assert told == NOTHING
    assert "192.0.2.7" not in server.text()
    eventually(lambda: "198.51.100.1" in server.text())


def test_who_is_not_trusted_is_not_heard(server: Server) -> None:
    with From("127.0.0.2", server.private) as liar:
        try:
            liar.send(LINE + b'{"message":"cancelAll"}\n')
            assert liar.rest() == b""
        except ConnectionError:
            pass
    eventually(lambda: "127.0.0.2" in server.text())
    assert "192.0.2.7" not in server.text()


def test_a_claimed_trusted_address_gives_no_trust(server: Server) -> None:
    """Who is said to be the balancer is a client like any other: its word on others is none."""
    with server.trader() as peer:
        peer.send(LINE.replace(b"192.0.2.7", b"127.0.0.1"))
        assert peer.ask(ALL) == NOTHING
        assert peer.ask(LINE)["code"] == "invalid"
        assert peer.ask(ALL) == NOTHING


def test_a_balancers_own_connection_counts_as_the_balancers(server: Server) -> None:
    with server.trader() as peer:
        peer.send(binary(0x20, 0x00, b""))
        assert peer.ask(create(1, "BUY", 5, 1))["report"] == "NEW"
    eventually(lambda: "opened from 127.0.0.1 port" in server.text())


def test_bad_headers_do_not_flood_the_log(server: Server) -> None:
    for number in range(100):
        with server.trader() as peer:
            try:
                peer.send(b"\x1b[31mPROXY \r\n%d" % number)
                assert peer.rest() == b""
            except ConnectionError:
                pass
    eventually(
        lambda: "more lines about bad PROXY headers and TLS handshakes were left" in server.text()
    )
    assert server.text().count("does not begin with a PROXY header") <= 60
    assert "\x1b" not in server.text()


def test_without_the_option_a_header_is_a_bad_message(start_server: Start) -> None:
    server = start_server()
    with server.trader() as peer:
        assert peer.ask(LINE)["code"] == "invalid"
    assert "192.0.2.7" not in server.text()
