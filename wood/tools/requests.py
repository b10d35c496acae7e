"""What a client says on the private port, as JSON lines."""

from decimal import Decimal

from msgspec import Struct, json

from wood.model.errors import WoodError
from wood.model.orders import Side, TimeInForce


class UnexpectedReply(WoodError):
    """The server said what no server of this protocol says; the text is one line."""


class NothingTaken(WoodError):
    """The server took no order at all; `refusal` is what it said to the first one."""

    def __init__(self, refusal: str) -> None:
        said = refusal if refusal.isprintable() else repr(refusal)
        super().__init__(f"the server took no order; the first refusal was: {said}")


class Request(
    Struct, frozen=True, tag_field="message", rename="camel", omit_defaults=True, kw_only=True
):
    """A message about the order `order_id`; without a `symbol` it is in the default instrument."""

    order_id: int
    symbol: str | None = None


class CreateOrder(Request, frozen=True, tag="createOrder", kw_only=True):
    """A limit order; without `time_in_force` it stands until it is cancelled."""

    side: Side
    price: Decimal
    quantity: int | Decimal
    time_in_force: TimeInForce | None = None


class MarketOrder(Request, frozen=True, tag="marketOrder", kw_only=True):
    """An order that trades at once or not at all."""

    side: Side
    quantity: int | Decimal


class AmendOrder(Request, frozen=True, tag="amendOrder", kw_only=True):
    """`quantity` is what shall remain of the order."""

    quantity: Decimal


class CancelOrder(Request, frozen=True, tag="cancelOrder", kw_only=True):
    """Cancels what is left of the order."""


_encoder = json.Encoder(decimal_format="number")


def encode(request: Request) -> bytes:
    """The line that says `request`, with its end."""
    return _encoder.encode(request) + b"\n"
