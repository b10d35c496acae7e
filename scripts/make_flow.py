"""Make the recorded flow in examples/: an invented day, decided by wood's own book.

    python scripts/make_flow.py [DIRECTORY]

writes `flow-messages.csv` and `flow-orderbook.csv` in the LOBSTER format, always the same bytes.
The day begins with an empty book, and no side ever has more than the ten levels of a row, so that
a row is the whole book and a replay may begin at any of them.
"""

import sys
from pathlib import Path
from random import Random

from wood.book.book import Book
from wood.book.levels import BookSide
from wood.model.commands import AmendOrder, CancelOrder, NewOrder, OrderCommand
from wood.model.events import CommandRefused, Event, OpenOrder
from wood.model.instruments import Instrument
from wood.model.orders import BUY, GTC, IOC, SELL, Side, TimeInForce
from wood.tools.replay.lobster import NO_PRICE, Kind

SEED = 2016
MESSAGES = 500
LEVELS = 10
OPENING = 34_200 * 10**9
"""Half past nine, in nanoseconds after midnight."""

FAIR_PRICE = 10_000
"""Where the price begins, in ticks of a cent."""

TICK = 100
"""A tick in the unit of the format, 1/10000 dollar."""

OWNER = "flow"
TAKER_ID = 0
"""The id of orders that trade at once: the format does not record them, only what they hit."""

OPENING_ORDERS = 40
SIZES = (10, 20, 50, 100, 100, 100, 200, 300, 500)
TAKEN_SIZES = (5, 10, 20, 50, 100, 100, 200)
DISTANCES = (0, 0, 0, 1, 1, 2, 2, 3, 4, 5, 6, 8)


class Recording:
    """The lines of both files."""

    def __init__(self, book: Book) -> None:
        self.messages: list[str] = []
        self.rows: list[str] = []
        self._book = book

    def add(self, now: int, kind: Kind, order_id: int, size: int, price: int, side: Side) -> None:
        """Record a message, and the book as it stands after it. `price` is in 1/10000 dollar."""
        seconds = f"{now // 10**9}.{now % 10**9:09}"
        direction = 1 if side is BUY else -1
        self.messages.append(f"{seconds},{kind},{order_id},{size},{price},{direction}")
        self.rows.append(",".join(map(str, self._levels())))

    def _levels(self) -> list[int]:
        snapshot = self._book.snapshot()
        columns: list[int] = []
        for level in range(LEVELS):
            for levels, nothing in ((snapshot.asks, NO_PRICE), (snapshot.bids, -NO_PRICE)):
                there = level < len(levels)
                price, size = levels[level] if there else (0, 0)
                columns += [price * TICK if there else nothing, size]
        return columns


class Day:
    """Random traders round a price that wanders."""

    def __init__(self, seed: int) -> None:
        # Whole numbers only: what the C library makes of a logarithm differs between machines.
        self._random = Random(seed)
        self._book = Book(Instrument("FLOW"))
        self.recording = Recording(self._book)
        self._now = OPENING
        self._last_id = 1000
        self._fair = FAIR_PRICE

    def run(self, messages: int) -> Recording:
        """Let the day go on for at least so many messages, with a halt when half of it is over."""
        actions = [self.place] * 46 + [self.delete] * 25 + [self.take] * 15
        actions += [self.reduce] * 8 + [self.trade_hidden] * 6
        for _ in range(OPENING_ORDERS):
            self.place()
        halted = False
        while len(self.recording.messages) < messages:
            self._random.choice(actions)()
            self._fair += self._random.choice((-1, 0, 0, 0, 0, 0, 0, 0, 0, 1))
            if not halted and len(self.recording.messages) >= messages // 2:
                self.halt()
                halted = True
        return self.recording

    def place(self) -> None:
        """A limit order: what it can trade is recorded as executions, the rest as a new order."""
        side = self._random.choice((BUY, SELL))
        price = self._price(side)
        left = self._execute(side, price, self._random.choice(SIZES))
        if left:
            self._last_id += self._random.randrange(1, 20)
            self._ask(self._order(self._last_id, side, price, left, GTC))
            self._record(Kind.NEW, self._last_id, left, price, side)

    def take(self) -> None:
        """A market order."""
        side = self._random.choice((BUY, SELL))
        self._execute(side, None, self._random.choice(TAKEN_SIZES))

    def delete(self) -> None:
        """An order is cancelled."""
        if order := self._open_order():
            self._ask(CancelOrder(OWNER, OWNER, 0, order.symbol, order.order_id))
            self._record(Kind.DELETE, order.order_id, order.quantity, order.price, order.side)

    def reduce(self) -> None:
        """A part of an order is cancelled."""
        order = self._open_order()
        if order and order.quantity > 1:
            size = self._random.randrange(1, order.quantity)
            left = order.quantity - size
            self._ask(AmendOrder(OWNER, OWNER, 0, order.symbol, order.order_id, None, left))
            self._record(Kind.PARTIAL_CANCEL, order.order_id, size, order.price, order.side)

    def trade_hidden(self) -> None:
        """A trade with an order that nobody sees; the book does not change."""
        side = self._random.choice((BUY, SELL))
        self._record(Kind.HIDDEN_EXECUTION, 0, self._random.choice(SIZES), self._fair, side)

    def halt(self) -> None:
        """Trading stops, then quotes resume, then trading: -1, 0 and 1 in place of the price."""
        for state in (-1, 0, 1):
            self.recording.add(self._pass_time(), Kind.HALT, 0, 0, state, SELL)

    def _execute(self, side: Side, limit: int | None, quantity: int) -> int:
        """Trade with the opposite side, one resting order at a time; return what is left."""
        opposite = self._opposite(side)
        while quantity and (level := opposite.best) and (order := level.first):
            if limit is not None and level.key < limit * opposite.sign:
                break
            order_id, size = order.order_id, min(order.left, quantity)
            self._ask(self._order(TAKER_ID, side, level.price, size, IOC))
            self._record(Kind.EXECUTION, order_id, size, level.price, opposite.side)
            quantity -= size
        return quantity

    def _price(self, side: Side) -> int:
        """A price at or behind the fair one; never an eleventh level."""
        own = self._book.bids if side is BUY else self._book.asks
        price = self._fair - own.sign * (1 + self._random.choice(DISTANCES))
        full = len(own.levels) == LEVELS and not own.total(price)
        return self._random.choice(sorted(own.levels)) * own.sign if full else price

    def _opposite(self, side: Side) -> BookSide:
        return self._book.asks if side is BUY else self._book.bids

    def _open_order(self) -> OpenOrder | None:
        orders = self._book.open_orders(OWNER)
        return self._random.choice(orders) if orders else None

    def _order(
        self, order_id: int, side: Side, price: int, quantity: int, lasts: TimeInForce
    ) -> NewOrder:
        return NewOrder(OWNER, OWNER, 0, self._book.symbol, order_id, side, price, quantity, lasts)

    def _ask(self, command: OrderCommand) -> None:
        events: list[Event] = []
        self._book.execute(command, 0, events)
        assert not any(isinstance(event, CommandRefused) for event in events), events

    def _record(self, kind: Kind, order_id: int, size: int, price: int, side: Side) -> None:
        self.recording.add(self._pass_time(), kind, order_id, size, price * TICK, side)

    def _pass_time(self) -> int:
        """Mostly microseconds, now and then seconds, as in a real market."""
        self._now += self._random.randrange(1, 2 ** self._random.randrange(14, 33))
        return self._now


def write(directory: Path) -> None:
    """Write both files into `directory`."""
    recording = Day(SEED).run(MESSAGES)
    for name, lines in (("messages", recording.messages), ("orderbook", recording.rows)):
        text = "".join(f"{line}\n" for line in lines)
        (directory / f"flow-{name}.csv").write_text(text, encoding="ascii", newline="\n")


if __name__ == "__main__":
    default = Path(__file__).resolve().parent.parent / "examples"
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
