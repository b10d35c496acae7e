"""Tasks of connections, which the node ends when it ends."""

import asyncio
from collections.abc import Coroutine

CANCELING = 0.1
"""Seconds after which a task that was cancelled and goes on is cancelled again."""


class Tasks:
    """Keeps tasks, since the event loop does not, until they are done."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Have a task of its own; `work` is to handle its errors itself."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """End all tasks: a cancellation that meets a reply can get lost on its way."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=CANCELING)
