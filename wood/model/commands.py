"""What may be asked of the engine. Each command is answered by events, in the order asked.

Prices are whole ticks, quantities whole lots. A command is known by the session and generation that
it came through: one of an older generation than the session has is not taken, and not answered
either, for its connection was told so. Generation 0 is that of sessions that nobody can resume.
"""

from msgspec import Struct

from wood.model.errors import ErrorCode, Limit
from wood.model.orders import GTC, Side, State, TimeInForce


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
    """Cancel every open order of the participant; in `symbol` only, unless it is None.

    An operator may name `whose`, another participant.
    """

    symbol: str | None = None
    whose: str | None = None


class CancelAnonymous(Command, frozen=True, gc=False):
    """Cancel orders of anonymous participants who connected before `before`.

    That is a time in seconds since the epoch. As many are cancelled as fit in a batch: whoever asks
    goes on asking until nothing was left.
    """

    before: int


class ChangeState(Command, frozen=True, gc=False):
    """Halt trading in an instrument, or let it go on. Only for operators."""

    symbol: str
    state: State


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
    limit: Limit | None = None
    """Which limit refuses, if one does."""
    retry_after: int | None = None
    """Microseconds after which to try again, if that is known."""


Seen = tuple[str | None, int | None, int | None]
"""What one who resumes had: the session, the last number that it saw, and of which epoch."""


class OpenSession(Command, frozen=True, gc=False):
    """Log in as `name`, through an anonymous connection which is the `session` that asks.

    `token` is the SHA-256 of what the client gave, in hexadecimal, empty if it gave none. One who
    resumes names the session that it had (`resumes`), or the last number that it saw (`last_seq`)
    and of which epoch that is, or all of them. `cancel_orders` cancels what the participant has
    open once the last of its connections that asked for that is gone.

    One who is `certified` has proven to be `name` by a certificate, and needs no token.

    Where there are several partitions `seen` has the same for each: by its name what the client had
    there. Each is asked with its own.

    An anonymous participant that asks for that opens a session too, under its own name.
    """

    name: str
    token: str = ""
    resumes: str | None = None
    last_seq: int | None = None
    epoch: int | None = None
    cancel_orders: bool = False
    seen: dict[str, Seen] = {}
    certified: bool = False

    @property
    def is_resuming(self) -> bool:
        """Whether the client wants to know what it missed."""
        return self.resumes is not None or self.last_seq is not None


class CloseSession(Command, frozen=True, gc=False):
    """The session has said its last word.

    `cancel_orders` cancels what its participant has open, if that is an anonymous one; who logged
    in has said so then.
    """

    cancel_orders: bool = False


class Heartbeat(Command, frozen=True, gc=False):
    """Answer in turn, to show that all before it was answered."""


class Sweep(Command, frozen=True, gc=False):
    """Do what has come due: end the sessions of dead nodes and of participants that were disabled,
    and cancel the orders of those who asked for it and did not come back in time.

    The engine asks itself for it.
    """


SWEEP = Sweep("", "", 0)
