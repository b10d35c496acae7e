"""The heartbeats of one connection: both sides show that they live, or it is closed."""

import asyncio
from collections.abc import Callable

GLANCE = 0.01
"""Seconds in which the event loop reads what lies there, before one is taken for silent."""


class Pulse:
    """Watches a line for a client that asked for heartbeats every `interval` seconds.

    `beat` is called when the line has been idle that long, `silent` when nothing was heard for two
    intervals. That clock stands still while `reading` says that the server does not read, and while
    the process itself was stopped.
    """

    def __init__(
        self,
        interval: float,
        reading: Callable[[], bool],
        beat: Callable[[], None],
        silent: Callable[[], None],
    ) -> None:
        self._interval = interval
        self._reading = reading
        self._beat = beat
        self._silent = silent
        self._loop = asyncio.get_running_loop()
        self._heard = self._said = self._loop.time()
        self._doubted = False
        self._plan()

    def heard(self) -> None:
        """The client said something, or could not be heard until now."""
        self._heard = self._loop.time()
        self._doubted = False

    def said(self) -> None:
        """The client was told something."""
        self._said = self._loop.time()

    def stop(self) -> None:
        """Watch no more."""
        self._timer.cancel()

    def _plan(self) -> None:
        self._look_at(min(self._said + self._interval, self._heard + 2 * self._interval))

    def _look_at(self, time: float) -> None:
        self._at = time
        self._timer = self._loop.call_at(self._at, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        # Who comes this late was stopped himself: what the client said meanwhile is still unread.
        if not self._reading() or now - self._at > self._interval / 2:
            self.heard()
        if now - self._heard >= 2 * self._interval:
            if self._doubted:
                self._silent()
            else:
                # Timers come before what has arrived meanwhile: that is read first.
                self._doubted = True
                self._look_at(now + GLANCE)
            return
        if now - self._said >= self._interval:
            self._said = now
            self._beat()
        self._plan()
