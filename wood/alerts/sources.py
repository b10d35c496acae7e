"""Who is asked how it is, again and again: each in a task of its own, so that nobody waits for one
who does not answer.
"""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from wood.alerts.look import Asked, DiskSeen
from wood.model.text import printable

T = TypeVar("T")

Clock = Callable[[], float]

FRESH = 3.0
"""Seconds for which an answer counts, beside those until the next question; less where somebody
wants to know sooner.
"""

DISK_INTERVAL = 5.0

CANCELING = 0.1
"""Seconds after which a task that was cancelled and goes on is cancelled again."""


class Source(Generic[T]):
    """Asks somebody every `interval` seconds; has the newest answer, for `fresh` seconds more."""

    def __init__(
        self, ask: Callable[[], Awaitable[T]], interval: float, clock: Clock, fresh: float = FRESH
    ) -> None:
        self._ask = ask
        self._interval = interval
        self._clock = clock
        self._fresh = min(fresh, FRESH) + interval
        self._answer: T | None = None
        self._failed = False
        self._reason = "no answer"
        self._well = self._begun = clock()
        self.tried = asyncio.Event()
        """Set when it has answered, or failed to, for the first time."""
        self.answers_since: float | None = None
        """Since when it has answered without a break; None while it does not."""

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            try:
                self._answer = await self._ask()
            except Exception as error:  # whatever it is, it is no answer
                self._failed, self.answers_since = True, None
                self._reason = printable(str(error)) or type(error).__name__
            else:
                self._failed, self._well = False, self._clock()
                if self.answers_since is None:
                    self.answers_since = self._well
            self.tried.set()
            await asyncio.sleep(self._interval)

    def state(self) -> Asked[T]:
        """What it says, if it says anything."""
        if self._failed or self._answer is None:
            return Asked(None, self._well, self._reason)
        if self._clock() - self._well > self._fresh:
            self.answers_since = None
            return Asked(None, self._well, "no answer")
        return Asked(self._answer, self._well)


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel until all have ended: a cancellation that meets a reply of Redis can get lost."""
    pending: set[asyncio.Task[Any]] = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCELING)


async def in_thread(call: Callable[[], T]) -> T:
    """What a call returns that may block for ever; then its thread is left behind at the end."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def give(value: T | None, error: Exception | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)  # type: ignore[arg-type]

    def run() -> None:
        value, error = None, None
        try:
            value = call()
        except Exception as failure:
            error = failure
        with suppress(RuntimeError):  # the loop is closed: nobody wants to know
            loop.call_soon_threadsafe(give, value, error)

    threading.Thread(target=run, daemon=True).start()
    return await future


def disk(path: str) -> DiskSeen:
    """How full the file system of a path is. Raises OSError."""
    found = os.statvfs(path)
    used = found.f_blocks - found.f_bfree
    size = (used + found.f_bavail) * found.f_frsize
    return DiskSeen(size, found.f_bavail * found.f_frsize)
