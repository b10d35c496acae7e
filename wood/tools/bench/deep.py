"""Books in Redis with few and with very many resting orders: memory, and what a command costs."""

from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from itertools import islice
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from wood.model.commands import NewOrder
from wood.model.orders import BUY, SELL
from wood.tools.bench.flow import MID, SYMBOL, Flow, Request
from wood.tools.bench.partition import Cost, Partition, batches
from wood.tools.bench.resting import FEW, PER_LEVEL
from wood.tools.bench.settings import Settings
from wood.tools.bench.spread import Spread, spread
from wood.tools.bench.store import Store, own_prefix

PARTICIPANTS = 125
"""Owners of the resting orders."""

BATCHES = 20
"""Batches of a round: so few that the flow's own orders do not make a small book a large one."""

FILLED_AT_ONCE = 10_000
"""Orders that are made at a time, which bounds the memory of this process."""


class Depth(Struct, frozen=True, kw_only=True):
    """What a book with `orders` resting showed.

    `bytes_per_order` is what Redis' memory grew by, the journal not counted. `growth` is what a
    command costs in this book to what it costs in the smallest one, by rounds.
    """

    orders: int
    bytes_per_order: int
    script_us_per_command: Spread
    growth: Spread


async def measure_depths(store: Store, settings: Settings, resting: Sequence[int]) -> list[Depth]:
    """Fill a book with `FEW` orders and one with each of `resting`; trade in all, in turns."""
    sizes = sorted({FEW, *resting})
    async with AsyncExitStack() as stack:
        books = []
        for size in sizes:
            prefix = await stack.enter_async_context(own_prefix(store.client))
            book = DeepBook(store, prefix, size, settings)
            await book.fill()
            books.append(book)
        rounds = [await _in_turns(books, number) for number in range(settings.pairs)]
    times = [[each.script_seconds * 1e6 / each.commands for each in costs] for costs in rounds]
    return [
        Depth(
            orders=book.orders,
            bytes_per_order=book.bytes_per_order,
            script_us_per_command=spread((each[place] for each in times), 3),
            growth=spread((each[place] / each[0] for each in times), 3),
        )
        for place, book in enumerate(books)
    ]


class DeepBook:
    """A book of `orders` at many prices, far enough apart for a flow to trade between them."""

    def __init__(self, store: Store, prefix: str, orders: int, settings: Settings) -> None:
        self.orders = orders
        self.bytes_per_order = 0
        self._client = store.client
        self._partition = Partition(store.client, prefix)
        self._batch = settings.batch
        self._random = Random(settings.seed)
        self._levels = max(1, orders // PER_LEVEL // 2)  # on each side
        self._flow = Flow(
            settings.connections, settings.cancel_share, settings.spread, settings.seed
        )

    async def fill(self) -> None:
        """Claim the partition, let the orders rest in it, and see what they take."""
        await self._partition.join()
        before = await self._memory()
        orders = (self._resting_order(number) for number in range(self.orders))
        while some := list(islice(orders, FILLED_AT_ONCE)):
            await self._partition.play(batches(some, self._batch))
        await self._client.xtrim(self._partition.keys.journal, maxlen=0, approximate=False)
        self.bytes_per_order = round((await self._memory() - before) / self.orders)

    async def trade(self) -> Cost:
        """The next round of the flow, between the resting orders."""
        requests = self._between(self._flow.take(BATCHES * self._batch))
        return await self._partition.play(batches(requests, self._batch))

    def _resting_order(self, number: int) -> NewOrder:
        # Named as a node names who is not logged in: names and ids are half of the memory.
        owner = f"~{number % PARTICIPANTS:016x}"
        away = self._random.randrange(self._levels)
        if self._random.random() < 0.5:
            side, price = BUY, self._levels - away
        else:
            side, price = SELL, self._levels + 2 * MID + away
        return NewOrder(owner, owner, 0, SYMBOL, number + 1, side, price, 10)

    def _between(self, requests: Sequence[Request]) -> Iterator[Request]:
        """The flow's prices are around `MID`; these are so much higher as there are bids below."""
        for request in requests:
            if isinstance(request, NewOrder) and request.price is not None:
                yield replace(request, price=request.price + self._levels)
            else:
                yield request

    async def _memory(self) -> int:
        return int((await self._client.info("memory"))["used_memory"])


async def _in_turns(books: Sequence[DeepBook], number: int) -> list[Cost]:
    """A round in each book, in `books`' order; every other time the last one goes first.

    A machine that slows down in the middle so wrongs now one, now another.
    """
    turn = books[::-1] if number % 2 else books
    costs = {book.orders: await book.trade() for book in turn}
    return [costs[book.orders] for book in books]
