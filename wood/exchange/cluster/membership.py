"""A node's place in the cluster: joining, showing that it lives, leaving."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from msgspec import Struct
from msgspec.msgpack import Decoder

from wood.exchange.cluster.client import FAILURES, BackOff, Client, Fault, fault
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.rules import difference, market_text, rules_text, symbols_in
from wood.exchange.cluster.scripts import BEAT, JOIN, LEAVE
from wood.exchange.sessions import GRACE, Auth
from wood.model.errors import ConfigError
from wood.model.instruments import Instruments
from wood.model.log_events import LogEvent, told

log = logging.getLogger("wood.redis")

LEASE = 5.0
"""Seconds without a beat after which a node is dead, unless the operator says otherwise."""

BEATS = 5
"""Beats in a lease at least."""

LONGEST_INTERVAL = 1.0
"""Seconds between beats at most: a beat also finds what a dead subscription did not tell."""

ASK_AGAIN = 0.05
"""Seconds until one who waits for a sign of life looks again."""


REPORTS = 0.9
"""Seconds from report to report at least, also of one who beats more often."""


class _Named(Struct):
    """What has to be known of a report to keep it."""

    name: str


_name_in = Decoder(_Named).decode


@dataclass(frozen=True)
class State:
    """How far the journal is, as one beat found it."""

    writer: str
    """Whose beat it was."""
    alive: bool
    """Whether that one still is a writer."""
    partition_id: str
    epoch: int
    seq: int
    batch: int
    time: int
    """Of the last entry, in microseconds since the epoch of clocks."""
    due: bool
    """Whether a sweep has something to do."""


class Membership:
    """This node as a writer of the partition.

    `limits` are open orders of a participant, open orders of all, and events in the journal;
    `max_rate` are messages per second of a participant, 0 without limit.
    """

    def __init__(
        self,
        client: Client,
        keys: Keys,
        *,
        instruments: Instruments,
        limits: tuple[int, int, int],
        persist: bool,
        lease: float,
        auth: Auth = Auth.OPEN,
        grace: float = GRACE,
        max_rate: int = 0,
    ) -> None:
        self.writer = ""
        """The random id of this node, another one after each `join`; empty before the first."""
        self._candidate = ""
        self.interval = min(lease / BEATS, LONGEST_INTERVAL)
        """Seconds from beat to beat."""
        self._client = client
        self._keys = keys
        self._partition = instruments.default.partition
        self._rules = rules_text(instruments, *limits, lease, auth, grace, max_rate)
        self._market = market_text(instruments)
        self._limits = limits
        self._persist = persist
        # Two beats that nobody sent are an outage.
        self._times = int(lease * 1e6), int(2 * self.interval * 1e6), int(grace * 1e6)
        self._auth = auth
        self._max_rate = max_rate
        self._report: Callable[[], bytes] | None = None
        self._reported = -REPORTS  # the event loop's time of the last report

    def report_by(self, call: Callable[[], bytes]) -> None:
        """Send with beats what `call` returns, a `NodeReport` in MessagePack."""
        self._report = call

    async def join(self, *, starting: bool) -> None:
        """Become a writer under a new id. A node that starts may be the first and clear the book.

        One that comes back after it was declared dead never does. Raises `ConfigError` if the
        others run by other rules, and what the client raises.
        """
        self._candidate = secrets.token_hex(8)
        stored, since = "", "0"
        while True:
            answer = await self._ask(starting, stored, since)
            match answer:
                case "joined", first, orders, persisted:
                    self.writer = self._candidate
                    if first == "1" and not starting:
                        empty = told(LogEvent.BOOK_CLEARED, partition=self._partition)
                        log.warning("nothing is left in Redis: the book is EMPTY", extra=empty)
                    self._say_cleared(int(orders), persisted == "1")
                    return
                case "other", stored:
                    pass
                case "wait", since:
                    await asyncio.sleep(ASK_AGAIN)
                case "differs", stored, persist:
                    what = difference(self._rules, self._persist, stored, persist == "1")
                    raise ConfigError(
                        f"this node differs from the cluster in Redis: {what} (start it with the "
                        "same options, use another --prefix, or clear that one with 'wood reset')"
                    )

    async def _ask(self, starting: bool, stored: str, since: str) -> list[str]:
        keys = self._keys
        symbols = dict.fromkeys([*symbols_in(stored), *symbols_in(self._rules)])
        where = (keys.beats, keys.placed, keys.leaving)
        answer = await JOIN.run(
            self._client,
            [*keys.fixed[:3], *where, *keys.cleared, *keys.of(symbols)],
            self._candidate,
            self._rules,
            stored,
            self._market,
            str(int(self._persist)),
            str(int(starting)),
            secrets.token_hex(8),
            since,
            keys.channels(),
            *self._limits,
            *self._times,
            self._auth,
            self._max_rate,
        )
        return [part.decode() for part in answer]

    async def beat(self) -> State | None:
        """Show that this node lives; declare dead who does not. None if there is no partition."""
        keys, writer = self._keys, self.writer
        where = [*keys.fixed[:3], keys.beats, keys.placed, keys.leaving, keys.nodes]
        answer = await BEAT.run(self._client, where, writer, *self._said())
        if not answer:
            return None
        alive, partition_id, epoch, seq, batch, time, dead, due = answer
        for name in dead:
            self._say_lost(name.decode())
        place = (int(epoch), int(seq), int(batch), int(time))
        return State(writer, bool(alive), partition_id.decode(), *place, bool(due))

    def _say_lost(self, writer: str) -> None:
        lost = told(LogEvent.NODE_LOST, partition=self._partition, writer=writer)
        log.warning("node %s has been silent for a lease: declared dead", writer, extra=lost)

    def _said(self) -> tuple[str, bytes]:
        """The node's name and its report; empty if it has none, or told one just now."""
        now = asyncio.get_running_loop().time()
        if self._report is None or now - self._reported < REPORTS:
            return "", b""
        self._reported = now
        try:
            report = self._report()
            return _name_in(report).name, report
        except Exception:
            # Whoever looks on shall not stop what it looks at.
            text = "this node cannot say how it is, and says nothing of itself any more"
            log.exception(text, extra=told(LogEvent.ERROR))
            self._report = None
            return "", b""

    async def leave(self) -> None:
        """Be a writer no more, on purpose: nobody has to wait for the end of the lease."""
        keys = self._keys
        for name in filter(None, {self.writer, self._candidate}):
            where = [keys.meta, keys.writers, keys.beats, keys.placed, keys.nodes]
            await LEAVE.run(self._client, where, name)
        self.writer = self._candidate = ""

    async def come_back(self) -> None:
        """Join again, under another id, as soon as Redis lets us. Raises `ConfigError`."""
        back_off = BackOff()
        while True:
            try:
                await self.leave()
                return await self.join(starting=False)
            except FAILURES as error:
                if fault(error) is Fault.BROKEN:
                    raise
                await back_off.wait()

    def _say_cleared(self, orders: int, persisted: bool) -> None:
        gone = told(LogEvent.BOOK_CLEARED, partition=self._partition, count=orders)
        if persisted:
            text = "the book was persisted and is CLEARED: %d open orders are gone"
            log.warning(text, orders, extra=gone)
        elif orders:
            text = "first node of the cluster: a book of %d open orders is cleared"
            log.info(text, orders, extra=gone)
