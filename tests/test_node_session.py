"""Bytes in, commands out: one connection's conversation without a socket."""

import json
from typing import Any

import msgpack
import pytest

from tests.engines import INSTRUMENTS
from wood.model.commands import (
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
)
from wood.model.errors import ErrorCode
from wood.model.events import SessionOpened
from wood.model.orders import BUY, FOK, GTC, IOC, SELL, State
from wood.model.participants import digest
from wood.node.session import Session
from wood.node.throttle import Allowance, Throttle

NAME = "~abc"
CREATE = '{"message":"createOrder","orderId":7,"side":"BUY","price":145.25,"quantity":3'


def session(**options: Any) -> Session:
    return Session(NAME, INSTRUMENTS, **options)


def one(line: str) -> Command:
    [command] = session().receive(line.encode() + b"\n")
    assert (command.participant, command.session, command.generation) == (NAME, NAME, 0)
    return command


def refused(line: str) -> tuple[str, str, int | None, str | None]:
    command = one(line)
    assert isinstance(command, Refuse)
    return command.code.value, command.text, command.order_id, command.symbol


def test_new_orders() -> None:
    assert one(CREATE + "}") == NewOrder(NAME, NAME, 0, "WOOD", 7, BUY, 14525, 3, GTC, False)
    assert one(
        CREATE.replace("145.25", '"12.5"') + ',"quantity":30,"symbol":"PEAR","timeInForce":"FOK"}'
    ) == NewOrder(NAME, NAME, 0, "PEAR", 7, BUY, 25, 3, FOK, False)
    assert one(CREATE + ',"postOnly":true}') == NewOrder(
        NAME, NAME, 0, "WOOD", 7, BUY, 14525, 3, GTC, True
    )
    assert one(
        '{"message":"marketOrder","orderId":0,"side":"SELL","quantity":3,"timeInForce":"FOK"}'
    ) == NewOrder(NAME, NAME, 0, "WOOD", 0, SELL, None, 3, IOC, False)


def test_other_commands() -> None:
    assert one('{"message":"cancelOrder","orderId":"18446744073709551615"}') == CancelOrder(
        NAME, NAME, 0, "WOOD", 2**64 - 1
    )
    assert one('{"message":"amendOrder","orderId":7,"price":2}') == AmendOrder(
        NAME, NAME, 0, "WOOD", 7, 200, None
    )
    assert one('{"message":"amendOrder","orderId":7,"quantity":2}') == AmendOrder(
        NAME, NAME, 0, "WOOD", 7, None, 2
    )
    assert one('{"message":"cancelAll"}') == CancelAll(NAME, NAME, 0, None)
    assert one('{"message":"orders","symbol":"PEAR"}') == ListOrders(NAME, NAME, 0, "PEAR")
    assert one('{"message":"instruments"}') == ListInstruments(NAME, NAME, 0)


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        (CREATE + ',"price":0}', "invalid", "price must be greater than 0"),
        (CREATE + ',"price":-1}', "invalid", "price must be greater than 0"),
        (CREATE + ',"price":145.255}', "invalid", "price must be a multiple of 0.01"),
        (CREATE + ',"price":1e400}', "too_large", "price is too large"),
        (CREATE + ',"price":90071992547409.92}', "too_large", "price must be at most"),
        (CREATE + ',"price":"NaN"}', "invalid", "price must be a decimal number"),
        (CREATE + ',"price":"1_000"}', "invalid", "price must be a decimal number"),
        (CREATE + ',"price":true}', "invalid", "price must be a decimal number"),
        (CREATE + ',"price":"\u0661"}', "invalid", "price must be a decimal number"),
        (CREATE + ',"quantity":0}', "invalid", "quantity must be greater than 0"),
        (CREATE + ',"quantity":1.5}', "invalid", "quantity must be a multiple of 1"),
        (CREATE + ',"quantity":1000000000001}', "too_large", "quantity must be at most 10000000"),
        (CREATE + ',"timeInForce":"IOC","postOnly":true}', "invalid", "postOnly does not go with"),
        ('{"message":"amendOrder","orderId":7}', "invalid", "give price, quantity or both"),
        ('{"message":"amendOrder","orderId":7,"price":null}', "invalid", "price must be a decimal"),
        ('{"message":"cancelOrder","orderId":7,"symbol":"PLUM"}', "unknown_symbol", "no instrume"),
    ],
)
def test_what_no_order_can_have(line: str, code: str, text: str) -> None:
    found, said, order_id, symbol = refused(line)
    assert (found, order_id, symbol) == (code, 7, None)
    assert said.startswith(text)


def test_an_error_names_the_instrument_if_there_is_one() -> None:
    assert refused(CREATE + ',"symbol":"PEAR"}')[2:] == (7, "PEAR")


@pytest.mark.parametrize("order_id", ["18446744073709551616", "-1", "9" * 4000])
def test_ids_out_of_range(order_id: str) -> None:
    for line in (
        CREATE.replace(":7,", f":{order_id},") + "}",
        f'{{"message":"cancelOrder","orderId":{order_id}}}',
        f'{{"message":"marketOrder","orderId":{order_id},"side":"BUY","quantity":1}}',
        f'{{"message":"amendOrder","orderId":{order_id},"quantity":1}}',
    ):
        text = "orderId must be an integer from 0 to 18446744073709551615"
        assert refused(line) == ("invalid", text, None, None)


def test_seq_counts_every_message_that_carries_it() -> None:
    lines = [
        ('{"message":"cancelAll","seq":1}', None),
        ('{"message":"cancelAll"}', None),
        ('{"message":"what","seq":2}', "message is not known here"),
        (CREATE + ',"price":0,"seq":3}', "price must be greater than 0"),
        ('{"message":"cancelAll","seq":5}', "seq 4 was expected"),
        ('{"message":"what","seq":6}', "seq 4 was expected"),
        ('{"message":"cancelAll","seq":3}', "seq 4 was expected"),
        ('{"message":"cancelAll","seq":"4"}', "seq must be an integer"),
        ('{"message":"cancelAll","seq":4}', None),
    ]
    commands = session().receive("".join(line + "\n" for line, _ in lines).encode())
    for command, (_, text) in zip(commands, lines, strict=True):
        if text is None:
            assert isinstance(command, CancelAll)
        else:
            assert isinstance(command, Refuse)
            assert command.text.startswith(text)
    assert commands[4].code is ErrorCode.SEQUENCE  # type: ignore[attr-defined]


def test_the_rate_counts_messages_of_every_kind() -> None:
    commands = session(allowance=Allowance(Throttle(3, lambda: 0.0))).receive(
        b"x\n" + b'{"message":"cancelAll"}\n' * 4
    )
    codes = [command.code.value if isinstance(command, Refuse) else None for command in commands]
    assert codes == ["invalid", None, None, "rate", "rate"]


class TestQueries:
    """One under way at a time; what was said after it waits for its answer."""

    LINES = b'{"message":"orders"}\n{"message":"cancelAll"}\n{"message":"instruments"}\nx\n'

    def test_what_comes_after_waits(self) -> None:
        talk = session()
        assert [type(c) for c in talk.receive(self.LINES)] == [ListOrders]
        assert talk.holding
        assert talk.receive(b"y\n") == []
        assert [type(c) for c in talk.answered()] == [CancelAll, ListInstruments]
        assert [c.text for c in talk.answered()] == ["the line is not JSON"] * 2  # type: ignore[attr-defined]
        assert not talk.holding

    def test_the_end_waits_too(self) -> None:
        talk = session()
        talk.receive(self.LINES + b"half")
        assert talk.end() == []
        assert [type(c) for c in talk.answered()] == [CancelAll, ListInstruments]
        *refusals, last = talk.answered()
        assert [c.text for c in refusals] == ["the line is not JSON", "the last line has no end"]  # type: ignore[attr-defined]
        assert isinstance(last, CloseSession)
        assert talk.end() == []
        assert talk.answered() == []

    def test_a_lost_connection_forgets_them(self) -> None:
        talk = session(cancel_on_close=True)
        talk.receive(self.LINES)
        assert talk.close() == [CloseSession(NAME, NAME, 0, True)]
        assert talk.answered() == []
        assert talk.close() == []


class TestEnds:
    def test_of_the_client(self) -> None:
        talk = session()
        talk.receive(b'{"message":"orders"}')
        text, close = talk.end()
        assert isinstance(text, Refuse)
        assert close == CloseSession(NAME, NAME, 0, False)
        assert talk.receive(b"x\n") == []
        assert talk.close() == []

    def test_of_the_server_says_nothing_of_half_a_line(self) -> None:
        talk = session()
        talk.receive(b'{"message":"ord')
        assert talk.end(unfinished=False) == [CloseSession(NAME, NAME, 0, False)]

    def test_a_line_too_long_closes(self) -> None:
        talk = session(line_limit=1024)
        refuse, close = talk.receive(b"x" * 1025)
        assert isinstance(refuse, Refuse)
        assert refuse.code is ErrorCode.TOO_LONG
        assert isinstance(close, CloseSession)
        assert talk.receive(b"x\n") == []
        assert talk.end() == []


def test_messagepack_is_known_by_its_first_byte() -> None:
    talk = session()
    data = msgpack.packb({"message": "cancelAll"})
    assert [type(c) for c in talk.receive(data[:3]) + talk.receive(data[3:])] == [CancelAll]
    assert talk.packed
    assert not session().packed
    json = session()
    json.receive(b'{"message":')
    assert [type(c) for c in json.receive(b'"cancelAll"}\n')] == [CancelAll]
    assert not json.packed


LOGIN = '{"message":"login","participant":"alice"'


def logged_in(operator: bool = False, **options: Any) -> Session:
    """One that is alice by now, in generation 7 of the session e-5."""
    talk = session(**options)
    talk.receive(LOGIN.encode() + b"}\n")
    talk.logged_in(SessionOpened(7, "alice", "e-5", NAME, operator, None, None, None))
    assert talk.answered() == []
    return talk


class TestLogin:
    def test_asks_the_engine_as_the_one_without_a_name_that_it_is(self) -> None:
        assert one(LOGIN + "}") == OpenSession(NAME, NAME, 0, "alice")
        keys = ',"token":"t\u00e9","session":"e-5","lastSeq":9007199254740991,"epoch":0'
        assert one(LOGIN + keys + ',"cancelOnDisconnect":true}') == OpenSession(
            NAME, NAME, 0, "alice", digest("té"), "e-5", 2**53 - 1, 0, True
        )

    def test_what_follows_waits_and_is_said_under_the_name(self) -> None:
        talk = session(cancel_on_close=True)
        lines = LOGIN + "}\n" + CREATE + '}\n{"message":"heartbeat"}\n{"message":"x"}\n'
        assert [type(c) for c in talk.receive(lines.encode())] == [OpenSession]
        assert talk.holding
        talk.logged_in(SessionOpened(7, "alice", "e-5", NAME, False, None, None, None))
        found = talk.answered() + talk.end()
        assert [type(c) for c in found] == [NewOrder, Heartbeat, Refuse, CloseSession]
        assert {(c.participant, c.session, c.generation) for c in found} == {("alice", "e-5", 7)}
        assert found[-1] == CloseSession("alice", "e-5", 7, False), "it said so when it logged in"

    def test_of_one_that_was_refused_another_may_follow(self) -> None:
        talk = session(must_log_in=True)
        lines = LOGIN + "}\n" + CREATE + "}\n" + LOGIN + "}\n"
        talk.receive(lines.encode())
        refused, login = talk.answered()
        assert isinstance(refused, Refuse)
        assert (refused.code, refused.order_id) == (ErrorCode.UNAUTHORIZED, 7)
        assert login == OpenSession(NAME, NAME, 0, "alice")
        assert talk.locked
        talk.logged_in(SessionOpened(7, "alice", "e-5", NAME, False, None, None, None))
        assert not talk.locked

    def test_after_an_order(self) -> None:
        for line, orders in ((CREATE + "}", True), (CREATE + ',"price":0}', False)):
            talk = session()
            talk.receive(line.encode() + b"\n")
            [command] = talk.receive(LOGIN.encode() + b"}\n")
            assert isinstance(command, Refuse) is orders

    @pytest.mark.parametrize("heartbeat", [float("nan"), float("inf"), -float("inf"), 0.0999])
    def test_an_interval_that_is_none(self, heartbeat: float) -> None:
        message = {"message": "login", "participant": "alice", "heartbeat": heartbeat}
        [command] = session().receive(msgpack.packb(message))
        assert isinstance(command, Refuse)
        assert command.text == "heartbeat must be from 0.1 to 3600 seconds"

    def test_the_interval_of_the_login_that_succeeds_counts(self) -> None:
        talk = session()
        talk.receive((LOGIN + ',"heartbeat":5}\n' + LOGIN + "}\n").encode())
        assert talk.heartbeat == 5
        talk.answered()
        assert talk.heartbeat is None

    def test_a_rate_counts_them_too(self) -> None:
        talk = session(allowance=Allowance(Throttle(1, lambda: 0.0)))
        talk.receive(LOGIN.encode() + b"}\n" + b'{"message":"heartbeat"}\n')
        [refused] = talk.answered()
        assert isinstance(refused, Refuse)
        assert refused.code is ErrorCode.RATE


class TestGuards:
    """With --cancel-on-disconnect the engine is told before the first order, and once."""

    def test_before_the_first_order(self) -> None:
        talk = session(cancel_on_close=True)
        found = talk.receive(b'{"message":"cancelAll"}\n' + (CREATE + "}\n").encode() * 2)
        assert [type(c) for c in found] == [CancelAll, OpenSession, NewOrder, NewOrder]
        assert found[1] == OpenSession(NAME, NAME, 0, NAME, cancel_orders=True)
        assert not talk.holding, "nobody waits for its answer"
        talk.unguarded()
        assert [type(c) for c in talk.receive((CREATE + "}\n").encode())] == [
            OpenSession,
            NewOrder,
        ]

    def test_not_of_those_with_a_name(self) -> None:
        talk = logged_in(cancel_on_close=True)
        assert [type(c) for c in talk.receive((CREATE + "}\n").encode())] == [NewOrder]


class TestOperators:
    @pytest.mark.parametrize("keys", ['"participant":"bob"', '"anonymousOlderThan":60'])
    def test_only_they_cancel_for_others(self, keys: str) -> None:
        line = f'{{"message":"cancelAll",{keys}}}\n'.encode()
        for talk in (session(), logged_in()):
            [refused] = talk.receive(line)
            assert isinstance(refused, Refuse)
            assert refused.code is ErrorCode.FORBIDDEN
        [command] = logged_in(operator=True, clock=lambda: 100.9).receive(line)
        who = "alice", "e-5", 7
        assert command in (CancelAll(*who, None, "bob"), CancelAnonymous(*who, 40))

    @pytest.mark.parametrize(
        ("word", "state"), [("halt", State.HALTED), ("resume", State.OPEN)], ids=["halt", "resume"]
    )
    def test_only_they_halt_and_resume(self, word: str, state: State) -> None:
        message = {"message": word, "symbol": "PEAR"}
        said, packed = json.dumps(message).encode() + b"\n", msgpack.packb(message)
        for found in (
            session().receive(said),
            session().receive(packed),
            logged_in().receive(said),
        ):
            [refused] = found
            assert isinstance(refused, Refuse)
            assert (refused.code, refused.symbol) == (ErrorCode.FORBIDDEN, "PEAR")
        talk = logged_in(operator=True)
        assert talk.receive(said) == [ChangeState("alice", "e-5", 7, "PEAR", state)]
        assert not talk.holding
        line = json.dumps({"message": word}).encode() + b"\n"
        assert talk.receive(line) == [ChangeState("alice", "e-5", 7, "WOOD", state)]
        [refused] = talk.receive(line.replace(b"}", b',"symbol":"PLUM"}'))
        assert isinstance(refused, Refuse)
        assert refused.code is ErrorCode.UNKNOWN_SYMBOL

    def test_older_than_time_itself(self) -> None:
        talk = logged_in(operator=True, clock=lambda: 100.0)
        [command] = talk.receive(b'{"message":"cancelAll","anonymousOlderThan":9999999999999}\n')
        assert command == CancelAnonymous("alice", "e-5", 7, 0)

    def test_one_without_a_name_may_be_named(self) -> None:
        talk = logged_in(operator=True)
        [command] = talk.receive(b'{"message":"cancelAll","participant":"~0123456789abcdef"}\n')
        assert command == CancelAll("alice", "e-5", 7, None, "~0123456789abcdef")


def test_before_a_login_what_cannot_be_read_is_told_why() -> None:
    talk = session(must_log_in=True, line_limit=1024)
    found = talk.receive(b'x\n{"message":"login"}\n{"message":"heartbeat"}\n' + b"x" * 1025)
    assert [c.code.value for c in found if isinstance(c, Refuse)] == [
        "invalid",
        "invalid",
        "unauthorized",
        "too_long",
    ]
    assert isinstance(found[-1], CloseSession)
