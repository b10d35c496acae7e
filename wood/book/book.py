"""One instrument's limit order book: commands in, events out."""

from msgspec import Struct

from wood.book.levels import BookSide, Level, Order
from wood.model.commands import AmendOrder, CancelOrder, NewOrder, OrderCommand
from wood.model.errors import ErrorCode
from wood.model.events import (
    BookSnapshot,
    CommandRefused,
    Event,
    LevelChanged,
    Levels,
    OpenOrder,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    Trade,
)
from wood.model.instruments import MAX_LEVEL_LOTS
from wood.model.orders import BUY, FOK, GTC, SELL, Side

MAX_MET = 10_000
"""Resting orders that one command meets at most; what is then left of it is cancelled."""

MAX_OPEN_ORDERS = 10_000
"""Orders that one participant may have open at once, unless the operator says otherwise."""

NO_LIMIT = -(2**60)
"""The key below every level: the limit of a market order."""


MAX_RESTING_ORDERS = 2_000_000
"""Orders that may rest over all participants, unless the operator says otherwise."""


class OpenOrders(Struct, gc=False):
    """How many orders are open over all books that share this, and how many may be."""

    limit: int = MAX_OPEN_ORDERS
    """For one participant."""
    total_limit: int = MAX_RESTING_ORDERS
    count: dict[str, int] = {}
    """By participant."""
    total: int = 0


class Book:
    """The resting orders of one instrument and the rules by which new ones meet them.

    `execute` decides one command: it appends the resulting events and returns the last number
    used. It never raises for what a client may ask; a refusal is an event too, without a number.
    A command for another symbol, or of an unknown kind, is a programming error.
    """

    def __init__(self, symbol: str, open_orders: OpenOrders | None = None) -> None:
        self.symbol = symbol
        self.bids = BookSide(BUY)
        self.asks = BookSide(SELL)
        self.orders: dict[str, dict[int, Order]] = {}
        """Participant -> order id -> order: the open ones, oldest first."""
        self.looked_at = 0
        """Orders that fill-or-kill orders made it look at, beside those that they met: what they
        cost that no event shows. For the engine to read and to set back."""
        self._open = OpenOrders() if open_orders is None else open_orders

    def execute(self, command: OrderCommand, seq: int, events: list[Event]) -> int:
        """Decide a command; number its events from `seq` + 1; return the last number used."""
        if type(command) is NewOrder:
            return self._new_order(command, seq, events)
        if type(command) is CancelOrder:
            return self._cancel_order(command, seq, events)
        if type(command) is AmendOrder:
            return self._amend_order(command, seq, events)
        raise TypeError(f"a book does not take {type(command).__name__}")

    def _new_order(self, command: NewOrder, seq: int, events: list[Event]) -> int:
        participant, order_id, price = command.participant, command.order_id, command.price
        quantity = command.quantity
        mine = self.orders.get(participant)
        if mine is not None and order_id in mine:
            return _refuse(command, ErrorCode.DUPLICATE, "an open order has this id", seq, events)
        if command.side is BUY:
            own, opposite = self.bids, self.asks
        else:
            own, opposite = self.asks, self.bids
        rest_price = price if command.time_in_force is GTC else None
        level = None
        if rest_price is not None:
            full = self._open_orders_full(participant)
            if full is not None:
                return _refuse(command, ErrorCode.LIMIT, full, seq, events)
            # A level that exists on the own side is one that this order does not trade through,
            # so all of it would rest there.
            level = own.levels.get(rest_price * own.sign)
            if level is not None and level.total + quantity >= MAX_LEVEL_LOTS:
                return _refuse(command, ErrorCode.TOO_LARGE, _FULL_LEVEL, seq, events)
        seq += 1
        events.append(_accepted(command, seq))
        limit = NO_LIMIT if price is None else price * opposite.sign
        best = opposite.best
        if best is None or best.key < limit:
            if rest_price is None:
                return self._cancel_rest(participant, order_id, quantity, seq, events)
            return self._rest(command, level or own.level(rest_price), quantity, seq, events)
        if command.post_only or (
            command.time_in_force is FOK and not self._can_fill(opposite, limit, quantity)
        ):
            return self._cancel_rest(participant, order_id, quantity, seq, events)
        taker = _Taker(participant, order_id, command.side, limit, quantity)
        seq, changed = self._trade(taker, opposite, seq, events)
        left = taker.left
        if left and (rest_price is None or _crosses(opposite, limit)):
            seq = self._cancel_rest(participant, order_id, left, seq, events)
            left = 0
        seq = self._levels_changed(opposite.side, changed, seq, events)
        if left and rest_price is not None:
            seq = self._rest(command, own.level(rest_price), left, seq, events)
        return seq

    def _trade(
        self, taker: "_Taker", opposite: BookSide, seq: int, events: list[Event]
    ) -> tuple[int, Levels]:
        """Let `taker` meet the opposite side; return the last number and the levels changed.

        What is left of the taker is in `taker.left`. If that still crosses, the bound on orders
        met was reached.
        """
        symbol, side, limit = self.symbol, taker.side, taker.limit
        participant, order_id, left = taker.participant, taker.order_id, taker.left
        forget = self._forget
        room = MAX_MET
        changed: Levels = []
        while left and room:
            level = opposite.best
            if level is None or level.key < limit:
                break
            price = level.price
            before = left
            order = level.first
            while order is not None and left and room:
                room -= 1
                quantity = order.left
                if quantity > left:
                    quantity = left
                left -= quantity
                order.left -= quantity
                events.append(
                    Trade(
                        seq + 1,
                        symbol,
                        price,
                        quantity,
                        side,
                        order.participant,
                        order.order_id,
                        order.left,
                        participant,
                        order_id,
                        left,
                    )
                )
                seq += 2
                if order.left:
                    break
                forget(order)
                following = order.next
                if following is not None:
                    following.previous = order.next = None
                order = following
            level.first = order
            if order is None:
                level.last = None
                level.total = 0
                opposite.drop(level)
            else:
                level.total -= before - left
            changed.append((price, level.total))
        taker.left = left
        return seq, changed

    def _open_orders_full(self, participant: str) -> str | None:
        """What to say if no more orders of the participant may rest, else None."""
        if self._open.count.get(participant, 0) >= self._open.limit:
            return f"{self._open.limit} open orders are the limit"
        if self._open.total >= self._open.total_limit:
            return f"the exchange has {self._open.total_limit} open orders, its limit"
        return None

    def _can_fill(self, opposite: BookSide, limit: int, quantity: int) -> bool:
        """Whether `quantity` can trade at once within the limit and the bound on orders met."""
        room = MAX_MET
        try:
            for level in opposite.in_order():
                if level.key < limit:
                    return False
                for order in level.orders():
                    quantity -= order.left
                    room -= 1
                    if quantity <= 0:
                        return True
                    if not room:
                        return False
            return False
        finally:
            self.looked_at += MAX_MET - room

    def _rest(
        self, command: NewOrder, level: Level, left: int, seq: int, events: list[Event]
    ) -> int:
        """Put what is left of a new order at the back of its level; announce the new total."""
        participant = command.participant
        order = Order(participant, command.order_id, left, command.post_only, level)
        level.append(order)
        mine = self.orders.get(participant)
        if mine is None:
            mine = self.orders[participant] = {}
        mine[command.order_id] = order
        count = self._open.count
        count[participant] = count.get(participant, 0) + 1
        self._open.total += 1
        seq += 1
        events.append(LevelChanged(seq, self.symbol, command.side, level.price, level.total))
        return seq

    def _cancel_order(self, command: CancelOrder, seq: int, events: list[Event]) -> int:
        order = self._find(command.participant, command.order_id)
        if order is None:
            return _refuse(command, ErrorCode.NOT_FOUND, _NO_ORDER, seq, events)
        level, left = order.level, order.left
        self._remove(order)
        seq = self._cancel_rest(command.participant, command.order_id, left, seq, events) + 1
        events.append(LevelChanged(seq, self.symbol, level.side.side, level.price, level.total))
        return seq

    def cancel_all(self, participant: str, seq: int, events: list[Event]) -> tuple[int, int]:
        """Cancel all that the participant has open here; return (last number, orders cancelled).

        The levels changed are announced at the end: bids, then asks, best first.
        """
        orders = list(self.orders.get(participant, {}).values())
        touched: dict[tuple[bool, int], Level] = {}
        for order in orders:
            level = order.level
            touched[level.side is self.asks, -level.key] = level
            left = order.left
            self._remove(order)
            seq = self._cancel_rest(participant, order.order_id, left, seq, events)
        for _, level in sorted(touched.items(), key=lambda item: item[0]):
            seq += 1
            events.append(LevelChanged(seq, self.symbol, level.side.side, level.price, level.total))
        return seq, len(orders)

    def _amend_order(self, command: AmendOrder, seq: int, events: list[Event]) -> int:
        order = self._find(command.participant, command.order_id)
        if order is None:
            return _refuse(command, ErrorCode.NOT_FOUND, _NO_ORDER, seq, events)
        level = order.level
        price = level.price if command.price is None else command.price
        quantity = order.left if command.quantity is None else command.quantity
        own = level.side
        at_price = own.total(price) - (order.left if price == level.price else 0)
        if at_price + quantity >= MAX_LEVEL_LOTS:
            return _refuse(command, ErrorCode.TOO_LARGE, _FULL_LEVEL, seq, events)
        seq += 1
        events.append(
            OrderAmended(seq, command.participant, self.symbol, command.order_id, price, quantity)
        )
        if price == level.price and quantity < order.left:
            level.total -= order.left - quantity
            order.left = quantity
            return self._levels_changed(own.side, [(price, level.total)], seq, events)
        return self._requeue(order, price, quantity, seq, events)

    def _requeue(
        self, order: Order, price: int, quantity: int, seq: int, events: list[Event]
    ) -> int:
        """Take an order out of its level and let it come in anew; it keeps its `post_only`."""
        participant, order_id = order.participant, order.order_id
        own = order.level.side
        opposite = self.asks if own is self.bids else self.bids
        prices = sorted({price, order.level.price}, key=lambda p: p * own.sign, reverse=True)
        before = [own.total(p) for p in prices]
        level = order.level
        level.unlink(order)
        if level.first is None:
            own.drop(level)
        limit = price * opposite.sign
        left = quantity
        changed: Levels = []
        if _crosses(opposite, limit) and not order.post_only:
            taker = _Taker(participant, order_id, own.side, limit, quantity)
            seq, changed = self._trade(taker, opposite, seq, events)
            left = taker.left
        if left and not _crosses(opposite, limit):
            order.left = left
            order.level = own.level(price)
            order.level.append(order)
        else:
            self._forget(order)
            if left:
                seq = self._cancel_rest(participant, order_id, left, seq, events)
        seq = self._levels_changed(opposite.side, changed, seq, events)
        after = [(p, own.total(p)) for p in prices]
        moved = [now for now, was in zip(after, before, strict=True) if now[1] != was]
        return self._levels_changed(own.side, moved, seq, events)

    def _cancel_rest(
        self, participant: str, order_id: int, left: int, seq: int, events: list[Event]
    ) -> int:
        seq += 1
        events.append(OrderCanceled(seq, participant, self.symbol, order_id, left))
        return seq

    def _levels_changed(self, side: Side, changed: Levels, seq: int, events: list[Event]) -> int:
        for price, total in changed:
            seq += 1
            events.append(LevelChanged(seq, self.symbol, side, price, total))
        return seq

    def _find(self, participant: str, order_id: int) -> Order | None:
        mine = self.orders.get(participant)
        return None if mine is None else mine.get(order_id)

    def _remove(self, order: Order) -> None:
        """Take an order out of the book for good."""
        level = order.level
        level.unlink(order)
        if level.first is None:
            level.side.drop(level)
        self._forget(order)

    def _forget(self, order: Order) -> None:
        """Take an order that is in no queue any more off its participant's list."""
        participant = order.participant
        mine = self.orders[participant]
        del mine[order.order_id]
        if not mine:
            del self.orders[participant]
        self._open.total -= 1
        count = self._open.count
        if count[participant] == 1:
            del count[participant]
        else:
            count[participant] -= 1

    def open_orders(self, participant: str) -> list[OpenOrder]:
        """What the participant has open here, in the order taken."""
        return [
            OpenOrder(self.symbol, order_id, o.level.side.side, o.level.price, o.left)
            for order_id, o in self.orders.get(participant, {}).items()
        ]

    def snapshot(self) -> BookSnapshot:
        """The levels of both sides, best first."""
        return BookSnapshot(
            [(level.price, level.total) for level in self.bids.in_order()],
            [(level.price, level.total) for level in self.asks.in_order()],
        )


class _Taker(Struct, gc=False):
    """An order on its way through the opposite side; `limit` is the worst key it accepts."""

    participant: str
    order_id: int
    side: Side
    limit: int
    left: int


_NO_ORDER = "no open order has this id"
_FULL_LEVEL = "the level's total would be too large"


def _accepted(command: NewOrder, seq: int) -> OrderAccepted:
    return OrderAccepted(
        seq,
        command.participant,
        command.session,
        command.symbol,
        command.order_id,
        command.side,
        command.price,
        command.quantity,
        command.time_in_force,
        command.post_only,
    )


def _refuse(
    command: OrderCommand, code: ErrorCode, text: str, seq: int, events: list[Event]
) -> int:
    events.append(
        CommandRefused(
            command.participant, command.session, code, text, command.order_id, command.symbol
        )
    )
    return seq


def _crosses(opposite: BookSide, limit: int) -> bool:
    best = opposite.best
    return best is not None and best.key >= limit
