"""What the person sees: events line by line on standard error, the status on standard output."""

import os
import sys
from contextlib import suppress
from typing import TextIO

CLEAR = "\r\x1b[K"


class Screen:
    """In a terminal the status is one line that is written over; else a line whenever it changes.

    Who no longer listens is no reason to end: then nothing is said.
    """

    def __init__(self) -> None:
        # There is none where somebody has closed it.
        self._live = (
            sys.stdout is not None
            and sys.stdout.isatty()
            and os.environ.get("TERM", "dumb") != "dumb"
        )
        self._status = ""

    def status(self, text: str) -> None:
        """Show how things are now."""
        if self._live:
            self._write(sys.stdout, CLEAR + text[: self._width() - 1])
        elif text != self._status:
            self._write(sys.stdout, text + "\n")
        self._status = text

    def say(self, text: str) -> None:
        """Tell of something that happened."""
        if self._live:
            self._write(sys.stdout, CLEAR)
        self._write(sys.stderr, text + "\n")
        if self._live:
            self.status(self._status)

    def close(self) -> None:
        """Take the status away, so that what comes next begins its own line."""
        if self._live:
            self._status = ""
            self._write(sys.stdout, CLEAR)

    def _width(self) -> int:
        """Asked of the terminal itself, which may have changed; COLUMNS may be anybody's."""
        try:
            return os.get_terminal_size(sys.stdout.fileno()).columns
        except (OSError, ValueError):
            return 80

    def _write(self, stream: TextIO | None, text: str) -> None:
        if stream is None:
            return
        with suppress(OSError, ValueError):
            stream.write(text)
            stream.flush()
