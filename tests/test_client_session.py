"""The private port without sockets: answers on a connection that lasts, and what ends one."""

from decimal import Decimal

import pytest

from tests.session_wire import ALICE, LOGIN, LOGIN_TO_TWO, cancel, create, line, logged_in
from wood.client import (
    AllCanceled,
    Canceled,
    ClientError,
    Disabled,
    Disconnected,
    LoginRefused,
    New,
    ProtocolError,
    QueryRefused,
    Refused,
    Resumed,
    Superseded,
    Unknown,
)
from wood.client.codec import codec
from wood.client.reports import Amended
from wood.client.requests import (
    CancelAll,
    Instruments,
    MarketOrder,
    Orders,
)
from wood.client.session import Answer, Session
from wood.model.orders import BUY


def anonymous() -> Session:
    session = Session(codec("json"), None)
    assert session.connected() == b""
    assert session.ready
    return session


def error(code: str, order_id: int | None = None, symbol: str | None = None) -> bytes:
    named = {} if order_id is None else {"orderId": order_id}
    about = {} if symbol is None else {"symbol": symbol}
    return line({"message": "error", "error": "no", "code": code, **named, **about})


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
    return line(about | numbered | more)


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
    heard = session.receive(line({"message": "orders", "orders": [row]}))
    assert isinstance(heard[0], Answer)
    assert heard[0].query is orders
    assert str(heard[0].result[0].price) == "145.25"  # type: ignore[index, union-attr]
    assert session.disconnected("gone")[1:] == [Answer(instruments, None), Answer(refused, None)]
    session.connected()
    session.receive(line(LOGIN | {"recovered": True}))
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
        session.receive(line(LOGIN | {"recovered": True}))
        assert session.ready
        session.receive(error("superseded"))
        assert session.lost is not None
        assert session.over is None
    session.disconnected("superseded")
    session.connected()
    session.receive(line(LOGIN | {"recovered": True}))
    session.receive(error("superseded"))
    assert type(session.over) is Superseded, "this was somebody else"


def test_a_refusal_without_an_order_is_not_taken_for_the_end() -> None:
    """Redis takes nothing now, a `cancelAll` neither: what is heard next shows that it goes on."""
    session = logged_in()
    session.send(CancelAll())
    assert session.receive(error("unavailable")) == []
    assert (session.lost, session.over) == (None, None)
    heartbeat = line({"message": "heartbeat", "epoch": 1, "seq": 9})
    (heard,) = session.receive(heartbeat)
    assert isinstance(heard, Refused)
    assert (heard.request, heard.code) == (CancelAll(), "unavailable")
    # But if nothing comes after it, it was the end, and says nothing of the command.
    session.send(CancelAll())
    session.receive(error("unavailable"))
    session.disconnected("closed")
    session.connected()
    assert session.receive(line(LOGIN | {"recovered": True})) == [Resumed(), Unknown(CancelAll())]


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
@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_a_login_that_is_refused_for_now_is_tried_elsewhere(encoding: str, code: str) -> None:
    """In JSON, if the server has not heard yet that its client speaks MessagePack."""
    session = Session(codec(encoding), ALICE)
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
    "said", [b"hello\n", b'{"message":"what"}\n', b"[]\n", line(LOGIN), b'{"type":"trade"}\n']
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
    assert session.receive(line(LOGIN | {"recovered": True})) == [Resumed()]


# Several partitions, which answer in their own order


def test_each_partition_has_its_own_numbers() -> None:
    session = logged_in(LOGIN_TO_TWO)
    told = [("WOOD", 5), ("GOLD", 5), ("GOLD", 40), ("GOLD", 41), ("PEAR", 5), ("PEAR", 6)]
    said = b"".join(report("CANCELED", 1, seq, symbol=symbol) for symbol, seq in told)
    heard = [
        (each.symbol, each.seq) for each in session.receive(said) if isinstance(each, Canceled)
    ]
    assert heard == [("WOOD", 5), ("GOLD", 41), ("PEAR", 6)]


def test_an_answer_belongs_to_the_oldest_command_in_its_partition() -> None:
    session = logged_in(LOGIN_TO_TWO)
    for command in (create(1), create(1, symbol="GOLD")):
        session.send(command)
    session.receive(report("NEW", 1, 41, symbol="GOLD"))
    assert list(session.under_way) == [create(1)]
    session.send(cancel(1, "GOLD"))
    (heard,) = session.receive(error("invalid", 1))
    assert isinstance(heard, Refused)
    assert heard.request == create(1)
    assert list(session.under_way) == [cancel(1, "GOLD")]


def test_a_refusal_without_an_id_waits_for_no_other_partition() -> None:
    session = logged_in(LOGIN_TO_TWO)
    gold, pear = CancelAll(symbol="GOLD"), CancelAll(symbol="PEAR")
    for command in (create(1, symbol="GOLD"), gold, pear, CancelAll()):
        session.send(command)
    (heard,) = session.receive(error("forbidden", symbol="PEAR"))
    assert isinstance(heard, Refused)
    assert heard.request is pear
    session.receive(report("NEW", 1, 41, symbol="GOLD"))
    (heard,) = session.receive(error("forbidden", symbol="GOLD"))
    assert isinstance(heard, Refused)
    assert heard.request is gold
    assert list(session.under_way) == [CancelAll()]


def test_a_login_that_comes_late_supersedes_once_in_each_partition() -> None:
    session = logged_in(LOGIN_TO_TWO)
    session.connected()  # never answered
    for _ in range(2):
        session.connected()
        session.receive(line(LOGIN_TO_TWO | {"recovered": {"main": True, "metals": True}}))
        session.receive(error("superseded"))
        assert (session.lost is not None, session.over) == (True, None)
        session.disconnected("superseded")
    session.connected()
    session.receive(line(LOGIN_TO_TWO | {"recovered": {"main": True, "metals": True}}))
    session.receive(error("superseded"))
    assert type(session.over) is Superseded


def test_numbers_of_other_partitions_than_the_epochs_are_another_protocol() -> None:
    session = logged_in(LOGIN_TO_TWO)
    session.receive(line({"message": "heartbeat", "epoch": {"main": 7}, "seq": {"metals": 5}}))
    assert type(session.over) is ProtocolError
