"""How an incoming order meets the resting ones, and what stops it."""

from collections.abc import Collection

from msgspec import Struct

from wood.book.accounts import Account, OpenOrders
from wood.book.levels import BookSide, Order
from wood.book.rules import Rules
from wood.model.events import Event, LevelChanged, Levels, OrderCanceled, StateChanged, Trade
from wood.model.instruments import Instrument
from wood.model.orders import BUY, HALTED, OPEN, SELL, Reason, SelfTrade, Side, State

MAX_MET = 10_000
"""Resting orders that one command meets at most; what is then left of it is cancelled."""

NO_LIMIT = -(2**60)
"""The key below every level: the limit of a market order."""


class Taker(Struct, gc=False):
    """An order on its way through the opposite side.

    `limit` is the worst key that it accepts itself; `bound` and `near` are the worst and the best
    key that it may trade at. `prevented` is set when an order of its own participant stops it,
    `room` to how many orders more it could have met.
    """

    participant: str
    account: Account | None
    order_id: int
    side: Side
    limit: int
    bound: int
    near: int
    left: int
    prevented: bool = False
    room: int = MAX_MET


class Matching:
    """The two sides of an instrument, whose the orders are, and the meeting of orders."""

    def __init__(self, instrument: Instrument, open_orders: OpenOrders | None = None) -> None:
        self.symbol = instrument.symbol
        self.bids = BookSide(BUY)
        self.asks = BookSide(SELL)
        self.accounts: dict[str, Account] = {}
        """By participant: of those who have open orders or a position."""
        self.rules = Rules(instrument)
        self.state = OPEN
        self.looked_at = 0
        """Orders that fill-or-kill orders made it look at, beside those that they met: what they
        cost that no event shows. For the engine to read and to set back."""
        self._open = OpenOrders() if open_orders is None else open_orders
        self._recorded: Collection[str] = frozenset()

    def take_participants(self, recorded: Collection[str]) -> None:
        """These have records from now on: their positions are kept."""
        self._recorded = recorded
        for participant, account in list(self.accounts.items()):
            account.has_record = participant in recorded
            if account.is_idle:
                del self.accounts[participant]

    def _taker(
        self,
        participant: str,
        account: Account | None,
        order_id: int,
        side: Side,
        limit: int,
        quantity: int,
    ) -> Taker:
        """An order that is about to meet the other side, within the collar."""
        rules = self.rules
        if not rules.has_collar:
            return Taker(participant, account, order_id, side, limit, limit, -NO_LIMIT, quantity)
        # Keys grow with precedence: those of bids are their prices, those of asks the negatives.
        if side is BUY:
            far, near = -rules.upper, -rules.lower
        else:
            far, near = rules.lower, rules.upper
        bound = limit if limit > far else far
        return Taker(participant, account, order_id, side, limit, bound, near, quantity)

    def _trade(
        self, taker: Taker, opposite: BookSide, seq: int, events: list[Event]
    ) -> tuple[int, Levels]:
        """Let `taker` meet the opposite side; return the last number and the levels changed.

        What is left of the taker is in `taker.left`. If that still crosses, something stopped it:
        the bound on orders met, the collar, or an order of its own.
        """
        symbol, side, bound, near = self.symbol, taker.side, taker.bound, taker.near
        participant, order_id, left = taker.participant, taker.order_id, taker.left
        rules, buys, forget = self.rules, taker.side is BUY, self._forget
        own = taker.account if rules.prevents else None
        room, traded_at = MAX_MET, rules.last
        changed: Levels = []
        while left and room and not taker.prevented:
            level = opposite.best
            if level is None or not bound <= level.key <= near:
                break
            price = level.price
            before, gone = left, 0
            order = level.first
            while order is not None and left and room:
                account = order.account
                if account is own:
                    if rules.self_trade is not SelfTrade.CANCEL_OLDEST:
                        taker.prevented = True
                    if rules.self_trade is SelfTrade.CANCEL_NEWEST:
                        break
                    room -= 1
                    gone += order.left
                    if buys:
                        account.short -= order.left
                    else:
                        account.long -= order.left
                    seq = self._cancel_rest(participant, order.order_id, order.left, seq, events)
                else:
                    room -= 1
                    quantity = order.left
                    if quantity > left:
                        quantity = left
                    left -= quantity
                    order.left -= quantity
                    if buys:
                        account.long -= quantity
                    else:
                        account.short -= quantity
                    events.append(
                        Trade(
                            seq + 1,
                            symbol,
                            price,
                            quantity,
                            side,
                            account.participant,
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
                if taker.prevented:
                    break
            if before != left:
                traded_at = price
            elif not gone:
                break
            level.first = order
            if order is None:
                level.last = None
                level.total = 0
                opposite.drop(level)
            else:
                level.total -= before - left + gone
            changed.append((price, level.total))
        if traded_at != rules.last and traded_at is not None:
            rules.last = traded_at
            if rules.has_collar:
                rules.move_collar()
        taker.left = left
        taker.room = room
        return seq, changed

    def _traded(
        self, participant: str, account: Account | None, side: Side, quantity: int
    ) -> Account:
        """So much was bought or sold as the incoming order; returns the account."""
        if account is None:
            account = Account(participant, has_record=participant in self._recorded)
        if side is SELL:
            quantity = -quantity
        account.long += quantity
        account.short -= quantity
        # It may have been dropped, with the last of its own orders that this one met.
        self.accounts[participant] = account
        return account

    def _halt_beyond(self, taker: Taker, opposite: BookSide, seq: int, events: list[Event]) -> int:
        """Halt trading if it was the collar that stopped an order of which something is left."""
        best = opposite.best
        if taker.prevented or not taker.room or best is None or best.key < taker.limit:
            return seq
        if taker.bound <= best.key <= taker.near:
            return seq
        return self.change_state(HALTED, Reason.COLLAR, seq, events)

    def change_state(self, state: State, reason: Reason, seq: int, events: list[Event]) -> int:
        """Halt trading, or let it go on; return the last number."""
        if state is self.state:
            return seq
        self.state = state
        seq += 1
        events.append(StateChanged(seq, self.symbol, state, reason))
        return seq

    def _can_fill(self, opposite: BookSide, taker: Taker) -> bool:
        """Whether all of it can trade at once, within what else would stop it."""
        room, quantity = MAX_MET, taker.left
        oldest = self.rules.self_trade is SelfTrade.CANCEL_OLDEST
        own = taker.account if self.rules.prevents else None
        try:
            for level in opposite.in_order():
                if not taker.bound <= level.key <= taker.near:
                    return False
                for order in level.orders():
                    if order.account is own:
                        if not oldest:
                            return False
                    else:
                        quantity -= order.left
                    room -= 1
                    if quantity <= 0:
                        return True
                    if not room:
                        return False
            return False
        finally:
            self.looked_at += MAX_MET - room

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

    def _open_less(self, order: Order, quantity: int) -> None:
        """So much of a resting order is open no more, without a trade."""
        if order.level.side is self.bids:
            order.account.long -= quantity
        else:
            order.account.short -= quantity

    def _forget(self, order: Order) -> None:
        """Take an order that is in no queue any more off its participant's list."""
        account = order.account
        participant, orders = account.participant, account.orders
        del orders[order.order_id]
        if not orders and account.is_idle:
            del self.accounts[participant]
        self._open.total -= 1
        count = self._open.count
        if count[participant] == 1:
            del count[participant]
        else:
            count[participant] -= 1


def crosses(opposite: BookSide, limit: int) -> bool:
    """Whether the best opposite order is at `limit` or better."""
    best = opposite.best
    return best is not None and best.key >= limit
