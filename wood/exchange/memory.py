"""The engine of a single process: the books in memory, nothing outside."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

from msgspec.structs import replace

from wood.book.book import MAX_OPEN_ORDERS, MAX_RESTING_ORDERS, Book, OpenOrders
from wood.exchange.exchange import Exchange
from wood.exchange.journal import KEPT, Journal
from wood.model.commands import (
    CancelAll,
    CloseSession,
    Command,
    ListInstruments,
    ListOrders,
    OrderCommand,
    Refuse,
)
from wood.model.events import (
    AllCanceled,
    Batch,
    CommandRefused,
    Event,
    InstrumentsListed,
    OrdersListed,
    SessionClosed,
    Snapshot,
)
from wood.model.instruments import Instruments

MAX_COMMANDS = 512
"""Commands in one batch. With `MAX_EVENTS` it bounds how long the event loop stands."""

MAX_EVENTS = 4096
"""Events, rows of lists and orders looked at, after which a batch ends."""

MAX_QUEUE = 4096
"""Commands that may wait before the node is to stop reading."""


def microseconds() -> int:
    """Now, in microseconds since the epoch."""
    return time.time_ns() // 1000


class MemoryExchange(Exchange):
    """Decides what has arrived once in each turn of the event loop.

    So commands that arrive together share a batch, and one that arrives alone does not wait.
    """

    def __init__(
        self,
        instruments: Instruments,
        max_open_orders: int = MAX_OPEN_ORDERS,
        max_resting_orders: int = MAX_RESTING_ORDERS,
        max_queue: int = MAX_QUEUE,
        kept: int = KEPT,
        clock: Callable[[], int] = microseconds,
    ) -> None:
        super().__init__(instruments)
        open_orders = OpenOrders(max_open_orders, max_resting_orders)
        self.books = {symbol: Book(symbol, open_orders) for symbol in instruments}
        self.journal = Journal(kept)
        self._clock = clock
        self._time = clock()
        # A new process is a new history; its start tells it from the one before.
        self._epoch = self._time
        self._seq = 0
        self._number = 0
        self._queue: deque[Command] = deque()
        self._max_queue = max_queue
        self._was_full = False
        self._listed = False  # whether the batch holds the answer to a query
        self._scheduled = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def start(self) -> None:
        """Reset the readers to the empty books."""
        self._loop = asyncio.get_running_loop()
        snapshot = await self.snapshot()
        for reader in self._readers:
            reader.reset(snapshot)

    def submit(self, commands: Sequence[Command]) -> None:
        """Queue commands for the next turn of the event loop."""
        self._queue.extend(commands)
        if len(self._queue) >= self._max_queue:
            self._was_full = True
        if not self._scheduled:
            self._scheduled = True
            self._idle.clear()
            self._loop.call_soon(self._turn)

    @property
    def full(self) -> bool:
        """Whether `max_queue` commands wait."""
        return len(self._queue) >= self._max_queue

    async def events(self, after: int, concerning: str | None = None) -> AsyncIterator[Batch]:
        """The batches of the journal in memory; others get their turns between them."""
        for batch in self.journal.after(after):
            yield batch
            await asyncio.sleep(0)

    async def continues(self, epoch: int, seq: int) -> bool:
        """Whether it is of this process, and kept."""
        return epoch == self._epoch and self.journal.trimmed <= seq <= self._seq

    async def snapshot(self) -> Snapshot:
        """The books between two batches."""
        books = {symbol: book.snapshot() for symbol, book in self.books.items()}
        return Snapshot("main", self._epoch, self._seq, self._time, books)

    async def drain(self) -> None:
        """Wait until the queue is empty."""
        await self._idle.wait()

    async def close(self) -> None:
        """There is nothing to let go of."""

    def _turn(self) -> None:
        try:
            batch = self._decide()
            self.journal.append(_history(batch) if self._listed else batch)
            for reader in self._readers:
                reader.apply(batch)
        except Exception as error:
            # The book and what was told of it may differ now: nobody may trade on that.
            self._queue.clear()
            self._idle.set()
            self._fail(error)
        else:
            self._after_turn()

    def _after_turn(self) -> None:
        if self._queue:
            self._loop.call_soon(self._turn)
        else:
            self._scheduled = False
            self._idle.set()
        if self._was_full and len(self._queue) <= self._max_queue // 2:
            self._was_full = False
            self._room()

    def _decide(self) -> Batch:
        """Take commands off the queue until the batch is long enough, and decide them."""
        queue, events, first = self._queue, list[Event](), self._seq + 1
        self._time = max(self._time, self._clock())
        self._number += 1
        self._listed = False
        seq = self._seq
        books = self.books
        size = 0
        for _ in range(min(len(queue), MAX_COMMANDS)):
            command = queue.popleft()
            if isinstance(command, OrderCommand):
                book = books[command.symbol]
                seq = book.execute(command, seq, events)
                if book.looked_at:
                    size += book.looked_at
                    book.looked_at = 0
            else:
                seq, extra = self._other(command, seq, events)
                size += extra
            if size + len(events) >= MAX_EVENTS:
                break
        self._seq = seq
        return Batch("main", self._epoch, "main", self._number, first, seq, self._time, events)

    def _other(self, command: Command, seq: int, events: list[Event]) -> tuple[int, int]:
        """Decide what is not a new order; return (last number, size of the answer beside events).

        The second keeps long lists from sharing a batch with many others of their kind.
        """
        participant, session = command.participant, command.session
        match command:
            case Refuse(code=code, text=text, order_id=order_id, symbol=symbol):
                events.append(CommandRefused(participant, session, code, text, order_id, symbol))
            case CancelAll(symbol=symbol):
                seq, count = self._cancel_all(participant, symbol, seq, events)
                events.append(AllCanceled(participant, session, symbol, count))
            case ListOrders(symbol=symbol):
                books = self._books(symbol)
                orders = [order for book in books for order in book.open_orders(participant)]
                events.append(OrdersListed(participant, session, symbol, orders))
                self._listed = True
                return seq, len(orders)
            case ListInstruments():
                states = dict.fromkeys(self.instruments, "open")
                events.append(InstrumentsListed(participant, session, states))
                self._listed = True
                return seq, len(states)
            case CloseSession(cancel_orders=cancel_orders):
                if cancel_orders:
                    seq, _ = self._cancel_all(participant, None, seq, events)
                events.append(SessionClosed(participant, session))
            case _:
                raise TypeError(f"an exchange does not take {type(command).__name__}")
        return seq, 0

    def _cancel_all(
        self, participant: str, symbol: str | None, seq: int, events: list[Event]
    ) -> tuple[int, int]:
        total = 0
        for book in self._books(symbol):
            seq, count = book.cancel_all(participant, seq, events)
            total += count
        return seq, total

    def _books(self, symbol: str | None) -> list[Book]:
        return list(self.books.values()) if symbol is None else [self.books[symbol]]


def _history(batch: Batch) -> Batch:
    """A batch without the answers to queries: they are long, and told once."""
    events = [e for e in batch.events if not isinstance(e, OrdersListed | InstrumentsListed)]
    return replace(batch, events=events)
