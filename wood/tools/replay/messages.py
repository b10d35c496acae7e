"""What a replay says to the server and what it hears: as much of the protocol as it needs."""

from decimal import Decimal

from msgspec import DecodeError, Struct, json

from wood.model.errors import WoodError
from wood.model.orders import Side, TimeInForce


class UnexpectedReply(WoodError):
    """The server said what no server of this protocol says; the text is one line."""


class Request(
    Struct, frozen=True, tag_field="message", rename="camel", omit_defaults=True, kw_only=True
):
    """A message about the order `order_id`; without a `symbol` it is in the default instrument."""

    order_id: int
    symbol: str | None = None


class CreateOrder(Request, frozen=True, tag="createOrder", kw_only=True):
    """A limit order; `price` is in dollars."""

    side: Side
    price: Decimal
    quantity: int
    time_in_force: TimeInForce | None = None


class AmendOrder(Request, frozen=True, tag="amendOrder", kw_only=True):
    """`quantity` is what shall remain of the order."""

    quantity: Decimal


class CancelOrder(Request, frozen=True, tag="cancelOrder", kw_only=True):
    """Cancels what is left of the order."""


class Reply(Struct, frozen=True, rename="camel"):
    """Any message of the server: an execution report, or a refusal if it has an `error`."""

    order_id: int | None = None
    report: str | None = None
    price: Decimal = Decimal(0)
    quantity: Decimal = Decimal(0)
    error: str | None = None
    code: str | None = None


_encoder = json.Encoder(decimal_format="number")
_decoder = json.Decoder(Reply)


def encode(request: Request) -> bytes:
    """The line that says `request`."""
    return _encoder.encode(request) + b"\n"


def decode_lines(lines: bytes) -> list[Reply]:
    """The replies in whole `lines`. Raises `UnexpectedReply`."""
    try:
        return _decoder.decode_lines(lines)
    except DecodeError as error:
        raise UnexpectedReply(f"the server's answer cannot be read: {error}") from None
