"""What no sequence of commands can do to a book: hypothesis looks for one that does."""

from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.books import check_numbers
from wood.book.accounts import OpenOrders
from wood.book.book import Book
from wood.book.invariants import check_invariants
from wood.book.levels import Order
from wood.model.commands import AmendOrder, CancelOrder, NewOrder, OrderCommand
from wood.model.events import (
    CommandRefused,
    Event,
    LevelChanged,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    Trade,
)
from wood.model.instruments import Instrument
from wood.model.orders import BUY, FOK, SELL, Side, TimeInForce

PARTICIPANTS = st.sampled_from("ABC")
IDS = st.integers(1, 12)
PRICES = st.integers(95, 105)
QUANTITIES = st.integers(1, 20)
PAST_THE_BOOK = st.sampled_from([1, 2**53 - 1])


class Market(RuleBasedStateMachine):
    """A book beside an account of it that is kept from the events alone."""

    @initialize()
    def begin(self) -> None:
        self.open_orders = OpenOrders(limit=8)
        self.book = Book(Instrument("WOOD"), self.open_orders)
        self.seq = 0
        self.left: dict[tuple[str, int], int] = {}
        self.levels: Counter[tuple[Side, int]] = Counter()
        self.bought: Counter[str] = Counter()
        self.sold: Counter[str] = Counter()

    @rule(
        who=PARTICIPANTS,
        order_id=IDS,
        side=st.sampled_from(Side),
        price=PRICES | PAST_THE_BOOK | st.none(),
        quantity=QUANTITIES,
        time_in_force=st.sampled_from(TimeInForce),
        post_only=st.booleans(),
    )
    def new_order(
        self,
        who: str,
        order_id: int,
        side: Side,
        price: int | None,
        quantity: int,
        time_in_force: TimeInForce,
        post_only: bool,
    ) -> None:
        command = NewOrder(
            who, who, 0, "WOOD", order_id, side, price, quantity, time_in_force, post_only
        )
        self.execute(command, side, price)

    @rule(who=PARTICIPANTS, order_id=IDS)
    def cancel_order(self, who: str, order_id: int) -> None:
        known = (who, order_id) in self.left
        events = self.execute(CancelOrder(who, who, 0, "WOOD", order_id))
        assert known is isinstance(events[0], OrderCanceled)

    @rule(
        who=PARTICIPANTS,
        order_id=IDS,
        price=PRICES | st.none(),
        quantity=QUANTITIES | st.none(),
    )
    def amend_order(self, who: str, order_id: int, price: int | None, quantity: int | None) -> None:
        order = self.book.orders.get(who, {}).get(order_id)
        side = order.level.side.side if order else BUY
        events = self.execute(
            AmendOrder(who, who, 0, "WOOD", order_id, price, quantity), side, price
        )
        assert (order is not None) is isinstance(events[0], OrderAmended)

    @rule(who=PARTICIPANTS)
    def cancel_all(self, who: str) -> None:
        events: list[Event] = []
        seq, count = self.book.cancel_all(who, self.seq, events)
        self.fold(events, seq)
        assert count == sum(isinstance(event, OrderCanceled) for event in events)
        assert not any(owner == who for owner, _ in self.left)

    def execute(
        self, command: OrderCommand, side: Side = BUY, price: int | None = None
    ) -> list[Event]:
        queues = self.queues()
        events: list[Event] = []
        seq = self.book.execute(command, self.seq, events)
        trades = [event for event in events if isinstance(event, Trade)]
        self.check_priority(trades, queues, side, price)
        if isinstance(command, NewOrder) and trades:
            assert not command.post_only
            traded = sum(trade.quantity for trade in trades)
            assert command.time_in_force is not FOK or traded == command.quantity
        self.check_order_of_levels(events, side)
        self.fold(events, seq)
        return events

    def check_order_of_levels(self, events: list[Event], own: Side) -> None:
        """Levels come last: those of the opposite side first, on each side the best price first."""
        levels = [event for event in events if isinstance(event, LevelChanged)]
        assert events[len(events) - len(levels) :] == levels
        if len(levels) > 1:
            keys = [(e.side is own, -e.price if e.side is BUY else e.price) for e in levels]
            assert keys == sorted(keys)

    def queues(self) -> dict[Side, list[tuple[int, str, int]]]:
        """Who should trade first, second, ... on each side: (price, participant, order id)."""
        return {
            side.side: [
                (level.price, order.participant, order.order_id)
                for level in side.in_order()
                for order in level.orders()
            ]
            for side in (self.book.bids, self.book.asks)
        }

    def check_priority(
        self,
        trades: list[Trade],
        queues: dict[Side, list[tuple[int, str, int]]],
        side: Side,
        price: int | None,
    ) -> None:
        """Trades hit the opposite queue from its front, at its prices, within the limit."""
        makers = [(trade.price, trade.maker, trade.maker_order_id) for trade in trades]
        assert makers == queues[SELL if side is BUY else BUY][: len(makers)]
        for trade in trades:
            assert price is None or (trade.price <= price if side is BUY else trade.price >= price)
        assert all(trade.maker_leaves == 0 for trade in trades[:-1])

    def fold(self, events: list[Event], seq: int) -> None:
        """Keep the account, from what the events say and nothing else."""
        check_numbers(events, self.seq, seq)
        self.seq = seq
        before = self.levels.copy()
        for event in events:
            self.fold_one(event)
        changed = [(e.side, e.price) for e in events if isinstance(e, LevelChanged)]
        assert len(set(changed)) == len(changed), "a level is announced twice"
        moved = {key for key in before | self.levels if before[key] != self.levels[key]}
        assert set(changed) == moved, "a level is announced if and only if its total changed"

    def fold_one(self, event: Event) -> None:
        match event:
            case OrderAccepted():
                self.left[event.participant, event.order_id] = event.quantity
            case Trade():
                self.trade(event)
            case OrderCanceled():
                assert self.left.pop((event.participant, event.order_id)) == event.quantity
            case OrderAmended():
                self.left[event.participant, event.order_id] = event.quantity
            case LevelChanged():
                self.levels[event.side, event.price] = event.quantity
            case CommandRefused():
                pass

    def trade(self, event: Trade) -> None:
        maker, taker = (event.maker, event.maker_order_id), (event.taker, event.taker_order_id)
        for key, leaves in ((maker, event.maker_leaves), (taker, event.taker_leaves)):
            self.left[key] -= event.quantity
            assert self.left[key] == leaves
            if not leaves:
                del self.left[key]
        buyer, seller = (taker, maker) if event.side is BUY else (maker, taker)
        self.bought[buyer[0]] += event.quantity
        self.sold[seller[0]] += event.quantity

    @invariant()
    def nothing_is_bought_that_was_not_sold(self) -> None:
        if hasattr(self, "book"):
            assert self.bought.total() == self.sold.total()

    @invariant()
    def the_account_agrees_with_the_book(self) -> None:
        if not hasattr(self, "book"):
            return
        check_invariants(self.book)
        orders: list[Order] = [o for mine in self.book.orders.values() for o in mine.values()]
        assert {(o.participant, o.order_id): o.left for o in orders} == self.left
        assert Counter(o.participant for o in orders) == self.open_orders.count
        snapshot = self.book.snapshot()
        levels = {(BUY, p): t for p, t in snapshot.bids} | {(SELL, p): t for p, t in snapshot.asks}
        assert levels == +self.levels


Market.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestMarket = Market.TestCase
