"""Lines of the log that strangers cause: no more than a disk bears, and nothing but text.

A stranger may connect as often as it likes. What it makes the server say is bounded by the second;
what was left out is counted, so that an attack is still seen. Each kind of line has a bound of its
own, so that none hides another.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from wood.model.log_events import LogEvent, told
from wood.model.text import printable

Extra = Mapping[str, object]
"""What `told` makes."""

REFUSED = 10
"""Lines a second about what was refused, of each kind."""

SERVED = 200
"""Lines a second about connections that were opened and closed; and about logins."""


class FewLines:
    """Writes at most `most` lines a second about something, and then how many were left out.

    That is said when the second is over, if there is an event loop, or with the next line. `extra`
    is what `told` makes, as for a `logging.Logger`.
    """

    def __init__(
        self,
        log: logging.Logger,
        about: str,
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._about = about
        self._most = most
        self._clock = clock
        self._second = -1
        self._written = 0
        self._left_out = 0
        self._waits_in: asyncio.AbstractEventLoop | None = None

    def warning(self, text: str, *values: object, extra: Extra | None = None) -> None:
        """Write a warning, if there is room for it."""
        self._say(logging.WARNING, text, values, extra)

    def info(self, text: str, *values: object, extra: Extra | None = None) -> None:
        """Write what is no warning, if there is room for it."""
        self._say(logging.INFO, text, values, extra)

    def flush(self) -> None:
        """Tell how many lines were left out, if any, in seconds before this one."""
        second = int(self._clock())
        if second == self._second:
            return
        self._second, self._written = second, 0
        self.say_left_out()

    def say_left_out(self) -> None:
        """Tell at once how many lines were left out, if any."""
        if self._left_out:
            left_out, self._left_out = self._left_out, 0
            self._log.warning(
                "%d more lines about %s were left out",
                *(left_out, self._about),
                extra=told(LogEvent.LINES_LEFT_OUT, about=self._about, count=left_out),
            )

    def _say(self, level: int, text: str, values: tuple[object, ...], extra: Extra | None) -> None:
        if not self._log.isEnabledFor(level):
            return
        self.flush()
        if self._written >= self._most:
            self._left_out += 1
            if self._left_out == 1:
                self._flush_later()
            return
        self._written += 1
        self._log.log(level, text, *values, extra=extra)

    def _flush_later(self) -> None:
        with suppress(RuntimeError):  # no event loop: the next line will tell
            loop = asyncio.get_running_loop()
            if self._waits_in is not loop:
                self._waits_in = loop
                loop.call_later(1.0, self._flush_in_time)

    def _flush_in_time(self) -> None:
        self._waits_in = None
        self.flush()
        if self._left_out:
            # An event loop's second may be a little shorter, or these are of the next one.
            self._flush_later()


class PlainText(logging.Formatter):
    """A record as lines of text: whatever a value holds, none of it can command a terminal.

    Nor can it look like another line of the log: only a traceback has lines of its own.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's own)
        """The first line."""
        return printable(super().formatMessage(record))

    def formatException(self, ei) -> str:  # type: ignore[no-untyped-def]  # noqa: N802
        """The lines of a traceback."""
        return "\n".join(map(printable, super().formatException(ei).split("\n")))


log = logging.getLogger("wood.node")

refused_connections = FewLines(log, "refused connections", REFUSED)
failed_logins = FewLines(log, "failed logins", REFUSED)
refused_logins = FewLines(log, "logins refused for other reasons", REFUSED)
slow_clients = FewLines(log, "clients that do not read", REFUSED)
bad_beginnings = FewLines(log, "bad PROXY headers and TLS handshakes", REFUSED)
connections = FewLines(log, "connections opened and closed", SERVED)
logins = FewLines(log, "logins", SERVED)
"""Not of operators: those are few, and none is left out."""


def say_what_was_left_out() -> None:
    """Tell it of all kinds at once: nothing more will be logged."""
    for lines in (
        *(refused_connections, failed_logins, refused_logins, slow_clients),
        *(bad_beginnings, connections, logins),
    ):
        lines.say_left_out()
