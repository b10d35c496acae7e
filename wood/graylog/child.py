"""The processes that encode and send, so that the one with the exchange in it does neither."""

import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

from wood.graylog.address import Address
from wood.model.text import printable

log = logging.getLogger("wood.graylog")

FIRST_PAUSE = 0.1
"""Seconds after which something is tried again for the first time."""

LONGEST_PAUSE = 5.0
"""Each time it is twice as long, up to this."""


def start(
    module: str, channel: socket.socket, *arguments: str, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Run a module of this package with one end of a pair of sockets. It gets a group of its own,
    so that Ctrl-C is not meant for it.
    """
    number = channel.fileno()
    return subprocess.Popen(
        [sys.executable, "-m", module, str(number), *arguments],
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        pass_fds=[number],
        process_group=0,
    )


def begin(arguments: list[str]) -> tuple[socket.socket, list[str]]:
    """What each such process does first: the end of the pair, and the rest of the arguments."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s")
    return socket.socket(fileno=int(arguments[1])), arguments[2:]


class Pauses:
    """How long to wait before each new try."""

    def __init__(self) -> None:
        self._next = FIRST_PAUSE

    def next(self) -> float:
        """Seconds before the next one."""
        pause, self._next = self._next, min(self._next * 2, LONGEST_PAUSE)
        return pause

    def begin_again(self) -> None:
        """It has worked."""
        self._next = FIRST_PAUSE


class Outage:
    """Tells once that Graylog is away, and once that it is back: in the log, or as is given."""

    def __init__(
        self,
        address: Address,
        tell: Callable[[bool, str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address
        self._tell = tell
        self._clock = clock
        self._since: float | None = None

    @property
    def lasts(self) -> bool:
        """Whether it is away."""
        return self._since is not None

    def down(self, reason: str) -> None:
        """It did not work."""
        if self._since is None:
            self._since = self._clock()
            if self._tell is None:
                log.warning("Graylog at %s is away: %s", self._address, printable(reason))
            else:
                self._tell(False, reason)

    def up(self) -> None:
        """It worked."""
        if self._since is not None:
            seconds, self._since = self._clock() - self._since, None
            if self._tell is None:
                log.warning("Graylog at %s is back after %.1f s", self._address, seconds)
            else:
                self._tell(True, f"{seconds:.1f} s")
