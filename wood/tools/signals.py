"""Being asked to end, by Ctrl-C or by a supervisor."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from signal import SIGINT, SIGTERM

SIGNALS = (SIGINT, SIGTERM)


@contextmanager
def stop_signal() -> Iterator[asyncio.Event]:
    """An event that SIGINT or SIGTERM sets, for as long as the body runs."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal in SIGNALS:
        loop.add_signal_handler(signal, stop.set)
    try:
        yield stop
    finally:
        for signal in SIGNALS:
            loop.remove_signal_handler(signal)
