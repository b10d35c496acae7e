"""What the server says on the private port, as it stands on the wire."""

from decimal import Decimal
from typing import Literal

import msgspec
from msgspec import Struct

from wood.client.errors import ProtocolError
from wood.client.places import Numbers
from wood.model.orders import Side, State


class OpenOrder(Struct, frozen=True, rename="camel"):
    """An order that stands in the book; `quantity` is what remains of it."""

    order_id: int
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal


class Instrument(Struct, frozen=True):
    """What is traded: prices are multiples of `tick`, quantities of `lot`."""

    symbol: str
    tick: Decimal
    lot: Decimal
    state: str = "open"


class Reply(Struct, frozen=True, tag_field="message", rename="camel"):
    """The base of what the server says."""


class ExecutionReport(Reply, frozen=True, tag="executionReport"):
    """News of an order. All from `seq` on is told only to who is logged in.

    `price` and `quantity` are those of a `FILL` or an `AMENDED`, exact.
    """

    order_id: int
    report: Literal["NEW", "FILL", "CANCELED", "AMENDED"]
    price: Decimal = Decimal(0)
    quantity: Decimal = Decimal(0)
    seq: int | None = None
    symbol: str | None = None
    time: float | None = None
    leaves: Decimal | None = None
    trade: int | None = None


class ErrorReply(Reply, frozen=True, tag="error"):
    """A request was refused and changed nothing, or the connection ends."""

    error: str
    code: str = ""
    order_id: int | None = None
    symbol: str | None = None
    limit: str | None = None
    retry_after: float | None = None


class LoginReply(Reply, frozen=True, tag="login"):
    """The name is taken; `recovered` tells one who resumed whether reports were lost.

    `partitions`, the symbols of each, is there if there are several; `orders` are those of the
    partitions that were not recovered.
    """

    participant: str
    session: str
    epoch: Numbers
    seq: Numbers
    partitions: dict[str, list[str]] = {}
    recovered: bool | dict[str, bool] | None = None
    orders: list[OpenOrder] = []


class HeartbeatReply(Reply, frozen=True, tag="heartbeat"):
    """The server lives, and has sent every report up to `seq` of `epoch`."""

    epoch: Numbers | None = None
    seq: Numbers | None = None


class CancelAllReply(Reply, frozen=True, tag="cancelAll"):
    """So many orders were cancelled."""

    canceled: int
    symbol: str | None = None


class HaltReply(Reply, frozen=True, tag="halt"):
    """The instrument is halted, perhaps it was before."""

    symbol: str
    state: State


class ResumeReply(Reply, frozen=True, tag="resume"):
    """The instrument is open, perhaps it was before."""

    symbol: str
    state: State


class OrdersReply(Reply, frozen=True, tag="orders"):
    """The open orders."""

    orders: list[OpenOrder]


class InstrumentsReply(Reply, frozen=True, tag="instruments"):
    """What is traded, the default one first."""

    instruments: list[Instrument]


Private = (
    ExecutionReport
    | ErrorReply
    | LoginReply
    | HeartbeatReply
    | CancelAllReply
    | HaltReply
    | ResumeReply
    | OrdersReply
    | InstrumentsReply
)

_json: msgspec.json.Decoder[Private] = msgspec.json.Decoder(Private)
_msgpack: msgspec.msgpack.Decoder[Private] = msgspec.msgpack.Decoder(Private)


def decode(frame: bytes) -> Private:
    """What a line of JSON says. Raises `ProtocolError`."""
    try:
        return _json.decode(frame)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ProtocolError(f"the server's answer cannot be read: {error}") from None


def unpack(frame: bytes) -> Private:
    """What a MessagePack map says. Raises `ProtocolError`."""
    try:
        return _msgpack.decode(frame)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ProtocolError(f"the server's answer cannot be read: {error}") from None
