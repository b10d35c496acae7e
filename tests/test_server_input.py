"""Bad input at a real server: a documented error, and everybody goes on."""

import time
from collections.abc import Callable

import msgpack
import pytest

from tests.support import Peer, Server

GOOD = {"message": "cancelAll"}
CREATE = '{"message":"createOrder","orderId":7,"side":"BUY","price":%s,"quantity":1}'

BAD: list[tuple[str | bytes, str, int | None]] = [
    ("not JSON", "invalid", None),
    ("[]", "invalid", None),
    ("7", "invalid", None),
    ('{"message":"noSuchThing","orderId":7}', "invalid", 7),
    ('{"orderId":7}', "invalid", 7),
    ('{"message":"createOrder","orderId":7}', "invalid", 7),
    ('{"message":"createOrder","orderId":7,"side":"BUY","price":"x","quantity":[1]}', "invalid", 7),
    (CREATE % "NaN", "invalid", None),
    (CREATE % "Infinity", "invalid", None),
    (CREATE % '"NaN"', "invalid", 7),
    (CREATE % '"-Infinity"', "invalid", 7),
    (CREATE % "1e400", "too_large", 7),
    (CREATE % "1e900000", "too_large", 7),
    (CREATE % "1e-900000", "invalid", 7),
    (CREATE % '"1_000"', "invalid", 7),
    (CREATE % '"\uff11"', "invalid", 7),
    (CREATE % '"\u0663"', "invalid", 7),
    (CREATE % "-1", "invalid", 7),
    (CREATE % "0", "invalid", 7),
    (CREATE % "0.001", "invalid", 7),
    (CREATE % "90071992547409.92", "too_large", 7),
    (CREATE % "true", "invalid", 7),
    (CREATE % "null", "invalid", 7),
    ((CREATE % "1").replace('quantity":1', 'quantity":1.5'), "invalid", 7),
    ((CREATE % "1").replace('quantity":1', 'quantity":false'), "invalid", 7),
    ((CREATE % "1").replace('quantity":1', 'quantity":1000000000001'), "too_large", 7),
    ('{"message":"cancelOrder","orderId":18446744073709551616}', "invalid", None),
    ('{"message":"cancelOrder","orderId":true}', "invalid", None),
    ('{"message":"cancelOrder","orderId":-1}', "invalid", None),
    ('{"message":"cancelOrder","orderId":"\u0667"}', "invalid", None),
    ('{"message":"cancelOrder","orderId":7}', "not_found", 7),
    ('{"message":"cancelOrder","orderId":7,"symbol":"PLUM"}', "unknown_symbol", 7),
    (b'{"message":"cancelAll","x":"\xff\xfe"}', "invalid", None),
    ('{"message":"cancelAll","x":' + "[" * 20000 + "]" * 20000 + "}", "invalid", None),
    ('{"message":"cancelAll","x":' + '{"a":' * 5000 + "1" + "}" * 5000 + "}", "invalid", None),
]


def test_every_kind_of_bad_line_among_good_ones(server: Server) -> None:
    """All in one write: each gets its own answer in its own place, and nothing else happens."""
    with server.trader() as peer, server.trader() as other, server.watcher() as watcher:
        lines = [line.encode() if isinstance(line, str) else line for line, _, _ in BAD]
        peer.send(*[part for line in lines for part in (line + b"\n", GOOD)])
        for line, code, order_id in BAD:
            answer = peer.message()
            assert (answer["code"], answer.get("orderId")) == (code, order_id), line[:80]
            assert isinstance(answer["error"], str)
            assert peer.message() == {"message": "cancelAll", "canceled": 0}
        assert other.ask(GOOD) == {"message": "cancelAll", "canceled": 0}
        watcher.send(b"{}\n")
        assert watcher.message()["type"] == "error", "the public saw nothing"


def test_a_huge_exponent_costs_nothing(server: Server) -> None:
    """A thousand of them take about as long as a thousand good ones; one conversion took longer."""
    with server.trader() as peer:
        begin = time.perf_counter()
        peer.send((CREATE % "1e900000" + "\n").encode() * 1000)
        assert {message["code"] for message in peer.messages(1000)} == {"too_large"}
        assert time.perf_counter() - begin < 2


def test_duplicate_and_somebody_elses(server: Server) -> None:
    with server.trader() as peer, server.trader() as thief:
        create = (CREATE % "5").encode() + b"\n"
        assert peer.ask(create)["report"] == "NEW"
        assert peer.ask(create)["code"] == "duplicate"
        for message in (
            {"message": "cancelOrder", "orderId": 7},
            {"message": "amendOrder", "orderId": 7, "quantity": 1},
        ):
            assert thief.ask(message)["code"] == "not_found"
        assert thief.ask(GOOD)["canceled"] == 0
        assert peer.ask({"message": "cancelOrder", "orderId": 7})["report"] == "CANCELED"
        assert peer.ask({"message": "cancelOrder", "orderId": 7})["code"] == "not_found"


@pytest.mark.parametrize("where", ["trader", "watcher"])
@pytest.mark.parametrize(
    "junk",
    [b"x" * (64 * 1024 + 1), b'{"message":"' + b"y" * 10_000_000 + b'"}\n', b"z" * 10_000_000],
    ids=["just", "ten megabytes", "without an end"],
)
def test_a_line_too_long_gets_one_error_and_the_end(
    server: Server, where: str, junk: bytes
) -> None:
    """The client can send all of it, and still reads the error."""
    peer: Peer = getattr(server, where)()
    peer.send(b"{}\n" + junk)
    first, second = peer.messages(2)
    assert (first["code"], second["code"]) == ("invalid", "too_long")
    assert peer.line() == b""
    peer.socket.close()
    with server.trader() as other:
        assert other.ask(GOOD)["canceled"] == 0


def test_what_was_said_before_a_line_too_long_is_answered(server: Server) -> None:
    with server.trader() as peer:
        peer.send((CREATE % "5").encode() + b"\n", GOOD, b"x" * 100_000)
        reports = peer.messages(4)
        assert [r.get("report", r.get("code")) for r in reports] == [
            "NEW",
            "CANCELED",
            None,
            "too_long",
        ]
        assert peer.line() == b""


def test_the_line_limit_is_an_option(start_server: Callable[..., Server]) -> None:
    server = start_server("--line-limit", "1024")
    with server.trader() as peer:
        assert peer.ask(b" " * 1003 + b'{"message":"cancelAll"}\n')["code"] == "too_long"
    with server.trader() as peer:
        assert peer.ask(b" " * 1001 + b'{"message":"cancelAll"}\n')["canceled"] == 0


def test_broken_messagepack(server: Server) -> None:
    with server.trader() as peer:
        peer.send(msgpack.packb(GOOD) + b"\x05" + msgpack.packb(GOOD) + b"\xc1")
        done, error, again, fatal = peer.packed(4)
        assert done == again == {"message": "cancelAll", "canceled": 0}
        assert (error["code"], fatal["code"]) == ("invalid", "invalid")
        assert peer.socket.recv(100) == b""
