"""What was heard and not yet read, with a bound at which to stop listening."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")

LIMIT = 1000
"""Things that wait to be read, past which no more is read from the socket."""


class Inbox(Generic[T]):
    """A queue that is never refused anything, and says when it is `full`."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._items: deque[T] = deque()
        self._unlimited = 0
        self._ended = False
        self._error: Exception | None = None
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def full(self) -> bool:
        """Whether no more should be put in for now."""
        return not self._room.is_set()

    def put(self, items: Iterable[T]) -> None:
        """Add `items`."""
        self._items.extend(items)
        self._update()

    def end(self, error: Exception | None) -> None:
        """Nothing more will come. Who has read everything then gets `error`."""
        if not self._ended:
            self._ended, self._error = True, error
        self._update()

    async def get(self) -> T:
        """The next item. Raises `StopAsyncIteration`, or the error, after the last one.

        When cancelled, nothing is lost.
        """
        while not self._items:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            await self._arrived.wait()
        item = self._items.popleft()
        self._update()
        return item

    async def room(self) -> None:
        """Wait until it is not full."""
        await self._room.wait()

    @contextmanager
    def unlimited(self) -> Iterator[None]:
        """While the body runs it is never full: something is awaited that comes after the rest."""
        self._unlimited += 1
        self._update()
        try:
            yield
        finally:
            self._unlimited -= 1
            self._update()

    def _update(self) -> None:
        _set(self._arrived, bool(self._items) or self._ended)
        _set(self._room, len(self._items) < self._limit or self._unlimited > 0)


def _set(event: asyncio.Event, value: bool) -> None:
    if value:
        event.set()
    else:
        event.clear()
