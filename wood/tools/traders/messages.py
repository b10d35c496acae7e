"""What a random trader says to the server, and what it hears: the base of the private protocol."""

from decimal import Decimal
from typing import Literal

from msgspec import DecodeError, Struct, json

from wood.model.errors import WoodError
from wood.model.orders import Side


class UnexpectedReply(WoodError):
    """The server said what no server of this protocol says; the text is one line."""


class Request(
    Struct, frozen=True, tag_field="message", rename="camel", omit_defaults=True, kw_only=True
):
    """A message about the order `order_id`; without a `symbol` it is in the default instrument."""

    order_id: int
    symbol: str | None = None


class CreateOrder(Request, frozen=True, tag="createOrder", kw_only=True):
    """A limit order that stands until it is cancelled."""

    side: Side
    price: Decimal
    quantity: int


class MarketOrder(Request, frozen=True, tag="marketOrder", kw_only=True):
    """An order that trades at once or not at all."""

    side: Side
    quantity: int


class CancelOrder(Request, frozen=True, tag="cancelOrder", kw_only=True):
    """Cancels what is left of the order."""


class Reply(Struct, frozen=True, tag_field="message", rename="camel"):
    """The base of what the server says."""


class ExecutionReport(Reply, frozen=True, tag="executionReport"):
    """News of an order; `price` and `quantity` are those of a `FILL`, exact."""

    order_id: int
    report: Literal["NEW", "FILL", "CANCELED"]
    price: Decimal = Decimal(0)
    quantity: Decimal = Decimal(0)


class ErrorReply(Reply, frozen=True, tag="error"):
    """A request was refused and changed nothing."""

    error: str
    code: str = ""
    order_id: int | None = None


_encoder = json.Encoder(decimal_format="number")
_decoder: json.Decoder[ExecutionReport | ErrorReply] = json.Decoder(ExecutionReport | ErrorReply)


def encode(request: Request) -> bytes:
    """The line that says `request`, without its end."""
    return _encoder.encode(request)


def decode(line: bytes) -> ExecutionReport | ErrorReply:
    """What the server says in `line`. Raises `UnexpectedReply`."""
    try:
        return _decoder.decode(line)
    except DecodeError:
        raise UnexpectedReply(
            "the server does not answer as a private port does; give its private port with -p"
        ) from None


def printable(line: bytes) -> str:
    """`line` as text in which nothing can command the terminal that it is printed on."""
    text = line.decode(errors="backslashreplace").rstrip("\r\n")
    return text if text.isprintable() else repr(text)
