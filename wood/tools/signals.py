"""Being asked to end, by Ctrl-C or by a supervisor."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from signal import SIGINT, SIGTERM, Signals

SIGNALS = (SIGINT, SIGTERM)


@contextmanager
def stop_signal(signals: Iterable[Signals] = SIGNALS) -> Iterator[asyncio.Event]:
    """An event that SIGINT or SIGTERM sets, or one of `signals`, for as long as the body runs."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal in signals:
        loop.add_signal_handler(signal, stop.set)
    try:
        yield stop
    finally:
        for signal in signals:
            loop.remove_signal_handler(signal)
