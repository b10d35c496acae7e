"""A participant's connection: commands to the engine, reports back."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from wood.exchange.exchange import Exchange
from wood.model.commands import CloseSession, Command, OpenSession, Refuse
from wood.model.errors import ErrorCode, JournalTrimmed, Limit, Refusal
from wood.model.events import LoginRefused, Places, SessionOpened
from wood.model.log_events import LogEvent, told
from wood.node.connection import FEW, LINES_TURN, Connection, Owner, Pause
from wood.node.connection_log import say_login_refused, say_named
from wood.node.failures import Failures
from wood.node.limits_hit import limits_hit
from wood.node.pulse import Pulse
from wood.node.replay import replay
from wood.node.router import Router
from wood.node.session import QUERIES, Session
from wood.node.settings import Settings
from wood.wire.message_pack import FIRST_BYTES
from wood.wire.reports import Reports
from wood.wire.session_reports import SessionReports

log = logging.getLogger("wood.node")

PACKED_TURN = 2048
"""Bytes of MessagePack at most that are understood in one turn; their borders are not known before
they are decoded, so that how many there may be goes by the size of those before.
"""


Ranges = Mapping[str, tuple[int, int]]
"""By partition, of which numbers to tell: greater than the first one, up to the second."""


@dataclass(frozen=True)
class Encodings:
    """How clients are spoken to: in JSON, and in MessagePack; before they log in, and after."""

    json: Reports
    packed: Reports
    session_json: SessionReports
    session_packed: SessionReports


@dataclass(frozen=True)
class Surroundings:
    """What all private connections of a node share."""

    exchange: Exchange
    router: Router
    settings: Settings
    encodings: Encodings
    failures: Failures
    submit: Callable[["PrivateConnection", Sequence[Command]], None]
    start: Callable[[Coroutine[None, None, None]], "asyncio.Task[None]"] = asyncio.create_task
    """Runs a task, and ends it when the node ends."""


class PrivateConnection(Connection):
    """The socket of one `Session`."""

    kind = "session"

    def __init__(self, session: Session, owner: Owner, node: Surroundings) -> None:
        super().__init__(session.name, owner)
        self.session = session
        self.reports = node.encodings.json
        """The encoder that the client understands; JSON until its first byte says otherwise."""
        self.out: list[bytes] = []
        """What `flush` will send."""
        self._node = node
        self._answer_due = False
        self._login_due = False
        self._gone = False
        self._packed_size = 1.0  # bytes of a message, of late
        self._later: asyncio.TimerHandle | None = None  # the end of the time for a login
        self._waiting: asyncio.TimerHandle | None = None  # the end of the time for its answer
        self._refusal = b""  # the answer to a login, which waits
        self._refusing: asyncio.TimerHandle | None = None
        self._held_up = False  # whether that counts among those which wait
        self._pulse: Pulse | None = None
        self._replay: asyncio.Task[None] | None = None
        self._kept = bytearray()  # what is to be said after the replay
        self._has_room = asyncio.Event()

    def flush(self) -> None:
        """Send what is in `out`, in one write; close a client that lets too much pile up."""
        data = b"".join(self.out)
        self.out.clear()
        if self._replay is not None:
            self._kept += data
            waiting = len(self._kept)
        else:
            super().write(data)
            if self._pulse is not None:
                self._pulse.said()
            waiting = self.unsent() if Pause.OUTPUT in self.pauses else 0
        if waiting > self._node.settings.output_limit:
            self.too_slow("its reports pile up unread")

    def write(self, data: bytes) -> None:
        """Send, or buffer, `data`."""
        super().write(data)
        if self._pulse is not None:
            self._pulse.said()

    def answered(self) -> None:
        """The answer to a query was flushed: go on with what was held back.

        A login is answered by what follows it alone.
        """
        if self._login_due or self._refusing is not None or self._replay is not None:
            return
        self._answer_due = False
        self._go_on()

    def dismiss(self, code: ErrorCode, text: str) -> None:
        """Say what is still to be said, then why this is the end, and close."""
        if self._gone:
            self._leave()
        if self.finishing:
            return
        if self._replay is None:
            self.write(b"".join(self.out))
        self.out.clear()
        self.write(self.reports.error(code, text))
        self._rest()
        # The engine shall know at once, not when the client has read its last word.
        self._say(self.session.close())
        # The answer to a login must find somebody who takes it back.
        if not self._login_due:
            self._node.router.remove(self)
        self.finish(text)

    def logged_in(self, event: SessionOpened, places: Places) -> bytes | None:
        """Go on under a name; if there is something to replay, that comes before the answer."""
        session, encodings = self.session, self._node.encodings
        say_named(self, event)
        session.logged_in(event)
        self._login_due = False
        self._stop_waiting()
        if self.finishing:
            self._log_out()
            return None
        reports = encodings.session_packed if session.packed else encodings.session_json
        self.reports = reports
        self._cancel_timer()
        parts = event.parts or {next(iter(places)): event}
        if any(part.recovered is False and part.orders is None for part in parts.values()):
            self.dismiss(
                ErrorCode.UNAVAILABLE, "the open orders got lost on their way; log in again"
            )
            return None
        if session.heartbeat is not None:
            self._pulse = Pulse(
                session.heartbeat, lambda: not self.pauses, self._beat, self._silent
            )
        answer = reports.login(event, places)
        missed = {
            partition: (part.last_seq or 0, part.seq)
            for partition, part in parts.items()
            if part.recovered and (part.last_seq or 0) < part.seq - 1
        }
        # What a partition told while others were waited for has passed this connection by.
        passed = {
            partition: (parts[partition].seq, told)
            for partition, told in (event.told or {}).items()
            if told > parts[partition].seq
        }
        if not missed and not passed:
            return answer
        self.flush()
        for partition, (last_seq, _) in missed.items():
            epoch = places[partition][0]
            if session.epochs.get(partition) != epoch:
                # If the replay breaks off, its numbers are of this epoch.
                self.write(reports.heartbeat({partition: (epoch, last_seq)}))
        self._replay = self._node.start(self._catch_up(missed, answer, passed))
        return None

    def login_refused(self, event: LoginRefused) -> None:
        """Answer in a while: whoever guesses shall wait."""
        if not self._login_due:
            self.session.unguarded()
            return
        self._login_due = False
        self._stop_waiting()
        if self._gone:
            self._leave()
            return
        delay = 0.0
        say_login_refused(self, event.code, self.session.claimed)
        if event.code is ErrorCode.UNAUTHORIZED:
            failed = self._node.failures.delay(self.address)
            delay = 0.0 if self._deaf else failed
            if delay and not self._node.failures.wait(self.address):
                self.dismiss(event.code, event.text)
                return
            self._held_up = delay > 0
        self._refusal = self.reports.error(event.code, event.text)
        self._refusing = asyncio.get_running_loop().call_later(delay, self._refuse)

    def _log_out(self) -> None:
        """The client went while its login was under way: the engine takes it for connected."""
        session = self.session
        close = CloseSession(session.participant, session.name, session.generation)
        self._node.submit(self, [close])
        self._leave()

    def _wait_no_more(self) -> None:
        self._refusing = None
        if self._held_up:
            self._held_up = False
            self._node.failures.answered(self.address)

    def _refuse(self) -> None:
        self._wait_no_more()
        self.write(self._refusal)
        self.answered()

    def stop(self) -> None:
        """Read no more; answer what has arrived, then close."""
        self.read_no_more()
        if self._refusing is not None:
            self._refusing.cancel()
            self._refuse()
        self._end_if_all_is_heard()

    def opened(self) -> None:
        """Begin to get reports."""
        self.session.certified = self.certified
        self._node.router.add(self.session.participant, self.session.name, self)
        if self.session.locked:
            loop, timeout = asyncio.get_running_loop(), self._node.settings.login_timeout
            self._later = loop.call_later(timeout, self._too_late, timeout)

    def _too_late(self, timeout: float) -> None:
        if self._refusing is not None:
            self.write(self._refusal)
        self.dismiss(ErrorCode.UNAUTHORIZED, f"no login within {timeout:g} seconds")

    def refused(self, refusal: Refusal) -> None:
        """Say why."""
        why = refusal.code, refusal.text, None, None, refusal.limit, refusal.retry_after
        self._transport.write(self.reports.error(*why))

    def received(self, data: bytes) -> None:
        """Understand what can be understood and ask the engine."""
        if self._pulse is not None:
            self._pulse.heard()
        commands = self.session.receive(data)
        if self.session.packed:
            if self.reports is self._node.encodings.json:
                self.reports = self._node.encodings.packed
            if commands:
                heard = max(1, len(data) - len(self.session.rest))
                self._packed_size = (self._packed_size + heard / len(commands)) / 2
            self.hear_later(self.session.rest)
        self.could_not_be_read(self.session.unreadable)
        self._say(commands)

    def whose(self) -> str:
        """The participant, perhaps one without a name."""
        return self.session.participant

    def limited(self, limit: Limit, symbol: str | None) -> None:
        """Something was refused for a limit."""
        limits_hit.note(limit, self.session.participant, self.source.client, symbol)

    def flooded(self, text: str) -> None:
        """Say why; its orders are cancelled if it asked for that."""
        self.dismiss(ErrorCode.RATE, text)

    def ended(self) -> None:
        """Answer what was read; the answer to `CloseSession` then closes the connection."""
        self._say(self.session.end())

    def lost(self) -> None:
        """Tell the engine, which may have orders to cancel."""
        self._gone = True
        self._rest()
        # The answer to a login must find somebody who takes it back.
        if not self._login_due or self._abandon():
            self._leave()

    def _abandon(self) -> bool:
        """Wait for a login no longer, if there is a partition that may be away for long."""
        if self._node.exchange.abandon(self.session.name):
            self._login_due = False
        return not self._login_due

    def _give_up(self) -> None:
        """A partition is away: the client may find a better node, and must not be held here."""
        self._waiting = None
        if self._abandon():
            text = "a part of the exchange does not answer now; log in again"
            self._refusal = self.reports.error(ErrorCode.UNAVAILABLE, text)
            self._refuse()

    def _leave(self) -> None:
        self._node.router.remove(self)
        self._say(self.session.close())

    def _rest(self) -> None:
        """Nothing more happens by itself."""
        self._cancel_timer()
        self._stop_waiting()
        if self._refusing is not None:
            self._refusing.cancel()
            self._wait_no_more()
        if self._pulse is not None:
            self._pulse.stop()
            self._pulse = None
        if self._replay is not None:
            self._replay.cancel()

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _cancel_timer(self) -> None:
        if self._later is not None:
            self._later.cancel()

    def room(self) -> None:
        """Go on with what was held back, if it was the answer that filled the output buffer."""
        self._has_room.set()
        self._go_on()

    def portion(self, data: bytes) -> int:
        """As in lines, where it is not lines that are spoken."""
        if self.session.packed or data[0] in FIRST_BYTES:
            return min(len(data), PACKED_TURN, int(LINES_TURN * self._packed_size))
        return super().portion(data)

    def few(self, data: bytes, portion: int) -> int:
        """The same."""
        if self.session.packed or data[0] in FIRST_BYTES:
            return min(portion, int(FEW * self._packed_size))
        return super().few(data, portion)

    def resume(self, reason: Pause) -> None:
        """A reason to pause is gone: what was held back comes before what is read next."""
        super().resume(reason)
        if self._pulse is not None and not self.pauses:
            self._pulse.heard()
        if reason is Pause.QUEUE:
            self._go_on()
        self._end_if_all_is_heard()

    def _end_if_all_is_heard(self) -> None:
        if self._deaf and not self._early and not self.finishing:
            self._say(self.session.end(unfinished=False))

    def _go_on(self) -> None:
        waits = self._answer_due or self.pauses & {Pause.OUTPUT, Pause.QUEUE}
        if self.session.holding and not waits:
            self._say(self.session.answered())
            if not self._answer_due:
                self.resume(Pause.ANSWER)

    def _say(self, commands: Sequence[Command]) -> None:
        if self.session.retry_after is not None:
            self.slow_down(self.session.retry_after)
            self.session.retry_after = None
        if self.session.locked:
            commands = self._refuse_here(commands)
        if not commands:
            return
        self._node.submit(self, commands)
        if isinstance(commands[-1], QUERIES):
            self._answer_due = True
            self._login_due = isinstance(commands[-1], OpenSession)
            if self._login_due and len(self._node.exchange.partitions) > 1:
                timeout = self._node.settings.login_timeout
                self._waiting = asyncio.get_running_loop().call_later(timeout, self._give_up)
            self.pause(Pause.ANSWER)

    def _refuse_here(self, commands: Sequence[Command]) -> list[Command]:
        """Who may say nothing yet has no answers due that these could overtake."""
        for command in commands:
            if isinstance(command, Refuse):
                why = command.code, command.text, command.order_id
                self.write(self.reports.error(*why, None, command.limit, command.retry_after))
                if command.limit is not None:
                    self.limited(command.limit, None)
        return [command for command in commands if not isinstance(command, Refuse)]

    # Heartbeats

    def _beat(self) -> None:
        # What waits to be said, or to be read, makes one superfluous.
        if self._replay is None and not self.out and Pause.OUTPUT not in self.pauses:
            self.write(self.reports.heartbeat(self._node.router.places))

    def _silent(self) -> None:
        self.dismiss(ErrorCode.SILENT, "nothing was heard for two heartbeats")

    # Resuming

    async def _catch_up(self, missed: Ranges, answer: bytes, passed: Ranges) -> None:
        """Replay, answer the login, and go on with what happened meanwhile."""
        try:
            await self._tell_again(missed, at_login=True)
            self.write(answer)
            await self._tell_again(passed, at_login=False)
        except JournalTrimmed as error:
            log.warning("%s %s: %s", self.kind, self.name, error, extra=told(LogEvent.ERROR))
            self._replay = None
            self.dismiss(ErrorCode.UNAVAILABLE, "the journal was cut meanwhile; log in again")
        except Exception:
            failed = told(LogEvent.ERROR)
            log.exception("%s %s: the replay failed", self.kind, self.name, extra=failed)
            self.abort("the replay failed")
        else:
            self._replay = None
            kept, self._kept = self._kept, bytearray()
            if kept:
                self.write(bytes(kept))
            self.answered()

    async def _tell_again(self, ranges: Ranges, *, at_login: bool) -> None:
        who = self.session.participant
        for partition, (after, until) in ranges.items():
            journal = self._node.exchange.partitions[partition]
            told = replay(journal, who, after, until, self.reports, at_login=at_login)
            async with aclosing(told) as batches:
                async for lines in batches:
                    self.write(b"".join(lines))
                    await self._until_there_is_room()

    async def _until_there_is_room(self) -> None:
        while Pause.OUTPUT in self.pauses:
            self._has_room.clear()
            await self._has_room.wait()
