"""What may be asked of the engine. Each command is answered by events, in the order asked.

Prices are whole ticks, quantities whole lots. A command is known by the session and generation that
it came through.
"""

from msgspec import Struct

from wood.model.errors import ErrorCode
from wood.model.orders import GTC, Side, TimeInForce


class Command(Struct, frozen=True, gc=False):
    """A request by `participant`, made through `session` in its `generation`."""

    participant: str
    session: str
    generation: int


class OrderCommand(Command, frozen=True, gc=False):
    """What is for one book and names one order."""

    symbol: str
    order_id: int


class NewOrder(OrderCommand, frozen=True, gc=False):
    """Trade, then rest if `time_in_force` lets it. `price` None is a market order, always IOC."""

    side: Side
    price: int | None
    quantity: int
    time_in_force: TimeInForce = GTC
    post_only: bool = False


class CancelOrder(OrderCommand, frozen=True, gc=False):
    """Cancel what is left of the participant's open order."""


class AmendOrder(OrderCommand, frozen=True, gc=False):
    """Change the price, what shall remain, or both; None leaves the one as it is."""

    price: int | None = None
    quantity: int | None = None


class CancelAll(Command, frozen=True, gc=False):
    """Cancel every open order of the participant; in `symbol` only, unless it is None."""

    symbol: str | None = None


class ListOrders(Command, frozen=True, gc=False):
    """Ask for the participant's open orders; in `symbol` only, unless it is None."""

    symbol: str | None = None


class ListInstruments(Command, frozen=True, gc=False):
    """Ask what is traded here."""


class Refuse(Command, frozen=True, gc=False):
    """Answer with an error: the node could not make a command of what the client said.

    It goes through the engine so that the error keeps its place among the other answers.
    """

    code: ErrorCode
    text: str
    order_id: int | None = None
    symbol: str | None = None


class CloseSession(Command, frozen=True, gc=False):
    """The session has said its last word; `cancel_orders` cancels what its participant has open."""

    cancel_orders: bool = False
