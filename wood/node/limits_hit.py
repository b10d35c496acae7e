"""Who was refused something for a limit: told once a second, however often it happened.

A client that is over a limit may be refused a hundred thousand times a second. Each is counted,
which costs what an entry of a dictionary does; a line is written of those that happened most.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from heapq import nlargest

from wood.model.errors import Limit
from wood.model.log_events import LogEvent, told
from wood.node.log_lines import REFUSED

KINDS = 256
"""Different limits and participants that are counted each for itself in a second."""

LOST = 3.0
"""Seconds after which a timer that did not come will not come: its event loop has ended."""

_Kind = tuple[Limit, str, str | None]
"""The limit, whose, and in which instrument."""


class LimitsHit:
    """Counts refusals, and writes at most `most` lines a second about them."""

    def __init__(
        self,
        log: logging.Logger,
        most: int = REFUSED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._most = most
        self._clock = clock
        self._counts: dict[_Kind, list[int]] = {}
        self._clients: dict[_Kind, str] = {}
        self._more = 0
        self._since: float | None = None

    def note(self, limit: Limit, participant: str, client: str, symbol: str | None) -> None:
        """Count one. Of several clients of a participant the first one is told."""
        kind = limit, participant, symbol
        if (count := self._counts.get(kind)) is not None:
            count[0] += 1
            return
        if self._since is not None and self._clock() - self._since > LOST:
            self.flush()
        if self._since is None:
            self._since = self._clock()
            with suppress(RuntimeError):  # no event loop: a later one will tell
                asyncio.get_running_loop().call_later(1.0, self.flush)
        if len(self._counts) < KINDS:
            self._counts[kind] = [1]
            self._clients[kind] = client
        else:
            self._more += 1

    def flush(self) -> None:
        """Write what was counted since the last time."""
        counts, clients, more = self._counts, self._clients, self._more
        self._counts, self._clients, self._more, self._since = {}, {}, 0, None
        for kind in nlargest(self._most, counts, key=lambda kind: counts[kind][0]):
            (count,) = counts.pop(kind)
            self._tell(kind, clients[kind], count)
        if left_out := more + sum(count for (count,) in counts.values()):
            self._log.warning(
                "%d more refusals for limits were left out",
                left_out,
                extra=told(LogEvent.LINES_LEFT_OUT, about="limits hit", count=left_out),
            )

    def _tell(self, kind: _Kind, client: str, count: int) -> None:
        limit, participant, symbol = kind
        fields = {"participant": participant or None, "client": client, "symbol": symbol}
        self._log.warning(
            "%s of %s%s: refused %d times within a second",
            *(limit, participant or client, f" in {symbol}" if symbol else "", count),
            extra=told(LogEvent.LIMIT_HIT, limit=limit, count=count, **fields),
        )


limits_hit = LimitsHit(logging.getLogger("wood.node"))
