"""Following one's orders by the server's answers and reports: what is open, and who hit whom."""

from collections import deque
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct

from wood.client.requests import AmendOrder, CancelOrder, CreateOrder, Request
from wood.model.orders import Side
from wood.tools.errors import UnexpectedReply
from wood.tools.replay.messages import Reply
from wood.tools.replay.tally import Tally

FENCE_ID = 2**64 - 1
"""An order id that is never open. The refusal to cancel it closes what was asked before it."""

NOTHING = Decimal(0)

_ANSWERS: dict[type[Request], str] = {
    CreateOrder: "NEW",
    AmendOrder: "AMENDED",
    CancelOrder: "CANCELED",
}


class Fill(NamedTuple):
    """What an incoming order of ours traded; a `maker` of None is an order of somebody else."""

    maker: int | None
    taker: int
    quantity: Decimal


class _Open(Struct):
    """An open order and what remains of it."""

    side: Side
    left: Decimal


class _Half(NamedTuple):
    """The resting order's fill, which waits for the incoming order's: that comes next or never."""

    order_id: int
    side: Side
    price: Decimal
    quantity: Decimal


class Orders:
    """The orders of one connection as the server reports them.

    Answers keep the order of the requests, hence the oldest unanswered request tells an answer
    from a report that merely looks like one: `CANCELED` also ends an order that may not rest.
    """

    def __init__(self, tally: Tally) -> None:
        self.unanswered: deque[Request] = deque()
        self._tally = tally
        self._open: dict[int, _Open] = {}
        self._newest: int | None = None
        self._half: _Half | None = None

    def left(self, order_id: int) -> Decimal:
        """What the reports so far leave of an order; 0 if it is not open."""
        order = self._open.get(order_id)
        return NOTHING if order is None else order.left

    def asked(self, request: Request) -> None:
        """`request` is being sent."""
        self.unanswered.append(request)

    def told(self, reply: Reply) -> Fill | None:
        """Take in what the server said; return what an incoming order traded, if it is that.

        Raises `UnexpectedReply` where it is about an order that cannot be open.
        """
        if reply.error is not None:
            self._refused(reply)
        elif reply.order_id is not None and reply.report == "FILL":
            return self._filled(reply.order_id, reply)
        elif reply.order_id is not None:
            self._close_trade()
            self._changed(reply.order_id, reply)
        return None

    def _changed(self, order_id: int, reply: Reply) -> None:
        request = self._answered(reply)
        if isinstance(request, CreateOrder):
            self._open[order_id] = _Open(request.side, Decimal(request.quantity))
            self._newest = order_id
            self._tally.accepted += 1
        elif isinstance(request, AmendOrder):
            self._open[order_id].left = reply.quantity
        elif reply.report == "CANCELED":
            self._open.pop(order_id, None)

    def _answered(self, reply: Reply) -> Request | None:
        """The request that `reply` answers; None if it reports what was not asked for."""
        if not self.unanswered:
            return None
        oldest = self.unanswered[0]
        if (oldest.order_id, _ANSWERS[type(oldest)]) != (reply.order_id, reply.report):
            return None
        return self.unanswered.popleft()

    def _refused(self, reply: Reply) -> None:
        self._close_trade()
        if self.unanswered and self.unanswered.popleft().order_id == FENCE_ID:
            return
        self._tally.refuse(reply.code or "error", reply.error or "")

    def _filled(self, order_id: int, reply: Reply) -> Fill | None:
        order = self._take(order_id, reply.quantity)
        if order_id != self._newest:
            self._close_trade()
            self._half = _Half(order_id, order.side, reply.price, reply.quantity)
            return None
        half = self._half
        # Others may have traded with two of our resting orders in a row, but then either the sides
        # are equal or the prices differ.
        if half is not None and (half.side is order.side or half.price != reply.price):
            self._close_trade()
            half = None
        self._half = None
        self._tally.traded(reply.price, reply.quantity)
        return Fill(half.order_id if half else None, order_id, reply.quantity)

    def _take(self, order_id: int, quantity: Decimal) -> _Open:
        """Take what was traded off an order; it is gone when nothing is left."""
        order = self._open.get(order_id)
        if order is None:
            raise UnexpectedReply(f"the server fills order {order_id}, which is not open")
        order.left -= quantity
        if order.left <= 0:
            del self._open[order_id]
        return order

    def _close_trade(self) -> None:
        """Count the fill that still waits for its other side: that side is somebody else."""
        if self._half is not None:
            self._tally.traded(self._half.price, self._half.quantity)
            self._half = None
