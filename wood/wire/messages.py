"""What clients say, typed; the names are those of the wire.

Prices and quantities stay the bytes they came as, JSON text of a number or of a string, until the
instrument is known: `Scale.units` reads them.
"""

from msgspec import Raw, Struct

from wood.model.errors import ErrorCode
from wood.model.orders import GTC, Side, TimeInForce

MAX_ORDER_ID = 2**64 - 1

MAX_NUMBER = 2**53 - 1
"""The greatest number of an event, and of an epoch, that a client can have seen."""

Number = int | dict[str, int]
"""That of an event, or of an epoch; where there are several partitions one for each, by name."""

NOTHING = Raw(b"")
"""The price or quantity that an `AmendOrder` does not give."""


class Message(
    Struct,
    tag_field="message",
    tag=lambda name: name[0].lower() + name[1:],
    rename="camel",
    kw_only=True,
    gc=False,
):
    """The base of all; `seq` is the client's own count of messages, where it keeps one."""

    seq: int | None = None


class CreateOrder(Message):
    """A limit order."""

    order_id: int
    side: Side
    price: Raw
    quantity: Raw
    symbol: str | None = None
    time_in_force: TimeInForce = GTC
    post_only: bool = False


class MarketOrder(Message):
    """An order that trades at the best prices and never rests."""

    order_id: int
    side: Side
    quantity: Raw
    symbol: str | None = None


class CancelOrder(Message):
    """Cancel one order; some clients send its id as a string of digits."""

    order_id: int | str
    symbol: str | None = None


class AmendOrder(Message):
    """Change an order's price, what shall remain of it, or both."""

    order_id: int
    price: Raw = NOTHING
    quantity: Raw = NOTHING
    symbol: str | None = None


class CancelAll(Message):
    """Cancel every open order; an operator may name another `participant`.

    Or those of anonymous participants who connected more than so many seconds ago.
    """

    symbol: str | None = None
    participant: str | None = None
    anonymous_older_than: int | None = None


class Halt(Message):
    """Halt trading in an instrument. Only for operators."""

    symbol: str | None = None


class Resume(Message):
    """Let trading in an instrument go on. Only for operators."""

    symbol: str | None = None


class Orders(Message):
    """List the open orders."""

    symbol: str | None = None


class Instruments(Message):
    """List what is traded."""


class Login(Message):
    """Take a name that outlives the connection, and resume what another connection began."""

    participant: str
    token: str | None = None
    session: str | None = None
    last_seq: Number | None = None
    epoch: Number | None = None
    heartbeat: float | None = None
    cancel_on_disconnect: bool = False


class Heartbeat(Message):
    """Show that one lives, and ask the same of the server."""


class Subscribe(Message):
    """Public port: follow chosen instruments, in an encoding.

    `depth` is how many of the best prices of each side are wanted, None for all. `last_seq`, and of
    which `epoch` that is, asks for the trades since then.
    """

    symbols: list[str]
    encoding: str = "json"
    depth: int | None = None
    last_seq: Number | None = None
    epoch: Number | None = None


class Unreadable(Struct, gc=False):
    """What came instead of a message, and what could be read of it.

    After a `fatal` one nothing more can be read: where the next message begins is not known.
    """

    code: ErrorCode
    text: str
    order_id: int | None = None
    seq: int | None = None
    fatal: bool = False


Private = (
    CreateOrder
    | MarketOrder
    | CancelOrder
    | AmendOrder
    | CancelAll
    | Halt
    | Resume
    | Orders
    | Instruments
    | Login
    | Heartbeat
)
"""What may be said on the private port."""
