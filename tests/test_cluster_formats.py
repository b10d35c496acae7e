"""Batches of commands and entries of the journal, as bytes."""

from typing import Any

import msgpack
import pytest
from msgspec.msgpack import encode

from tests.engines import log_in
from tests.test_exchange import asking, new
from wood.exchange.cluster.formats import (
    ACCEPTED,
    AMENDED,
    CANCEL_ALL,
    CANCELED,
    CLOSE,
    DISABLED,
    DONE,
    LEVEL,
    LIMITED,
    MAKER_CANCELED,
    NOBODY_ASKED,
    NOT_RECOVERED,
    OPENED,
    ORDER_CANCELED,
    OWNER,
    PASSED,
    QUERY,
    RECOVERED,
    REFUSED,
    REST_CANCELED,
    STALE,
    STATE_CHANGED,
    SYMBOL,
    TRADE,
    Entry,
    decode_entry,
    decode_events,
    encode_batch,
)
from wood.model.commands import (
    SWEEP,
    AmendOrder,
    CancelAll,
    CancelAnonymous,
    CancelOrder,
    ChangeState,
    CloseSession,
    Command,
    Heartbeat,
    ListInstruments,
    ListOrders,
    NewOrder,
    OpenSession,
    Refuse,
    Sweep,
)
from wood.model.errors import ErrorCode, Limit
from wood.model.events import (
    AllCanceled,
    CommandRefused,
    Event,
    HeartbeatAnswered,
    InstrumentsListed,
    LevelChanged,
    LoginRefused,
    OpenOrder,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    OrdersListed,
    ParticipantDisabled,
    SessionClosed,
    SessionOpened,
    StateAnswered,
    StateChanged,
    Trade,
)
from wood.model.orders import BUY, FOK, GTC, IOC, SELL, Reason, State

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
        Refuse("A", "a", 0, ErrorCode.RATE, "", None, None, Limit.ADDRESS_RATE, 250_000),
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
            [7, 1, "invalid", ODD, str(LARGEST), "NONE", None, None],
            [7, 1, "too_long", "", None, None, None, None],
            [7, 1, "rate", "", None, None, "addressRate", 250000],
            [6, 1],
            [4, 1, 2, None],
            [5, 1, 1],
            [8, 1, None, False],
        ],
    ]


def test_a_batch_of_sessions() -> None:
    """What proves a login is beside it."""
    token, other = "d" * 64, "e" * 64
    commands: list[Command] = [
        OpenSession("~1", "~1", 0, "alice", token, "7-1", 2**53 - 1, 2**52, True),
        CloseSession("alice", "7-1", 2**53 - 1),
        OpenSession("~1", "~1", 0, "bob"),
        OpenSession("~2", "~2", 0, "carol", other, last_seq=0),
        OpenSession("~2", "~2", 0, "~2", cancel_orders=True),
        OpenSession("~2", "~2", 0, "dora", "forgotten", certified=True),
        CloseSession("~2", "~2", 0, True),
        Heartbeat("alice", "7-1", 2**53 - 1),
        CancelAll("alice", "7-1", 2**53 - 1, "PEAR", "bob"),
        CancelAnonymous("alice", "7-1", 2**53 - 1, 2**33),
        ChangeState("alice", "7-1", 2**53 - 1, "PEAR", State.HALTED),
        ChangeState("alice", "7-1", 2**53 - 1, "WOOD", State.OPEN),
        SWEEP,
    ]
    batch = encode_batch(commands, LISTED)
    assert encoded(*commands) == [
        [["~1", "~1", 0], ["alice", "7-1", 2**53 - 1], ["~2", "~2", 0], ["", "", 0]],
        ["WOOD", "PEAR"],
        [
            [9, 1, "alice", "7-1", 2**53 - 1, 2**52, True],
            [8, 2, None, False],
            [9, 1, "bob", None, None, None, False],
            [9, 3, "carol", None, 0, None, False],
            [9, 3, "~2", None, None, None, True],
            [9, 3, "dora", None, None, None, False],
            [8, 3, None, True],
            [10, 2],
            [4, 2, 2, "bob"],
            [12, 2, 2**33],
            [13, 2, 2, True],
            [13, 2, 1, False],
            [11, 4],
        ],
    ]
    assert msgpack.unpackb(batch.tokens) == [token, "", other, "", True], (
        "one for each login, in order"
    )
    assert token.encode() not in batch.data
    assert other.encode() not in batch.data


@pytest.mark.parametrize(
    ("command", "row"),
    [
        (CancelAll("A", "a", 0), [4, 2, None, None]),
        (CancelAll("A", "a", 0, None, "B"), [4, 2, None, "B"]),
        (CancelAnonymous("A", "a", 0, 1), [12, 2, 1]),
        (ListOrders("A", "a", 0), [5, 2, None]),
        (CloseSession("A", "a", 0, True), [8, 2, None, True]),
        (OpenSession("A", "a", 0, "B", resumes=""), [9, 2, "B", "", None, None, False]),
        (OpenSession("A", "a", 0, "B", last_seq=0), [9, 2, "B", None, 0, None, False]),
        (Sweep("A", "a", 0), [11, 2]),
    ],
)
def test_what_is_for_all_instruments_brings_all_in_their_order(
    command: Command, row: list[Any]
) -> None:
    batch = encode_batch([new("A", 1, BUY, 1, 1, "PEAR"), command], LISTED)
    assert batch.symbols == LISTED
    [_, symbols, [order, other]] = msgpack.unpackb(batch.data)
    assert symbols == ["WOOD", "PEAR"]
    assert order[2] == 2
    assert other == row


@pytest.mark.parametrize(
    "command",
    [
        Refuse("A", "a", 0, ErrorCode.INVALID, ""),
        CloseSession("A", "a", 1),
        OpenSession("A", "a", 0, "B", "token", None, None, 7, True),
        Heartbeat("A", "a", 0),
    ],
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


def test_refusals_by_a_limit_say_which_and_when_to_try_again() -> None:
    """Whatever was asked; a command before it lends them no name."""
    rate: list[int | str] = [LIMITED, "rate", "slow", "participantRate", 250_000]
    who = "A", "A-session", ErrorCode.RATE, "slow"
    limit = Limit.PARTICIPANT_RATE, 250_000
    asked = [
        (new("A", 3, BUY, 1, 1), (3, "WOOD")),
        (asking(CancelAll, "A", None), (None, None)),
        (asking(CancelAll, "A", "PEAR"), (None, "PEAR")),
        (asking(CancelOrder, "A", "PEAR", 7), (7, "PEAR")),
        (asking(CancelAnonymous, "A", 7), (None, None)),
        (asking(ChangeState, "A", "WOOD", State.OPEN), (None, "WOOD")),
        (asking(Refuse, "A", ErrorCode.INVALID, "odd"), (None, None)),
        (asking(Refuse, "A", ErrorCode.INVALID, "odd", LARGEST, "NONE"), (LARGEST, "NONE")),
    ]
    assert events([command for command, _ in asked], rate * len(asked)) == [
        CommandRefused(*who, *named, *limit) for _, named in asked
    ]
    order: list[int | str] = [LIMITED, "limit", "much", "position", 0]
    assert events([new("A", 3, BUY, 1, 1, "PEAR")], order) == [
        CommandRefused("A", "A-session", ErrorCode.LIMIT, "much", 3, "PEAR", Limit.POSITION, None)
    ]
    passed = asking(Refuse, "A", ErrorCode.RATE, "slow", 1, "WOOD", Limit.CONNECTION_RATE, 5)
    assert events([passed], [PASSED]) == [
        CommandRefused(*who, 1, "WOOD", Limit.CONNECTION_RATE, 5),
    ]


def test_states_and_what_they_do() -> None:
    commands = [
        asking(ChangeState, "op", "PEAR", State.HALTED),
        asking(ChangeState, "op", "PEAR", State.HALTED),
        asking(ListInstruments, "A"),
        asking(ChangeState, "op", "PEAR", State.OPEN),
        new("A", 3, BUY, 9, 5),
    ]
    rows: list[Any] = [CLOSE, STATE_CHANGED, "halted", "operator", DONE, 0, CLOSE, DONE, 0, QUERY]
    rows += [CLOSE, STATE_CHANGED, "open", "operator", DONE, 0]
    rows += [ACCEPTED, MAKER_CANCELED, "A 1", 2, TRADE, "B 1", 9, 1, 0, REST_CANCELED, 4]
    rows += [LEVEL, 9, 0, STATE_CHANGED, "halted", "collar"]
    assert events(commands, rows, [["PEAR", "GONE"]]) == [
        StateChanged(1, "PEAR", State.HALTED, Reason.OPERATOR),
        StateAnswered("op", "op-session", "PEAR", State.HALTED),
        StateAnswered("op", "op-session", "PEAR", State.HALTED),
        InstrumentsListed("A", "A-session", {"WOOD": State.OPEN, "PEAR": State.HALTED}),
        StateChanged(2, "PEAR", State.OPEN, Reason.OPERATOR),
        StateAnswered("op", "op-session", "PEAR", State.OPEN),
        OrderAccepted(3, "A", "A-session", "WOOD", 3, BUY, 9, 5, GTC, False),
        OrderCanceled(4, "A", "WOOD", 1, 2),
        Trade(5, "WOOD", 9, 1, BUY, "B", 1, 0, "A", 3, 4),
        OrderCanceled(7, "A", "WOOD", 3, 4),
        LevelChanged(8, "WOOD", SELL, 9, 0),
        StateChanged(9, "WOOD", State.HALTED, Reason.COLLAR),
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
        InstrumentsListed("A", "A-session", {"WOOD": State.OPEN, "PEAR": State.OPEN}),
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


def test_logins() -> None:
    commands = [
        OpenSession("~1", "~1", 0, "alice", resumes="7-1", last_seq=2**53 - 1),
        OpenSession("~2", "~2", 0, "bob", "t", cancel_orders=True),
        OpenSession("~3", "~3", 0, "eve", "t", last_seq=5, epoch=7),
        OpenSession("~4", "~4", 0, "carol", last_seq=0),
        asking(ListOrders, "A", None),
        OpenSession("~5", "~5", 0, "dora", resumes="7-2"),
    ]
    rows = [OPENED, "7-1", True, RECOVERED, OPENED, "7-4", False, NOBODY_ASKED]
    rows += [REFUSED, "unauthorized", "no", OPENED, "7-6", False, NOT_RECOVERED]
    rows += [QUERY, OPENED, "7-2", False, NOT_RECOVERED]
    answers = [[["PEAR", str(LARGEST), -5, 7]], [["WOOD", "1", 5, 6]], []]
    first = 2**53 - 100

    def expected(*orders: list[OpenOrder] | None) -> list[Event]:
        carol, dora = orders
        return [
            SessionOpened(first, "alice", "7-1", "~1", True, 2**53 - 1, True, None),
            SessionOpened(first + 1, "bob", "7-4", "~2", False, None, None, None),
            LoginRefused("~3", "~3", ErrorCode.UNAUTHORIZED, "no"),
            SessionOpened(first + 2, "carol", "7-6", "~4", False, 0, False, carol),
            SessionOpened(first + 3, "dora", "7-2", "~5", False, None, False, dora),
        ]

    found = events(commands, rows, answers, first)
    listed = found.pop(4)
    assert found == expected([OpenOrder("PEAR", LARGEST, BUY, 5, 7)], [])
    wood = [OpenOrder("WOOD", 1, SELL, 5, 6)]
    assert listed == OrdersListed("A", "A-session", None, wood)
    assert events(commands, rows, None, first) == expected(None, None)


def test_what_is_stale_gives_no_event_and_takes_no_place() -> None:
    who = "A", "7-1", 1
    commands = [
        NewOrder(*who, "WOOD", 1, BUY, 1, 1),
        CloseSession(*who),
        OpenSession(*who, "B"),
        Heartbeat(*who),
        asking(Heartbeat, "B"),
        CancelAnonymous(*who, 5),
        ListOrders(*who),
        new("C", 2, BUY, 1, 1),
        AmendOrder(*who, "WOOD", 1, 5, None),
        asking(CancelOrder, "C", "WOOD", 2),
    ]
    rows = [STALE, STALE, STALE, STALE, CLOSE, DONE, 0, STALE, STALE, ACCEPTED, LEVEL, -1, 1]
    assert events(commands, [*rows, STALE, CANCELED, 1], []) == [
        HeartbeatAnswered("B", "B-session"),
        OrderAccepted(1, "C", "C-session", "WOOD", 2, BUY, 1, 1, GTC, False),
        LevelChanged(2, "WOOD", BUY, 1, 1),
        OrderCanceled(3, "C", "WOOD", 2, 1),
    ]


def test_orders_of_others_are_cancelled_in_their_names() -> None:
    one: list[int | str] = [SYMBOL, "WOOD", ORDER_CANCELED, "1", 2, LEVEL, -9, 0]
    other: list[int | str] = [SYMBOL, "PEAR", ORDER_CANCELED, str(LARGEST), 3, LEVEL, 9, 1]
    commands = [
        SWEEP,
        asking(CancelAnonymous, "op", 9),
        asking(CancelAll, "op", "PEAR", "B"),
        asking(CancelAll, "op", None, "B"),
    ]
    rows: list[int | str] = [CLOSE, OWNER, "A", *one, *other, DISABLED, "A", OWNER, "C", DISABLED]
    rows += ["C", OWNER, "B", *one, DONE, 0]
    rows += [CANCEL_ALL, OWNER, "~1", *one, OWNER, "~2", *other, DONE, 2]
    rows += [CANCEL_ALL, OWNER, "B", *other, DONE, 1, CANCEL_ALL, OWNER, "B", DONE, 0]

    def canceled(seq: int, who: str, row: list[Any]) -> list[Event]:
        _, symbol, _, order_id, left, _, key, total = row
        side = BUY if key < 0 else SELL
        return [
            OrderCanceled(seq, who, symbol, int(order_id), left),
            LevelChanged(seq + 1, symbol, side, abs(key), total),
        ]

    assert events(commands, rows) == [
        *canceled(1, "A", one),
        *canceled(3, "A", other),
        ParticipantDisabled("A"),
        ParticipantDisabled("C"),
        *canceled(5, "B", one),
        *canceled(7, "~1", one),
        *canceled(9, "~2", other),
        AllCanceled("op", "op-session", None, 2),
        *canceled(11, "B", other),
        AllCanceled("op", "op-session", "PEAR", 1),
        AllCanceled("op", "op-session", None, 0),
    ]


def test_whom_an_entry_concerns() -> None:
    commands = [log_in("alice", "~1"), SWEEP, asking(CancelAll, "op", None, "carol")]
    found = entry(commands, [OPENED, "7-1", False, 0, CLOSE, OWNER, "bob", DISABLED, "bob"])
    for name in ("alice", "~1", "bob", "carol", "op"):
        assert found.concerns(name)
    for name in ("eve", "alices", "~2"):
        assert not found.concerns(name)


def test_commands_that_were_not_taken_are_not_answered() -> None:
    assert events([new("A", n, BUY, 1, 1) for n in (1, 2)], [ACCEPTED, LEVEL, -1, 1]) == [
        OrderAccepted(1, "A", "A-session", "WOOD", 1, BUY, 1, 1, GTC, False),
        LevelChanged(2, "WOOD", BUY, 1, 1),
    ]


@pytest.mark.parametrize("word", [0, 22, 99])
def test_an_unknown_word_is_a_fault(word: int) -> None:
    with pytest.raises(ValueError, match=f"unknown word {word}"):
        events([asking(ListInstruments, "A")], [word])


def test_what_is_no_entry_is_a_fault() -> None:
    for data in (b"", b"\xc1", encode([1, 2, 3]), encode({"epoch": 1})):
        with pytest.raises(ValueError):  # noqa: PT011
            decode_entry(data)
