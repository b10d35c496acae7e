"""The way of private events to the connections of the participants they concern."""

from typing import Protocol

from wood.model.errors import ErrorCode
from wood.model.events import (
    AllCanceled,
    Batch,
    CommandRefused,
    Event,
    InstrumentsListed,
    LevelChanged,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    OrdersListed,
    SessionClosed,
    Snapshot,
    Trade,
)
from wood.wire.reports import Reports


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


class Router:
    """A reader of the journal: reports go to all connections of the participant, replies and
    errors to the one that asked. Each connection gets what a batch holds for it in one write.
    """

    def __init__(self) -> None:
        self._by_participant: dict[str, list[Recipient]] = {}
        self._by_session: dict[str, Recipient] = {}
        self._touched: list[Recipient] = []

    def add(self, participant: str, session: str, connection: Recipient) -> None:
        """Begin to route to `connection`."""
        self._by_session[session] = connection
        self._by_participant.setdefault(participant, []).append(connection)

    def remove(self, participant: str, session: str) -> None:
        """Route to the connection of `session` no more."""
        connection = self._by_session.pop(session)
        same = self._by_participant[participant]
        same.remove(connection)
        if not same:
            del self._by_participant[participant]

    def reset(self, snapshot: Snapshot) -> None:
        """History forked: nobody can be sure to have got every report, so each is told and closed.

        At the start there is nobody to tell.
        """
        text = "reports may have been lost; connect again"
        for connection in list(self._by_session.values()):
            connection.out.append(connection.reports.error(ErrorCode.UNAVAILABLE, text))
            connection.flush()
            connection.finish("reports may have been lost")

    def apply(self, batch: Batch) -> None:
        """Put each event's reports to the connections concerned, then send them."""
        closed: list[Recipient] = []
        answered: list[Recipient] = []
        for event in batch.events:
            if type(event) is OrderAccepted:
                for connection in self._by_participant.get(event.participant, ()):
                    line = connection.reports.new(event.symbol, event.order_id)
                    self._put(connection, line)
            elif type(event) is Trade:
                self._fills(event)
            elif type(event) is OrderCanceled:
                for connection in self._by_participant.get(event.participant, ()):
                    line = connection.reports.canceled(event.symbol, event.order_id)
                    self._put(connection, line)
            elif type(event) is not LevelChanged:
                self._other(event, answered, closed)
        for connection in self._touched:
            connection.flush()
        self._touched.clear()
        for connection in answered:
            connection.answered()
        for connection in closed:
            connection.finish("all is answered")

    def _put(self, connection: Recipient, line: bytes) -> None:
        out = connection.out
        if not out:
            self._touched.append(connection)
        out.append(line)

    def _fills(self, event: Trade) -> None:
        """The resting order's report comes before the incoming one's."""
        symbol, price, quantity = event.symbol, event.price, event.quantity
        for connection in self._by_participant.get(event.maker, ()):
            line = connection.reports.fill(symbol, event.maker_order_id, price, quantity)
            self._put(connection, line)
        for connection in self._by_participant.get(event.taker, ()):
            line = connection.reports.fill(symbol, event.taker_order_id, price, quantity)
            self._put(connection, line)

    def _other(
        self,
        event: Event,
        answered: list[Recipient],
        closed: list[Recipient],
    ) -> None:
        if isinstance(event, OrderAmended):
            for connection in self._by_participant.get(event.participant, ()):
                self._put(connection, connection.reports.amended(event))
            return
        asker = self._by_session.get(getattr(event, "session", ""))
        if asker is None:
            return
        match event:
            case CommandRefused(code=code, text=text, order_id=order_id, symbol=symbol):
                self._put(asker, asker.reports.error(code, text, order_id, symbol))
            case AllCanceled():
                self._put(asker, asker.reports.all_canceled(event))
            case OrdersListed():
                self._put(asker, asker.reports.orders(event))
                answered.append(asker)
            case InstrumentsListed():
                self._put(asker, asker.reports.instruments(event))
                answered.append(asker)
            case SessionClosed():
                closed.append(asker)
