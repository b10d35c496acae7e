"""A thread that tells one sink what is to be told, and goes on trying while the sink is away.

Each sink has its own, so that one that hangs holds up nobody else.
"""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable

from wood.alerts.notices import Notice
from wood.alerts.outbox import LIMIT, Letter, Outbox

log = logging.getLogger("wood.alerts")

SHORTEST_WAIT = 1.0
LONGEST_WAIT = 60.0
"""Seconds from one try to the next: twice as long each time, up to this."""


class Undelivered(Exception):
    """A sink has not taken a letter; the text says why, and holds no password."""


class Sink(ABC):
    """Somebody who is told. `name` is what the log calls it, without any secret."""

    name: str

    @abstractmethod
    def deliver(self, letter: Letter) -> None:
        """Tell all of it. May block for a while. Raises `Undelivered`."""


class Sender:
    """A sink, what it is still to be told, and the thread that does so."""

    def __init__(self, sink: Sink, *, wait: float = SHORTEST_WAIT, limit: int = LIMIT) -> None:
        self.name = sink.name
        self._sink = sink
        self._outbox = Outbox(limit)
        self._under_way: Letter | None = None
        self._shortest = self._wait = wait
        self._reason: str | None = None
        """Why the last try failed; None if it did not."""
        self._ending = False
        self._changed = threading.Condition()
        # A daemon: one that hangs in a system call must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name=sink.name, daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def tell(self, notices: Iterable[Notice]) -> None:
        """Have these delivered as soon as it can be. Never blocks."""
        with self._changed:
            self._outbox.put(notices)
            self._changed.notify_all()

    def end(self) -> None:
        """Try once more what waits, and then no more. Does not wait for that."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    def ended(self, seconds: float) -> Letter | None:
        """Wait so long for the end; what is undelivered then, if anything is."""
        self._thread.join(max(0.0, seconds))
        with self._changed:
            if self._under_way is not None:
                self._outbox.give_back(self._under_way)
                self._under_way = None
            return self._outbox.take() if self._outbox else None

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._outbox or self._ending)
                if not self._outbox:
                    return
                last_try = self._ending
                self._under_way = self._outbox.take()
            delivered = self._try(self._under_way)
            with self._changed:
                if not delivered and self._under_way is not None:
                    self._outbox.give_back(self._under_way)
                self._under_way = None
                if last_try:
                    return
                if not delivered:
                    self._changed.wait_for(lambda: self._ending, self._wait)
                    self._wait = min(self._wait * 2, LONGEST_WAIT)

    def _try(self, letter: Letter) -> bool:
        try:
            self._sink.deliver(letter)
        except Exception as error:  # whatever it is, the others and the next try must not suffer
            known = isinstance(error, Undelivered)
            self._say_away(str(error) if known else f"{type(error).__name__}: {error}")
            return False
        if self._reason is not None:
            log.warning("%s takes alerts again: it was told %d", self.name, letter.count)
        self._reason = None
        self._wait = self._shortest
        return True

    def _say_away(self, reason: str) -> None:
        """Say so once, and again when the reason is another one."""
        if reason != self._reason:
            log.error(
                "%s does not take alerts (%s): what it is to be told waits", self.name, reason
            )
        self._reason = reason
