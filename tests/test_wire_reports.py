"""What both encodings of the private port say is the same."""

import json
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from tests.engines import INSTRUMENTS
from wood.model.errors import ErrorCode, Limit
from wood.model.events import (
    AllCanceled,
    InstrumentsListed,
    OpenOrder,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    OrdersListed,
    StateAnswered,
    Trade,
)
from wood.model.orders import BUY, GTC, SELL, State
from wood.wire.reports import JsonReports, PackedReports, Reports

BIG = 2**64 - 1
TIME = 1461763950458236
ORDERS = [OpenOrder("WOOD", BIG, BUY, 14550, 3), OpenOrder("PEAR", 0, SELL, 41, 2**53 - 1)]


def accepted(symbol: str, order_id: int) -> OrderAccepted:
    return OrderAccepted(12, "A", "s", symbol, order_id, BUY, 5, 200, GTC, False)


def trade(symbol: str, price: int, quantity: int) -> Trade:
    """Of A's order 1, of which nothing is left, and B's largest id, of which 80 are."""
    return Trade(13, symbol, price, quantity, SELL, "A", 1, 0, "B", BIG, 80)


EVERY: dict[str, Callable[[Reports], bytes]] = {
    "new": lambda reports: reports.new(accepted("WOOD", BIG), TIME),
    "new in another": lambda reports: reports.new(accepted("PEAR", 0), TIME),
    "maker": lambda reports: reports.maker_fill(trade("WOOD", 14525, 10**12), TIME),
    "maker in another": lambda reports: reports.maker_fill(trade("PEAR", 41, 3), TIME),
    "taker": lambda reports: reports.taker_fill(trade("WOOD", 14525, 10**12), TIME),
    "taker in another": lambda reports: reports.taker_fill(trade("PEAR", 41, 3), TIME),
    "canceled": lambda reports: reports.canceled(OrderCanceled(2, "A", "WOOD", BIG, 3), TIME),
    "canceled in another": lambda reports: reports.canceled(
        OrderCanceled(2, "A", "PEAR", 1, 3), TIME
    ),
    "amended": lambda reports: reports.amended(OrderAmended(1, "A", "PEAR", 1, 41, 3), TIME),
    "heartbeat": lambda reports: reports.heartbeat({"main": (TIME, 42)}),
    "error": lambda reports: reports.error(ErrorCode.RATE, 'say "\n\x00é'),
    "error of an order": lambda reports: reports.error(ErrorCode.LIMIT, "x", BIG, "WOOD"),
    "error in another": lambda reports: reports.error(ErrorCode.LIMIT, "x", 0, "PEAR"),
    "error of a limit": lambda reports: reports.error(
        ErrorCode.LIMIT, "x", 7, "PEAR", Limit.ORDER_VALUE
    ),
    "error of a rate": lambda reports: reports.error(
        ErrorCode.RATE, "x", None, None, Limit.PARTICIPANT_RATE, 250_000
    ),
    "error until later": lambda reports: reports.error(
        ErrorCode.RATE, "x", None, "PEAR", None, 12_000_001
    ),
    "halt": lambda reports: reports.state(StateAnswered("A", "A", "WOOD", State.HALTED)),
    "resume": lambda reports: reports.state(StateAnswered("A", "A", "PEAR", State.OPEN)),
    "all canceled": lambda reports: reports.all_canceled(AllCanceled("A", "A", None, 5)),
    "all in another": lambda reports: reports.all_canceled(AllCanceled("A", "A", "PEAR", 5)),
    "orders": lambda reports: reports.orders(OrdersListed("A", "A", None, ORDERS)),
    "no orders": lambda reports: reports.orders(OrdersListed("A", "A", None, [])),
    "instruments": lambda reports: reports.instruments(
        InstrumentsListed("A", "A", {"WOOD": State.OPEN, "PEAR": State.OPEN})
    ),
}


@pytest.mark.parametrize("name", EVERY)
def test_json_and_messagepack_say_the_same(name: str) -> None:
    say_the_same(EVERY[name], JsonReports(INSTRUMENTS), PackedReports(INSTRUMENTS))


def say_the_same(say: Callable[[Any], bytes], in_json: Reports, in_packs: Reports) -> None:
    line = say(in_json)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    told = json.loads(line, parse_float=_text)
    if "retryAfter" in told:
        told["retryAfter"] = float(told["retryAfter"])
    packed = msgpack.unpackb(say(in_packs))
    assert told == packed
    assert list(flat(told)) == list(flat(packed)), "the keys in the same order"


def _text(number: str) -> str | float:
    """What is not whole is a string in MessagePack, but for times, which are floats."""
    return float(number) if len(number) > 15 else number


def flat(value: Any) -> Any:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from flat(inner)
    if isinstance(value, list):
        for inner in value:
            yield from flat(inner)


def test_who_has_no_name_is_told_what_the_challenge_tells() -> None:
    reports = JsonReports(INSTRUMENTS)
    start = b'{"message":"executionReport","orderId":'
    assert reports.new(accepted("WOOD", 662688), TIME) == start + b'662688,"report":"NEW"}\n'
    assert reports.maker_fill(trade("WOOD", 14900, 120), TIME) == (
        start + b'1,"report":"FILL","price":149,"quantity":120}\n'
    )
    assert reports.taker_fill(trade("WOOD", 14925, 120), TIME) == (
        start + b'18446744073709551615,"report":"FILL","price":149.25,"quantity":120}\n'
    )
    assert reports.maker_fill(trade("PEAR", 41, 3), TIME) == (
        start + b'1,"report":"FILL","price":20.5,"quantity":30,"symbol":"PEAR"}\n'
    )
    assert reports.canceled(OrderCanceled(2, "A", "WOOD", 7, 3), TIME) == (
        start + b'7,"report":"CANCELED"}\n'
    )
    assert reports.heartbeat({"main": (TIME, 42)}) == b'{"message":"heartbeat"}\n'


def test_a_limit_comes_last_and_its_time_is_as_short_as_it_can_be() -> None:
    reports = JsonReports(INSTRUMENTS)
    about = ErrorCode.RATE, "x", 7, "PEAR", Limit.ADDRESS_RATE
    for wait, text in ((250_000, "0.25"), (1, "0.000001"), (2_000_000, "2"), (0, "0")):
        assert reports.error(*about, wait).decode() == (
            '{"message":"error","error":"x","code":"rate","orderId":7,"symbol":"PEAR",'
            f'"limit":"addressRate","retryAfter":{text}}}\n'
        )
    packed = msgpack.unpackb(PackedReports(INSTRUMENTS).error(*about, 250_000))
    assert list(packed) == [
        *("message", "error", "code", "orderId", "symbol", "limit", "retryAfter"),
    ]
