"""TCP proxies that break in ways that the two sides themselves cannot be made to."""

import asyncio
import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from tests.support import eventually


class _Relay(ABC):
    """Listens, in a thread of its own, and passes bytes on to a port of this machine."""

    def __init__(self, target: int) -> None:
        self.target = target
        """The port that new connections go to."""
        self.port = 0
        """Where it listens."""
        self._tasks: set[asyncio.Task[None] | None] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        eventually(lambda: self.port > 0, "the proxy")

    def close(self) -> None:
        """End it, and all connections."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._connected, "127.0.0.1", 0)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._loop.run_forever()
        server.close()
        while tasks := asyncio.all_tasks(self._loop):
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=0.1))
        self._loop.run_until_complete(asyncio.sleep(0.01))  # the transports let go of their sockets
        self._loop.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The event loop itself holds on to tasks only weakly.
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            await self._relay(reader, writer)
        finally:
            self._tasks.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        try:
            with suppress(asyncio.CancelledError):
                await self._pass_on(reader, writer, there, back)
        finally:
            writer.transport.abort()
            back.transport.abort()

    @abstractmethod
    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        """Pass bytes on until it is over."""


class Proxy(_Relay):
    """Stands before Redis; `lose_replies` cuts instead of passing replies on.

    So that a command has been done and nobody was told.
    """

    def __init__(self, target: int) -> None:
        self.lose_replies = 0
        """How many more replies to scripts are to be lost, each with its connection."""
        self._marker: bytes | None = None
        self._held: list[bytes] = []
        self._let_go = asyncio.Event()
        super().__init__(target)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def held(self) -> bytes:
        """What waits."""
        return b"".join(self._held)

    def hold(self, marker: bytes) -> None:
        """Let what has this in it wait, and all that follows on its connection."""
        self._held.clear()
        self._let_go.clear()
        self._marker = marker

    def release(self) -> None:
        """Send what waits, though whoever sent it may be gone; hold nothing more."""
        self._marker = None
        self._loop.call_soon_threadsafe(self._let_go.set)

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        asked: list[bytes] = []

        async def requests() -> None:
            while data := await reader.read(1 << 20):
                asked.append(data)
                if self._marker is not None and self._marker in data:
                    self._held.append(data)
                    await self._let_go.wait()
                back.write(data)
            back.close()

        async def replies() -> None:
            while data := await there.read(1 << 20):
                if self.lose_replies and b"EVALSHA" in b"".join(asked[-3:]) and b"*4" in data[:4]:
                    self.lose_replies -= 1
                    writer.transport.abort()
                    back.close()
                    return
                writer.write(data)
            writer.close()

        await asyncio.gather(requests(), replies(), return_exceptions=True)


@dataclass(frozen=True)
class Cut:
    """Where a connection breaks: after so many bytes of one direction, and how."""

    direction: Literal["requests", "answers"]
    after: int
    how: Literal["reset", "end", "lose"]
    """Both sides get a RST; both get a FIN; or the answers end and the requests still pass."""


class Cutter(_Relay):
    """Stands before a node and breaks each connection as `cut` says."""

    def __init__(self) -> None:
        self.cut: Cut | None = None
        self.answered = 0
        """Bytes of answers that passed on the last connection."""
        super().__init__(0)

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        cut = self.cut
        self.answered = 0
        end = {cut.direction: cut.after} if cut else {}

        async def requests() -> None:
            async for _ in _copied(reader, back, end.get("requests")):
                pass

        async def answers() -> None:
            async for passed in _copied(there, writer, end.get("answers")):
                self.answered = passed

        both = [asyncio.ensure_future(requests()), asyncio.ensure_future(answers())]
        if cut is not None and cut.how == "lose":
            await both[1]
            writer.write_eof()
            unheard = asyncio.ensure_future(there.read())
            await both[0]
            back.write_eof()
            await unheard
            return
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for each in both:
            each.cancel()
        await asyncio.wait(both)
        for side in (writer, back):
            if cut is not None and cut.how == "reset":
                _reset(side)
            else:
                side.close()


async def _copied(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, limit: int | None
) -> AsyncIterator[int]:
    """Pass on up to `limit` bytes, until the source ends; how many it were so far."""
    passed = 0
    with suppress(OSError):
        while (limit is None or passed < limit) and (data := await source.read(1 << 16)):
            data = data if limit is None else data[: limit - passed]
            target.write(data)
            await target.drain()
            passed += len(data)
            yield passed


def _reset(side: asyncio.StreamWriter) -> None:
    """Close with a RST, as a crash of the machine on the other side would in the end."""
    side.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    side.transport.abort()
