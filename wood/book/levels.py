"""The resting orders of one side: levels in price order, each a queue in time order."""

from collections.abc import Iterator

from msgspec import Struct

from wood.book.accounts import Account
from wood.book.prices import SortedPrices
from wood.model.orders import BUY, Side

# The cyclic garbage collector does not see `Order` and `Level` (gc=False): a full collection over a
# million of them would stop the market for half a second. Reference counting frees them, because
# every link of an order that leaves its queue is cut.


class Order(Struct, gc=False):
    """A resting order. `left` is in lots and more than 0 for as long as it rests."""

    account: Account
    order_id: int
    left: int
    post_only: bool
    level: "Level"
    previous: "Order | None" = None
    next: "Order | None" = None

    @property
    def participant(self) -> str:
        """Whose it is."""
        return self.account.participant


class Level(Struct, gc=False):
    """All orders at one price, oldest first. `total` is in lots, `key` grows with precedence."""

    side: "BookSide"
    key: int
    price: int
    total: int = 0
    first: Order | None = None
    last: Order | None = None

    def append(self, order: Order) -> None:
        """Put `order` at the back of the queue."""
        self.total += order.left
        last = self.last
        if last is None:
            self.first = order
        else:
            last.next = order
            order.previous = last
        self.last = order

    def unlink(self, order: Order) -> None:
        """Take `order` out of the queue, wherever it stands; the level may end up empty."""
        self.total -= order.left
        before, after = order.previous, order.next
        if before is None:
            self.first = after
        else:
            before.next = after
            order.previous = None
        if after is None:
            self.last = before
        else:
            after.previous = before
            order.next = None

    def orders(self) -> Iterator[Order]:
        """The queue from the oldest order on. It must not change meanwhile."""
        order = self.first
        while order is not None:
            yield order
            order = order.next


class BookSide:
    """All levels of one side. A level's `key` is its price, negated for asks: greater is better."""

    __slots__ = ("best", "levels", "prices", "side", "sign")

    def __init__(self, side: Side) -> None:
        self.side = side
        self.sign = 1 if side is BUY else -1
        self.levels: dict[int, Level] = {}  # by key
        self.prices = SortedPrices()
        self.best: Level | None = None

    def level(self, price: int) -> Level:
        """The level at `price`, made if there is none."""
        key = price * self.sign
        level = self.levels.get(key)
        if level is None:
            level = self.levels[key] = Level(self, key, price)
            self.prices.add(key)
            if self.best is None or key > self.best.key:
                self.best = level
        return level

    def total(self, price: int) -> int:
        """Lots resting at `price`."""
        level = self.levels.get(price * self.sign)
        return 0 if level is None else level.total

    def drop(self, level: Level) -> None:
        """Forget a level that has become empty."""
        del self.levels[level.key]
        self.prices.remove(level.key)
        if level is self.best:
            key = self.prices.best()
            self.best = None if key is None else self.levels[key]

    def in_order(self) -> Iterator[Level]:
        """The levels, best first. The side must not change meanwhile."""
        for key in self.prices.descending():
            yield self.levels[key]
