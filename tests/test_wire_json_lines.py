import json
import time

import pytest
from msgspec import Raw

from wood.model.orders import Side, TimeInForce
from wood.wire import messages
from wood.wire.json_lines import private_json, public_json
from wood.wire.messages import Message, Unreadable

CREATE = b'{"message":"createOrder","orderId":7,"side":"BUY","price":145.25,"quantity":"1e2"}'
LOGIN = b'{"message":"login","participant":"alice"}'
ID_TEXT = "orderId must be an integer from 0 to 18446744073709551615"


def one(line: bytes) -> Message | Unreadable:
    [message] = private_json().feed(line + b"\n")
    return message


def error(line: bytes) -> str:
    message = one(line)
    assert isinstance(message, Unreadable)
    assert message.code == "invalid"
    assert not message.fatal
    return message.text


def test_a_create_order() -> None:
    message = one(CREATE)
    assert isinstance(message, messages.CreateOrder)
    assert message.order_id == 7
    assert message.side is Side.BUY
    assert (bytes(message.price), bytes(message.quantity)) == (b"145.25", b'"1e2"')
    assert message.time_in_force is TimeInForce.GTC
    assert (message.symbol, message.post_only, message.seq) == (None, False, None)


def test_all_keys() -> None:
    message = one(CREATE[:-1] + b',"symbol":"A","timeInForce":"FOK","postOnly":true,"seq":3}')
    assert isinstance(message, messages.CreateOrder)
    assert message.time_in_force is TimeInForce.FOK
    assert (message.symbol, message.post_only, message.seq) == ("A", True, 3)


def test_a_login() -> None:
    assert one(LOGIN) == messages.Login(participant="alice")
    keys = (
        b',"token":"t","session":"s","lastSeq":3,"epoch":4,"heartbeat":5,"cancelOnDisconnect":true'
    )
    whole = messages.Login(
        participant="alice",
        token="t",
        session="s",
        last_seq=3,
        epoch=4,
        heartbeat=5.0,
        cancel_on_disconnect=True,
        seq=1,
    )
    assert one(LOGIN[:-1] + keys + b',"seq":1}') == whole
    # The strict reading, which a key given twice leads to, finds the same.
    assert one(LOGIN[:-1] + b',"heartbeat":"x"' + keys + b',"seq":1}') == whole
    assert one(LOGIN[:-1] + b',"session":null,"lastSeq":null,"heartbeat":0.5}') == messages.Login(
        participant="alice", heartbeat=0.5
    )


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b'{"message":"marketOrder","orderId":1,"side":"SELL","quantity":1}', messages.MarketOrder),
        (b'{"message":"cancelOrder","orderId":1}', messages.CancelOrder),
        (b'{"message":"cancelOrder","orderId":"1"}', messages.CancelOrder),
        (b'{"message":"amendOrder","orderId":1,"price":2}', messages.AmendOrder),
        (b'{"message":"cancelAll","symbol":null}', messages.CancelAll),
        (b'{"message":"halt","symbol":"WOOD"}', messages.Halt),
        (b'{"message":"resume"}', messages.Resume),
        (b'{"message":"cancelAll","participant":"A"}', messages.CancelAll),
        (b'{"message":"cancelAll","anonymousOlderThan":3600}', messages.CancelAll),
        (b'{"message":"login","participant":"A"}', messages.Login),
        (b'{"message":"heartbeat"}', messages.Heartbeat),
        (b'{"message":"orders"}', messages.Orders),
        (b'{"message":"instruments","extra":{"deep":[1,2]}}', messages.Instruments),
        (b' \t{ "message" : "orders" } ', messages.Orders),
        ('{"message":"orders","note":"žluťoučký"}'.encode(), messages.Orders),
        (b'{"message":"orders","x":' + b"[" * 31 + b"]" * 31 + b"}", messages.Orders),
        (b'{"message":"orders","x":"' + b'[{\\"' * 50 + b'"}', messages.Orders),
        (b'{"message":"orders","x":[' + b"[]," * 50 + b"{}]}", messages.Orders),
    ],
)
def test_kinds(line: bytes, kind: type) -> None:
    assert type(one(line)) is kind


def test_of_a_key_given_twice_the_last_counts() -> None:
    message = one(b'{"message":"cancelOrder","orderId":"x","orderId":1,"orderId":2}')
    assert message == messages.CancelOrder(order_id=2)
    assert type(one(b'{"message":"orders","message":"cancelAll"}')) is messages.CancelAll
    message = one(CREATE[:-1] + b',"price":true,"price":8}')
    assert isinstance(message, messages.CreateOrder)
    assert bytes(message.price) == b"8"
    assert error(CREATE[:-1] + b',"side":"BUY","side":"buy"}') == "side must be one of BUY, SELL"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"nonsense", "the line is not JSON"),
        (b'{"message":"orders"} {}', "the line is not JSON"),
        (b'{"message":"orders"', "the line is not JSON"),
        (b"\xef\xbb\xbf{}", "the line is not JSON"),
        (b'{"message":"createOrder","orderId":1,"price":NaN}', "the line is not JSON"),
        (b'{"message":"createOrder","orderId":1,"price":Infinity}', "the line is not JSON"),
        (b'{"message":"createOrder","orderId":01}', "the line is not JSON"),
        (b'{"message":"orders","x":"\\ud800"}', "the line is not JSON"),
        (b"[1]", "the line is not a JSON object"),
        (b"null", "the line is not a JSON object"),
        (b'"orders"', "the line is not a JSON object"),
        (b'{"message":"orders","x":"\xff"}', "the line is not valid UTF-8"),
        (b'{"message":"orders","x":"\xc0\xaf"}', "the line is not valid UTF-8"),
        (b'{"message":"orders","x":' + b"[" * 30000 + b"}", "the line is nested too deeply"),
        (b"[" * 60000, "the line is nested too deeply"),
        (
            b'{"message":"orders","x":' + b"[" * 32 + b"]" * 32 + b"}",
            "the line is nested too deeply",
        ),
        (b'{"message":"createOrder","side":"BUY"}', "orderId is missing"),
        (b'{"message":"createOrder","orderId":1}', "side is missing"),
        (b'{"message":"createOrder","orderId":1,"side":"buy"}', "side must be one of BUY, SELL"),
        (b'{"message":"createOrder","orderId":1,"side":1}', "side must be one of BUY, SELL"),
        (b'{"message":"createOrder","orderId":1,"side":"BUY"}', "price is missing"),
        (b'{"message":"marketOrder","orderId":1,"side":"BUY"}', "quantity is missing"),
        (CREATE[:-1] + b',"timeInForce":"DAY"}', "timeInForce must be one of GTC, IOC, FOK"),
        (CREATE[:-1] + b',"timeInForce":null}', "timeInForce must be one of GTC, IOC, FOK"),
        (CREATE[:-1] + b',"postOnly":1}', "postOnly must be true or false"),
        (CREATE[:-1] + b',"symbol":1}', "symbol must be a string"),
        (CREATE[:-1] + b',"seq":"1"}', "seq must be an integer"),
        (CREATE[:-1] + b',"seq":true}', "seq must be an integer"),
        (CREATE[:-1] + b',"seq":1.0}', "seq must be an integer"),
        (b'{"message":"cancelAll","participant":1}', "participant must be a string"),
        (b'{"message":"halt","symbol":["WOOD"]}', "symbol must be a string"),
        (
            b'{"message":"cancelAll","anonymousOlderThan":"1"}',
            "anonymousOlderThan must be an integer",
        ),
        (b'{"message":"login"}', "participant is missing"),
        (b'{"message":"login","participant":null}', "participant is missing"),
        (b'{"message":"login","participant":7}', "participant must be a string"),
        (LOGIN[:-1] + b',"token":7}', "token must be a string"),
        (LOGIN[:-1] + b',"session":7}', "session must be a string"),
        (LOGIN[:-1] + b',"lastSeq":"7"}', "lastSeq must be an integer"),
        (LOGIN[:-1] + b',"lastSeq":7.0}', "lastSeq must be an integer"),
        (LOGIN[:-1] + b',"epoch":true}', "epoch must be an integer"),
        (LOGIN[:-1] + b',"heartbeat":"5"}', "heartbeat must be a number of seconds"),
        (LOGIN[:-1] + b',"heartbeat":true}', "heartbeat must be a number of seconds"),
        (LOGIN[:-1] + b',"cancelOnDisconnect":1}', "cancelOnDisconnect must be true or false"),
        (LOGIN[:-1] + b',"cancelOnDisconnect":null}', "cancelOnDisconnect must be true or false"),
    ],
)
def test_what_is_wrong_is_said(line: bytes, text: str) -> None:
    assert error(line) == text


def test_an_unknown_message_is_told_the_known_ones() -> None:
    known = "createOrder, marketOrder, cancelOrder, amendOrder, cancelAll, halt, resume"
    known += ", orders, instruments, login, heartbeat"
    assert error(b"{}") == f"message is missing; known are {known}"
    assert error(b'{"message":1}') == f"message is not known here; known are {known}"
    assert error(b'{"message":"x"}') == f"message is not known here; known are {known}"


@pytest.mark.parametrize(
    "order_id",
    ["-1", "18446744073709551616", "1.0", "1e3", "true", '"7x"', '"-1"', '"07"', '"+1"', '""']
    + ['"18446744073709551616"', '"\\u0661"', "[]", "9" * 60000, '"' + "9" * 60000 + '"'],
)
def test_impossible_ids_of_a_cancel(order_id: str) -> None:
    """Some pass the typed decoder and are refused where the message becomes a command."""
    message = one(b'{"message":"cancelOrder","orderId":%b}' % order_id.encode())
    if isinstance(message, Unreadable):
        assert message.text == ID_TEXT
    else:
        assert isinstance(message, messages.CancelOrder)
        assert message.order_id == json.loads(order_id)


def test_an_error_keeps_what_could_be_read() -> None:
    message = one(b'{"message":"createOrder","orderId":"12","side":"BUY","seq":4}')
    assert message == Unreadable(message.code, ID_TEXT, 12, 4)  # type: ignore[union-attr]
    assert one(b'{"orderId":12,"seq":false}').order_id == 12  # type: ignore[union-attr]


def test_many_quotes_in_a_string_without_an_end_cost_no_more_than_they_are_long() -> None:
    begin = time.perf_counter()
    assert error(b'{"x":' * 33 + b'"' + b'\\"' * 30000) == "the line is nested too deeply"
    assert error(b'{"x":"{' + b"[" * 33 + b'\\"' * 30000) == "the line is not JSON"
    # With the square it took seconds; the bound only tells those from no time.
    assert time.perf_counter() - begin < 0.5


class TestFraming:
    def test_any_cut_is_the_same(self) -> None:
        stream = CREATE + b"\n\r\n\n" + CREATE + b"\r\nbad\n" + '{"x":"é"}\n'.encode() + CREATE
        whole = [str_of(m) for m in private_json().feed(stream + b"\n")]
        assert len(whole) == 5
        for cut in range(len(stream)):
            decoder = private_json()
            parts = decoder.feed(stream[:cut]) + decoder.feed(stream[cut:] + b"\n")
            assert [str_of(m) for m in parts] == whole

    def test_byte_by_byte(self) -> None:
        decoder = private_json()
        found = [
            m for byte in CREATE * 3 + b"\n" + CREATE + b"\n" for m in decoder.feed(bytes([byte]))
        ]
        assert len(found) == 2
        assert isinstance(found[1], messages.CreateOrder)

    def test_an_object_over_two_lines_is_two_errors(self) -> None:
        found = private_json().feed(b'{"message":\n"orders"}\n{"message":"orders"}\n')
        assert [type(message) for message in found] == [Unreadable, Unreadable, messages.Orders]

    @pytest.mark.parametrize("empty", [b"", b"\n", b"\r\n", b" \n"])
    def test_two_objects_on_a_line_are_an_error(self, empty: bytes) -> None:
        two = b'{"message":"orders"}{"message":"orders"}\n'
        found = private_json().feed(b'{"message":"orders"}\n' + two + empty)
        assert [type(message) for message in found] == [messages.Orders, Unreadable]

    def test_a_line_end_in_one_object_and_two_objects_on_another_line(self) -> None:
        """As many objects as lines, and yet three errors."""
        lines = b'{"x":\n{"a":1}}\n{"message":"orders"}{"message":"orders"}\n'
        assert [type(message) for message in private_json().feed(lines)] == [Unreadable] * 3

    @pytest.mark.parametrize("end", [b"\n", b""])
    def test_a_line_too_long_is_the_last(self, end: bytes) -> None:
        decoder = private_json(limit=100)
        fits = b'{"message":"orders"}'.ljust(100) + b"\n"
        found = decoder.feed(fits * 3 + b"x" * 101 + end)
        assert [type(message) for message in found] == [messages.Orders] * 3 + [Unreadable]
        assert (found[3].code, found[3].fatal) == ("too_long", True)  # type: ignore[union-attr]
        assert decoder.feed(fits) == []
        assert decoder.end() == []

    def test_a_whole_line_too_long_among_good_ones(self) -> None:
        for end, kinds in ((b"\n", [messages.Orders, Unreadable]), (b"\r\n", [messages.Orders])):
            line = b'{"message":"orders"}'.ljust(100 if end == b"\r\n" else 101)
            found = private_json(limit=100).feed(b'{"message":"orders"}\n' + line + end)
            expected = [*kinds, messages.Orders] if end == b"\r\n" else kinds
            assert [type(message) for message in found] == expected

    def test_a_line_too_long_in_small_pieces(self) -> None:
        decoder = private_json(limit=100)
        assert [decoder.feed(b"xxxxx") for _ in range(20)] == [[]] * 20
        [message] = decoder.feed(b"x")
        assert isinstance(message, Unreadable)
        assert message.fatal

    def test_a_last_line_without_an_end(self) -> None:
        decoder = private_json()
        decoder.feed(b'{"message":"orders"}\n  ')
        assert decoder.end() == []
        decoder.feed(b'{"message":"orders"}')
        [message] = decoder.end()
        assert isinstance(message, Unreadable)
        assert (message.text, message.fatal) == ("the last line has no end", True)
        assert decoder.end() == []


def test_public() -> None:
    found = public_json().feed(
        b'{"message":"subscribe","symbols":["A","B"],"encoding":"msgpack"}\n'
        b'{"message":"subscribe","symbols":"A"}\n{"message":"subscribe","symbols":[1]}\n'
        b'{"message":"subscribe","symbols":["A"],"encoding":1}\n{"message":"orders"}\n'
    )
    assert found[0] == messages.Subscribe(symbols=["A", "B"], encoding="msgpack")
    assert [message.text for message in found[1:]] == [  # type: ignore[union-attr]
        "symbols must be a list of strings",
        "symbols must be a list of strings",
        "encoding must be a string",
        "message is not known here; known are subscribe",
    ]


def str_of(message: Message | Unreadable) -> str:
    """A message with its raw numbers spelled out."""
    values = {name: getattr(message, name) for name in message.__struct_fields__}
    return str({n: bytes(v) if isinstance(v, Raw) else v for n, v in values.items()})
