"""Sending what waits, over and over until it is confirmed, in a thread of its own."""

import threading
import time
from collections.abc import Callable

from wood.graylog.child import FIRST_PAUSE, Outage, Pauses
from wood.graylog.outbox import Outbox
from wood.graylog.record import Record
from wood.graylog.sink import Sink, why_down

CONFIRMING = 1.0
"""Seconds that something sent waits to be confirmed: each time costs a new connection."""

MANY = 1_000
"""Records after which it is confirmed sooner; and which are sent at once."""


class Sending:
    """Takes records of one thread and sends them in another."""

    def __init__(
        self, outbox: Outbox, sink: Sink, outage: Outage, dropped: Callable[[int], Record]
    ) -> None:
        self._outbox = outbox
        self._sink = sink
        self._outage = outage
        self._dropped = dropped
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="graylog", daemon=True)
        self._since: float | None = None
        """When the first record was sent that is not confirmed yet."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, record: Record) -> None:
        """Send this when it is its turn, unless too many wait."""
        with self._changed:
            self._outbox.put(record)
            self._changed.notify()

    def end(self, seconds: float) -> int:
        """Send the rest, for so many seconds at most; how many records could not be sent."""
        with self._changed:
            self._ending.set()
            self._changed.notify()
        self._thread.join(seconds)
        with self._changed:
            return len(self._outbox) + self._outbox.dropped

    def _run(self) -> None:
        pauses = Pauses()
        while self._wait():
            try:
                self._step()
            except Exception as error:  # of any kind: nobody else would send, or say that none does
                self._sink.close()
                self._outage.down(why_down(error))
                with self._changed:
                    self._outbox.lost()
                    self._since = None
                if self._ending.is_set():
                    time.sleep(FIRST_PAUSE)
                else:
                    self._ending.wait(pauses.next())
            else:
                pauses.begin_again()
        self._sink.close()

    def _wait(self) -> bool:
        """Wait until there is something to do; False when everything is done for ever."""
        with self._changed:
            while not self._outbox.unsent:
                if self._ending.is_set() or self._due() <= 0:
                    return bool(self._outbox)
                self._changed.wait(min(self._due(), threading.TIMEOUT_MAX))
            return True

    def _due(self) -> float:
        """Seconds until something is to be confirmed."""
        if self._since is None:
            return float("inf")
        return self._since + CONFIRMING - time.monotonic()

    def _step(self) -> None:
        with self._changed:
            records = self._outbox.waiting(MANY)
        for record in records:
            self._sink.send(record)
        self._sink.flush()
        with self._changed:
            self._outbox.sent(len(records))
            if records and self._since is None:
                self._since = time.monotonic()
            due = self._due() <= 0 or self._outbox.unconfirmed >= MANY
        if due or self._outage.lasts or self._ending.is_set():
            self._confirm()

    def _confirm(self) -> None:
        self._sink.confirm()
        self._outage.up()
        with self._changed:
            self._outbox.confirmed()
            self._since = None
            if count := self._outbox.dropped:
                self._outbox.dropped = 0
                self._outbox.put(self._dropped(count))
