"""The way of private events to the connections of the participants they concern."""

import logging
from collections.abc import Iterator
from typing import Protocol

from wood.model.errors import ErrorCode, Limit
from wood.model.events import (
    AllCanceled,
    Batch,
    CommandRefused,
    Event,
    HeartbeatAnswered,
    InstrumentsListed,
    LevelChanged,
    LoginRefused,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    OrdersListed,
    ParticipantDisabled,
    Place,
    Places,
    SessionClosed,
    SessionOpened,
    Snapshot,
    StateAnswered,
    StateChanged,
    Trade,
)
from wood.model.log_events import LogEvent, told
from wood.wire.reports import Reports

log = logging.getLogger("wood.node")


class Recipient(Protocol):
    """A connection, as far as the router knows it."""

    reports: Reports
    """The encoder that its client understands."""
    out: list[bytes]
    """What `flush` will send."""

    def flush(self) -> None:
        """Send what is in `out`."""

    def answered(self) -> None:
        """The answer to a query was sent."""

    def finish(self, reason: str) -> None:
        """Everything is answered: close."""

    def dismiss(self, code: ErrorCode, text: str) -> None:
        """Say what is in `out`, then this, and close."""

    def logged_in(self, event: SessionOpened, places: Places) -> bytes | None:
        """It has a name from here on, where the journal is at `places`. Returns the answer, None
        if something has to come before.
        """

    def login_refused(self, event: LoginRefused) -> None:
        """It stays without a name."""

    def limited(self, limit: Limit, symbol: str | None) -> None:
        """Something of it was refused for a limit."""

    def slow_down(self, retry_after: int) -> None:
        """It said more than it may: before so many microseconds all it says will be refused."""


class Router:
    """A reader of the journal: reports go to all connections of the participant, replies and
    errors to the one that asked. Each connection gets what a batch holds for it in one write.
    """

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        """The epoch of each partition, and the last number of which all has been told."""
        self._by_participant: dict[str, list[Recipient]] = {}
        self._by_session: dict[str, Recipient] = {}
        self._places: dict[Recipient, tuple[str, str]] = {}
        """The participant and the session of each."""
        self._named: dict[Recipient, None] = {}  # those that have logged in
        self._touched: list[Recipient] = []
        self._unseen: Iterator[Event] = iter(())  # what `_seq_before` has not looked at
        self._seen = 0

    @property
    def named(self) -> int:
        """How many connections have logged in."""
        return len(self._named)

    def add(self, participant: str, session: str, connection: Recipient) -> None:
        """Begin to route to `connection`."""
        self._by_session[session] = connection
        self._places[connection] = participant, session
        self._by_participant.setdefault(participant, []).append(connection)

    def remove(self, connection: Recipient) -> None:
        """Route to `connection` no more. Safe to call twice."""
        place = self._places.pop(connection, None)
        if place is None:
            return
        participant, session = place
        del self._by_session[session]
        self._named.pop(connection, None)
        same = self._by_participant[participant]
        same.remove(connection)
        if not same:
            del self._by_participant[participant]

    def reset(self, snapshot: Snapshot) -> None:
        """History forked: nobody can be sure to have got every report, so each is told and closed.

        At the start there is nobody to tell.
        """
        self.places[snapshot.partition] = snapshot.epoch, snapshot.seq
        for connection in list(self._by_session.values()):
            connection.dismiss(ErrorCode.UNAVAILABLE, "reports may have been lost; connect again")
        # Also those that only wait for the answer to a login, which will not come.
        self._by_session.clear()
        self._by_participant.clear()
        self._places.clear()
        self._named.clear()

    def apply(self, batch: Batch) -> None:
        """Put each event's reports to the connections concerned, then send them."""
        if batch.epoch != self.places[batch.partition][0]:
            self._epoch_began(batch)
        closed: list[Recipient] = []
        answered: list[Recipient] = []
        time = batch.time
        self._unseen, self._seen = iter(batch.events), batch.first - 1
        for event in batch.events:
            if type(event) is OrderAccepted:
                for connection in self._by_participant.get(event.participant, ()):
                    self._put(connection, connection.reports.new(event, time))
            elif type(event) is Trade:
                # The resting order's report comes before the incoming one's.
                for connection in self._by_participant.get(event.maker, ()):
                    self._put(connection, connection.reports.maker_fill(event, time))
                for connection in self._by_participant.get(event.taker, ()):
                    self._put(connection, connection.reports.taker_fill(event, time))
            elif type(event) is OrderCanceled:
                for connection in self._by_participant.get(event.participant, ()):
                    self._put(connection, connection.reports.canceled(event, time))
            elif type(event) is not LevelChanged:
                self._other(event, batch, answered, closed)
        self.places[batch.partition] = batch.epoch, batch.last
        for connection in self._touched:
            connection.flush()
        self._touched.clear()
        for connection in answered:
            connection.answered()
        for connection in closed:
            self.remove(connection)
            connection.finish("all is answered")

    def _put(self, connection: Recipient, line: bytes) -> None:
        out = connection.out
        if not out:
            self._touched.append(connection)
        out.append(line)

    def _epoch_began(self, batch: Batch) -> None:
        """Redis was started anew and lost nothing: who resumes later must know by which epoch."""
        place = self.places[batch.partition] = batch.epoch, batch.first - 1
        for connection in self._named:
            self._put(connection, connection.reports.heartbeat({batch.partition: place}))

    def _other(
        self,
        event: Event,
        batch: Batch,
        answered: list[Recipient],
        closed: list[Recipient],
    ) -> None:
        if isinstance(event, OrderAmended):
            for connection in self._by_participant.get(event.participant, ()):
                self._put(connection, connection.reports.amended(event, batch.time))
            return
        if isinstance(event, SessionOpened):
            self._session_opened(event, answered)
            return
        if isinstance(event, StateChanged):
            # All nodes say so; to Graylog the reader of the market does, once.
            log.info(
                "%s is %s from number %d on (%s)",
                *(event.symbol, event.state, event.seq, event.reason),
            )
            return
        if isinstance(event, ParticipantDisabled):
            for connection in list(self._by_participant.get(event.participant, ())):
                connection.dismiss(ErrorCode.DISABLED, "this participant is disabled")
            return
        asker = self._by_session.get(getattr(event, "session", ""))
        if asker is None:
            return
        match event:
            case CommandRefused():
                self._refused(asker, event)
                if event.code is ErrorCode.UNAVAILABLE and event.order_id is None:
                    answered.append(asker)  # it may have been a query
            case StateAnswered():
                what = {"symbol": event.symbol, "state": event.state}
                log.warning(
                    "%s has %s %s",
                    *(event.participant, event.symbol, event.state),
                    extra=told(LogEvent.OPERATOR_ACTED, participant=event.participant, **what),
                )
                self._put(asker, asker.reports.state(event))
            case AllCanceled():
                self._put(asker, asker.reports.all_canceled(event))
            case HeartbeatAnswered():
                place = batch.epoch, self._seq_before(event)
                places = self.places | {batch.partition: place}
                self._put(asker, asker.reports.heartbeat(places))
            case OrdersListed():
                self._put(asker, asker.reports.orders(event))
                answered.append(asker)
            case InstrumentsListed():
                self._put(asker, asker.reports.instruments(event))
                answered.append(asker)
            case LoginRefused():
                asker.login_refused(event)
            case SessionClosed():
                closed.append(asker)

    def _refused(self, asker: Recipient, event: CommandRefused) -> None:
        why = event.code, event.text, event.order_id, event.symbol
        self._put(asker, asker.reports.error(*why, event.limit, event.retry_after))
        if event.limit is not None:
            asker.limited(event.limit, event.symbol)
        if event.code is ErrorCode.RATE and event.retry_after is not None:
            asker.slow_down(event.retry_after)

    def _seq_before(self, event: Event) -> int:
        """The last number before an event of the batch that is being told. Asked for in order."""
        for each in self._unseen:
            if each is event:
                break
            if isinstance(each, Trade):
                self._seen = each.seq + 1
            elif not isinstance(each, SessionOpened):
                # Of several partitions that of a login may be of another one; nobody is told it as
                # a report.
                self._seen = getattr(each, "seq", self._seen)
        return self._seen

    def _session_opened(self, event: SessionOpened, answered: list[Recipient]) -> None:
        if event.session == event.asker:
            return  # one without a name, which only told the engine that it is there
        before = self._by_session.get(event.session)
        asker = self._by_session.get(event.asker)
        if before is not None:
            text = "the session was resumed through another connection"
            before.dismiss(ErrorCode.SUPERSEDED, text)
            self.remove(before)
        if asker is not None:
            self.remove(asker)
            self.add(event.participant, event.session, asker)
            self._named[asker] = None
            line = asker.logged_in(event, self.places)
            if line is not None:
                self._put(asker, line)
                answered.append(asker)
