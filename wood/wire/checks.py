"""The strict reading of one message from its keys, with an error that says what is wrong.

The decoders read well-formed messages at C speed and come here for the rest, so this is the
slow path of JSON and the only path of MessagePack. What it accepts is what they accept.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import TypeVar

from msgspec import Raw

from wood.model.errors import ErrorCode, Refusal
from wood.model.orders import Side, TimeInForce
from wood.wire.messages import (
    MAX_NUMBER,
    MAX_ORDER_ID,
    NOTHING,
    AmendOrder,
    CancelAll,
    CancelOrder,
    CreateOrder,
    Halt,
    Heartbeat,
    Instruments,
    Login,
    MarketOrder,
    Message,
    Number,
    Orders,
    Resume,
    Subscribe,
    Unreadable,
)

E = TypeVar("E", bound=StrEnum)

Fields = Mapping[str, object]
"""The keys of a message; a price or quantity is `Raw`, other values are plain Python ones."""

DIGITS = re.compile(r"0|[1-9][0-9]{0,19}", re.ASCII)
"""An order id that was sent as a string."""


def read(fields: Fields, readers: Mapping[str, Callable[[Fields], Message]]) -> Message:
    """Make the message that `fields` holds. Raises `Refusal`."""
    name = fields.get("message")
    reader = readers.get(name) if isinstance(name, str) else None
    if reader is None:
        what = "is missing" if name is None else "is not known here"
        raise _invalid(f"message {what}; known are {', '.join(readers)}")
    message = reader(fields)
    message.seq = _seq(fields)
    return message


def unreadable(refusal: Refusal, fields: Fields) -> Unreadable:
    """What to keep of a message that was refused: its id and its number, if those can be read."""
    order_id: int | None = None
    seq: int | None = None
    with suppress(Refusal):
        order_id = _any_order_id(fields)
    with suppress(Refusal):
        seq = _seq(fields)
    return Unreadable(refusal.code, refusal.text, order_id, seq)


def numeric_id(order_id: int | str) -> int:
    """The id of a cancel, which may be a string of digits. Raises `Refusal`."""
    if isinstance(order_id, str):
        if not DIGITS.fullmatch(order_id):
            raise _invalid(_ID_TEXT)
        order_id = int(order_id)
    if not 0 <= order_id <= MAX_ORDER_ID:
        raise _invalid(_ID_TEXT)
    return order_id


def by_partition(name: str, value: Number | None, partitions: Sequence[str]) -> dict[str, int]:
    """What a client gives for each partition; a bare number is for the first. Raises `Refusal`."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        value = {partitions[0]: value}
    if not value:
        raise _invalid(f"{name} must have an integer for a partition at least")
    for partition, number in value.items():
        if partition not in partitions:
            raise Refusal(ErrorCode.UNAVAILABLE, unserved(partition))
        if not 0 <= number <= MAX_NUMBER:
            raise _invalid(f"{name} must be from 0 to {MAX_NUMBER}")
    return value


def unserved(partition: str) -> str:
    """What to say to one who comes from a node that knows more partitions: another one may."""
    name = partition[:16] if partition.isascii() and partition.isalnum() else "?"
    return f"this node does not serve the partition {name}; try another"


_ID_TEXT = f"orderId must be an integer from 0 to {MAX_ORDER_ID}"


def _create_order(fields: Fields) -> CreateOrder:
    return CreateOrder(
        order_id=_order_id(fields),
        side=_choice(fields, "side", Side),
        price=_number(fields, "price"),
        quantity=_number(fields, "quantity"),
        symbol=_symbol(fields),
        time_in_force=_choice(fields, "timeInForce", TimeInForce, TimeInForce.GTC),
        post_only=_flag(fields, "postOnly"),
    )


def _market_order(fields: Fields) -> MarketOrder:
    return MarketOrder(
        order_id=_order_id(fields),
        side=_choice(fields, "side", Side),
        quantity=_number(fields, "quantity"),
        symbol=_symbol(fields),
    )


def _cancel_order(fields: Fields) -> CancelOrder:
    return CancelOrder(order_id=_any_order_id(fields), symbol=_symbol(fields))


def _amend_order(fields: Fields) -> AmendOrder:
    return AmendOrder(
        order_id=_order_id(fields),
        price=_number(fields, "price", NOTHING),
        quantity=_number(fields, "quantity", NOTHING),
        symbol=_symbol(fields),
    )


def _cancel_all(fields: Fields) -> CancelAll:
    return CancelAll(
        symbol=_symbol(fields),
        participant=_text(fields, "participant"),
        anonymous_older_than=_count(fields, "anonymousOlderThan"),
    )


def _login(fields: Fields) -> Login:
    participant = _text(fields, "participant")
    if participant is None:
        raise _invalid("participant is missing")
    return Login(
        participant=participant,
        token=_text(fields, "token"),
        session=_text(fields, "session"),
        last_seq=_place(fields, "lastSeq"),
        epoch=_place(fields, "epoch"),
        heartbeat=_seconds(fields, "heartbeat"),
        cancel_on_disconnect=_flag(fields, "cancelOnDisconnect"),
    )


def _subscribe(fields: Fields) -> Subscribe:
    symbols = fields.get("symbols")
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
        raise _invalid("symbols must be a list of strings")
    encoding = fields.get("encoding", "json")
    if not isinstance(encoding, str):
        raise _invalid("encoding must be a string")
    return Subscribe(
        symbols=symbols,
        encoding=encoding,
        depth=_count(fields, "depth"),
        last_seq=_place(fields, "lastSeq"),
        epoch=_place(fields, "epoch"),
    )


PRIVATE: dict[str, Callable[[Fields], Message]] = {
    "createOrder": _create_order,
    "marketOrder": _market_order,
    "cancelOrder": _cancel_order,
    "amendOrder": _amend_order,
    "cancelAll": _cancel_all,
    "halt": lambda fields: Halt(symbol=_symbol(fields)),
    "resume": lambda fields: Resume(symbol=_symbol(fields)),
    "orders": lambda fields: Orders(symbol=_symbol(fields)),
    "instruments": lambda fields: Instruments(),
    "login": _login,
    "heartbeat": lambda fields: Heartbeat(),
}

PUBLIC: dict[str, Callable[[Fields], Message]] = {"subscribe": _subscribe}

NUMBERS = frozenset({"price", "quantity"})
"""The keys whose values are handed in as `Raw` JSON text."""


def _invalid(text: str) -> Refusal:
    return Refusal(ErrorCode.INVALID, text)


def _order_id(fields: Fields) -> int:
    order_id = fields.get("orderId")
    if order_id is None:
        raise _invalid("orderId is missing")
    if isinstance(order_id, bool) or not isinstance(order_id, int):
        raise _invalid(_ID_TEXT)
    return numeric_id(order_id)


def _any_order_id(fields: Fields) -> int:
    order_id = fields.get("orderId")
    return numeric_id(order_id) if isinstance(order_id, str) else _order_id(fields)


def _seq(fields: Fields) -> int | None:
    return _count(fields, "seq")


def _symbol(fields: Fields) -> str | None:
    return _text(fields, "symbol")


def _text(fields: Fields, name: str) -> str | None:
    text = fields.get(name)
    if text is not None and not isinstance(text, str):
        raise _invalid(f"{name} must be a string")
    return text


def _count(fields: Fields, name: str) -> int | None:
    count = fields.get(name)
    if count is not None and (isinstance(count, bool) or not isinstance(count, int)):
        raise _invalid(f"{name} must be an integer")
    return count


def _place(fields: Fields, name: str) -> Number | None:
    value = fields.get(name)
    if not isinstance(value, dict):
        return _count(fields, name)
    if any(type(partition) is not str or type(n) is not int for partition, n in value.items()):
        raise _invalid(f"{name} must have an integer for each partition")
    return value


def _seconds(fields: Fields, name: str) -> float | None:
    seconds = fields.get(name)
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float)):
        raise _invalid(f"{name} must be a number of seconds")
    return seconds


def _flag(fields: Fields, name: str) -> bool:
    flag = fields.get(name, False)
    if not isinstance(flag, bool):
        raise _invalid(f"{name} must be true or false")
    return flag


def _number(fields: Fields, name: str, default: Raw | None = None) -> Raw:
    number = fields.get(name, default)
    if number is None:
        raise _invalid(f"{name} is missing")
    if not isinstance(number, Raw):
        raise _invalid(f"{name} must be an integer or a string of a decimal number")
    return number


def _choice(fields: Fields, name: str, kind: type[E], default: E | None = None) -> E:
    value = fields.get(name, default)
    if name not in fields and default is None:
        raise _invalid(f"{name} is missing")
    if not isinstance(value, str) or value not in kind.__members__:
        raise _invalid(f"{name} must be one of {', '.join(kind)}")
    return kind(value)
