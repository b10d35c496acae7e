"""Batches of commands and entries of the journal, as bytes."""

from typing import Any

import msgpack
import pytest
from msgspec.msgpack import encode

from tests.test_exchange import asking, new
from wood.exchange.cluster.formats import (
    ACCEPTED,
    AMENDED,
    CANCEL_ALL,
    CANCELED,
    CLOSE,
    DONE,
    LEVEL,
    ORDER_CANCELED,
    PASSED,
    QUERY,
    REFUSED,
    REST_CANCELED,
    SYMBOL,
    TRADE,
    Entry,
    decode_entry,
    decode_events,
    encode_batch,
)
from wood.model.commands import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    CloseSession,
    Command,
    ListInstruments,
    ListOrders,
    NewOrder,
    Refuse,
)
from wood.model.errors import ErrorCode
from wood.model.events import (
    AllCanceled,
    CommandRefused,
    Event,
    InstrumentsListed,
    LevelChanged,
    OpenOrder,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    OrdersListed,
    SessionClosed,
    Trade,
)
from wood.model.orders import BUY, FOK, GTC, IOC, SELL

LISTED = ("WOOD", "PEAR")
LARGEST = 2**64 - 1
ODD = 'a"\\\n\x00\u2028\U0001f333 \u00e9'
"""A text with everything that a format may stumble over."""


def encoded(*commands: Command) -> Any:
    return msgpack.unpackb(encode_batch(commands, LISTED).data)


def entry(commands: list[Command], rows: list[Any], first: int = 1) -> Entry:
    """As `decide.lua` puts it together."""
    head = [7, 3, "writer", 2, len(commands), first, first + 9, 1234567890123456]
    data = (
        b"\x9a" + b"".join(map(encode, head)) + encode_batch(commands, LISTED).data + encode(rows)
    )
    return decode_entry(data)


def events(
    commands: list[Command], rows: list[Any], answers: list[Any] | None = None, first: int = 1
) -> list[Event]:
    data = None if answers is None else encode(answers)
    return decode_events(entry(commands, rows, first), data, LISTED)


def test_a_batch() -> None:
    commands = [
        NewOrder("A", "a", 0, "PEAR", LARGEST, BUY, 2**53 - 1, 10**12, GTC, True),
        NewOrder("B", "b", 0, "WOOD", 1, SELL, None, 5, FOK),
        NewOrder("B", "b", 0, "WOOD", 1, SELL, None, 5, IOC),
        CancelOrder("A", "a", 0, "PEAR", 3),
        AmendOrder("A", "a", 2, "PEAR", 3, None, 4),
        AmendOrder("A", "a", 0, "PEAR", 3, 5, None),
        Refuse("A", "a", 0, ErrorCode.INVALID, ODD, LARGEST, "NONE"),
        Refuse("A", "a", 0, ErrorCode.TOO_LONG, ""),
        ListInstruments("A", "a", 0),
        CancelAll("A", "a", 0, "WOOD"),
        ListOrders("A", "a", 0, "PEAR"),
        CloseSession("A", "a", 0, False),
    ]
    batch = encode_batch(commands, LISTED)
    assert batch.symbols == ("PEAR", "WOOD"), "in the order in which they come up"
    assert encoded(*commands) == [
        [["A", "a", 0], ["B", "b", 0], ["A", "a", 2]],
        ["PEAR", "WOOD"],
        [
            [1, 1, 1, str(LARGEST), True, 2**53 - 1, 10**12, 0, True],
            [1, 2, 2, "1", False, None, 5, 2, False],
            [1, 2, 2, "1", False, None, 5, 1, False],
            [2, 1, 1, "3"],
            [3, 3, 1, "3", None, 4],
            [3, 1, 1, "3", 5, None],
            [7, 1, "invalid", ODD, str(LARGEST), "NONE"],
            [7, 1, "too_long", "", None, None],
            [6, 1],
            [4, 1, 2, None],
            [5, 1, 1],
            [8, 1, None, False],
        ],
    ]


@pytest.mark.parametrize(
    "command",
    [
        CancelAll("A", "a", 0),
        ListOrders("A", "a", 0),
        CloseSession("A", "a", 0, True),
    ],
)
def test_what_is_for_all_instruments_brings_all_in_their_order(command: Command) -> None:
    batch = encode_batch([new("A", 1, BUY, 1, 1, "PEAR"), command], LISTED)
    assert batch.symbols == LISTED
    [_, symbols, [order, other]] = msgpack.unpackb(batch.data)
    assert symbols == ["WOOD", "PEAR"]
    assert order[2] == 2
    assert other[2] is None


@pytest.mark.parametrize(
    "command", [Refuse("A", "a", 0, ErrorCode.INVALID, ""), CloseSession("A", "a", 1)]
)
def test_what_needs_no_book_names_none(command: Command) -> None:
    assert encode_batch([command], LISTED).symbols == ()


def test_an_unknown_command_is_a_fault() -> None:
    with pytest.raises(TypeError, match="does not take Command"):
        encode_batch([Command("A", "a", 0)], LISTED)


def test_the_head_of_an_entry() -> None:
    found = entry([new("A", 1, BUY, 1, 1)], [], 10**15)
    assert (found.epoch, found.batch, found.writer, found.number, found.taken) == (
        7,
        3,
        "writer",
        2,
        1,
    )
    assert (found.first, found.last, found.time) == (10**15, 10**15 + 9, 1234567890123456)


def test_orders_and_their_numbers() -> None:
    commands: list[Command] = [
        new("A", LARGEST, BUY, 2**53 - 1, 10**12, "PEAR"),
        NewOrder("B", "b", 0, "PEAR", 2, SELL, None, 7, IOC),
        asking(AmendOrder, "A", "PEAR", LARGEST, None, 3),
        asking(AmendOrder, "C", "WOOD", 9, 8, None),
        asking(CancelOrder, "A", "PEAR", LARGEST),
        asking(CancelOrder, "A", "PEAR", LARGEST),
    ]
    maker = f"A {LARGEST}"
    bid = 1 - 2**53
    rows: list[int | str] = [ACCEPTED, LEVEL, bid, 10**12]
    rows += [ACCEPTED, TRADE, maker, bid, 5, 10**12 - 5, REST_CANCELED, 2, LEVEL, bid, 10**12 - 5]
    rows += [AMENDED, bid, 3, LEVEL, bid, 3]
    rows += [AMENDED, 8, 4, TRADE, "D 1", -8, 1, 0, LEVEL, -8, 0, LEVEL, 8, 3]
    rows += [CANCELED, 3, LEVEL, bid, 0]
    rows += [REFUSED, "not_found", "no open order has this id"]
    first = 2**53 - 100
    price = 2**53 - 1
    assert events(commands, rows, first=first) == [
        OrderAccepted(first, "A", "A-session", "PEAR", LARGEST, BUY, price, 10**12, GTC, False),
        LevelChanged(first + 1, "PEAR", BUY, price, 10**12),
        OrderAccepted(first + 2, "B", "b", "PEAR", 2, SELL, None, 7, IOC, False),
        Trade(first + 3, "PEAR", price, 5, SELL, "A", LARGEST, 10**12 - 5, "B", 2, 2),
        OrderCanceled(first + 5, "B", "PEAR", 2, 2),
        LevelChanged(first + 6, "PEAR", BUY, price, 10**12 - 5),
        OrderAmended(first + 7, "A", "PEAR", LARGEST, price, 3),
        LevelChanged(first + 8, "PEAR", BUY, price, 3),
        OrderAmended(first + 9, "C", "WOOD", 9, 8, 4),
        Trade(first + 10, "WOOD", 8, 1, SELL, "D", 1, 0, "C", 9, 3),
        LevelChanged(first + 12, "WOOD", BUY, 8, 0),
        LevelChanged(first + 13, "WOOD", SELL, 8, 3),
        OrderCanceled(first + 14, "A", "PEAR", LARGEST, 3),
        LevelChanged(first + 15, "PEAR", BUY, price, 0),
        CommandRefused(
            "A", "A-session", ErrorCode.NOT_FOUND, "no open order has this id", LARGEST, "PEAR"
        ),
    ]


def test_a_passed_refusal_keeps_every_character() -> None:
    for order_id, symbol in ((LARGEST, "NONE"), (None, None)):
        refuse = Refuse(ODD, ODD, 0, ErrorCode.UNKNOWN_SYMBOL, ODD, order_id, symbol)
        assert events([refuse], [PASSED]) == [
            CommandRefused(ODD, ODD, ErrorCode.UNKNOWN_SYMBOL, ODD, order_id, symbol)
        ]


def test_cancelled_orders_of_several_instruments() -> None:
    commands = [asking(CancelAll, "A", None), asking(CloseSession, "A", True)]
    rows = [CANCEL_ALL, SYMBOL, "WOOD", ORDER_CANCELED, str(LARGEST), 4, LEVEL, 9, 0]
    rows += [SYMBOL, "PEAR", ORDER_CANCELED, "2", 5, LEVEL, -9, 1, DONE, 2, CLOSE, DONE, 0]
    assert events(commands, rows) == [
        OrderCanceled(1, "A", "WOOD", LARGEST, 4),
        LevelChanged(2, "WOOD", SELL, 9, 0),
        OrderCanceled(3, "A", "PEAR", 2, 5),
        LevelChanged(4, "PEAR", BUY, 9, 1),
        AllCanceled("A", "A-session", None, 2),
        SessionClosed("A", "A-session"),
    ]


def test_queries_are_answered_where_the_answers_are_known() -> None:
    commands = [
        asking(ListOrders, "A", "PEAR"),
        asking(ListInstruments, "A"),
        asking(ListOrders, "A", None),
        asking(CloseSession, "A"),
    ]
    rows = [QUERY, QUERY, QUERY, CLOSE, DONE, 0]
    answers = [
        [["PEAR", str(LARGEST), 1 - 2**53, 10**12]],
        [],
        [["WOOD", "1", 5, 6], ["PEAR", "2", -5, 7]],
    ]
    assert events(commands, rows, answers) == [
        OrdersListed(
            "A", "A-session", "PEAR", [OpenOrder("PEAR", LARGEST, BUY, 2**53 - 1, 10**12)]
        ),
        InstrumentsListed("A", "A-session", {"WOOD": "open", "PEAR": "open"}),
        OrdersListed(
            "A",
            "A-session",
            None,
            [OpenOrder("WOOD", 1, SELL, 5, 6), OpenOrder("PEAR", 2, BUY, 5, 7)],
        ),
        SessionClosed("A", "A-session"),
    ]


def test_queries_without_answers_give_no_event_and_take_no_place() -> None:
    commands = [
        asking(ListOrders, "A", None),
        new("A", 1, BUY, 1, 1),
        asking(ListInstruments, "A"),
        asking(CloseSession, "A"),
    ]
    found = events(commands, [QUERY, ACCEPTED, LEVEL, -1, 1, QUERY, CLOSE, DONE, 0])
    assert [type(event) for event in found] == [OrderAccepted, LevelChanged, SessionClosed]


def test_commands_that_were_not_taken_are_not_answered() -> None:
    assert events([new("A", n, BUY, 1, 1) for n in (1, 2)], [ACCEPTED, LEVEL, -1, 1]) == [
        OrderAccepted(1, "A", "A-session", "WOOD", 1, BUY, 1, 1, GTC, False),
        LevelChanged(2, "WOOD", BUY, 1, 1),
    ]


@pytest.mark.parametrize("word", [0, 19, 99])
def test_an_unknown_word_is_a_fault(word: int) -> None:
    with pytest.raises(ValueError, match=f"unknown word {word}"):
        events([asking(ListInstruments, "A")], [word])


def test_what_is_no_entry_is_a_fault() -> None:
    for data in (b"", b"\xc1", encode([1, 2, 3]), encode({"epoch": 1})):
        with pytest.raises(ValueError):  # noqa: PT011
            decode_entry(data)
