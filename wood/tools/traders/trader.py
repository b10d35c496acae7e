"""A random trader without a connection: it decides what to say, and remembers what it hears."""

from collections import deque
from decimal import Decimal
from random import Random

from msgspec import Struct

from wood.client.replies import ErrorReply, ExecutionReport, Private
from wood.client.requests import CancelOrder, CreateOrder, MarketOrder, Request
from wood.model.orders import Side
from wood.tools.errors import UnexpectedReply
from wood.tools.traders.grid import Grid
from wood.tools.traders.tally import Tally

MEAN_PRICE, PRICE_DEVIATION = 100, 2
MEAN_QUANTITY, QUANTITY_DEVIATION = 100, 40

MAX_MEAN = Decimal(10**11)
"""Of ticks or lots. Where steps are so fine that it takes more, a server would take no order."""

CANCEL_SHARE, MARKET_SHARE = 0.2, 0.1
"""Of all messages; the others are limit orders."""

MAX_OPEN = 100
"""Open orders of one trader. About half of all limit orders are too far from the market to trade
ever, so that without a bound the book would grow for as long as the trader runs."""


class OpenOrder(Struct):
    """An order that was sent and has not come to its end."""

    side: Side
    remaining: Decimal
    resting: bool = False
    """It may stand in the book, and no cancel is under way: it can be cancelled."""


class Trader:
    """One participant. `open_orders`, by their id, and `tally` are for reading.

    Each decision draws the same number of times from `rng`, whatever the market did meanwhile: the
    same seed draws the same orders, and with the same replies it says the same, word for word.
    """

    def __init__(
        self,
        rng: Random,
        symbol: str | None = None,
        grid: Grid = Grid(),  # noqa: B008 (frozen)
    ) -> None:
        self.open_orders: dict[int, OpenOrder] = {}
        self.tally = Tally()
        self._rng = rng
        self._symbol = symbol
        self._grid = grid
        self._unanswered: deque[Request] = deque()

    def pause(self, rate: float) -> float:
        """Seconds until the next decision, for `rate` of them per second on average."""
        return self._rng.expovariate(rate)

    def decide(self) -> Request | None:
        """What to say now; None when nothing can be said before the server has answered."""
        kind, pick = self._rng.random(), self._rng.random()
        create = self._draw_order()
        resting = [order_id for order_id, order in self.open_orders.items() if order.resting]
        full = len(self.open_orders) >= MAX_OPEN
        if resting and (full or kind < CANCEL_SHARE):
            return self._cancel(resting[int(pick * len(resting))])
        if full:
            return None
        if CANCEL_SHARE <= kind < CANCEL_SHARE + MARKET_SHARE:
            return self._send_order(_at_market(create))
        return self._send_order(create)

    def leave(self) -> list[CancelOrder]:
        """Cancel all that may rest. Once `open_orders` is empty, no fill can come any more."""
        awaited = [r.order_id for r in self._unanswered if isinstance(r, CreateOrder)]
        resting = [order_id for order_id, order in self.open_orders.items() if order.resting]
        return [self._cancel(order_id) for order_id in resting + awaited]

    def receive(self, reply: Private) -> None:
        """Take in what the server said.

        Raises `UnexpectedReply` for news of no open order, and where nothing can ever be traded.
        """
        if isinstance(reply, ErrorReply):
            self._refused(reply)
        elif isinstance(reply, ExecutionReport):
            self._reported(reply)

    def _reported(self, reply: ExecutionReport) -> None:
        self.tally.reports[reply.report] += 1
        order = self.open_orders.get(reply.order_id)
        if order is None:
            raise UnexpectedReply(
                f"the server reports on {reply.order_id}, an order that is not open"
            )
        if reply.report == "FILL":
            self._filled(order, reply)
            return
        request = self._answered(reply.order_id)
        if reply.report == "NEW":
            order.resting = isinstance(request, CreateOrder)
        else:
            del self.open_orders[reply.order_id]

    def _draw_order(self) -> CreateOrder:
        rng = self._rng
        side = rng.choice((Side.BUY, Side.SELL))
        ticks = self._draw_steps(MEAN_PRICE, PRICE_DEVIATION, self._grid.tick)
        lots = self._draw_steps(MEAN_QUANTITY, QUANTITY_DEVIATION, self._grid.lot)
        return CreateOrder(
            order_id=rng.getrandbits(64),
            symbol=self._symbol,
            side=side,
            price=ticks * self._grid.tick,
            quantity=lots * self._grid.lot,
        )

    def _draw_steps(self, mean: int, deviation: int, step: Decimal) -> int:
        """A normal number as one of steps, at least one."""
        steps = float(min(mean / step, MAX_MEAN))
        return max(1, round(self._rng.gauss(steps, steps * deviation / mean)))

    def _send_order(self, request: CreateOrder | MarketOrder) -> Request:
        order = OpenOrder(request.side, Decimal(request.quantity))
        self.open_orders[request.order_id] = order
        self._ask(request)
        return request

    def _cancel(self, order_id: int) -> CancelOrder:
        self.open_orders[order_id].resting = False
        request = CancelOrder(order_id=order_id, symbol=self._symbol)
        self._ask(request)
        return request

    def _ask(self, request: Request) -> None:
        self._unanswered.append(request)
        self.tally.sent[str(request.__struct_config__.tag)] += 1

    def _filled(self, order: OpenOrder, reply: ExecutionReport) -> None:
        self.tally.fill(order.side, reply.price, reply.quantity)
        order.remaining -= reply.quantity
        if order.remaining < 0:
            raise UnexpectedReply(f"the server filled more of order {reply.order_id} than was left")
        if not order.remaining:
            del self.open_orders[reply.order_id]

    def _refused(self, reply: ErrorReply) -> None:
        self.tally.errors += 1
        if reply.code == "unknown_symbol":
            raise UnexpectedReply(f"the server does not trade {self._symbol}: {reply.error!r}")
        request = self._answered(reply.order_id)
        if request is None:
            return
        if not isinstance(request, CancelOrder) or reply.code == "not_found":
            self.open_orders.pop(request.order_id, None)
        elif order := self.open_orders.get(request.order_id):
            order.resting = True

    def _answered(self, order_id: int | None) -> Request | None:
        """Strike off the request that was answered: answers keep the order of the questions.

        A refusal may not know its `order_id`. None if nothing was asked: the rest of a market
        order is cancelled without a question.
        """
        for place, request in enumerate(self._unanswered):
            if order_id in (None, request.order_id):
                del self._unanswered[place]
                return request
        return None


def _at_market(order: CreateOrder) -> MarketOrder:
    return MarketOrder(
        order_id=order.order_id, symbol=order.symbol, side=order.side, quantity=order.quantity
    )
