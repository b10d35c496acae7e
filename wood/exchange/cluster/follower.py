"""A node's reading of the journal: every entry once and in order, or else a snapshot, and said.

Entries come by pub/sub, with the answers to the node's own batches, and from the stream. The first
two are fast and may lose something; the stream is the truth. It is read whenever something may be
missing: after each confirmation of a subscription, when an entry does not follow the one before,
and when a beat finds the journal further than this node.
"""

import asyncio
import logging
from typing import Protocol

from redis.exceptions import NoPermissionError

from wood.exchange.cluster.client import FAILURES, BackOff, Client, Fault, as_broken, fault
from wood.exchange.cluster.formats import Entry, decode_entry
from wood.exchange.cluster.journal import Stored, StoredJournal
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.membership import State
from wood.exchange.cluster.sequence import Sequence
from wood.exchange.vitals import Vitals
from wood.model.events import Batch, Snapshot
from wood.model.log_events import LogEvent, told

log = logging.getLogger("wood.redis")

PATIENCE = 0.01
"""Seconds that a missing entry may take to arrive by itself before the stream is read for it."""

IDLE = 1.0
"""Seconds after which a listener looks whether it should subscribe anew."""


class Target(Protocol):
    """Who gets what the follower finds."""

    async def state(self) -> State:
        """How far the journal is now."""

    def apply(self, batch: Batch) -> None:
        """The next entry, decoded."""

    async def stop_sending(self, forked: bool) -> None:
        """Let no command get into the book of which the clients will be told nothing.

        `forked` if Redis lost a part of the history, perhaps of what it knew of this writer too.
        """

    def reset(self, snapshot: Snapshot) -> None:
        """The thread is lost; the books are so."""

    def beat_soon(self) -> None:
        """Somebody asks who is alive."""


class Follower:
    """Keeps a `Target` on the present state of the journal."""

    def __init__(
        self,
        client: Client,
        keys: Keys,
        journal: StoredJournal,
        target: Target,
        vitals: Vitals | None = None,
    ) -> None:
        self.sequence = Sequence()
        self.partition_id = ""
        self._client = client
        self._keys = keys
        self._journal = journal
        self._target = target
        self._vitals = vitals or Vitals()
        self._behind = asyncio.Event()
        self._confirmed = asyncio.Event()
        self._moved = asyncio.Event()  # the subscription is to be made anew
        self._timer: asyncio.TimerHandle | None = None
        self._reason: str | None = None
        self._heard_something = False  # since the last beat
        self._beginning = False  # whether a snapshot is being taken, which comes next

    async def subscribed(self) -> None:
        """Wait for the first confirmation of the subscription."""
        await self._confirmed.wait()

    def offer(self, entry: Entry, answers: bytes | None = None) -> None:
        """An entry has arrived; pass on what is next."""
        self.sequence.offer(entry, answers)
        self.advance()

    def advance(self) -> None:
        """Pass on what is next; see that what is missing is fetched."""
        if self._beginning:
            return
        for entry, answers in self.sequence.ready():
            self._target.apply(self._journal.batch(entry, answers))
        if self.sequence.incomplete and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        if self.sequence.incomplete:
            self._behind.set()

    def behind(self) -> None:
        """Read from the stream: something may be missing."""
        self._behind.set()

    def start_again(self, reason: str) -> None:
        """Take a snapshot: this node cannot go on, though the journal may be whole."""
        self._reason = reason
        self._behind.set()

    def notice(self, state: State) -> None:
        """Compare with how far the journal was when the last beat was sent."""
        sequence = self.sequence
        if state.batch > sequence.batch and not self._heard_something:
            # A connection can be dead without a word: make another.
            self._moved.set()
        self._heard_something = False
        if (
            state.partition_id != self.partition_id
            or state.epoch not in sequence.trusted
            or state.batch != sequence.batch
        ):
            self._behind.set()

    async def listen(self) -> None:
        """Hear what is announced, for ever; subscribe anew when the connection breaks.

        Raises `NoPermissionError` if this user may not subscribe.
        """
        back_off = BackOff()
        while True:
            try:
                await self._listen(back_off)
            except NoPermissionError:
                raise
            except FAILURES as error:
                log.debug("the subscription broke: %s", error)
                await back_off.wait()

    async def _listen(self, back_off: BackOff) -> None:
        """Hear until another subscription is needed. Raises what the client raises."""
        self._moved.clear()
        pubsub = self._client.pubsub()
        try:
            with as_broken():
                # Not by the library's method, which would later subscribe again without a word.
                await pubsub.execute_command("SSUBSCRIBE", self._keys.channel(self.partition_id))
            while not self._moved.is_set():
                with as_broken():
                    message = await pubsub.get_message(timeout=IDLE)
                if message is None:
                    continue
                match message["type"]:
                    case "smessage":
                        self._heard(message["data"])
                    case "ssubscribe":
                        # Only from here on nothing is missed.
                        self._confirmed.set()
                        self._behind.set()
                        back_off.reset()
                    case "sunsubscribe":
                        return  # the slot has moved to another server
        finally:
            with as_broken():
                await pubsub.aclose()

    def _heard(self, data: bytes) -> None:
        self._heard_something = True
        if data:
            self.offer(decode_entry(data))
        else:
            self._target.beat_soon()

    async def keep_up(self) -> None:
        """Read from the stream whenever something may be missing, for ever."""
        back_off = BackOff()
        while True:
            await self._behind.wait()
            self._behind.clear()
            try:
                await self._catch_up()
                back_off.reset()
            except FAILURES as error:
                if fault(error) is Fault.BROKEN:
                    raise
                self._behind.set()
                await back_off.wait()

    async def _catch_up(self) -> None:
        sequence = self.sequence
        before = sequence.batch
        state = await self._target.state()
        lost, forked = self._reason, False
        if self._beginning:
            lost = "the snapshot could not be taken"  # Redis went away; nobody can go on without
        if lost is None:
            lost = await self._lost(state, before)
            forked = lost is not None
        if lost is None:
            self.advance()  # what waited until its epoch was known
        filled = False
        while lost is None and sequence.batch < state.batch:
            entries = await self._journal.after(sequence.position)
            if not entries or entries[0].batch > sequence.batch + 1:
                lost = "the journal was trimmed past this node's position"
                # What became of logins on their way stood in there: they end with this writer.
                forked = True
                break
            reached = sequence.batch
            for entry in entries:
                sequence.offer(entry)
            self.advance()
            if sequence.batch > reached and not filled:
                filled = True
                self._vitals.gaps += 1
            if sequence.batch == reached:
                return  # the next is one that waits for its answers
        if lost is not None:
            again = told(
                LogEvent.NODE_RESYNCHRONISED, partition=self._journal.partition, reason=lost
            )
            log.warning("%s: starting again from a snapshot", lost, extra=again)
            await self._target.stop_sending(forked)
            await self.begin()
            self._vitals.resyncs += 1

    async def _lost(self, state: State, before: int) -> str | None:
        """Why this node cannot go on from where it is, None if it can.

        `before` is where it was when `state` was asked for.
        """
        sequence = self.sequence
        if state.partition_id != self.partition_id:
            return "the book was cleared"
        if state.epoch not in sequence.trusted:
            epochs = await self._journal.epochs()
            places = [p for p, (epoch, _, _) in enumerate(epochs) if epoch == sequence.epoch]
            if not places:
                self._vitals.forks += 1
                return "Redis has forgotten the epoch of this node"
            rest = epochs[places[-1] :]
            ends = [start for _, _, start in rest[1:]]
            # Here and not before: entries of the old epoch may have come meanwhile.
            if ends and sequence.batch > ends[0]:
                return self._forked(sequence.batch - ends[0], rest[1][1])
            sequence.trust(dict(zip((epoch for epoch, _, _ in rest), [*ends, None], strict=True)))
        elif state.batch < before:
            return self._forked(before - state.batch, state.seq)
        return None

    def _forked(self, batches: int, seq: int) -> str:
        """Say that the last `batches`, after number `seq`, are history no more, and return it."""
        self._vitals.forks += 1
        at, reason = self.sequence, f"Redis lost the last {batches} batches"
        count = max(0, at.seq - seq)
        log.warning(
            "%s: %d events after number %d, of those that this node told, are history no more",
            *(reason, count, seq),
            extra=told(
                LogEvent.JOURNAL_FORKED,
                partition=self._journal.partition,
                reason=reason,
                epoch=at.epoch,
                seq=seq,
                count=count,
            ),
        )
        return reason

    async def take(self) -> Stored:
        """The books as they stand. Raises what the client raises."""
        back_off = BackOff()
        while True:
            state = await self._target.state()
            stored = await self._journal.snapshot(state)
            after = await self._target.state()
            if stored and (after.partition_id, after.epoch) == (state.partition_id, state.epoch):
                return stored
            await back_off.wait()  # it was cleared, forked or trimmed under our hands

    async def begin(self) -> None:
        """Pass on a snapshot, and go on from there. Raises what the client raises."""
        # What comes meanwhile waits: it would be told before the snapshot, and then again.
        self._beginning = True
        stored = await self.take()
        snapshot = stored.snapshot
        self.sequence.reset(snapshot.epoch, stored.batch, snapshot.seq, snapshot.time)
        if stored.partition_id != self.partition_id:
            self.partition_id = stored.partition_id
            self._moved.set()
        self._reason = None
        self._beginning = False
        self._target.reset(snapshot)
        self._behind.set()
