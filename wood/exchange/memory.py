"""The engine of a single process: the books in memory, nothing outside."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from math import inf

from msgspec.structs import replace

from wood.book.accounts import MAX_OPEN_ORDERS, MAX_RESTING_ORDERS, OpenOrders
from wood.book.book import Book
from wood.exchange.arrivals import Arrivals
from wood.exchange.exchange import Partition
from wood.exchange.journal import KEPT, Journal
from wood.exchange.participants import ParticipantFile
from wood.exchange.rates import Rates
from wood.exchange.sessions import GRACE, Auth, Sessions, epoch_of
from wood.model.commands import (
    SWEEP,
    CancelAll,
    CancelAnonymous,
    ChangeState,
    CloseSession,
    Command,
    Heartbeat,
    ListInstruments,
    ListOrders,
    OpenSession,
    OrderCommand,
    Refuse,
    Sweep,
)
from wood.model.errors import ConfigError, Refusal
from wood.model.events import (
    AllCanceled,
    Batch,
    CommandRefused,
    Event,
    HeartbeatAnswered,
    InstrumentsListed,
    LoginRefused,
    OpenOrder,
    OrdersListed,
    ParticipantDisabled,
    Place,
    SessionClosed,
    SessionOpened,
    Snapshot,
    StateAnswered,
)
from wood.model.instruments import Instruments
from wood.model.limits import EVERYWHERE, NO_LIMITS, NONE
from wood.model.log_events import LogEvent, told
from wood.model.orders import Reason, State
from wood.model.participants import anonymous_since

log = logging.getLogger("wood.exchange")

MAX_COMMANDS = 512
"""Commands in one batch. With `MAX_EVENTS` it bounds how long the event loop stands."""

MAX_EVENTS = 4096
"""Events, rows of lists and orders looked at, after which a batch ends."""

MAX_QUEUE = 4096
"""Commands that may wait before the node is to stop reading."""

TURN = 100
"""Batches of the journal that are read before others get their turn."""

WATCH = 0.2
"""Seconds between two looks at the participants' file."""


def microseconds() -> int:
    """Now, in microseconds since the epoch."""
    return time.time_ns() // 1000


class MemoryExchange(Partition):
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
        auth: Auth = Auth.OPEN,
        grace: float = GRACE,
        participants: ParticipantFile | None = None,
        max_rate: int = 0,
    ) -> None:
        super().__init__(instruments)
        self._open_orders = OpenOrders(max_open_orders, max_resting_orders)
        self.books = {
            symbol: Book(instrument, self._open_orders)
            for symbol, instrument in instruments.items()
        }
        self._rates = Rates(max_rate)
        self._sessions = Sessions(auth, grace)
        self._file = participants
        self._watching: asyncio.Task[None] | None = None
        self._replan = False  # whether the next sweep may be due at another time
        self._sweep: asyncio.TimerHandle | None = None
        self.journal = Journal(kept)
        self._clock = clock
        self._time = clock()
        # A new process is a new history; its start tells it from the one before.
        self._epoch = self._time
        self._seq = 0
        self._number = 0
        self._queue: deque[Command] = deque()
        self._arrivals = Arrivals()
        self._since = 0.0  # when the first command came that no turn has seen yet
        self._max_queue = max_queue
        self._was_full = False
        self._told_once = False  # whether the batch holds what the journal does not keep
        self._scheduled = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def start(self) -> None:
        """Reset the readers to the empty books. Raises `ConfigError` for a bad file."""
        self._loop = asyncio.get_running_loop()
        if self._file is not None:
            if self._file.missing():
                raise ConfigError(
                    f"there is no file {self._file.path}: 'wood participant add NAME "
                    f"--participants {self._file.path}' makes it"
                )
            self._sessions.participants = self._file.load()
            self._take_limits()
            self._watching = asyncio.create_task(self._watch(self._file))
        snapshot = await self.snapshot()
        for reader in self._readers:
            reader.reset(snapshot)

    def submit(self, commands: Sequence[Command]) -> str | None:
        """Queue commands for the next turn of the event loop."""
        if self._rates.any:
            commands = self._rates.admit(commands, self._clock())
        self._queue.extend(commands)
        if len(self._queue) >= self._max_queue:
            self._was_full = True
        if not self._scheduled:
            self._scheduled = True
            self._since = time.monotonic()
            self._idle.clear()
            self._loop.call_soon(self._turn)
        return self.name if self.full else None

    @property
    def full(self) -> bool:
        """Whether `max_queue` commands wait."""
        return len(self._queue) >= self._max_queue

    @property
    def place(self) -> Place:
        """The epoch, and the number of the last event."""
        return self._epoch, self._seq

    async def events(
        self, after: int, concerning: str | None = None
    ) -> AsyncGenerator[Batch, None]:
        """The batches of the journal in memory; others get their turns between them."""
        for place, batch in enumerate(self.journal.after(after), 1):
            yield batch
            if place % TURN == 0:
                await asyncio.sleep(0)

    async def continues(self, epoch: int, seq: int) -> bool:
        """Whether it is of this process, and kept."""
        return epoch == self._epoch and self.journal.trimmed <= seq <= self._seq

    async def snapshot(self) -> Snapshot:
        """The books between two batches."""
        books = {symbol: book.snapshot() for symbol, book in self.books.items()}
        halted = frozenset(s for s, book in self.books.items() if book.state is State.HALTED)
        return Snapshot(self.name, self._epoch, self._seq, self._time, books, halted)

    async def drain(self) -> None:
        """Wait until the queue is empty."""
        await self._idle.wait()

    async def close(self) -> None:
        """Watch the participants' file no more."""
        if self._sweep is not None:
            self._sweep.cancel()
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])

    async def _watch(self, file: ParticipantFile) -> None:
        """Read the participants again whenever their file changes."""
        while True:
            await asyncio.sleep(WATCH)
            if not file.changed():
                continue
            try:
                participants = file.load()
                if file.missing():
                    raise ConfigError(f"{file.path} is gone")
                self._sessions.take(participants)
                self._take_limits()
            except ConfigError as error:
                refused = told(LogEvent.PARTICIPANTS_REFUSED, reason=str(error))
                log.warning("%s; the participants stay as they were", error, extra=refused)
            else:
                read = told(LogEvent.PARTICIPANTS_READ, count=len(participants))
                log.info("read the participants anew: %s", file.path, extra=read)
                self._plan_sweep()

    def _take_limits(self) -> None:
        known = self._sessions.participants
        own = {name: each.limits for name, each in known.items() if each.limits}
        self._rates.take(own)
        everywhere = {name: limits.get(EVERYWHERE, NO_LIMITS) for name, limits in own.items()}
        self._open_orders.own_limits = {
            name: inf if limits.open_orders == NONE else limits.open_orders
            for name, limits in everywhere.items()
            if limits.open_orders is not None
        }
        for book in self.books.values():
            book.rules.take(own)
            book.take_participants(known.keys())

    def _plan_sweep(self) -> None:
        """Ask for a sweep when the next participant is due."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        due = self._sessions.next_due(max(self._time, self._clock()))
        if due is not None:
            self._sweep = self._loop.call_later(due, self.submit, [SWEEP])

    def _turn(self) -> None:
        arrivals, vitals = self._arrivals, self.vitals
        vitals.commands += arrivals.look(len(self._queue), self._since)
        try:
            batch = self._decide()
            size = arrivals.count - len(self._queue)
            since = arrivals.take(size)
            kept = _history(batch) if self._told_once else batch
            if kept.events:
                self.journal.append(kept)
            for reader in self._readers:
                reader.apply(batch)
        except Exception as error:
            # The book and what was told of it may differ now: nobody may trade on that.
            self._queue.clear()
            self._idle.set()
            self._fail(error)
        else:
            self._since = time.monotonic()
            if since is not None:
                vitals.submit.observe(self._since - since)
                vitals.batch_size.observe(size)
            vitals.waiting, vitals.waiting_since = arrivals.count, arrivals.oldest
            self._after_turn()

    def _after_turn(self) -> None:
        if self._replan:
            self._replan = False
            self._plan_sweep()
        if self._queue:
            self._loop.call_soon(self._turn)
        else:
            self._scheduled = False
            self._idle.set()
        if self._was_full and len(self._queue) <= self._max_queue // 2:
            self._was_full = False
            self._room(self.name)

    def _decide(self) -> Batch:
        """Take commands off the queue until the batch is long enough, and decide them."""
        queue, events, first = self._queue, list[Event](), self._seq + 1
        self._time = max(self._time, self._clock())
        self._number += 1
        self._told_once = False
        seq = self._seq
        books, sessions = self.books, self._sessions
        size = 0
        for _ in range(min(len(queue), MAX_COMMANDS)):
            command = queue.popleft()
            if command.generation and not sessions.holds(command):
                continue
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
        return Batch(self.name, self._epoch, "main", self._number, first, seq, self._time, events)

    def _other(self, command: Command, seq: int, events: list[Event]) -> tuple[int, int]:
        """Decide what is not a new order; return (last number, size of the answer beside events).

        The second keeps long lists from sharing a batch with many others of their kind.
        """
        participant, session = command.participant, command.session
        match command:
            case Refuse(code=code, text=text, order_id=order_id, symbol=symbol):
                limit = command.limit, command.retry_after
                refused = CommandRefused(participant, session, code, text, order_id, symbol, *limit)
                events.append(refused)
            case ChangeState(symbol=symbol, state=state):
                seq = self.books[symbol].change_state(state, Reason.OPERATOR, seq, events)
                events.append(StateAnswered(participant, session, symbol, state))
            case CancelAll(symbol=symbol, whose=whose):
                seq, count = self._cancel_all(whose or participant, symbol, seq, events)
                events.append(AllCanceled(participant, session, symbol, count))
            case CancelAnonymous(before=before):
                seq, count = self._cancel_anonymous(before, seq, events)
                events.append(AllCanceled(participant, session, None, count))
            case ListOrders(symbol=symbol):
                orders = self._orders(participant, symbol)
                events.append(OrdersListed(participant, session, symbol, orders))
                self._told_once = True
                return seq, len(orders)
            case ListInstruments():
                states = {symbol: book.state for symbol, book in self.books.items()}
                events.append(InstrumentsListed(participant, session, states))
                self._told_once = True
                return seq, len(states)
            case OpenSession():
                return self._open_session(command, seq, events)
            case CloseSession():
                if self._sessions.close(command, self._time):
                    seq, _ = self._cancel_all(participant, None, seq, events)
                events.append(SessionClosed(participant, session))
                self._replan = True
            case Heartbeat():
                events.append(HeartbeatAnswered(participant, session))
                self._told_once = True
            case Sweep():
                seq = self._sweep_up(seq, events)
            case _:
                raise TypeError(f"an exchange does not take {type(command).__name__}")
        return seq, 0

    def _open_session(self, command: OpenSession, seq: int, events: list[Event]) -> tuple[int, int]:
        asker, sessions = command.session, self._sessions
        try:
            sessions.check(command)
        except Refusal as refusal:
            events.append(LoginRefused(command.participant, asker, refusal.code, refusal.text))
            return seq, 0
        orders = None
        recovered = self._has_all_since(command, seq) if command.is_resuming else None
        if recovered is False:
            orders = self._orders(command.name, None)
            self._told_once = True
        seq += 1
        session = sessions.open(command, self._epoch, seq)
        operator = sessions.is_operator(command.name)
        opened = (command.name, session, asker, operator, command.last_seq, recovered, orders)
        events.append(SessionOpened(seq, *opened))
        return seq, len(orders or ())

    def _has_all_since(self, command: OpenSession, seq: int) -> bool:
        """Whether all that followed what the client saw is known, and in the journal."""
        last_seq, resumes = command.last_seq, command.resumes
        began = None if resumes is None else epoch_of(resumes)
        # Of a session that is none, nobody can say what was under way there.
        if last_seq is None or (resumes is not None and began is None):
            return False
        epoch = began if command.epoch is None else command.epoch
        return epoch == self._epoch and self.journal.trimmed <= last_seq <= seq

    def _sweep_up(self, seq: int, events: list[Event]) -> int:
        for participant in self._sessions.due(self._time):
            if len(events) >= MAX_EVENTS:
                break
            disabled = self._sessions.sweep(participant)
            seq, _ = self._cancel_all(participant, None, seq, events)
            if disabled:
                events.append(ParticipantDisabled(participant))
        self._replan = True
        return seq

    def _cancel_anonymous(self, before: int, seq: int, events: list[Event]) -> tuple[int, int]:
        total = 0
        for participant in sorted(self._open_orders.count):
            since = anonymous_since(participant)
            if since is not None and since < before:
                seq, count = self._cancel_all(participant, None, seq, events)
                total += count
                if len(events) >= MAX_EVENTS:
                    break
        return seq, total

    def _cancel_all(
        self, participant: str, symbol: str | None, seq: int, events: list[Event]
    ) -> tuple[int, int]:
        total = 0
        for book in self._books(symbol):
            seq, count = book.cancel_all(participant, seq, events)
            total += count
        return seq, total

    def _orders(self, participant: str, symbol: str | None) -> list[OpenOrder]:
        return [o for book in self._books(symbol) for o in book.open_orders(participant)]

    def _books(self, symbol: str | None) -> list[Book]:
        return list(self.books.values()) if symbol is None else [self.books[symbol]]


def _history(batch: Batch) -> Batch:
    """A batch without what is told once: answers to queries, which are long, and to heartbeats,
    which would push out everything else while the market is quiet.
    """
    events: list[Event] = []
    for event in batch.events:
        if isinstance(event, SessionOpened) and event.orders is not None:
            event = replace(event, orders=None)
        if not isinstance(event, OrdersListed | InstrumentsListed | HeartbeatAnswered):
            events.append(event)
    return replace(batch, events=events)
