"""Books as tables that a trader can read, and what a book said as short words.

    60 C | 102 |
         | 101 | 10 A 20 B

A row is a level: bids | price | asks; an order is its quantity and participant, oldest first. The
n-th order of a participant has the id n.
"""

from collections import defaultdict

from wood.book.accounts import OpenOrders
from wood.book.book import Book
from wood.book.invariants import check_invariants
from wood.book.levels import Level
from wood.model.commands import AmendOrder, CancelOrder, NewOrder, OrderCommand
from wood.model.events import (
    CommandRefused,
    Event,
    LevelChanged,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    StateChanged,
    Trade,
)
from wood.model.instruments import Instrument
from wood.model.orders import BUY, GTC, SELL, Side, TimeInForce
from wood.model.trading import NO_RULES, TradingRules


class BookTable:
    """A book that checks its invariants after every command."""

    def __init__(
        self, table: str = "", open_orders: OpenOrders | None = None, rules: TradingRules = NO_RULES
    ) -> None:
        self.book = Book(Instrument("WOOD", "1", rules=rules), open_orders)
        self.seq = 0
        self.events: list[Event] = []
        self._ids: dict[str, int] = defaultdict(int)
        for row in filter(None, map(str.strip, table.splitlines())):
            bids, price, asks = row.split("|")
            for side, orders in ((BUY, bids), (SELL, asks)):
                words = orders.split()
                for quantity, who in zip(words[::2], words[1::2], strict=True):
                    self.new(who, side, int(price), int(quantity))

    def execute(self, command: OrderCommand) -> list[str]:
        """Execute a command and return the words for its events."""
        self.events = []
        before = self.seq
        self.seq = self.book.execute(command, before, self.events)
        check_invariants(self.book)
        check_numbers(self.events, before, self.seq)
        return [describe(event) for event in self.events]

    def new(
        self,
        who: str,
        side: Side,
        price: int | None,
        quantity: int,
        time_in_force: TimeInForce = GTC,
        *,
        post_only: bool = False,
        order_id: int | None = None,
    ) -> list[str]:
        """A new order under the participant's next id."""
        self._ids[who] += 1
        number = self._ids[who] if order_id is None else order_id
        return self.execute(
            NewOrder(who, who, 0, "WOOD", number, side, price, quantity, time_in_force, post_only)
        )

    def cancel(self, who: str, order_id: int) -> list[str]:
        """Cancel one order."""
        return self.execute(CancelOrder(who, who, 0, "WOOD", order_id))

    def amend(
        self, who: str, order_id: int, price: int | None = None, quantity: int | None = None
    ) -> list[str]:
        """Amend one order."""
        return self.execute(AmendOrder(who, who, 0, "WOOD", order_id, price, quantity))

    def table(self) -> list[str]:
        """The book as rows, best ask's level above the best bid's, without padding."""
        asks = [f"| {level.price} | {_orders(level)}" for level in self.book.asks.in_order()]
        bids = [f"{_orders(level)} | {level.price} |" for level in self.book.bids.in_order()]
        return asks[::-1] + bids


def rows(table: str) -> list[str]:
    """A drawn table as `BookTable.table` gives it."""
    return [" ".join(row.split()) for row in table.splitlines() if row.strip()]


def check_numbers(events: list[Event], before: int, after: int) -> None:
    """Numbers have no gaps; a trade takes two."""
    seq = before
    for event in events:
        if not isinstance(event, CommandRefused):
            assert event.seq == seq + 1  # type: ignore[attr-defined]
            seq += 2 if isinstance(event, Trade) else 1
    assert seq == after


def describe(event: Event) -> str:
    """An event in a few words."""
    match event:
        case OrderAccepted():
            return f"new {event.participant}{event.order_id}"
        case Trade():
            maker = f"{event.maker}{event.maker_order_id}"
            taker = f"{event.taker}{event.taker_order_id}"
            return f"{taker} takes {event.quantity} of {maker} at {event.price}"
        case OrderCanceled():
            return f"canceled {event.participant}{event.order_id} {event.quantity}"
        case OrderAmended():
            who = f"{event.participant}{event.order_id}"
            return f"amended {who} to {event.quantity} at {event.price}"
        case LevelChanged():
            return f"{'bid' if event.side is BUY else 'ask'} {event.price}: {event.quantity}"
        case CommandRefused():
            return f"refused {event.limit or event.code}"
        case StateChanged():
            return f"{event.state} by {event.reason}"
    raise AssertionError(event)


def _orders(level: Level) -> str:
    return " ".join(f"{order.left} {order.participant}" for order in level.orders())
