"""What a random trader hears from the server: the base of the private protocol."""

from decimal import Decimal
from typing import Literal

from msgspec import DecodeError, Struct, json

from wood.tools.requests import UnexpectedReply


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


_decoder: json.Decoder[ExecutionReport | ErrorReply] = json.Decoder(ExecutionReport | ErrorReply)


def decode(line: bytes) -> ExecutionReport | ErrorReply:
    """What the server says in `line`. Raises `UnexpectedReply`."""
    try:
        return _decoder.decode(line)
    except DecodeError:
        raise not_a_private_port() from None


def not_a_private_port() -> UnexpectedReply:
    """What to tell the person when a line is none of the private protocol."""
    return UnexpectedReply(
        "the server does not answer as a private port does; give its private port with -p"
    )


def printable(line: bytes) -> str:
    """`line` as text in which nothing can command the terminal that it is printed on."""
    text = line.decode(errors="backslashreplace").rstrip("\r\n")
    return text if text.isprintable() else repr(text)
