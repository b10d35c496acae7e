"""A book with very many resting orders: its memory, what a command costs in it, its pauses."""

import gc
import resource
import sys
from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter

from msgspec import Struct

from wood.book.book import Book
from wood.model.commands import CancelOrder, NewOrder
from wood.model.events import Event
from wood.model.instruments import Instrument
from wood.model.orders import BUY, SELL, Side
from wood.tools.bench.flow import SYMBOL, Request

FEW = 1_000
"""Resting orders of the small book that a command's cost is compared with."""

PER_LEVEL = 10
"""Orders at a price: the number of prices grows with the book, which is the harder case."""

PER_PARTICIPANT = 5_000
"""Open orders of one participant, half of what a server allows by default."""

AT_TOUCH = 10
"""Orders that wait at the best price, where the trades are."""

CHUNK = 10_000
"""Commands that are made ahead of the clock at a time, so that making them is not measured."""

CHUNKS = 10
"""Chunks of the mix of which the median counts, in the small book and in the full one."""


class Resting(Struct, frozen=True, kw_only=True):
    """What a book with `orders` resting showed.

    The mix is one part each of new orders deep in the book, cancels of random ones there, new
    orders at the best price, and orders that trade with the oldest there; `growth` is what it costs
    at `orders` to what it costs at `few_orders`. `longest_pause_ms` is the longest that any one
    command took, in the filling and in the mix, with the collections that came in between;
    `full_collection_ms` is what a full garbage collection over the book takes.
    """

    orders: int
    few_orders: int
    memory_mb: float
    bytes_per_order: int
    few_us_per_command: float
    full_us_per_command: float
    growth: float
    longest_pause_ms: float
    full_collection_ms: float


def measure_resting(orders: int, seed: int) -> Resting:
    """Fill a book with `orders`, at least `FEW`, and measure; takes some 5 us for each."""
    few = Crowd(FEW, seed)
    # As the server does at its start: what was there before the orders is not looked at again.
    gc.collect()
    gc.freeze()
    before = _resident_bytes()
    full = Crowd(orders, seed)
    memory = _resident_bytes() - before
    # In turns, so that a machine that slows down wrongs both.
    pairs = [(few.mix(), full.mix()) for _ in range(CHUNKS)]
    began = perf_counter()
    gc.collect()
    collection = perf_counter() - began
    return Resting(
        orders=orders,
        few_orders=FEW,
        memory_mb=round(memory / 1e6, 1),
        bytes_per_order=round(memory / orders),
        few_us_per_command=round(median(small for small, _ in pairs) * 1e6, 3),
        full_us_per_command=round(median(large for _, large in pairs) * 1e6, 3),
        growth=round(median(large / small for small, large in pairs), 3),
        longest_pause_ms=round(full.longest * 1000, 3),
        full_collection_ms=round(collection * 1000, 3),
    )


class Crowd:
    """A book of more than `AT_TOUCH` orders by many participants; commands that keep it full."""

    def __init__(self, orders: int, seed: int) -> None:
        self._random = Random(seed)
        self._participants = [f"bench-{n}" for n in range(1 + orders // PER_PARTICIPANT)]
        self._levels = max(1, orders // PER_LEVEL // 2)  # on each side
        self._touch = self._levels + 1
        self.book = Book(Instrument(SYMBOL))
        self._deep = array("Q")
        self._mixed = self._mixing()
        self.longest = 0.0
        """Seconds of the command that took longest so far."""
        filling = self._filling(orders)
        while chunk := list(islice(filling, CHUNK)):
            self._execute(chunk)

    def mix(self) -> float:
        """Execute a chunk of the mix; return the mean seconds of a command."""
        return self._execute(list(islice(self._mixed, CHUNK)))

    def _filling(self, orders: int) -> Iterator[Request]:
        for _ in range(AT_TOUCH):
            yield self._order(BUY, self._touch)
        for _ in range(orders - AT_TOUCH):
            order = self._deep_order()
            self._deep.append(order.order_id)
            yield order

    def _mixing(self) -> Iterator[Request]:
        deep, random = self._deep, self._random
        while True:
            at = random.randrange(len(deep))
            yield CancelOrder(self._owner(deep[at]), "", 0, SYMBOL, deep[at])
            order = self._deep_order()
            deep[at] = order.order_id
            yield order
            yield self._order(BUY, self._touch)
            yield self._order(SELL, self._touch)

    def _execute(self, commands: list[Request]) -> float:
        mean, longest = _time(self.book, commands)
        self.longest = max(self.longest, longest)
        return mean

    def _deep_order(self) -> NewOrder:
        """An order away from the best price: no trade reaches it."""
        away = 1 + self._random.randrange(self._levels)
        if self._random.random() < 0.5:
            return self._order(BUY, self._touch - away)
        return self._order(SELL, self._touch + away)

    def _order(self, side: Side, price: int) -> NewOrder:
        order_id = self._random.getrandbits(64)
        return NewOrder(self._owner(order_id), "", 0, SYMBOL, order_id, side, price, 1)

    def _owner(self, order_id: int) -> str:
        return self._participants[order_id % len(self._participants)]


def _time(book: Book, commands: list[Request]) -> tuple[float, float]:
    """(mean, longest) seconds for a command; a collection belongs to the command it falls into."""
    execute, events = book.execute, list[Event]()
    longest = 0.0
    began = before = perf_counter()
    for command in commands:
        execute(command, 0, events)
        events.clear()
        now = perf_counter()
        if now - before > longest:
            longest = now - before
        before = now
    return (before - began) / len(commands), longest


def _resident_bytes() -> int:
    """The memory of this process that is in RAM; where only its peak is known, that."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
