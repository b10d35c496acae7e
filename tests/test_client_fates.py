"""The private port without sockets: every command's fate, wherever the connection breaks."""

import json
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.session_wire import (
    ALICE,
    LOGIN,
    LOGIN_TO_TWO,
    Wire,
    amend,
    cancel,
    create,
    line,
    logged_in,
    told,
)
from wood.client import (
    Canceled,
    Fill,
    New,
    NotTaken,
    OrderReport,
    Refused,
    ReportsLost,
    Resumed,
    Unknown,
)
from wood.client.codec import codec
from wood.client.requests import (
    CancelAll,
    CancelOrder,
    Command,
    CreateOrder,
    MarketOrder,
)
from wood.client.session import Heard, Session
from wood.model.orders import BUY

# What happens to each command, whatever happens to the connection

SIZES = st.integers(0, 400)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["create", "market", "bad", "all"]), st.just(0)),
        st.tuples(st.sampled_from(["cancel", "amend", "fill", "operator"]), st.integers(0, 3)),
        st.tuples(st.sampled_from(["up", "down"]), SIZES),
        st.tuples(st.sampled_from(["cut", "settle", "beat"]), st.just(0)),
    ),
    max_size=40,
)


class Play:
    """Does the drawn steps; orders are numbered as they are created."""

    def __init__(self, encoding: str) -> None:
        self.wire = Wire(encoding)
        self.orders = 0

    def step(self, kind: str, number: int) -> None:
        wire = self.wire
        live = list(wire.engine.open)
        match kind:
            case "up":
                wire.to_exchange(number)
            case "down":
                wire.to_client(number)
            case "cut":
                wire.cut()
            case "settle":
                wire.settle()
            case "beat":
                seq = {"epoch": wire.engine.epoch, "seq": len(wire.engine.reports)}
                if wire.session.ready:
                    wire.tell({"message": "heartbeat", **seq})
            case "fill" | "operator" if live:
                act = wire.engine.fill if kind == "fill" else wire.engine.cancel
                report = act(live[number % len(live)])
                if wire.session.ready:
                    wire.tell(report)
            case _ if wire.session.ready:
                self._command(kind, number)

    def _command(self, kind: str, number: int) -> None:
        wire = self.wire
        recent = max(0, self.orders - number)  # 0 was never created
        match kind:
            case "create" | "bad":
                self.orders += 1
                wire.send(create(self.orders, 145 if kind == "create" else -1))
            case "market":
                self.orders += 1
                order = MarketOrder(order_id=self.orders, side=BUY, quantity=Decimal(5))
                wire.send(order)
            case "cancel":
                wire.send(cancel(recent))
            case "amend":
                wire.send(amend(recent, 1 + len(wire.sent)))
            case "all":
                wire.send(CancelAll())


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
@settings(max_examples=300, deadline=None)
@given(steps=STEPS)
def test_wherever_it_breaks_each_command_has_its_true_fate(
    encoding: str, steps: list[tuple[str, int]]
) -> None:
    play = Play(encoding)
    for kind, number in steps:
        play.step(kind, number)
    wire = play.wire
    wire.cut()
    wire.settle()
    assert not wire.session.under_way
    reports = [each for each in wire.heard if isinstance(each, OrderReport)]
    assert [each.seq for each in reports] == list(range(1, len(wire.engine.reports) + 1))
    check_fates(wire)


@settings(max_examples=300, deadline=None)
@given(before=STEPS, after=STEPS)
def test_if_reports_are_lost_no_fate_is_guessed(
    before: list[tuple[str, int]], after: list[tuple[str, int]]
) -> None:
    play = Play("json")
    for kind, number in before:
        play.step(kind, number)
    play.wire.engine.forget = True
    play.wire.cut()
    play.wire.settle()
    for kind, number in after:
        play.step(kind, number)
    wire = play.wire
    wire.cut()
    wire.settle()
    assert not wire.session.under_way
    reports = [each.seq for each in wire.heard if isinstance(each, OrderReport)]
    assert reports == sorted(set(reports), key=lambda seq: seq or 0)
    check_fates(wire)


def check_fates(wire: Wire) -> None:
    """What was said agrees with what the exchange did."""
    new = {each.order_id for each in wire.heard if isinstance(each, New)}
    canceled = {each.order_id for each in wire.heard if isinstance(each, Canceled)}
    listed = {
        order.order_id
        for each in wire.heard
        if isinstance(each, ReportsLost)
        for order in each.orders
    }
    for command, outcome in zip(wire.sent, wire.outcomes, strict=True):
        match told(wire, command):
            case NotTaken():
                assert outcome != "taken"
            case Refused():
                assert outcome == "refused"
            case Unknown():
                assert isinstance(command, CancelAll) or wire.engine.forget
            case _:
                settled = isinstance(command, CancelOrder) and command.order_id in canceled
                assert outcome == "taken" or settled
                if isinstance(command, CreateOrder | MarketOrder):
                    assert command.order_id in new | listed


# Resuming, case by case


def resumed(*commands: Command, taken: int, before: Callable[[Wire], object] | None = None) -> Wire:
    """A wire on which the first `taken` of `commands` got through, and no answer came back."""
    wire = Wire()
    wire.send(create(1))
    wire.settle()
    if before:
        before(wire)
    for command in commands[:taken]:
        wire.send(command)
    wire.to_exchange(10_000)
    for command in commands[taken:]:
        wire.send(command)
    wire.heard.clear()
    wire.cut()
    wire.settle()
    return wire


def kinds(wire: Wire) -> list[str]:
    return [type(each).__name__ for each in wire.heard]


def test_the_line_stands_between_what_was_missed_and_what_was_not_taken() -> None:
    wire = resumed(create(2), create(3), taken=1)
    assert kinds(wire) == ["Disconnected", "New", "Resumed", "NotTaken"]
    assert wire.heard[-1] == NotTaken(create(3))


def test_of_two_commands_for_an_order_the_first_may_be_taken_alone() -> None:
    wire = resumed(create(2), cancel(2), taken=1)
    assert kinds(wire) == ["Disconnected", "New", "Resumed", "NotTaken"]
    assert wire.heard[-1] == NotTaken(cancel(2))
    assert kinds(resumed(create(2), cancel(2), taken=2))[1:] == ["New", "Canceled", "Resumed"]


def test_a_cancel_of_an_order_that_was_filled_meanwhile_is_not_taken() -> None:
    wire = resumed(cancel(1), taken=1, before=lambda wire: wire.engine.fill(1))
    assert kinds(wire) == ["Disconnected", "Fill", "Resumed", "NotTaken"]


def test_amendments_are_matched_in_their_order() -> None:
    first, second = amend(1, 5), amend(1, 4)
    wire = resumed(first, second, taken=1)
    assert kinds(wire) == ["Disconnected", "Amended", "Resumed", "NotTaken"]
    assert told(wire, first) is None
    assert told(wire, second) == NotTaken(second)


def test_an_amendment_that_does_not_fit_was_refused_and_the_refusal_is_lost() -> None:
    wire = Wire()
    wire.send(create(1))
    wire.settle()
    first, second = amend(1, 5), amend(1, 4)
    wire.send(first)
    wire.send(second)
    wire.cut()
    wire.to_exchange(10_000)
    amended = {"orderId": 1, "report": "AMENDED", "price": 145, "quantity": 4}
    wire._down = b""
    report = {"message": "executionReport", "seq": 2, "symbol": "WOOD", "leaves": 4, **amended}
    login = {"message": "login", "participant": "alice", "session": "s", "epoch": 1, "seq": 2}
    wire.tell(report, login | {"recovered": True})
    wire.settle()
    assert told(wire, first) == NotTaken(first)
    assert told(wire, second) is None


def test_a_cancel_all_whose_answer_got_lost_is_unknown() -> None:
    wire = resumed(CancelAll(), taken=1)
    assert kinds(wire) == ["Disconnected", "Canceled", "Resumed", "Unknown"]


def test_a_refusal_that_got_lost_is_not_taken() -> None:
    wire = resumed(create(2, price=-1), taken=1)
    assert kinds(wire) == ["Disconnected", "Resumed", "NotTaken"]


def test_lost_reports_tell_of_creates_only_what_the_open_orders_tell() -> None:
    wire = Wire()
    wire.send(create(1))
    wire.settle()
    wire.engine.forget = True
    gone = create(3)
    commands: list[Command] = [create(2), gone, cancel(1), cancel(9), amend(1, 3), CancelAll()]
    wire.send(commands[0])
    wire.to_exchange(10_000)
    for command in commands[1:]:
        wire.send(command)
    wire.heard.clear()
    wire.cut()
    wire.settle()
    assert kinds(wire)[:2] == ["Disconnected", "ReportsLost"]
    (lost,) = wire.reports(ReportsLost)
    assert isinstance(lost, ReportsLost)
    assert [order.order_id for order in lost.orders] == [1, 2]
    assert wire.heard[2:] == [
        Unknown(gone),
        NotTaken(cancel(1)),
        Unknown(cancel(9)),
        Unknown(amend(1, 3)),
        Unknown(CancelAll()),
    ]


def test_a_reply_that_breaks_off_is_resumed_from_where_it_was() -> None:
    wire = Wire()
    for order_id in range(1, 6):
        wire.send(create(order_id))
    wire.to_exchange(10_000)
    wire.cut()
    wire.to_exchange(10_000)
    wire.to_client(300)
    assert 0 < len(wire.reports(New)) < 5
    wire.cut()
    wire.settle()
    assert [each.seq for each in wire.heard if isinstance(each, New)] == [1, 2, 3, 4, 5]
    assert wire.reports(NotTaken) == []


def test_the_login_says_what_was_seen() -> None:
    said: list[tuple[str, bytes]] = []
    session = Session(codec("json"), ALICE, lambda mark, text: said.append((mark, text)))
    session.connected()
    session.receive(line(LOGIN))
    session.receive(b'{"message":"heartbeat","epoch":8,"seq":5}\n')
    session.disconnected("")
    session.connected()
    assert json.loads(said[0][1]) == {"message": "login", "participant": "alice", "heartbeat": 5.0}
    assert json.loads(said[-1][1]) == json.loads(said[0][1]) | {
        "session": "s1",
        "lastSeq": 5,
        "epoch": 8,
    }


def test_the_number_of_the_reply_is_the_last_one_seen_even_if_it_is_lower() -> None:
    session = logged_in()
    session.receive(b'{"message":"heartbeat","epoch":7,"seq":50}\n')
    session.disconnected("")
    session.connected()
    session.receive(line(LOGIN | {"seq": 10, "epoch": 8, "recovered": False, "orders": []}))
    fill = b'{"message":"executionReport","orderId":1,"report":"FILL","price":1,"quantity":2,'
    assert session.receive(fill + b'"seq":10}\n') == []
    (heard,) = session.receive(fill + b'"seq":11,"trade":10,"leaves":"0.5","time":1.5}\n')
    assert heard == Fill(
        order_id=1,
        seq=11,
        time=1.5,
        leaves=Decimal("0.5"),
        price=Decimal(1),
        quantity=Decimal(2),
        trade=10,
    )


# Several partitions


def test_the_login_says_what_was_seen_of_each_partition() -> None:
    session = logged_in(LOGIN_TO_TWO)
    some = {"message": "heartbeat", "epoch": {"metals": 18}, "seq": {"metals": 50}}
    session.receive(line(some))
    session.disconnected("")
    assert json.loads(session.connected()) == {
        "message": "login",
        "participant": "alice",
        "heartbeat": 5.0,
        "session": "main:s1_metals:s2",
        "lastSeq": {"main": 4, "metals": 50},
        "epoch": {"main": 7, "metals": 18},
    }


def come_back(recovered: dict[str, bool], *orders: tuple[int, str]) -> list[Heard]:
    """What is heard by one who had much under way in two partitions, of which nobody tells."""
    session = logged_in(LOGIN_TO_TWO)
    for command in (create(1), create(2, symbol="GOLD"), create(3, symbol="GOLD"), CancelAll()):
        session.send(command)
    session.disconnected("")
    session.connected()
    about = {"side": "BUY", "price": 145, "quantity": 10}
    rows = [{"orderId": order_id, "symbol": symbol, **about} for order_id, symbol in orders]
    reply = LOGIN_TO_TWO | {"recovered": recovered} | ({"orders": rows} if rows else {})
    return session.receive(line(reply))


def test_if_one_partition_lost_reports_the_fates_in_the_others_are_known() -> None:
    lost, *fates = come_back({"main": True, "metals": False}, (2, "GOLD"))
    assert isinstance(lost, ReportsLost)
    assert lost.symbols == ("GOLD",)
    assert [order.order_id for order in lost.orders] == [2]
    assert fates == [NotTaken(create(1)), Unknown(create(3, symbol="GOLD")), Unknown(CancelAll())]


def test_if_all_partitions_lost_reports_no_symbols_are_named() -> None:
    lost, *fates = come_back({"main": False, "metals": False}, (1, "GOLD"), (2, "GOLD"))
    assert isinstance(lost, ReportsLost)
    assert lost.symbols is None
    unknown = (create(1), create(3, symbol="GOLD"), CancelAll())
    assert fates == [Unknown(each) for each in unknown], "order 1 is open in another instrument"


def test_if_no_partition_lost_reports_the_session_goes_on() -> None:
    resumed, *fates = come_back({"main": True, "metals": True})
    assert resumed == Resumed()
    assert fates[-1] == Unknown(CancelAll())
    assert [type(fate) for fate in fates[:-1]] == [NotTaken] * 3


def test_a_partition_that_is_new_lost_nothing() -> None:
    """One who logged in before there were several names the number of the first alone."""
    session = logged_in()
    session.send(create(1))
    session.disconnected("")
    assert json.loads(session.connected())["lastSeq"] == 4
    reply = LOGIN_TO_TWO | {"recovered": {"main": True}}
    assert session.receive(line(reply)) == [Resumed(), NotTaken(create(1))]
    session.disconnected("")
    assert json.loads(session.connected())["lastSeq"] == {"main": 4, "metals": 40}
