"""How long somebody else may take, whatever it does in that time."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

PATIENCE = 10.0
"""Seconds that a sink has for each answer."""

LONGEST = 30.0
"""Seconds for all of a delivery: who sends a byte now and then is no better than a silent one."""


@contextmanager
def within(seconds: float, sock: Callable[[], socket.socket | None]) -> Iterator[None]:
    """Shut the socket that `sock` returns then down if the body takes longer than that."""

    def cut() -> None:
        found = sock()
        if found is not None:
            with suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
