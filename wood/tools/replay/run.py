"""A replay on a connection: as fast as the server answers, or at the pace of the recording."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic

from wood.client.requests import Request, encode
from wood.tools.connection import lost, open_connection
from wood.tools.replay.lobster import BookRow, Message
from wood.tools.replay.messages import decode_lines
from wood.tools.replay.translate import Translator

WINDOW = 256
"""Requests without an answer at which to wait for one. It bounds what both ends must buffer."""

READ_SIZE = 1 << 16


async def replay(
    host: str,
    port: int,
    translator: Translator,
    messages: Iterable[Message],
    *,
    book: BookRow | None = None,
    speed: float | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> None:
    """Send `messages` to `host`:`port`; return when all is answered.

    With a `book`, that after the first message, it is seeded in place of the first message. `speed`
    is times the recorded one, None as fast as possible. `progress` is called with the number of
    messages done so far. May be cancelled at any time; `translator.tally` is right up to there.
    Raises `ConnectionFailed`, `UnexpectedReply`, and what reading `messages` raises.
    """
    line = _Line(host, port, translator, progress)
    await line.open()
    started = monotonic()
    try:
        await line.play(iter(messages), book, speed)
    finally:
        translator.tally.elapsed = monotonic() - started
        line.close()


class _Line:
    """The connection, the requests not yet written and the half line read last.

    One task both writes and reads, in turns: the window keeps what is under way small enough that
    neither end ever waits for the other to read.
    """

    def __init__(
        self, host: str, port: int, translator: Translator, progress: Callable[[int], None]
    ) -> None:
        self._host, self._port = host, port
        self._translator = translator
        self._progress = progress
        self._done = 0
        self._unsent: list[bytes] = []
        self._tail = b""

    async def open(self) -> None:
        """Connect. Raises `ConnectionFailed`."""
        self._reader, self._writer = await open_connection(self._host, self._port)

    def close(self) -> None:
        """Leave without waiting for anything."""
        self._writer.close()

    async def play(
        self, messages: Iterable[Message], book: BookRow | None, speed: float | None
    ) -> None:
        """Say everything, and hear every answer."""
        clock: _Clock | None = None
        for message in messages:
            clock = clock or _Clock(message.seconds, speed)
            await self._wait_until(clock.due(message.seconds))
            if book is not None:
                await self._ask(self._translator.seed(book, message))
                book = None
            else:
                await self._send(message)
            self._done += 1
        await self._settle()

    async def _send(self, message: Message) -> None:
        if self._translator.depends(message):
            await self._settle()
        await self._ask(self._translator.translate(message))

    async def _ask(self, requests: list[Request]) -> None:
        self._unsent += map(encode, requests)
        while len(self._translator.orders.unanswered) >= WINDOW:
            await self._hear()

    async def _settle(self) -> None:
        """Wait until the server has nothing more to say about what it was asked."""
        self._unsent.append(encode(self._translator.fence()))
        while self._translator.orders.unanswered:
            await self._hear()

    async def _wait_until(self, due: float) -> None:
        """Let the time pass until `due`, hearing meanwhile what the server says."""
        while (delay := due - monotonic()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._hear()

    async def _hear(self) -> None:
        """Write what is not yet written, then take in the next piece that the server says.

        When cancelled, nothing that has arrived is lost.
        """
        try:
            if self._unsent:
                self._writer.write(b"".join(self._unsent))
                self._unsent.clear()
                await self._writer.drain()
            self._progress(self._done)
            piece = await self._reader.read(READ_SIZE)
        except OSError:
            piece = b""
        if not piece:
            raise lost(self._host, self._port)
        lines, end, self._tail = (self._tail + piece).rpartition(b"\n")
        for reply in decode_lines(lines) if end else ():
            self._translator.told(reply)


class _Clock:
    """When a message is due, by the clock of the machine."""

    def __init__(self, first: float, speed: float | None) -> None:
        self._first = first
        self._speed = speed
        self._start = monotonic()

    def due(self, seconds: float) -> float:
        """The moment for a message recorded at `seconds`; in the past if there is no pace."""
        if self._speed is None:
            return self._start
        return self._start + (seconds - self._first) / self._speed
