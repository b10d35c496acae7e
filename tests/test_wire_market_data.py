"""Lines of the public port; the page docs/protocol.md shows the rest."""

import json
from typing import Any

import msgpack
import pytest

from tests.engines import INSTRUMENTS
from wood.model.errors import ErrorCode, Limit
from wood.model.events import Trade
from wood.model.orders import BUY, SELL, Reason, State
from wood.wire.market_data import (
    BasicJson,
    MarketData,
    SubscribedJson,
    SubscribedPacked,
    error,
    snapshot_end,
    subscribed,
)

TRADE = Trade(7, "PEAR", 41, 3, BUY, "A", 1, 0, "B", 2, 0)
TIME = 1_461_763_950_458_236


def read(data: bytes, encoding: str) -> Any:
    if encoding == "msgpack":
        return msgpack.unpackb(data)
    assert data.endswith(b"\n")
    return json.loads(data)


def test_basic_lines_to_the_byte() -> None:
    basic = BasicJson(INSTRUMENTS)
    assert basic.trade(TRADE, TIME) == (
        b'{"type":"trade","time":1461763950.458236,"price":20.5,"quantity":30}\n'
    )
    assert b'"time":2.000000,' in basic.trade(TRADE, 2_000_000), "each batch has its own time"
    assert basic.level("PEAR", SELL, 41, 0, 9) == (
        b'{"type":"orderbook","side":"ask","price":20.5,"quantity":0}\n'
    )


@pytest.mark.parametrize(
    ("encoder", "encoding", "price"),
    [
        (SubscribedJson(INSTRUMENTS), "json", 20.5),
        (SubscribedPacked(INSTRUMENTS), "msgpack", "20.5"),
    ],
)
def test_subscribed(encoder: MarketData, encoding: str, price: object) -> None:
    trade = read(encoder.trade(TRADE, TIME), encoding)
    assert list(trade.items()) == [
        ("type", "trade"),
        ("time", 1461763950.458236),
        ("price", price),
        ("quantity", 30),
        ("symbol", "PEAR"),
        ("seq", 7),
        ("trade", 7),
    ]
    level = read(encoder.level("PEAR", BUY, 41, 3, 9), encoding)
    assert list(level.items()) == [
        ("type", "orderbook"),
        ("side", "bid"),
        ("price", price),
        ("quantity", 30),
        ("symbol", "PEAR"),
        ("seq", 9),
    ]
    assert read(encoder.level("PEAR", SELL, 41, 0, 9), encoding)["quantity"] == 0


@pytest.mark.parametrize(
    ("depth", "recovered", "more"),
    [
        (None, None, []),
        (10, None, [("depth", 10)]),
        (None, False, [("recovered", False)]),
        (1, True, [("depth", 1), ("recovered", True)]),
    ],
)
@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_who_asks_for_more_is_answered_to_that(
    encoding: str, depth: int | None, recovered: bool | None, more: list[tuple[str, object]]
) -> None:
    reply = read(subscribed(("A",), "json", encoding, depth, recovered), encoding)
    assert list(reply) == ["type", "symbols", "encoding", *dict(more)]
    assert list(reply.items())[3:] == more


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_replies(encoding: str) -> None:
    assert read(subscribed(("A", "B"), "msgpack", encoding), encoding) == {
        "type": "subscribed",
        "symbols": ["A", "B"],
        "encoding": "msgpack",
    }
    assert list(read(snapshot_end(5, 2**53 - 1, encoding), encoding).items()) == [
        ("type", "snapshot"),
        ("seq", 5),
        ("epoch", 2**53 - 1),
    ]
    assert read(error(ErrorCode.RATE, 'a "text"', encoding), encoding) == {
        "type": "error",
        "error": 'a "text"',
        "code": "rate",
    }


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_an_error_says_which_limit_and_when_to_try_again(encoding: str) -> None:
    said = error(ErrorCode.RATE, "x", encoding, Limit.CONNECTION_RATE, 250_000)
    assert list(read(said, encoding).items()) == [
        *(("type", "error"), ("error", "x"), ("code", "rate")),
        *(("limit", "connectionRate"), ("retryAfter", 0.25)),
    ]
    assert list(read(error(ErrorCode.RATE, "x", encoding), encoding)) == ["type", "error", "code"]


@pytest.mark.parametrize(
    ("encoder", "encoding"),
    [(SubscribedJson(INSTRUMENTS), "json"), (SubscribedPacked(INSTRUMENTS), "msgpack")],
)
def test_states(encoder: MarketData, encoding: str) -> None:
    told = read(encoder.state("PEAR", State.HALTED, 12, Reason.COLLAR), encoding)
    assert list(told.items()) == [
        *(("type", "state"), ("symbol", "PEAR"), ("state", "halted")),
        *(("reason", "collar"), ("seq", 12)),
    ]
    told = read(encoder.state("PEAR", State.OPEN, 12), encoding)
    assert list(told) == ["type", "symbol", "state", "seq"]
    assert BasicJson(INSTRUMENTS).state("PEAR", State.HALTED, 12) == b""
