"""What both encodings of the private port say is the same."""

import json
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from tests.engines import INSTRUMENTS
from wood.model.errors import ErrorCode
from wood.model.events import (
    AllCanceled,
    InstrumentsListed,
    OpenOrder,
    OrderAmended,
    OrdersListed,
)
from wood.model.orders import BUY, SELL
from wood.wire.reports import JsonReports, PackedReports, Reports

BIG = 2**64 - 1
ORDERS = [OpenOrder("WOOD", BIG, BUY, 14550, 3), OpenOrder("PEAR", 0, SELL, 41, 2**53 - 1)]

EVERY: dict[str, Callable[[Reports], bytes]] = {
    "new": lambda reports: reports.new("WOOD", BIG),
    "new in another": lambda reports: reports.new("PEAR", 0),
    "fill": lambda reports: reports.fill("WOOD", BIG, 14525, 10**12),
    "fill in another": lambda reports: reports.fill("PEAR", 1, 41, 3),
    "canceled": lambda reports: reports.canceled("WOOD", BIG),
    "canceled in another": lambda reports: reports.canceled("PEAR", 1),
    "amended": lambda reports: reports.amended(OrderAmended(1, "A", "PEAR", 1, 41, 3)),
    "error": lambda reports: reports.error(ErrorCode.RATE, 'say "\n\x00é'),
    "error of an order": lambda reports: reports.error(ErrorCode.LIMIT, "x", BIG, "WOOD"),
    "error in another": lambda reports: reports.error(ErrorCode.LIMIT, "x", 0, "PEAR"),
    "all canceled": lambda reports: reports.all_canceled(AllCanceled("A", "A", None, 5)),
    "all in another": lambda reports: reports.all_canceled(AllCanceled("A", "A", "PEAR", 5)),
    "orders": lambda reports: reports.orders(OrdersListed("A", "A", None, ORDERS)),
    "no orders": lambda reports: reports.orders(OrdersListed("A", "A", None, [])),
    "instruments": lambda reports: reports.instruments(
        InstrumentsListed("A", "A", {"WOOD": "open", "PEAR": "open"})
    ),
}


@pytest.mark.parametrize("name", EVERY)
def test_json_and_messagepack_say_the_same(name: str) -> None:
    line = EVERY[name](JsonReports(INSTRUMENTS))
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    told = json.loads(line, parse_float=str)  # what is not whole is a string in MessagePack
    packed = msgpack.unpackb(EVERY[name](PackedReports(INSTRUMENTS)))
    assert told == packed
    assert list(flat(told)) == list(flat(packed)), "the keys in the same order"


def flat(value: Any) -> Any:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from flat(inner)
    if isinstance(value, list):
        for inner in value:
            yield from flat(inner)


def test_fills_to_the_byte() -> None:
    reports = JsonReports(INSTRUMENTS)
    assert reports.fill("WOOD", 662688, 14900, 120) == (
        b'{"message":"executionReport","orderId":662688,"report":"FILL","price":149,"quantity":120}\n'
    )
    assert reports.fill("PEAR", 1, 41, 3) == (
        b'{"message":"executionReport","orderId":1,"report":"FILL","price":20.5,"quantity":30,'
        b'"symbol":"PEAR"}\n'
    )
