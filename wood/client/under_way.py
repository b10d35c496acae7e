"""The commands that were sent and not answered, and which answer is whose.

The server answers in the order it was asked, a refusal too; where there are several partitions each
of them does. So of several commands that an answer could belong to, it belongs to the oldest. On a
connection every command is answered; what is still here after the reports of a lost connection were
replayed was refused, and the refusal got lost, or was not taken.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator

from wood.client.places import Partition
from wood.client.replies import ErrorReply
from wood.client.reports import Amended, Canceled, New, OrderReport
from wood.client.requests import (
    AmendOrder,
    CancelOrder,
    Command,
    Control,
    CreateOrder,
    MarketOrder,
    Query,
    Request,
)

_FITTING: dict[str, tuple[type, ...]] = {
    "duplicate": (CreateOrder, MarketOrder),
    "not_found": (CancelOrder, AmendOrder),
}
"""What can be refused with these codes; with the others, anything."""


class UnderWay:
    """What was asked and not answered, oldest first.

    `of` is the partition that a symbol leads to.
    """

    def __init__(self, of: Callable[[str | None], Partition] = lambda symbol: None) -> None:
        self._of = of
        self._asked: deque[Command | Query] = deque()
        self._orders: Counter[int] = Counter()  # how often each order is named in `_asked`
        self._default: str | None = None  # the default instrument, once it is known

    def __len__(self) -> int:
        return len(self._asked)

    def __iter__(self) -> Iterator[Command | Query]:
        return iter(self._asked)

    def add(self, request: Command | Query) -> None:
        """`request` is being sent."""
        self._asked.append(request)
        if isinstance(request, Request):
            self._orders[request.order_id] += 1

    def names(self, order_id: int, symbol: str | None) -> bool:
        """Whether a command about this order is under way."""
        return order_id in self._orders and any(
            isinstance(request, Request)
            and (request.order_id, request.symbol) == (order_id, symbol)
            for request in self._asked
        )

    def reported(self, report: OrderReport) -> None:
        """Strike off the command that `report` answers, if it answers any."""
        if report.order_id not in self._orders or not isinstance(report, (New, Amended, Canceled)):
            return
        request = self._take(
            lambda request: (
                isinstance(request, Request)
                and _answers(report, request)
                and self.same(request.symbol, report.symbol)
            )
        )
        if isinstance(request, Request) and request.symbol is None:
            self._default = report.symbol or self._default

    def refused(self, error: ErrorReply, *, blind: bool) -> Command | Query | None:
        """Strike off and return what `error` refuses, None if that cannot be told.

        With `blind` the server may refuse an order without naming it: then it is the oldest.
        """
        if error.order_id is None:
            place = self._of(error.symbol)
            head = next((each for each in self._asked if self._concerns(each, place)), None)
            if blind or not isinstance(head, Request):
                return self._take(lambda request: blind or request is head)
            return None
        fitting = _FITTING.get(error.code, (Request,))
        return self._take(
            lambda request: (
                isinstance(request, Request)
                and isinstance(request, fitting)
                and request.order_id == error.order_id
                and self._concerns(request, self._of(error.symbol))
                and (error.symbol is None or self.same(request.symbol, error.symbol))
            )
        )

    def replied(self, kind: type, symbol: str | None = None) -> Command | Query | None:
        """Strike off and return the oldest of `kind`, whose reply, about `symbol`, has come."""
        return self._take(
            lambda request: (
                isinstance(request, kind)
                and (symbol is None or self.same(getattr(request, "symbol", None), symbol))
            )
        )

    def clear(self) -> list[Command | Query]:
        """Forget all of it, and return it."""
        asked = list(self._asked)
        self._asked.clear()
        self._orders.clear()
        return asked

    def same(self, asked: str | None, told: str | None) -> bool:
        """Whether two symbols may mean the same; None is the default, whose name may be unknown."""
        if self._of(asked) != self._of(told):
            return False
        if asked == told:
            return True
        return None in (asked, told) and self._default in (None, asked, told)

    def _concerns(self, request: Command | Query, partition: Partition) -> bool:
        """Whether the answer to `request` may be one of `partition`, or of all."""
        symbol: str | None = getattr(request, "symbol", None)
        of_all = symbol is None and not isinstance(request, Request | Control)
        return of_all or self._of(symbol) == partition

    def _take(self, fits: Callable[[Command | Query], bool]) -> Command | Query | None:
        for place, request in enumerate(self._asked):
            if fits(request):
                del self._asked[place]
                self._forget(request)
                return request
        return None

    def _forget(self, request: Command | Query) -> None:
        if isinstance(request, Request):
            self._orders[request.order_id] -= 1
            if not self._orders[request.order_id]:
                del self._orders[request.order_id]


def _answers(report: OrderReport, request: Request) -> bool:
    """Whether `report` can be the answer to `request`, but for the symbol."""
    if request.order_id != report.order_id:
        return False
    match report:
        case New():
            return isinstance(request, (CreateOrder, MarketOrder))
        case Canceled():
            return isinstance(request, CancelOrder)
        case Amended(price=price, quantity=quantity):
            return (
                isinstance(request, AmendOrder)
                and request.price in (None, price)
                and request.quantity in (None, quantity)
            )
    return False
