"""What a client is told: of its orders, of its commands, of its connection."""

from decimal import Decimal

from msgspec import Struct

from wood.client.replies import ExecutionReport, OpenOrder
from wood.client.requests import Command


class Report(Struct, frozen=True):
    """The base of all reports."""


class OrderReport(Report, frozen=True):
    """News of the order `order_id`.

    `seq` numbers a participant's reports and increases from each to the next, in each partition if
    the exchange has several; `time` is seconds since the epoch; `leaves` is what remains of the
    order. An anonymous client is told none of these, and of `symbol` only if it is not the default
    one.
    """

    order_id: int
    symbol: str | None = None
    seq: int | None = None
    time: float | None = None
    leaves: Decimal | None = None


class New(OrderReport, frozen=True):
    """The order was taken; its fills follow."""


class Fill(OrderReport, frozen=True, kw_only=True):
    """The order traded; `trade` is the number that the other side and the public see too."""

    price: Decimal
    quantity: Decimal
    trade: int | None = None


class Amended(OrderReport, frozen=True, kw_only=True):
    """The order now has this price, and `quantity` remains; its fills, if any, follow."""

    price: Decimal
    quantity: Decimal


class Canceled(OrderReport, frozen=True):
    """The order has ended: cancelled on request, or because what is left of it may not rest.

    It settles a cancel of the order that is under way, whichever of the two came first.
    """


class Refused(Report, frozen=True, kw_only=True):
    """`request` was refused and changed nothing.

    `code` is a stable word, `text` is for a person. `request` is None if the server did not say
    what it refused. `limit` is the word of the limit that refused, if one did, and `retry_after`
    the seconds after which to try again, if the server said so.
    """

    request: Command | None
    code: str
    text: str
    order_id: int | None = None
    symbol: str | None = None
    limit: str | None = None
    retry_after: float | None = None


class AllCanceled(Report, frozen=True, kw_only=True):
    """The answer to `cancel_all`, after a `Canceled` for each of `count` orders."""

    count: int
    symbol: str | None = None


class Disconnected(Report, frozen=True):
    """The connection is gone; another one is looked for. `reason` is for a person."""

    reason: str


class Resumed(Report, frozen=True):
    """Connected again, and no report was lost.

    The reports since the old connection ended have been told. Next comes the fate of each command
    that was under way on it: `NotTaken` if none of those reports tells it.
    """


class ReportsLost(Report, frozen=True, kw_only=True):
    """Connected again, but reports may be lost: `orders` are all that is open now.

    If it names `symbols`, that concerns these instruments alone, and of all others no report was
    lost; None means all instruments. A create that was under way and is among `orders` was taken.
    Next comes the fate of each other command that was under way: `NotTaken` or `Unknown`.
    """

    orders: tuple[OpenOrder, ...]
    symbols: tuple[str, ...] | None = None


class NotTaken(Report, frozen=True):
    """`request` was under way on a connection that got lost. It did nothing and never will."""

    request: Command


class Unknown(Report, frozen=True):
    """`request` was under way on a connection that got lost, and nobody can say what became of it.

    If the client resumed its session after that, the request will do nothing from now on. What a
    `CancelAll` did stands in the `Canceled` reports, unless such were lost too: only its answer got
    lost.
    """

    request: Command


def order_report(said: ExecutionReport) -> OrderReport:
    """The report that `said` is."""
    about = (said.order_id, said.symbol, said.seq, said.time, said.leaves)
    match said.report:
        case "NEW":
            return New(*about)
        case "CANCELED":
            return Canceled(*about)
        case "AMENDED":
            return Amended(*about, price=said.price, quantity=said.quantity)
    return Fill(*about, price=said.price, quantity=said.quantity, trade=said.trade)
