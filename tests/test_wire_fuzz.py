"""Whatever bytes arrive are accepted or refused with a documented code; anything else is a bug."""

import json

import msgpack
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from wood.exchange.cluster.formats import encode_batch
from wood.model.commands import Command, OpenSession, Refuse
from wood.model.errors import ErrorCode, Refusal
from wood.model.instruments import Instrument, Instruments
from wood.model.participants import is_name
from wood.node.session import QUERIES, Session
from wood.wire import checks
from wood.wire.json_lines import _private as typed
from wood.wire.json_lines import private_json
from wood.wire.message_pack import MessagePack
from wood.wire.messages import Message, Unreadable

INSTRUMENTS = Instruments([Instrument("WOOD"), Instrument("PEAR", "0.5", "10")])

ODD = st.sampled_from(
    [0, 1, -1, 2**53, 2**64 - 1, 2**64, 10**30, 0.1, 1.5, 1e300, True, False, None, "", "1", "1.5"]
    + ["BUY", "SELL", "GTC", "FOK", "WOOD", "PEAR", "createOrder", "cancelOrder", "orders"]
    + ["NaN", "1_0", "1e400", "\u0661", "\x00", "~", [], {}, [1], {"a": 1}]
    + ["login", "cancelAll", "alice", "~alice", "x" * 33, "1763720000123456-42"]
)
KEYS = st.sampled_from(
    ["message", "orderId", "side", "price", "quantity", "symbol", "timeInForce", "postOnly", "seq"]
    + ["participant", "token", "session", "lastSeq", "epoch", "heartbeat", "cancelOnDisconnect"]
    + ["anonymousOlderThan"]
)
ORDERS = st.fixed_dictionaries(
    {},
    optional={
        "message": st.sampled_from(list(checks.PRIVATE)) | ODD,
        "orderId": st.integers(0, 2**64) | ODD,
        "side": st.sampled_from(["BUY", "SELL"]) | ODD,
        "price": st.integers(1, 10**6) | st.floats(allow_nan=False, allow_infinity=False) | ODD,
        "quantity": st.integers(1, 10**13) | ODD,
        "symbol": st.sampled_from(["WOOD", "PEAR", "PLUM", None]) | ODD,
        "timeInForce": st.sampled_from(["GTC", "IOC", "FOK"]) | ODD,
        "postOnly": st.booleans() | ODD,
        "seq": st.integers(0, 3) | ODD,
        "other": ODD,
    },
)
LOGINS = st.fixed_dictionaries(
    {"message": st.sampled_from(["login", "login", "cancelAll", "heartbeat"]) | ODD},
    optional={
        "participant": st.sampled_from(["alice", "oscar"]) | ODD,
        "token": st.text(max_size=3) | ODD,
        "session": st.text(max_size=3) | ODD,
        "lastSeq": st.integers(0, 2**54) | ODD,
        "epoch": st.integers(0, 2**54) | ODD,
        "heartbeat": st.integers(0, 4000) | st.floats(0, 4000) | ODD,
        "cancelOnDisconnect": st.booleans() | ODD,
        "anonymousOlderThan": st.integers(-1, 4000) | ODD,
        "seq": st.integers(0, 3) | ODD,
    },
)
NEARLY = ORDERS | LOGINS


@st.composite
def nearly_json(draw: st.DrawFn) -> bytes:
    """A message with some keys odd, some given twice, and now and then a byte changed."""
    pairs = list(draw(NEARLY).items()) + draw(st.lists(st.tuples(KEYS, ODD), max_size=2))
    body = ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in pairs)
    line = bytearray(f"{{{body}}}".encode())
    for place, byte in draw(
        st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=2)
    ):
        if draw(st.booleans()):
            line[place % len(line)] = byte
    return bytes(line).replace(b"\n", b" ")


def commands(data: bytes, **options: bool) -> list[Command]:
    """What a session makes of `data`; every answer to a query is given at once."""
    session = Session("~x", INSTRUMENTS, must_log_in=options.get("must_log_in", False))
    found = session.receive(data)
    while found and isinstance(found[-1], QUERIES):
        more = session.answered()
        if not more:
            break
        found += more
    return found


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
@example(b"\x80")
@example(b"\n")
def test_any_bytes(data: bytes) -> None:
    for command in commands(data + b"\n"):
        assert isinstance(command, Command)
        assert not isinstance(command, Refuse) or command.code in ErrorCode


REFUSED = (ErrorCode.UNAUTHORIZED, ErrorCode.INVALID, ErrorCode.SEQUENCE)


@settings(max_examples=150, deadline=None)
@given(st.lists(NEARLY, min_size=1, max_size=4), st.booleans())
def test_before_a_login_there_is_nothing_but_logins(
    said: list[dict[str, object]], packs: bool
) -> None:
    for fields in said:
        fields.setdefault("message", "login")
    if packs:
        said = [f for f in said if all(type(v) is not int or v < 2**64 for v in f.values())]
        data = b"".join(msgpack.packb(fields) for fields in said)
    else:
        data = b"".join(msgspec.json.encode(fields) + b"\n" for fields in said)
    if not data:
        return
    found = commands(data, must_log_in=True)
    assert len(found) == len(said)
    for command in found:
        if isinstance(command, Refuse):
            assert command.code in REFUSED
            continue
        assert isinstance(command, OpenSession)
        assert is_name(command.name)
        assert len(command.token) in (0, 64)
        assert len(command.resumes or "") <= 40
        assert 0 <= (command.last_seq or 0) < 2**53
        assert 0 <= (command.epoch or 0) < 2**53
        assert encode_batch([command], list(INSTRUMENTS)).data


@settings(max_examples=600, deadline=None)
@given(st.lists(nearly_json(), min_size=1, max_size=4))
def test_each_line_is_one_command_and_lines_do_not_touch_each_other(lines: list[bytes]) -> None:
    lines = [line for line in lines if line.strip() and line[0] not in range(0x80, 0xE0)]
    together = private_json().feed(b"".join(line + b"\n" for line in lines))
    alone = [message for line in lines for message in private_json().feed(line + b"\n")]
    assert len(together) == len(lines)
    assert [spelled(message) for message in together] == [spelled(message) for message in alone]


@settings(max_examples=600, deadline=None)
@given(nearly_json())
def test_the_strict_reading_agrees_with_the_typed_one(line: bytes) -> None:
    """What the decoder reads at C speed, the slow path reads the same, or refuses the id."""
    try:
        fast = typed.decode(line)
        line.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
    slow = private_json()._read_strictly(line)
    if isinstance(slow, Unreadable):
        with pytest.raises(Refusal):  # the session's check of what passes the decoder
            checks.numeric_id(fast.order_id)  # type: ignore[union-attr]
    else:
        if hasattr(slow, "order_id"):
            fast.order_id = checks.numeric_id(fast.order_id)  # type: ignore[union-attr]
        assert spelled(fast) == spelled(slow)


@settings(max_examples=400, deadline=None)
@given(NEARLY)
def test_messagepack_means_what_json_means(fields: dict[str, object]) -> None:
    if any(isinstance(value, int) and value >= 2**64 for value in fields.values()):
        return  # there is no such MessagePack
    if any(isinstance(fields.get(name), float) for name in ("price", "quantity")):
        return  # exact in JSON's text, refused in MessagePack
    [packed] = MessagePack().feed(msgpack.packb(fields))
    [lined] = private_json().feed(msgspec.json.encode(fields) + b"\n")
    if isinstance(packed, Unreadable) and packed.text.startswith(("price", "quantity")):
        return  # the numbers of JSON are read later, with the instrument
    if isinstance(lined, Unreadable) or isinstance(packed, Unreadable):
        assert isinstance(lined, Unreadable) == isinstance(packed, Unreadable) or unchecked(lined)
    else:
        if hasattr(packed, "order_id"):
            lined.order_id = checks.numeric_id(lined.order_id)  # type: ignore[union-attr]
        assert spelled(packed) == spelled(lined)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_messagepack(data: bytes, cut: int) -> None:
    decoder = MessagePack()
    parts = all_of(decoder, data[:cut]) + all_of(decoder, data[cut:])
    assert parts == all_of(MessagePack(), data)


def all_of(decoder: MessagePack, data: bytes) -> list[object]:
    """What is read of `data`, some messages at a time."""
    found = [spelled(message) for message in decoder.feed(data)]
    while decoder.rest:
        found += [spelled(message) for message in decoder.feed(decoder.rest)]
    return found


def unchecked(message: Message | Unreadable) -> bool:
    """Whether a message from JSON has an id that its session will refuse."""
    try:
        checks.numeric_id(getattr(message, "order_id", 0))
    except Refusal:
        return True
    return False


def spelled(message: Message | Unreadable) -> object:
    """A message in a form that can be compared."""
    values = {name: getattr(message, name) for name in message.__struct_fields__}
    return type(message), {n: bytes(v) if isinstance(v, Raw) else v for n, v in values.items()}
