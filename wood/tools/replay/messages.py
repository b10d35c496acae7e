"""What a replay hears from the server: as much of the protocol as it needs."""

from decimal import Decimal

from msgspec import DecodeError, Struct, json

from wood.tools.errors import UnexpectedReply


class Reply(Struct, frozen=True, rename="camel"):
    """Any message of the server: an execution report, or a refusal if it has an `error`."""

    order_id: int | None = None
    report: str | None = None
    price: Decimal = Decimal(0)
    quantity: Decimal = Decimal(0)
    error: str | None = None
    code: str | None = None


_decoder = json.Decoder(Reply)


def decode_lines(lines: bytes) -> list[Reply]:
    """The replies in whole `lines`. Raises `UnexpectedReply`."""
    try:
        return _decoder.decode_lines(lines)
    except DecodeError as error:
        raise UnexpectedReply(f"the server's answer cannot be read: {error}") from None
