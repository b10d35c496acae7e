"""The private port without sockets: every command's fate, wherever the connection breaks."""

import json
from collections.abc import Callable
from decimal import Decimal

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fake_exchange import Engine, Message
from wood.client import (
    AllCanceled,
    Canceled,
    ClientError,
    Disabled,
    Disconnected,
    Fill,
    LoginRefused,
    New,
    NotTaken,
    OrderReport,
    ProtocolError,
    QueryRefused,
    Refused,
    Report,
    ReportsLost,
    Resumed,
    Superseded,
    Unknown,
)
from wood.client.codec import codec
from wood.client.reports import Amended
from wood.client.requests import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    Command,
    CreateOrder,
    Instruments,
    Login,
    MarketOrder,
    Orders,
)
from wood.client.session import Answer, Heard, Session
from wood.model.orders import BUY

ALICE = Login(participant="alice", heartbeat=5.0)


def create(order_id: int, price: int = 145, symbol: str | None = None) -> CreateOrder:
    return CreateOrder(
        order_id=order_id, side=BUY, price=Decimal(price), quantity=Decimal(10), symbol=symbol
    )


def cancel(order_id: int, symbol: str | None = None) -> CancelOrder:
    return CancelOrder(order_id=order_id, symbol=symbol)


def amend(order_id: int, quantity: int) -> AmendOrder:
    return AmendOrder(order_id=order_id, quantity=Decimal(quantity))


class Wire:
    """A session, an exchange, and the bytes under way between them, which a cut destroys.

    `outcomes` says of each command, by the place in which it was sent, what the exchange did with
    it: None if it never got there.
    """

    def __init__(self, encoding: str = "json") -> None:
        self.packed = encoding == "msgpack"
        self.engine = Engine()
        self.session = Session(codec(encoding), ALICE)
        self.heard: list[Heard] = []
        self.sent: list[Command] = []
        self.outcomes: list[str | None] = []
        self._here: list[int] = []  # places of those sent on this connection and not decided
        self._half = self._up = self._down = b""
        self._unpacker = msgpack.Unpacker()
        self._open()
        self.settle()

    def send(self, command: Command) -> None:
        self._up += self.session.send(command)
        self._here.append(len(self.sent))
        self.sent.append(command)
        self.outcomes.append(None)

    def to_exchange(self, size: int) -> None:
        """Let `size` bytes arrive."""
        if self.packed:
            self._unpacker.feed(self._up[:size])
            messages = list(self._unpacker)
        else:
            *lines, rest = (self._half + self._up[:size]).split(b"\n")
            self._half = rest
            messages = [json.loads(line) for line in lines]
        self._up = self._up[size:]
        for message in messages:
            self._decide(message)

    def to_client(self, size: int) -> None:
        """Let `size` bytes arrive."""
        self.heard += self.session.receive(self._down[:size])
        self._down = self._down[size:]
        assert self.session.over is None

    def tell(self, *messages: Message) -> None:
        """The exchange says something."""
        for message in messages:
            self._down += msgpack.packb(message) if self.packed else _line(message)

    def cut(self) -> None:
        """All bytes under way are gone; there is a new connection."""
        self.heard += self.session.disconnected("cut")
        self._open()

    def settle(self) -> None:
        """Let everything arrive."""
        self.to_exchange(len(self._up))
        self.to_client(len(self._down))

    def reports(self, kind: type[Report]) -> list[Report]:
        return [each for each in self.heard if isinstance(each, kind)]

    def _open(self) -> None:
        self._here = []
        self._half = b""
        self._unpacker = msgpack.Unpacker()
        self._down = b""
        self._up = self.session.connected()

    def _decide(self, message: Message) -> None:
        if message["message"] == "login":
            self.tell(*self.engine.login(message))
            return
        said = self.engine.ask(message)
        if self._here:
            refused = said[-1]["message"] == "error"
            self.outcomes[self._here.pop(0)] = "refused" if refused else "taken"
        self.tell(*said)


def _line(message: Message) -> bytes:
    return json.dumps(message).encode() + b"\n"


def told(wire: Wire, command: Command) -> Report | None:
    """What was said of `command` itself, at most once."""
    said = [
        each
        for each in wire.heard
        if isinstance(each, NotTaken | Unknown | Refused) and each.request is command
    ]
    assert len(said) <= 1
    return said[0] if said else None


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
    session = Session(codec("json"), ALICE, lambda mark, line: said.append((mark, line)))
    session.connected()
    session.receive(_line(LOGIN))
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
    session.receive(_line(LOGIN | {"seq": 10, "epoch": 8, "recovered": False, "orders": []}))
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


# Answers on a connection that lasts

LOGIN: Message = {
    "message": "login",
    "participant": "alice",
    "session": "s1",
    "epoch": 7,
    "seq": 4,
}


def logged_in() -> Session:
    session = Session(codec("json"), ALICE)
    session.connected()
    before = session.ready
    assert session.receive(_line(LOGIN)) == []
    assert (before, session.ready) == (False, True)
    return session


def anonymous() -> Session:
    session = Session(codec("json"), None)
    assert session.connected() == b""
    assert session.ready
    return session


def error(code: str, order_id: int | None = None, symbol: str | None = None) -> bytes:
    named = {} if order_id is None else {"orderId": order_id}
    about = {} if symbol is None else {"symbol": symbol}
    return _line({"message": "error", "error": "no", "code": code, **named, **about})


def test_a_refusal_belongs_to_the_oldest_command_that_it_fits() -> None:
    session = logged_in()
    first, second = cancel(1), cancel(1)
    for command in (create(1), first, second):
        session.send(command)
    (heard,) = session.receive(error("not_found", 1))
    assert isinstance(heard, Refused)
    assert heard.request is first
    (heard,) = session.receive(error("invalid", 1))
    assert isinstance(heard, Refused)
    assert heard.request == create(1)
    assert list(session.under_way) == [second]


def test_symbols_keep_equal_ids_apart() -> None:
    session = logged_in()
    session.send(create(1))
    session.send(create(1, symbol="PEAR"))
    session.receive(report("NEW", 1, 5, symbol="WOOD"))
    session.send(cancel(1))
    session.receive(report("CANCELED", 1, 6, symbol="PEAR"))
    assert list(session.under_way) == [create(1, symbol="PEAR"), cancel(1)]
    session.receive(error("invalid", 1, "PEAR"))
    session.receive(report("CANCELED", 1, 7, symbol="WOOD"))
    assert not session.under_way


def test_an_unknown_symbol_is_refused_without_naming_it() -> None:
    session = logged_in()
    session.send(create(1, symbol="NOPE"))
    (heard,) = session.receive(error("unknown_symbol", 1))
    assert isinstance(heard, Refused)
    assert heard.request == create(1, symbol="NOPE")


def report(kind: str, order_id: int, seq: int | None = None, **more: object) -> bytes:
    numbered = {} if seq is None else {"seq": seq}
    about = {"message": "executionReport", "orderId": order_id, "report": kind}
    return _line(about | numbered | more)


def test_a_refusal_without_an_id_is_the_oldest_command_of_one_without_a_name() -> None:
    session = anonymous()
    session.send(create(1))
    session.send(create(2))
    (heard,) = session.receive(error("rate"))
    assert isinstance(heard, Refused)
    assert heard.request == create(1)
    named = logged_in()
    named.send(create(1))
    (heard,) = named.receive(error("rate"))
    assert isinstance(heard, Refused)
    assert heard.request is None
    assert list(named.under_way) == [create(1)]


def test_a_refused_cancel_all_and_one_that_is_answered() -> None:
    session = logged_in()
    session.send(CancelAll(symbol="NOPE"))
    session.send(CancelAll())
    (heard,) = session.receive(error("unknown_symbol"))
    assert isinstance(heard, Refused)
    assert heard.request == CancelAll(symbol="NOPE")
    heard_all = session.receive(b'{"message":"cancelAll","canceled":3}\n')
    assert heard_all == [AllCanceled(count=3)]
    assert not session.under_way


def test_an_order_cancelled_by_somebody_else_is_no_answer() -> None:
    session = logged_in()
    session.send(create(2))
    session.receive(report("CANCELED", 1, 5))
    assert list(session.under_way) == [create(2)]


def test_an_id_that_is_under_way_is_refused_for_a_new_order() -> None:
    session = logged_in()
    session.send(create(1))
    session.receive(report("NEW", 1, 5))
    session.send(cancel(1))
    with pytest.raises(ValueError, match="id 1 "):
        session.send(create(1))
    with pytest.raises(ValueError, match="id 1 "):
        session.send(MarketOrder(order_id=1, side=BUY, quantity=1))
    session.receive(report("CANCELED", 1, 6))
    session.send(create(1))


def test_nothing_is_kept_of_what_was_answered() -> None:
    session = logged_in()
    for seq in range(5, 105):
        session.send(create(seq))
        session.receive(report("NEW", seq, seq))
    assert not session.under_way
    assert not session.under_way._orders


def test_queries_are_answered_in_turn_and_asked_again_by_another() -> None:
    session = logged_in()
    orders, instruments, refused = Orders(), Instruments(), Orders(symbol="NOPE")
    for query in (orders, instruments, refused):
        session.send(query)
    row = {"orderId": 1, "symbol": "WOOD", "side": "BUY", "price": 145.25, "quantity": 50}
    heard = session.receive(_line({"message": "orders", "orders": [row]}))
    assert isinstance(heard[0], Answer)
    assert heard[0].query is orders
    assert str(heard[0].result[0].price) == "145.25"  # type: ignore[index, union-attr]
    assert session.disconnected("gone")[1:] == [Answer(instruments, None), Answer(refused, None)]
    session.connected()
    session.receive(_line(LOGIN | {"recovered": True}))
    session.send(refused)
    (answer,) = session.receive(error("unknown_symbol"))
    assert isinstance(answer, Answer)
    assert isinstance(answer.result, QueryRefused)
    assert answer.result.code == "unknown_symbol"


def test_without_a_name_the_end_leaves_what_is_under_way_unknown() -> None:
    session = anonymous()
    session.send(create(1))
    session.send(Orders())
    session.send(cancel(2))
    assert session.ended() == [Unknown(create(1)), Unknown(cancel(2))]
    assert not session.ready


def test_reports_without_numbers_are_those_of_the_base() -> None:
    session = anonymous()
    session.send(create(1))
    assert session.receive(report("NEW", 1) * 2) == [New(order_id=1)] * 2
    assert not session.under_way


def test_amended() -> None:
    (heard,) = anonymous().receive(report("AMENDED", 1, price=145.5, quantity=20))
    assert heard == Amended(order_id=1, price=Decimal("145.5"), quantity=Decimal(20))


# What ends a connection


@pytest.mark.parametrize(("code", "kind"), [("superseded", Superseded), ("disabled", Disabled)])
def test_some_errors_end_it_for_good(code: str, kind: type[ClientError]) -> None:
    session = logged_in()
    assert session.receive(error(code) + report("NEW", 1, 9)) == []
    assert type(session.over) is kind


def test_a_login_that_was_given_up_may_come_late_and_supersede_once() -> None:
    """It was under way to a node that stood still, say; the next one goes to another node."""
    session = logged_in()
    for _ in range(2):
        session.disconnected("cut")
        session.connected()  # never answered
        session.connected()
        session.receive(_line(LOGIN | {"recovered": True}))
        assert session.ready
        session.receive(error("superseded"))
        assert session.lost is not None
        assert session.over is None
    session.disconnected("superseded")
    session.connected()
    session.receive(_line(LOGIN | {"recovered": True}))
    session.receive(error("superseded"))
    assert type(session.over) is Superseded, "this was somebody else"


def test_a_refusal_without_an_order_is_not_taken_for_the_end() -> None:
    """Redis takes nothing now, a `cancelAll` neither: what is heard next shows that it goes on."""
    session = logged_in()
    session.send(CancelAll())
    assert session.receive(error("unavailable")) == []
    assert (session.lost, session.over) == (None, None)
    heartbeat = _line({"message": "heartbeat", "epoch": 1, "seq": 9})
    (heard,) = session.receive(heartbeat)
    assert isinstance(heard, Refused)
    assert (heard.request, heard.code) == (CancelAll(), "unavailable")
    # But if nothing comes after it, it was the end, and says nothing of the command.
    session.send(CancelAll())
    session.receive(error("unavailable"))
    session.disconnected("closed")
    session.connected()
    assert session.receive(_line(LOGIN | {"recovered": True})) == [Resumed(), Unknown(CancelAll())]


@pytest.mark.parametrize("code", ["unavailable", "silent", "too_long", "limit"])
def test_after_others_another_connection_is_looked_for(code: str) -> None:
    session = logged_in()
    assert session.receive(error(code) + report("NEW", 1, 9)) == []
    assert session.lost == f"no ({code})"
    assert session.over is None
    session.connected()
    assert session.lost is None


@pytest.mark.parametrize("code", ["unauthorized", "invalid", "too_large", "forbidden"])
def test_a_refused_login_is_the_end(code: str) -> None:
    session = Session(codec("json"), ALICE)
    session.connected()
    session.receive(error(code))
    assert type(session.over) is LoginRefused
    assert session.over.code == code


@pytest.mark.parametrize("code", ["unavailable", "limit", "rate"])
def test_a_login_that_is_refused_for_now_is_tried_elsewhere(code: str) -> None:
    session = Session(codec("json"), ALICE)
    session.connected()
    session.receive(error(code))
    assert session.over is None
    assert session.lost


def test_a_command_that_is_refused_as_unavailable_is_only_refused() -> None:
    session = logged_in()
    session.send(create(1))
    (heard,) = session.receive(error("unavailable", 1))
    assert isinstance(heard, Refused)
    assert session.lost is None


def test_a_command_under_way_is_not_refused_by_the_end_of_the_connection() -> None:
    session = anonymous()
    session.send(create(1))
    assert session.receive(error("unavailable")) == []
    assert session.ended() == [Unknown(create(1))]


@pytest.mark.parametrize(
    "said", [b"hello\n", b'{"message":"what"}\n', b"[]\n", _line(LOGIN), b'{"type":"trade"}\n']
)
def test_another_protocol_is_the_end(said: bytes) -> None:
    session = logged_in()
    good = report("NEW", 1, 5)
    assert len(session.receive(good + said + good)) == 1
    assert type(session.over) is ProtocolError


def test_a_new_connection_begins_with_a_new_message() -> None:
    session = logged_in()
    session.receive(b'{"message":"executionRep')
    assert session.disconnected("gone") == [Disconnected("gone")]
    session.connected()
    assert session.receive(_line(LOGIN | {"recovered": True})) == [Resumed()]
