"""From recorded messages to a client's messages; what a recording names, found again in the book.

No I/O: `seed` and `translate` return the requests to send, `told` takes in what the server says.
"""

from decimal import Decimal

from msgspec import Struct

from wood.client.requests import AmendOrder, CancelOrder, CreateOrder, Request
from wood.model.decimals import decimal_text
from wood.model.orders import BUY, SELL, Side, TimeInForce
from wood.tools.replay.lobster import MAX_ORDER_ID, BookRow, Kind, Message
from wood.tools.replay.messages import Reply
from wood.tools.replay.orders import FENCE_ID, Fill, Orders
from wood.tools.replay.tally import Tally


class _Execution(Struct):
    """An execution under way: the order it must hit, and what it has yet to trade with it."""

    target: int | None
    seeded: bool
    left: Decimal


class Translator:
    """Speaks for a recording to one server; its figures are in `tally`.

    Recorded orders keep their ids. Seeded orders and those that stand for executions get ids above
    every one that a recording may have.
    """

    def __init__(self, symbol: str | None = None) -> None:
        self.tally = Tally()
        self.orders = Orders(self.tally)
        self._symbol = symbol
        self._last_id = MAX_ORDER_ID
        self._introduced: set[int] = set()
        self._seeds: dict[tuple[Side, int], int] = {}
        self._executions: dict[int, _Execution] = {}

    def seed(self, row: BookRow, first: Message) -> list[Request]:
        """The orders that make `row`, the book after the message `first`.

        Where `first` is a new order that stands in the row, its level gets what was there before
        it, and then the order itself under its own id; any other first message is passed over.
        """
        levels = [(BUY, *level) for level in row.bids] + [(SELL, *level) for level in row.asks]
        standing = first.kind is Kind.NEW and any(
            (side, price) == (first.side, first.price) and size >= first.size
            for side, price, size in levels
        )
        requests: list[Request] = []
        for side, price, size in levels:
            if standing and (side, price) == (first.side, first.price):
                size -= first.size
            if size:
                requests.append(self._seed(side, price, size))
        if standing:
            requests += self.translate(first)
        else:
            self.tally.passed_over[first.kind] += 1
        return requests

    def depends(self, message: Message) -> bool:
        """Whether `translate` must know all that the server has answered; see `fence`."""
        if message.kind is Kind.DELETE and message.order_id in self._introduced:
            return False
        removes = message.kind in (Kind.PARTIAL_CANCEL, Kind.DELETE)
        return removes and self._target(message) is not None

    def fence(self) -> Request:
        """A request that changes nothing; once it is answered, so is all that came before it.

        `NEW` alone does not show that an order's fills have arrived.
        """
        return self._asked(CancelOrder(order_id=FENCE_ID, symbol=self._symbol))

    def translate(self, message: Message) -> list[Request]:
        """The request that does what `message` did; none if that leaves no trace in the book."""
        request = self._request(message)
        if request is None:
            self.tally.passed_over[message.kind] += 1
            return []
        self.tally.sent[message.kind] += 1
        return [self._asked(request)]

    def told(self, reply: Reply) -> None:
        """Take in what the server said. Raises `UnexpectedReply`."""
        fill = self.orders.told(reply)
        if reply.order_id in self._executions:
            self._executed(reply.order_id, fill)

    def _request(self, message: Message) -> Request | None:
        match message.kind:
            case Kind.NEW:
                self._introduced.add(message.order_id)
                return self._create(message.order_id, message.side, message.price, message.size)
            case Kind.PARTIAL_CANCEL | Kind.DELETE:
                return self._cancel(message)
            case Kind.EXECUTION:
                return self._execute(message)
            case _:
                return None

    def _target(self, message: Message) -> int | None:
        """The order in the server's book that stands for the one which `message` names."""
        if message.order_id in self._introduced:
            return message.order_id
        return self._seeds.get((message.side, message.price))

    def _cancel(self, message: Message) -> Request | None:
        target = self._target(message)
        if target is None:
            return None
        if target != message.order_id:
            return self._reduce(target, message.size) if self.orders.left(target) else None
        if message.kind is Kind.DELETE:
            return CancelOrder(order_id=target, symbol=self._symbol)
        return self._reduce(target, message.size)

    def _reduce(self, order_id: int, size: int) -> Request:
        """Take `size` off an order. Being smaller, it keeps its place in the queue."""
        left = self.orders.left(order_id) - size
        if left > 0:
            return AmendOrder(order_id=order_id, quantity=left, symbol=self._symbol)
        return CancelOrder(order_id=order_id, symbol=self._symbol)

    def _execute(self, message: Message) -> CreateOrder:
        """The order that did it: opposite, at that price, and gone if nobody is there."""
        order_id = self._next_id()
        seeded = message.order_id not in self._introduced
        target = self._target(message)
        self._executions[order_id] = _Execution(target, seeded, Decimal(message.size))
        side = SELL if message.side is BUY else BUY
        return self._create(order_id, side, message.price, message.size, TimeInForce.IOC)

    def _executed(self, order_id: int, fill: Fill | None) -> None:
        """Follow an execution; count it, once its order is gone, if all of it hit the target."""
        execution = self._executions[order_id]
        if fill is not None and execution.target is not None and fill.maker == execution.target:
            execution.left -= fill.quantity
        if self.orders.left(order_id):
            return
        del self._executions[order_id]
        if not execution.left:
            self.tally.hit_seeded += execution.seeded
            self.tally.hit_named += not execution.seeded

    def _seed(self, side: Side, price: int, size: int) -> Request:
        order_id = self._seeds[side, price] = self._next_id()
        self.tally.seeds += 1
        return self._asked(self._create(order_id, side, price, size))

    def _create(
        self, order_id: int, side: Side, price: int, size: int, lasts: TimeInForce | None = None
    ) -> CreateOrder:
        return CreateOrder(
            order_id=order_id,
            symbol=self._symbol,
            side=side,
            price=Decimal(decimal_text(price, -4)),
            quantity=size,
            time_in_force=lasts,
        )

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _asked(self, request: Request) -> Request:
        self.orders.asked(request)
        return request
