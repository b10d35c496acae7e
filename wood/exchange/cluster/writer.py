"""A node's commands on their way into Redis: in batches, each taken exactly once.

What arrives while a batch is under way is the next batch. A batch is sent again, unchanged and
under its number, until the script itself answers; the script takes a number once. It is *refused*,
and the commands with it, only on the word of an error that proves that it never was taken.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from wood.exchange.arrivals import Arrivals
from wood.exchange.cluster.client import FAILURES, BackOff, Client, Fault, fault
from wood.exchange.cluster.formats import EncodedBatch, Entry, decode_entry, encode_batch
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.membership import Membership
from wood.exchange.cluster.scripts import DECIDE
from wood.exchange.cluster.trading import TradingTexts
from wood.exchange.vitals import Vitals
from wood.model.commands import CloseSession, Command, Heartbeat, ListInstruments, ListOrders
from wood.model.instruments import Instruments
from wood.model.log_events import LogEvent, told

log = logging.getLogger("wood.redis")

MAX_COMMANDS = 512
"""Commands in one batch."""

MAX_QUEUE = 4096
"""Commands that may wait before the node is to stop reading."""

REFUSED_PAUSE = 0.1
"""Seconds until a query, or the end of a session, that Redis refused is sent again."""


@dataclass(frozen=True)
class Decided:
    """The script took the first `taken` commands; `answers` are those to queries among them."""

    taken: int
    entry: Entry
    answers: bytes


@dataclass(frozen=True)
class DecidedBefore:
    """The script had taken `taken` commands when this batch came to it before."""

    taken: int
    entry_id: str


@dataclass(frozen=True)
class Fenced:
    """This node was declared dead, or its history was lost: nothing of the batch was taken."""


@dataclass(frozen=True)
class Refused:
    """Redis could not take the batch, and has not."""

    reason: str


Outcome = Decided | DecidedBefore | Fenced | Refused


class Target(Protocol):
    """Who hears of outcomes."""

    def under_way(self, writer: str, number: int, since: float) -> None:
        """A batch is about to leave, whose first command was handed over at `since`."""

    def decided(self, writer: str, number: int, outcome: Decided | DecidedBefore) -> None:
        """It was taken."""

    def refused(self, commands: Sequence[Command]) -> None:
        """These commands will not be taken."""

    def heard(self, heartbeats: Sequence[Command]) -> None:
        """These need not be sent, for there is nothing among them to keep in order."""

    def came_back(self) -> None:
        """This node was no writer any more, and is another one now."""

    def room(self) -> None:
        """The queue, once full, has room again."""


class _State(Enum):
    OPEN = auto()
    """Commands are taken and sent."""
    CLOSED = auto()
    """Nothing is taken or sent: sessions are about to be told that they lost the thread."""
    DEAD = auto()
    """As `CLOSED`; and this node is no writer any more, and has to come back as another one."""


@dataclass(frozen=True)
class _Sent:
    number: int
    commands: list[Command]
    since: float
    """When the first of them was handed over."""
    outcome: "asyncio.Task[Outcome]"


class Writer:
    """The queue of commands and the one task that sends them."""

    def __init__(
        self,
        client: Client,
        keys: Keys,
        instruments: Instruments,
        membership: Membership,
        target: Target,
        max_queue: int,
        vitals: Vitals,
    ) -> None:
        self.idle = asyncio.Event()
        """Set while everything submitted has been sent and answered."""
        self.idle.set()
        self._client = client
        self._keys = keys
        self._symbols = tuple(instruments)
        self._trading = TradingTexts(instruments)
        self._membership = membership
        self._target = target
        self._max_queue = max_queue
        self._queue: deque[Command] = deque()
        self._arrivals = Arrivals()
        self._since = 0.0  # when the first command came that has not been looked at
        self._sent = 0  # commands that are under way
        self._vitals = vitals
        self._was_full = False
        self._work = asyncio.Event()
        self._number = 0
        self._refused = False
        self._refused_since = 0.0
        self._partition = instruments.default.partition
        self._state = _State.OPEN
        self._quiet = asyncio.Event()  # closed, and nothing is under way
        self._key_lists = {symbol: keys.of([symbol]) for symbol in self._symbols}
        self.outcome: asyncio.Task[Outcome] | None = None
        """The task of the batch that is under way."""

    @property
    def full(self) -> bool:
        """Whether as many commands wait as may."""
        return len(self._queue) >= self._max_queue

    @property
    def is_open(self) -> bool:
        """Whether commands are taken and sent."""
        return self._state is _State.OPEN

    @property
    def dead(self) -> bool:
        """Whether this node was found dead and has not come back yet."""
        return self._state is _State.DEAD

    @property
    def oldest(self) -> float | None:
        """By `time.monotonic`: since when the first of the queue waits; None: nothing waits."""
        if self._arrivals.count:
            return self._arrivals.oldest
        return self._since if self._queue else None

    def submit(self, commands: Sequence[Command]) -> None:
        """Queue commands; unless `close` was called: then those who said them will be told."""
        queue, vitals = self._queue, self._vitals
        if len(queue) <= self._arrivals.count:
            self._since = time.monotonic()
        queue.extend(commands if self._state is _State.OPEN else _closings(commands))
        vitals.commands += len(commands)
        vitals.waiting = len(queue) + self._sent
        if vitals.waiting_since is None:
            vitals.waiting_since = self.oldest
        if self.full:
            self._was_full = True
        if self._queue:
            self.idle.clear()
            self._work.set()

    def close(self) -> None:
        """Take and send nothing more, and forget what waits, until `open`."""
        if self._state is _State.OPEN:
            self._state = _State.CLOSED
        kept = _closings(self._queue)
        self._queue.clear()
        self._queue.extend(kept)
        self._look_at_queue()
        self._work.set()

    async def quiet(self) -> None:
        """Wait, after `close`, until nothing is under way and this node is a writer."""
        await self._quiet.wait()

    def open(self) -> None:
        """Take commands again: all sessions know by now that they lost the thread."""
        if self._state is _State.CLOSED:
            self._state = _State.OPEN
            self._quiet.clear()
            self._work.set()
            self._look_for_room()

    def fence(self) -> None:
        """This node was found dead: come back as another one, closed."""
        self.close()
        self._state = _State.DEAD
        self._quiet.clear()

    async def run(self) -> None:
        """Send for ever. Raises what the client raises if the script breaks, and `ConfigError`."""
        sent: _Sent | None = None
        while True:
            if sent is not None:
                sent = await self._finish(sent)
            elif self._state is _State.DEAD:
                await self._come_back()
            elif self._queue and self._state is _State.OPEN:
                self._hear_heartbeats()
                sent = self._send()
            else:
                if self._state is _State.CLOSED:
                    self._quiet.set()
                elif not self._queue:
                    self.idle.set()
                self._work.clear()
                await self._work.wait()

    async def _finish(self, sent: _Sent) -> _Sent | None:
        """See a batch to its end; the next one, if that has been sent meanwhile."""
        outcome = await sent.outcome
        self._sent = 0
        following: _Sent | None = None
        if isinstance(outcome, Fenced):
            if not self.dead:
                reason = "this node was declared dead, or Redis lost what it wrote"
                fenced = told(LogEvent.NODE_FENCED, partition=self._partition, reason=reason)
                log.warning(reason, extra=fenced)
            self.fence()
            self._put_back(sent.commands, sent.since)
        elif isinstance(outcome, Refused):
            await self._refuse(sent, outcome.reason)
        else:
            if self._refused:
                self._say_it_writes()
            self._refused = False
            self._number = sent.number
            self._vitals.batch_size.observe(outcome.taken)
            self._put_back(sent.commands[outcome.taken :], sent.since)
            following = self._send()
            # The next batch is on its way before the events of this one are told.
            await asyncio.sleep(0)
            if isinstance(outcome, DecidedBefore):
                # The answers to queries went with the connection; nothing else is lost.
                queries = [c for c in sent.commands[: outcome.taken] if _is_query(c)]
                self._put_back(queries, sent.since)
            self._target.decided(self._membership.writer, sent.number, outcome)
        self._look_for_room()
        return following

    def _send(self) -> _Sent | None:
        queue = self._queue
        if not queue or self._state is not _State.OPEN or type(queue[0]) is Heartbeat:
            return None
        self._look_at_queue()
        commands = [queue.popleft() for _ in range(min(len(queue), MAX_COMMANDS))]
        number, since = self._number + 1, self._arrivals.take(len(commands)) or self._since
        self._sent = len(commands)
        self._target.under_way(self._membership.writer, number, since)
        batch = encode_batch(commands, self._symbols)
        self.outcome = asyncio.create_task(self._decide(number, batch))
        return _Sent(number, commands, since, self.outcome)

    def _hear_heartbeats(self) -> None:
        """Nothing is under way that these would have to wait for: they need no batch."""
        heartbeats: list[Command] = []
        while self._queue and type(self._queue[0]) is Heartbeat:
            heartbeats.append(self._queue.popleft())
        if heartbeats:
            self._look_at_queue()
            self._target.heard(heartbeats)
            self._look_for_room()

    async def _decide(self, number: int, batch: EncodedBatch) -> Outcome:
        """Send a batch until there is no doubt about what became of it."""
        keys = list(self._keys.fixed)
        for symbol in batch.symbols:
            keys += self._key_lists[symbol]
        channels, trading = self._keys.channels(), self._trading.of(batch.symbols)
        back_off = BackOff()
        doubt = False
        while True:
            sent = time.monotonic()
            try:
                answer = await DECIDE.run(
                    self._client,
                    keys,
                    *(self._membership.writer, number, batch.data, channels),
                    *(batch.tokens, trading),
                )
                self._vitals.redis.observe(time.monotonic() - sent)
                break
            except FAILURES as error:
                match fault(error):
                    case Fault.BROKEN:
                        raise
                    case Fault.UNKNOWN:
                        doubt = True
                    case Fault.REFUSED if not doubt:
                        return Refused(str(error))
                log.debug("batch %d: %s; sent again", number, error)
                await back_off.wait()
        match answer:
            case b"ok", taken, entry, answers:
                return Decided(taken, decode_entry(entry), answers)
            case b"again", taken, entry_id:
                return DecidedBefore(taken, entry_id.decode())
        return Fenced()

    async def _refuse(self, sent: _Sent, reason: str) -> None:
        """Say no to what was sent, but not to those who wait for an answer to go on or to go."""
        commands = sent.commands
        if not self._refused:
            self._refused_since = time.monotonic()
            extra = told(LogEvent.REDIS_REFUSES, partition=self._partition, reason=reason)
            log.warning("Redis refuses to write, and we to take orders: %s", reason, extra=extra)
        self._refused = True
        kept = [c for c in commands if _is_query(c) or isinstance(c, CloseSession)]
        self._put_back(kept, sent.since)
        self._target.refused(
            [c for c in commands if not _is_query(c) and not isinstance(c, CloseSession)]
        )
        if kept:
            await asyncio.sleep(REFUSED_PAUSE)

    def _say_it_writes(self) -> None:
        lasted = round((time.monotonic() - self._refused_since) * 1000, 3)
        writes = told(LogEvent.REDIS_WRITES, partition=self._partition, duration_ms=lasted)
        log.warning("Redis writes again", extra=writes)

    def _put_back(self, commands: list[Command], since: float) -> None:
        if self._state is not _State.OPEN:
            commands = _closings(commands)
        self._queue.extendleft(reversed(commands))
        self._arrivals.put_back(len(commands), since)

    def _look_at_queue(self) -> None:
        """Note when the last commands came, or that some were thrown away."""
        self._arrivals.look(len(self._queue), self._since)
        self._vitals.waiting = len(self._queue) + self._sent

    async def _come_back(self) -> None:
        await self._membership.come_back()
        self._number = 0
        self._state = _State.CLOSED
        self._target.came_back()

    def _look_for_room(self) -> None:
        if (
            self._was_full
            and len(self._queue) <= self._max_queue // 2
            and self._state is _State.OPEN
        ):
            self._was_full = False
            self._target.room()


def _is_query(command: Command) -> bool:
    return isinstance(command, ListOrders | ListInstruments)


def _closings(commands: Iterable[Command]) -> list[Command]:
    return [command for command in commands if isinstance(command, CloseSession)]
