"""The engine of a cluster, as a node sees it: the same interface, the book in Redis."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from wood.book.accounts import MAX_OPEN_ORDERS, MAX_RESTING_ORDERS
from wood.exchange.cluster.client import (
    FAILURES,
    BackOff,
    Client,
    Fault,
    check_server,
    connect,
    fault,
)
from wood.exchange.cluster.follower import Follower
from wood.exchange.cluster.formats import Entry
from wood.exchange.cluster.journal import StoredJournal
from wood.exchange.cluster.keys import PREFIX, Keys
from wood.exchange.cluster.membership import LEASE, Membership, State
from wood.exchange.cluster.writer import MAX_QUEUE, Decided, DecidedBefore, Writer
from wood.exchange.exchange import Partition
from wood.exchange.sessions import GRACE, Auth
from wood.model.commands import (
    SWEEP,
    CloseSession,
    Command,
    Heartbeat,
    OpenSession,
    Refuse,
    Sweep,
)
from wood.model.errors import ConfigError, ErrorCode, JournalTrimmed
from wood.model.events import (
    Batch,
    CommandRefused,
    Event,
    HeartbeatAnswered,
    LoginRefused,
    Snapshot,
)
from wood.model.instruments import PARTITION, Instruments
from wood.model.log_events import LogEvent, told

log = logging.getLogger("wood.redis")

KEPT = 1_000_000
"""Events, refusals included, that the journal keeps at least; some 60 MB."""

LEAVING = 1.0
"""Seconds that a node which stops waits for Redis to take note."""

READERS = 4
"""Questions about the past at the same time: when a node dies, all its clients come at once."""

PAGE = 25
"""Entries that each of them is given at once, and may hold while its client is slow."""

TURN = 1000
"""Events that are decoded for a reader before others get their turn."""

SLACK = 0.05
"""Seconds for a batch on its way: added to the grace before somebody is looked for who is due."""

MORE_DUE = 0.1
"""Seconds after a sweep until a node looks whether there is more to do."""

CANCELING = 0.1
"""Seconds after which a task that was cancelled and goes on is cancelled again."""

T = TypeVar("T")

Connect = Callable[[bool], Client]
"""Makes a client, of a single connection if asked."""


class ClusterExchange(Partition):
    """One node's hold on the books of a partition, which all nodes share.

    `tag` is what the names of its keys are hashed by. `persist` keeps the books when all nodes
    stop; `lease` is the seconds after which the others take a silent node for dead, `grace` those
    in which a participant may come back before its orders are cancelled; `max_rate` the messages
    per second that one may send, 0 without limit. All but `url` and `max_queue` must be the same on
    all nodes.
    """

    def __init__(
        self,
        instruments: Instruments,
        url: str,
        prefix: str = PREFIX,
        *,
        persist: bool = False,
        max_open_orders: int = MAX_OPEN_ORDERS,
        max_resting_orders: int = MAX_RESTING_ORDERS,
        kept: int = KEPT,
        lease: float = LEASE,
        auth: Auth = Auth.OPEN,
        grace: float = GRACE,
        max_rate: int = 0,
        max_queue: int = MAX_QUEUE,
        tag: str = PARTITION,
        clients: Connect | None = None,
    ) -> None:
        super().__init__(instruments)
        self._url = url
        self._persist = persist
        keys = Keys(prefix, tag)
        make = clients or (lambda single: connect(url, keys.meta, single=single))
        # Batches go their own way, so that nothing else makes them wait.
        self._fast, self._client = make(True), make(False)
        limits = max_open_orders, max_resting_orders, kept
        self._membership = Membership(
            self._client,
            keys,
            instruments=instruments,
            limits=limits,
            persist=persist,
            lease=lease,
            auth=auth,
            grace=grace,
            max_rate=max_rate,
        )
        self._grace = grace
        self._journal = StoredJournal(self._client, keys, instruments)
        self._writer = Writer(
            self._fast, keys, instruments, self._membership, self, max_queue, self.vitals
        )
        self._follower = Follower(self._client, keys, self._journal, self, self.vitals)
        self._handed_over: dict[tuple[str, int], float] = {}
        """Batches of this node's that were not told yet, by writer and number; since when."""
        self._tasks: list[asyncio.Task[None]] = []
        self._beat_now = asyncio.Event()
        self._progress = asyncio.Event()
        self._own = 0  # the last entry that is this node's own
        self._own_events: deque[tuple[int, list[Event]]] = deque()  # after which entry, and what
        self._away_since = 0.0
        self._past = asyncio.Semaphore(READERS)
        self._failure: Exception | None = None

    async def start(self) -> None:
        """Join the cluster, subscribe, and reset the readers to the present books.

        Raises `ConfigError` if there is no fit server or the cluster runs by other rules.
        """
        await check_server(self._client, self._url, persist=self._persist)
        try:
            await self._membership.join(starting=True)
            self._run(self._beat)
            await self._follower.begin()
        except FAILURES as error:
            raise ConfigError(f"Redis failed while this node joined: {error}") from None
        listening = self._run(self._follower.listen)
        subscribed = asyncio.create_task(self._follower.subscribed())
        await asyncio.wait([listening, subscribed], return_when=asyncio.FIRST_COMPLETED)
        if listening.done():
            subscribed.cancel()
            raise ConfigError(f"Redis does not let this node subscribe: {self._failure}")
        self._run(self._follower.keep_up)
        self._run(self._writer.run)

    def report_by(self, call: Callable[[], bytes]) -> None:
        """Send it with beats, about once a second."""
        self._membership.report_by(call)

    def submit(self, commands: Sequence[Command]) -> str | None:
        """Queue commands for the next batch, which leaves when the last one is answered."""
        self._writer.submit(commands)
        hurry = self._grace < self._membership.interval
        if hurry and commands and type(commands[-1]) is CloseSession:
            # Its participant may be due before anybody beats again.
            asyncio.get_running_loop().call_later(self._grace + SLACK, self.beat_soon)
        return self.name if self._writer.full else None

    @property
    def writer(self) -> str:
        """This node's id as a writer."""
        return self._membership.writer

    @property
    def ready(self) -> str | None:
        """Whether Redis answers, and this node is one of its writers."""
        if self.vitals.away:
            return "redis is away"
        return None if self._writer.is_open else "this node begins anew from a snapshot"

    @property
    def full(self) -> bool:
        """Whether so many commands wait that the node must stop reading."""
        return self._writer.full

    async def events(
        self, after: int, concerning: str | None = None
    ) -> AsyncGenerator[Batch, None]:
        """The batches of the journal in Redis."""
        position = f"{after + 1}-0"
        expected = after + 1
        looked_at = 0
        while page := await self._page(position):
            for entry in page:
                # The first may begin before that, since a batch is never divided.
                if entry.first > expected:
                    raise JournalTrimmed(f"the journal begins with number {entry.first}")
                expected = entry.last + 1
                if concerning is None or entry.concerns(concerning):
                    batch = self._journal.batch(entry)
                    looked_at += len(batch.events)
                    yield batch
                if looked_at >= TURN:
                    looked_at = 0
                    await asyncio.sleep(0)
            position = f"({page[-1].position}"
            await asyncio.sleep(0)

    async def _page(self, position: str) -> list[Entry]:
        async with self._past:
            return await _until_it_works(partial(self._journal.since, position, PAGE))

    async def continues(self, epoch: int, seq: int) -> bool:
        """Whether that epoch went on after that number, and the journal reaches back to it."""
        async with self._past:
            return await _until_it_works(partial(self._journal.continues, epoch, seq))

    async def snapshot(self) -> Snapshot:
        """The books in Redis. Raises what the client raises."""
        return (await self._follower.take()).snapshot

    async def drain(self) -> None:
        """Wait until everything submitted is answered, or the engine has failed."""
        while self._failure is None:
            await self._writer.idle.wait()
            if self._follower.sequence.batch >= self._own:
                return
            self._progress.clear()
            await self._progress.wait()

    async def close(self) -> None:
        """Leave the cluster. Safe to call twice."""
        tasks, self._tasks = self._tasks, []
        await _end(tasks)
        if self._writer.outcome is not None:
            await _end([self._writer.outcome])
        try:
            async with asyncio.timeout(LEAVING):
                await self._membership.leave()
        except (*FAILURES, TimeoutError):
            if self._membership.writer:
                log.warning(
                    "could not tell Redis that this node leaves: its lease has to run out",
                    extra=told(LogEvent.ERROR),
                )
        await self._fast.aclose()
        await self._client.aclose()

    # What the writer says

    def under_way(self, writer: str, number: int, since: float) -> None:
        """Its entry waits for the answers to its queries, which come only with the reply."""
        self._handed_over[writer, number] = since
        self._follower.sequence.held.add((writer, number))

    def decided(self, writer: str, number: int, outcome: Decided | DecidedBefore) -> None:
        """Pass its events on, or fetch them if they went with a lost connection."""
        follower = self._follower
        follower.sequence.held.discard((writer, number))
        if isinstance(outcome, Decided):
            self._own = max(self._own, outcome.entry.batch)
            follower.offer(outcome.entry, outcome.answers)
        else:
            self._own = max(self._own, int(outcome.entry_id.partition("-")[2]))
            follower.advance()
            follower.behind()

    def refused(self, commands: Sequence[Command]) -> None:
        """Say so to those who asked. It stands in no journal, for nothing can be written."""
        self._tell_in_turn([_refusal(c) for c in commands if not isinstance(c, Sweep)])
        self._handed_over.popitem()  # what was sent last
        self._answered()

    def heard(self, heartbeats: Sequence[Command]) -> None:
        """Answer those who only want to know that they are heard."""
        self._tell_in_turn([HeartbeatAnswered(c.participant, c.session) for c in heartbeats])
        self._answered()

    def _answered(self) -> None:
        """Note since when what is left has waited."""
        waiting = next(iter(self._handed_over.values()), None)
        self.vitals.waiting_since = self._writer.oldest if waiting is None else waiting

    def _tell_in_turn(self, events: list[Event]) -> None:
        """Tell what stands in no journal, but not before the answers to what was asked earlier."""
        self._own_events.append((self._own, events))
        self._tell_own_events()

    def _tell_own_events(self) -> None:
        at = self._follower.sequence
        while self._own_events and at.batch >= self._own_events[0][0]:
            _, events = self._own_events.popleft()
            place = (0, at.seq + 1, at.seq, at.time)
            self._tell(Batch(self.name, at.epoch, self._membership.writer, *place, events))

    def came_back(self) -> None:
        """Nobody can say what became of what this node had under way."""
        self._follower.sequence.held.clear()
        self._own = 0
        self._handed_over.clear()
        self._answered()
        self._follower.start_again("this node comes back as a new one")

    def room(self) -> None:
        """Let the node read on."""
        self._room(self.name)

    # What the follower says

    async def state(self) -> State:
        """Beat, and so learn how far the journal is. Raises what the client raises."""
        while (state := await self._membership.beat()) is None:
            # Redis lost everything: who comes back first begins a new partition.
            self._fence("Redis has lost everything")
            await asyncio.sleep(self._membership.interval / 10)
        # The answer may be late, and this node another one by now.
        if not state.alive and state.writer == self._membership.writer:
            self._fence("this node was declared dead")
        return state

    def _fence(self, reason: str) -> None:
        if not self._writer.dead:
            fenced = told(LogEvent.NODE_FENCED, partition=self.name, reason=reason)
            log.warning("%s: what it had not sent is dropped", reason, extra=fenced)
            self._writer.fence()

    def apply(self, batch: Batch) -> None:
        """Hand a batch to the readers."""
        self._tell(batch)
        since = self._handed_over.pop((batch.writer, batch.number), None)
        if since is not None:
            self.vitals.submit.observe(time.monotonic() - since)
            self._answered()
        self._tell_own_events()
        self._progress.set()

    def _tell(self, batch: Batch) -> None:
        for reader in self._readers:
            reader.apply(batch)

    async def stop_sending(self, forked: bool) -> None:
        """Nobody shall be told that reports may be lost while a command of theirs is under way."""
        if forked:
            self._writer.fence()
        else:
            self._writer.close()
        await self._writer.quiet()

    def reset(self, snapshot: Snapshot) -> None:
        """Hand a snapshot to the readers: all their clients are told, and closed."""
        self._own_events.clear()
        for reader in self._readers:
            reader.reset(snapshot)
        self._own = min(self._own, self._follower.sequence.batch)
        self._handed_over.clear()
        self._writer.open()
        self._answered()
        self._progress.set()

    def beat_soon(self) -> None:
        """Beat at once."""
        self._beat_now.set()

    async def _beat(self) -> None:
        """Beat for ever; say when Redis goes away and when it is back."""
        interval = self._membership.interval
        while True:
            due = False
            try:
                state = await self.state()
                self._follower.notice(state)
                if due := state.due:
                    self._sweep()
            except FAILURES as error:
                if fault(error) is Fault.BROKEN:
                    raise
                self._redis_is_away(error)
            else:
                self._redis_is_back()
            try:
                async with asyncio.timeout(MORE_DUE if due else interval):
                    await self._beat_now.wait()
            except TimeoutError:
                pass
            self._beat_now.clear()

    def _redis_is_away(self, error: Exception) -> None:
        if not self.vitals.away:
            self.vitals.away = True
            self._away_since = time.monotonic()
            self.vitals.outages += 1
            lost = told(LogEvent.REDIS_LOST, partition=self.name, reason=str(error))
            text = "Redis does not answer as it should (%s): waiting for it"
            log.warning(text, error, extra=lost)

    def _redis_is_back(self) -> None:
        if self.vitals.away:
            self.vitals.away = False
            lasted = round((time.monotonic() - self._away_since) * 1000, 3)
            back = told(LogEvent.REDIS_BACK, partition=self.name, duration_ms=lasted)
            log.warning("Redis answers again", extra=back)

    def _sweep(self) -> None:
        self._writer.submit([SWEEP])

    def _run(self, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Have a task of its own that reports how it ends, which it should not."""
        task = asyncio.create_task(self._watched(work))
        self._tasks.append(task)
        return task

    async def _watched(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:
            self._failure = error
            self._writer.idle.set()
            self._progress.set()
            self._fail(error)


def _refusal(command: Command) -> Event:
    """What to say of a command that Redis does not take."""
    who = command.participant, command.session
    text = "the exchange cannot take commands now; try again"
    match command:
        case Heartbeat():
            return HeartbeatAnswered(*who)
        case OpenSession():
            return LoginRefused(*who, ErrorCode.UNAVAILABLE, text)
        case Refuse(code=code, text=why, order_id=order_id, symbol=symbol):
            more = command.limit, command.retry_after
            return CommandRefused(*who, code, why, order_id, symbol, *more)
    order_id, symbol = getattr(command, "order_id", None), getattr(command, "symbol", None)
    return CommandRefused(*who, ErrorCode.UNAVAILABLE, text, order_id, symbol)


async def _until_it_works(ask: Callable[[], Awaitable[T]]) -> T:
    """What Redis answers, as soon as it does. Raises what the client does if the data is broken."""
    back_off = BackOff()
    while True:
        try:
            return await ask()
        except FAILURES as error:
            if fault(error) is Fault.BROKEN:
                raise
            await back_off.wait()


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel until all have ended: a cancellation that meets a reply can get lost on its way."""
    pending: set[asyncio.Task[Any]] = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCELING)
