"""What a client says on the private port, and the bytes of it in either encoding."""

from decimal import Decimal

import msgspec
from msgspec import Struct

from wood.client.places import Numbers
from wood.model.decimals import parse_decimal
from wood.model.errors import Refusal
from wood.model.orders import Side, TimeInForce


class Message(
    Struct,
    frozen=True,
    tag_field="message",
    tag=lambda name: name[0].lower() + name[1:],
    rename="camel",
    omit_defaults=True,
    kw_only=True,
):
    """The base of all."""


class Request(Message, frozen=True):
    """A message about the order `order_id`; without a `symbol` it is in the default instrument."""

    order_id: int
    symbol: str | None = None


class CreateOrder(Request, frozen=True, kw_only=True):
    """A limit order; without `time_in_force` it stands until it is cancelled."""

    side: Side
    price: Decimal
    quantity: int | Decimal
    time_in_force: TimeInForce | None = None
    post_only: bool = False


class MarketOrder(Request, frozen=True, kw_only=True):
    """An order that trades at once or not at all."""

    side: Side
    quantity: int | Decimal


class AmendOrder(Request, frozen=True, kw_only=True):
    """Changes what is given; `quantity` is what shall remain of the order."""

    price: Decimal | None = None
    quantity: Decimal | None = None


class CancelOrder(Request, frozen=True):
    """Cancels what is left of the order."""


class CancelAll(Message, frozen=True):
    """Cancels every open order; of one instrument if there is a `symbol`."""

    symbol: str | None = None


class Halt(Message, frozen=True):
    """Halts trading in an instrument, the default one if there is no `symbol`."""

    symbol: str | None = None


class Resume(Message, frozen=True):
    """Lets trading in an instrument go on, the default one if there is no `symbol`."""

    symbol: str | None = None


class Orders(Message, frozen=True):
    """Asks for the open orders; of one instrument if there is a `symbol`."""

    symbol: str | None = None


class Instruments(Message, frozen=True):
    """Asks what is traded."""


class Login(Message, frozen=True):
    """Takes a name that outlives the connection; with a `session` it resumes that."""

    participant: str
    token: str | None = None
    session: str | None = None
    last_seq: Numbers | None = None
    epoch: Numbers | None = None
    heartbeat: float | None = None
    cancel_on_disconnect: bool = False


class Heartbeat(Message, frozen=True):
    """Shows that one lives."""


Command = Request | CancelAll
"""What changes something, so that its fate matters."""

Control = Halt | Resume
"""What only an operator may say."""

Query = Orders | Instruments | Control
"""What can be asked again: it changes nothing, or nothing more when it is said twice."""

_json = msgspec.json.Encoder(decimal_format="number")
_msgpack = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    """The line that says `message`, with its end."""
    return _json.encode(message) + b"\n"


def pack(message: Message) -> bytes:
    """The MessagePack map that says `message`; prices and quantities in it are strings."""
    return _msgpack.encode(message)


def exact(number: Decimal | int | str, name: str) -> Decimal:
    """`number` as an exact decimal; `name` is what an error calls it.

    Raises `TypeError` for a float, which is not what it seems, and `ValueError` for what is not a
    number or is longer than anybody's.
    """
    if isinstance(number, bool) or not isinstance(number, Decimal | int | str):
        raise TypeError(f"{name} must be a Decimal, an int or a str, not {type(number).__name__}")
    try:
        parse_decimal(str(number), name)
    except Refusal as refusal:
        raise ValueError(refusal.text) from None
    return Decimal(number)
