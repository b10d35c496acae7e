import msgpack
import pytest

from wood.model.orders import Side
from wood.wire import messages
from wood.wire.message_pack import FIRST_BYTES, MessagePack
from wood.wire.messages import Message, Unreadable

CREATE = {"message": "createOrder", "orderId": 7, "side": "BUY", "price": "1.5", "quantity": 20}


def one(value: object) -> Message | Unreadable:
    [message] = MessagePack().feed(msgpack.packb(value))
    return message


def test_a_create_order() -> None:
    message = one(CREATE)
    assert isinstance(message, messages.CreateOrder)
    assert (message.order_id, message.side) == (7, Side.BUY)
    assert (bytes(message.price), bytes(message.quantity)) == (b'"1.5"', b"20")


def test_ids_reach_2_64() -> None:
    assert one({"message": "cancelOrder", "orderId": 2**64 - 1}).order_id == 2**64 - 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "the message is not a map"),
        ([1, 2], "the message is not a map"),
        (CREATE | {"price": 1.5}, "price must be an integer or a string of a decimal number"),
        (
            CREATE | {"price": float("nan")},
            "price must be an integer or a string of a decimal number",
        ),
        (CREATE | {"price": True}, "price must be an integer or a string of a decimal number"),
        (CREATE | {"price": None}, "price must be an integer or a string of a decimal number"),
        (CREATE | {"orderId": -1}, "orderId must be an integer from 0 to 18446744073709551615"),
        (CREATE | {"symbol": b"\xff"}, "the message is not valid UTF-8"),
        (CREATE | {"side": ["BUY"]}, "side must be one of BUY, SELL"),
        ({"message": "createOrder", "orderId": 1}, "side is missing"),
    ],
)
def test_what_is_wrong_is_said(value: object, text: str) -> None:
    message = one(value)
    assert isinstance(message, Unreadable)
    assert (message.code, message.text, message.fatal) == ("invalid", text, False)


def test_numbers_by_partition() -> None:
    seen = {"main": 5, "metals": 2**53 - 1}
    message = one({"message": "login", "participant": "alice", "lastSeq": seen, "epoch": seen})
    assert isinstance(message, messages.Login)
    assert (message.last_seq, message.epoch) == (seen, seen)
    odd = one({"message": "login", "participant": "alice", "lastSeq": {b"\xff": 1}})
    assert isinstance(odd, Unreadable)
    assert odd.text == "the message is not valid UTF-8"


def test_keys_of_any_type_are_ignored() -> None:
    odd = b"\x84" + msgpack.packb("message") + msgpack.packb("orders")
    odd += msgpack.packb([1]) + b"\x01" + msgpack.packb({"a": 1}) + b"\x02" + b"\xc0\x03"
    assert [type(m) for m in MessagePack().feed(odd)] == [messages.Orders]


def test_any_cut_is_the_same() -> None:
    stream = msgpack.packb(CREATE) + b"\x05" + msgpack.packb({"message": "orders"})
    for cut in range(len(stream) + 1):
        decoder = MessagePack()
        found = decoder.feed(stream[:cut]) + decoder.feed(stream[cut:])
        assert [type(m) for m in found] == [messages.CreateOrder, Unreadable, messages.Orders]
        assert decoder.end() == []


@pytest.mark.parametrize("junk", [b"\xc1", b"\x81\xc1", b"\x91" * 5000])
def test_what_is_no_messagepack_is_the_last(junk: bytes) -> None:
    decoder = MessagePack()
    found = decoder.feed(msgpack.packb({"message": "orders"}) + junk)
    assert type(found[0]) is messages.Orders
    assert isinstance(found[1], Unreadable)
    assert (found[1].code, found[1].fatal) == ("invalid", True)
    assert decoder.feed(msgpack.packb(CREATE)) == []


@pytest.mark.parametrize(
    "head", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"]
)
def test_a_promise_of_four_billion_elements_costs_nothing(head: bytes) -> None:
    decoder = MessagePack(limit=1000)
    assert decoder.feed(head + bytes(900)) == []
    [message] = decoder.feed(bytes(200))
    assert isinstance(message, Unreadable)
    assert (message.code, message.fatal) == ("too_long", True)


def test_too_long() -> None:
    fits = msgpack.packb({"message": "orders", "x": "y" * 900})
    long = msgpack.packb({"message": "orders", "x": "y" * 1001})
    found = MessagePack(limit=1000).feed(fits + fits + long + fits)
    assert [type(m) for m in found] == [messages.Orders, messages.Orders, Unreadable]
    assert found[2].fatal  # type: ignore[union-attr]


def test_half_a_map_at_the_end() -> None:
    decoder = MessagePack()
    decoder.feed(msgpack.packb(CREATE)[:-1])
    [message] = decoder.end()
    assert isinstance(message, Unreadable)
    assert (message.text, message.fatal) == ("the last message has no end", True)


def test_a_map_never_looks_like_json() -> None:
    assert not FIRST_BYTES & set(b'{[ \t\r\n"0123456789-tfn\xef')
    for size in (0, 5, 16, 70000):
        assert msgpack.packb(dict.fromkeys(range(size)))[0] in FIRST_BYTES
