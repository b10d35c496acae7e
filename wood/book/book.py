"""One instrument's limit order book: commands in, events out."""

from wood.book.accounts import Account
from wood.book.levels import Level, Order
from wood.book.matching import NO_LIMIT, Matching, crosses
from wood.book.rules import Refused
from wood.model.commands import AmendOrder, CancelOrder, NewOrder, OrderCommand
from wood.model.errors import ErrorCode, Limit
from wood.model.events import (
    BookSnapshot,
    CommandRefused,
    Event,
    LevelChanged,
    Levels,
    OpenOrder,
    OrderAccepted,
    OrderAmended,
)
from wood.model.instruments import MAX_LEVEL_LOTS
from wood.model.orders import BUY, FOK, GTC, HALTED


class Book(Matching):
    """The resting orders of one instrument and the rules by which new ones meet them.

    `execute` decides one command: it appends the resulting events and returns the last number
    used. It never raises for what a client may ask; a refusal is an event too, without a number.
    A command for another symbol, or of an unknown kind, is a programming error.
    """

    @property
    def orders(self) -> dict[str, dict[int, Order]]:
        """Participant -> order id -> order: the open ones, oldest first."""
        return {name: mine.orders for name, mine in self.accounts.items() if mine.orders}

    def orders_of(self, participant: str) -> dict[int, Order]:
        """The open ones of one participant, oldest first. Not to be changed."""
        account = self.accounts.get(participant)
        return {} if account is None else account.orders

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
        side, quantity = command.side, command.quantity
        if self.state is HALTED:
            return _refuse(command, self._halted(), seq, events)
        account = self.accounts.get(participant)
        if account is not None and order_id in account.orders:
            return _refuse(command, _DUPLICATE, seq, events)
        if side is BUY:
            own, opposite = self.bids, self.asks
        else:
            own, opposite = self.asks, self.bids
        best = opposite.best
        rules = self.rules
        if rules.any:
            # Spelt out here, since a call for each order would cost more than all of it.
            worth = price or (0 if best is None else best.price)
            most, value, position = rules.surely
            if side is BUY:
                held = quantity if account is None else quantity + account.long
                beyond = worth > rules.upper
            else:
                held = quantity if account is None else quantity + account.short
                beyond = worth < rules.lower
            if quantity > most or held > position or worth * quantity > value or beyond:
                refused = rules.refuse(participant, price, worth, quantity, held, beyond)
                if refused is not None:
                    return _refuse(command, refused, seq, events)
        rest_price = price if command.time_in_force is GTC else None
        level = None
        if rest_price is not None:
            full = self._open_orders_full(participant, account)
            if full is not None:
                return _refuse(command, full, seq, events)
            # A level that exists on the own side is one that this order does not trade through,
            # so all of it would rest there.
            level = own.levels.get(rest_price * own.sign)
            if level is not None and level.total + quantity >= MAX_LEVEL_LOTS:
                return _refuse(command, _FULL_LEVEL, seq, events)
        seq += 1
        events.append(_accepted(command, seq))
        limit = NO_LIMIT if price is None else price * opposite.sign
        if best is None or best.key < limit:
            if rest_price is None:
                return self._cancel_rest(participant, order_id, quantity, seq, events)
            level = level or own.level(rest_price)
            return self._rest(command, account, level, quantity, seq, events)
        taker = self._taker(participant, account, order_id, side, limit, quantity)
        if command.post_only or (
            command.time_in_force is FOK and not self._can_fill(opposite, taker)
        ):
            return self._cancel_rest(participant, order_id, quantity, seq, events)
        seq, changed = self._trade(taker, opposite, seq, events)
        left = taker.left
        if left != quantity:
            account = self._traded(participant, account, side, quantity - left)
        if left and (rest_price is None or taker.prevented or crosses(opposite, limit)):
            seq = self._cancel_rest(participant, order_id, left, seq, events)
            left = 0
        seq = self._levels_changed(opposite.side, changed, seq, events)
        if left and rest_price is not None:
            return self._rest(command, account, own.level(rest_price), left, seq, events)
        if account is not None and not account.orders and account.is_idle:
            self.accounts.pop(participant, None)
        if taker.left and self.rules.halts:
            return self._halt_beyond(taker, opposite, seq, events)
        return seq

    def _halted(self) -> Refused:
        return Refused(ErrorCode.HALTED, f"trading in {self.symbol} is halted")

    def _open_orders_full(self, participant: str, account: Account | None) -> Refused | None:
        """Why no more orders of the participant may rest, if so."""
        opened = self._open
        own = opened.own_limits
        most = own.get(participant, opened.limit) if own else opened.limit
        if opened.count.get(participant, 0) >= most:
            text = f"{most:.0f} open orders are the limit"
            return Refused(ErrorCode.LIMIT, text, Limit.OPEN_ORDERS)
        if self.rules.counts and (full := self.rules.refuse_more(participant, account)):
            return full
        if opened.total >= opened.total_limit:
            text = f"the exchange has {opened.total_limit} open orders, its limit"
            return Refused(ErrorCode.LIMIT, text, Limit.RESTING_ORDERS)
        return None

    def _rest(
        self,
        command: NewOrder,
        account: Account | None,
        level: Level,
        left: int,
        seq: int,
        events: list[Event],
    ) -> int:
        """Put what is left of a new order at the back of its level; announce the new total."""
        participant = command.participant
        if account is None:
            account = Account(participant, has_record=participant in self._recorded)
        self.accounts[participant] = account
        order = Order(account, command.order_id, left, command.post_only, level)
        level.append(order)
        account.orders[command.order_id] = order
        if command.side is BUY:
            account.long += left
        else:
            account.short += left
        count = self._open.count
        count[participant] = count.get(participant, 0) + 1
        self._open.total += 1
        seq += 1
        events.append(LevelChanged(seq, self.symbol, command.side, level.price, level.total))
        return seq

    def _cancel_order(self, command: CancelOrder, seq: int, events: list[Event]) -> int:
        order = self._find(command.participant, command.order_id)
        if order is None:
            return _refuse(command, _NO_ORDER, seq, events)
        level, left = order.level, order.left
        self._remove(order)
        seq = self._cancel_rest(command.participant, command.order_id, left, seq, events) + 1
        events.append(LevelChanged(seq, self.symbol, level.side.side, level.price, level.total))
        return seq

    def cancel_all(self, participant: str, seq: int, events: list[Event]) -> tuple[int, int]:
        """Cancel all that the participant has open here; return (last number, orders cancelled).

        The levels changed are announced at the end: bids, then asks, best first.
        """
        orders = list(self.orders_of(participant).values())
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
        if self.state is HALTED:
            return _refuse(command, self._halted(), seq, events)
        order = self._find(command.participant, command.order_id)
        if order is None:
            return _refuse(command, _NO_ORDER, seq, events)
        level = order.level
        price = level.price if command.price is None else command.price
        quantity = order.left if command.quantity is None else command.quantity
        own = level.side
        if self.rules.any:
            before = level.price, order.left
            refused = self.rules.refuse_amended(order.account, own.side, before, price, quantity)
            if refused is not None:
                return _refuse(command, refused, seq, events)
        at_price = own.total(price) - (order.left if price == level.price else 0)
        if at_price + quantity >= MAX_LEVEL_LOTS:
            return _refuse(command, _FULL_LEVEL, seq, events)
        seq += 1
        events.append(
            OrderAmended(seq, command.participant, self.symbol, command.order_id, price, quantity)
        )
        if price == level.price and quantity < order.left:
            self._open_less(order, order.left - quantity)
            level.total -= order.left - quantity
            order.left = quantity
            return self._levels_changed(own.side, [(price, level.total)], seq, events)
        return self._requeue(order, price, quantity, seq, events)

    def _requeue(
        self, order: Order, price: int, quantity: int, seq: int, events: list[Event]
    ) -> int:
        """Take an order out of its level and let it come in anew; it keeps its `post_only`."""
        account, order_id = order.account, order.order_id
        participant, own = account.participant, order.level.side
        opposite = self.asks if own is self.bids else self.bids
        prices = sorted({price, order.level.price}, key=lambda p: p * own.sign, reverse=True)
        before = [own.total(p) for p in prices]
        level = order.level
        level.unlink(order)
        if level.first is None:
            own.drop(level)
        self._open_less(order, order.left)
        limit = price * opposite.sign
        taker = self._taker(participant, account, order_id, own.side, limit, quantity)
        changed: Levels = []
        if crosses(opposite, taker.limit) and not order.post_only:
            seq, changed = self._trade(taker, opposite, seq, events)
            self._traded(participant, account, own.side, quantity - taker.left)
        left = taker.left
        if left and not (taker.prevented or crosses(opposite, taker.limit)):
            order.left = left
            self._open_less(order, -left)
            order.level = own.level(price)
            order.level.append(order)
        else:
            self._forget(order)
            if left:
                seq = self._cancel_rest(participant, order_id, left, seq, events)
        seq = self._levels_changed(opposite.side, changed, seq, events)
        after = [(p, own.total(p)) for p in prices]
        moved = [now for now, was in zip(after, before, strict=True) if now[1] != was]
        seq = self._levels_changed(own.side, moved, seq, events)
        if taker.left and self.rules.halts and not order.post_only:
            return self._halt_beyond(taker, opposite, seq, events)
        return seq

    def _find(self, participant: str, order_id: int) -> Order | None:
        account = self.accounts.get(participant)
        return None if account is None else account.orders.get(order_id)

    def _remove(self, order: Order) -> None:
        """Take an order out of the book for good."""
        level = order.level
        level.unlink(order)
        if level.first is None:
            level.side.drop(level)
        self._open_less(order, order.left)
        self._forget(order)

    def open_orders(self, participant: str) -> list[OpenOrder]:
        """What the participant has open here, in the order taken."""
        return [
            OpenOrder(self.symbol, order_id, o.level.side.side, o.level.price, o.left)
            for order_id, o in self.orders_of(participant).items()
        ]

    def snapshot(self) -> BookSnapshot:
        """The levels of both sides, best first."""
        return BookSnapshot(
            [(level.price, level.total) for level in self.bids.in_order()],
            [(level.price, level.total) for level in self.asks.in_order()],
        )


_NO_ORDER = Refused(ErrorCode.NOT_FOUND, "no open order has this id")
_DUPLICATE = Refused(ErrorCode.DUPLICATE, "an open order has this id")
_FULL_LEVEL = Refused(ErrorCode.TOO_LARGE, "the level's total would be too large")


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


def _refuse(command: OrderCommand, why: Refused, seq: int, events: list[Event]) -> int:
    events.append(
        CommandRefused(
            command.participant,
            command.session,
            why.code,
            why.text,
            command.order_id,
            command.symbol,
            why.limit,
        )
    )
    return seq
