"""How late the event loop is: what is due now, but has to wait until others had their turns."""

import asyncio
import time

from wood.exchange.vitals import SECONDS, Histogram

INTERVAL = 0.1
"""Seconds between two looks."""


class LoopLag:
    """Asks to be called ten times a second, and measures how late that happens.

    A turn that takes long delays all clients of the node alike; that shows here, whoever caused it.
    """

    def __init__(self) -> None:
        self.histogram = Histogram(SECONDS)
        self._worst = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look until `stop`."""
        self._plan()

    def stop(self) -> None:
        """Look no more. Safe to call twice."""
        if self._timer is not None:
            self._timer.cancel()

    def worst(self) -> float:
        """By how many seconds it was late at most since this was last asked.

        A turn that has not ended yet cannot be asked about, of course.
        """
        worst, self._worst = self._worst, 0.0
        return worst

    def _plan(self) -> None:
        # Not by the loop's own clock, which uvloop rounds to milliseconds.
        self._due = time.monotonic() + INTERVAL
        self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._look)

    def _look(self) -> None:
        late = max(0.0, time.monotonic() - self._due)
        self.histogram.observe(late)
        self._worst = max(self._worst, late)
        self._plan()
