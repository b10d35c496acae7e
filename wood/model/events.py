"""What the engine decided. The journal is these, in batches.

Prices are whole ticks, quantities whole lots. An event with a `seq` is numbered: the numbers of a
partition have no gaps, except that a `Trade` takes two, `seq` for the resting order's report and
`seq + 1` for the incoming one's. Answers that change nothing have no number and only a place.
"""

from collections.abc import Mapping

from msgspec import Struct

from wood.model.errors import ErrorCode, Limit
from wood.model.orders import Reason, Side, State, TimeInForce

Place = tuple[int, int]
"""An epoch, and the number of an event in it."""

Places = Mapping[str, Place]
"""How far something is in the journal of each partition."""


class Event(Struct, frozen=True, gc=False):
    """The base of all events."""


class OrderAccepted(Event, frozen=True, gc=False):
    """An order was taken; its trades follow. `price` None is a market order."""

    seq: int
    participant: str
    session: str
    symbol: str
    order_id: int
    side: Side
    price: int | None
    quantity: int
    time_in_force: TimeInForce
    post_only: bool


class Trade(Event, frozen=True, gc=False):
    """The taker's order met the maker's resting one, at the maker's price.

    `side` is the taker's; `maker_leaves` and `taker_leaves` are what remains of each order.
    """

    seq: int
    symbol: str
    price: int
    quantity: int
    side: Side
    maker: str
    maker_order_id: int
    maker_leaves: int
    taker: str
    taker_order_id: int
    taker_leaves: int


class OrderCanceled(Event, frozen=True, gc=False):
    """The last `quantity` of an order was cancelled, on request or because it may not rest."""

    seq: int
    participant: str
    symbol: str
    order_id: int
    quantity: int


class OrderAmended(Event, frozen=True, gc=False):
    """An order now has this price and this much remaining; its trades, if any, follow."""

    seq: int
    participant: str
    symbol: str
    order_id: int
    price: int
    quantity: int


class LevelChanged(Event, frozen=True, gc=False):
    """The total resting at a price is now `quantity`; 0 removes the level."""

    seq: int
    symbol: str
    side: Side
    price: int
    quantity: int


class CommandRefused(Event, frozen=True, gc=False):
    """A command was refused and changed nothing."""

    participant: str
    session: str
    code: ErrorCode
    text: str
    order_id: int | None
    symbol: str | None
    limit: Limit | None = None
    """Which limit refused it, if one did."""
    retry_after: int | None = None
    """Microseconds after which to try again, if that is known."""


class StateChanged(Event, frozen=True, gc=False):
    """Trading in an instrument was halted, or goes on."""

    seq: int
    symbol: str
    state: State
    reason: Reason


class StateAnswered(Event, frozen=True, gc=False):
    """The answer to `ChangeState`: the instrument is in that state, perhaps it was before."""

    participant: str
    session: str
    symbol: str
    state: State


class AllCanceled(Event, frozen=True, gc=False):
    """The answer to `CancelAll` or `CancelAnonymous`, after an `OrderCanceled` for each of `count`
    orders.
    """

    participant: str
    session: str
    symbol: str | None
    count: int


class OpenOrder(Struct, frozen=True, gc=False):
    """One line of `OrdersListed`; `quantity` is what remains."""

    symbol: str
    order_id: int
    side: Side
    price: int
    quantity: int


class OrdersListed(Event, frozen=True, gc=False):
    """The answer to `ListOrders`, by instrument and then in the order taken."""

    participant: str
    session: str
    symbol: str | None
    orders: list[OpenOrder]


class InstrumentsListed(Event, frozen=True, gc=False):
    """The answer to `ListInstruments`: the state of each symbol."""

    participant: str
    session: str
    states: dict[str, State]


class SessionOpened(Event, frozen=True, gc=False):
    """`participant` logged in, in answer to the anonymous session `asker`.

    `seq` is the line between what was taken of the commands under way and what never will be, and
    the `generation` of the session from now on. `last_seq` is what the client had seen;
    `recovered` tells whether all since then is known to stand in the journal, None if nobody asked.
    If it does not, `orders` are those open now; None too where the answer to them got lost.

    Where there are several partitions, `parts` has the event of each, and this is their sum;
    `told` is up to which number each has been told meanwhile, while the last one was waited for.
    """

    seq: int
    participant: str
    session: str
    asker: str
    operator: bool
    last_seq: int | None
    recovered: bool | None
    orders: list[OpenOrder] | None
    parts: dict[str, "SessionOpened"] | None = None
    told: dict[str, int] | None = None

    @property
    def generation(self) -> int:
        """That of the session from now on."""
        return self.seq


class LoginRefused(Event, frozen=True, gc=False):
    """An `OpenSession` was refused; `session` is the anonymous one that asked."""

    participant: str
    session: str
    code: ErrorCode
    text: str


class ParticipantDisabled(Event, frozen=True, gc=False):
    """A participant may trade no more: all its sessions have ended, its orders are cancelled."""

    participant: str


class HeartbeatAnswered(Event, frozen=True, gc=False):
    """The answer to `Heartbeat`."""

    participant: str
    session: str


class SessionClosed(Event, frozen=True, gc=False):
    """The answer to `CloseSession`: everything the session asked before it has been answered.

    There is none if the session was resumed through another connection meanwhile.
    """

    participant: str
    session: str


class Batch(Struct, frozen=True, gc=False):
    """One atomic step of the journal: the engine's answer to a batch of commands.

    `first` is the number of the first numbered event and `last` that of the last one, so that
    `last == first - 1` when nothing is numbered. `time` is microseconds since the epoch, never
    less than the batch before. `writer` and `number` name the command batch that it answers.
    """

    partition: str
    epoch: int
    writer: str
    number: int
    first: int
    last: int
    time: int
    events: list[Event]


Levels = list[tuple[int, int]]
"""(price in ticks, total in lots), best price first."""


class BookSnapshot(Struct, frozen=True, gc=False):
    """The levels of one instrument."""

    bids: Levels
    asks: Levels


class Snapshot(Struct, frozen=True, gc=False):
    """Every book as it stands after event `seq` of `epoch`; `halted` are the symbols that are."""

    partition: str
    epoch: int
    seq: int
    time: int
    books: dict[str, BookSnapshot]
    halted: frozenset[str] = frozenset()
