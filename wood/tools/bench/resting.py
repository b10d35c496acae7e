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
"""Chunks of the mix of which the median counts."""


class Resting(Struct, frozen=True, kw_only=True):
    """What a book with `orders` resting showed.

    The mix is one part each of new orders deep in the book, cancels of random ones there, new
    orders at the best price, and orders that trade with the oldest there. `growth` is its cost at
    `orders` to that at `FEW`. `longest_pause_ms` is the longest that any one command took, in the
    filling and in the mix, with the collections that came in between; `full_collection_ms` is what
    a full garbage collection over the book would take.
    """

    orders: int
    memory_mb: float
    bytes_per_order: int
    few_us_per_command: float
    full_us_per_command: float
    growth: float
    longest_pause_ms: float
    full_collection_ms: float


def measure_resting(orders: int, seed: int) -> Resting:
    """Fill a book with `orders` and measure; takes some 10 us for each."""
    few, _ = _Crowd(FEW, seed).mix()
    gc.collect()
    before = _resident_bytes()
    crowd = _Crowd(orders, seed)
    memory = _resident_bytes() - before
    full, pause = crowd.mix()
    began = perf_counter()
    gc.collect()
    collection = perf_counter() - began
    return Resting(
        orders=orders,
        memory_mb=round(memory / 1e6, 1),
        bytes_per_order=round(memory / orders),
        few_us_per_command=round(few * 1e6, 3),
        full_us_per_command=round(full * 1e6, 3),
        growth=round(full / few, 3),
        longest_pause_ms=round(max(pause, crowd.fill_pause) * 1000, 3),
        full_collection_ms=round(collection * 1000, 3),
    )


class _Crowd:
    """A book full of orders of many participants, and commands that leave their number as it is."""

    def __init__(self, orders: int, seed: int) -> None:
        self._random = Random(seed)
        self._participants = [f"bench-{n}" for n in range(1 + orders // PER_PARTICIPANT)]
        self._levels = max(1, orders // PER_LEVEL // 2)  # on each side
        self._touch = self._levels + 1
        self._book = Book(SYMBOL)
        self._deep = array("Q")
        filling = self._filling(orders)
        self.fill_pause = max(pause for _, pause in self._timed(filling))

    def mix(self) -> tuple[float, float]:
        """(typical seconds for a command, longest seconds for one)."""
        timed = list(islice(self._timed(self._mixing()), CHUNKS))
        return median(seconds for seconds, _ in timed), max(pause for _, pause in timed)

    def _timed(self, commands: Iterator[Request]) -> Iterator[tuple[float, float]]:
        """Execute commands; for each chunk yield seconds per command and the longest."""
        while chunk := list(islice(commands, CHUNK)):
            yield _time(self._book, chunk)

    def _filling(self, orders: int) -> Iterator[Request]:
        touch = min(AT_TOUCH, orders)
        for _ in range(touch):
            yield self._order(BUY, self._touch)
        for _ in range(orders - touch):
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
