"""What the two clients share: one task that connects, listens and connects again."""

import asyncio
import logging
import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from math import inf
from random import random
from types import TracebackType
from typing import Generic, Self, TypeVar

from wood.client.addresses import LONGEST_DELAY, Address, Rotation
from wood.client.errors import ClientClosed, ConnectionLost
from wood.client.inbox import Inbox
from wood.client.line import Line, Unreachable, dial
from wood.model.errors import WoodError

T = TypeVar("T")

_log = logging.getLogger("wood.client")


class Shell(ABC, Generic[T]):
    """A client as an asynchronous context manager and iterator.

    One task does all of it, from entering to `close`. Whatever ends it is raised by the iterator,
    after everything that was heard, and by every call that waits.
    """

    def __init__(
        self,
        addresses: Sequence[str | Address],
        *,
        reconnects: bool,
        give_up_after: float | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if isinstance(addresses, str):
            raise TypeError("addresses must be a list of addresses")
        self._rotation = Rotation(addresses, random)
        self._reconnects = reconnects
        self._tls = tls
        self._give_up_after = inf if give_up_after is None else give_up_after
        self._inbox: Inbox[T] = Inbox()
        self._ready = asyncio.Event()  # the server may be spoken to, or all is over
        self._line: Line | None = None
        self._closing = False
        self._error: Exception | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Connect. Returns when the server is ready; raises what ends the client before that."""
        if self._task is not None:
            raise ClientClosed("a client is entered once")
        self._task = asyncio.create_task(self._run())
        try:
            await self._until_ready()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close. A fault of the program that nobody has seen yet is raised."""
        await self.close()
        if error is None and self._error and not isinstance(self._error, WoodError):
            raise self._error

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """The next of what was heard. When cancelled, nothing is lost."""
        if self._task is None:
            raise ClientClosed("a client is used in `async with`")
        return await self._inbox.get()

    async def close(self) -> None:
        """End it. What was heard can still be read. Safe to call twice, and from any task."""
        if self._task is None:
            return
        if not self._closing:
            self._closing = True
            try:
                await self._last_words(self._task)
            finally:
                self._task.cancel()
        await asyncio.wait([self._task])
        if self._line is not None:
            await self._line.close()

    @abstractmethod
    async def _converse(self, line: Line) -> str:
        """Talk until the connection has to be replaced; returns why.

        Raises a `ClientError` if it ended for good.
        """

    @abstractmethod
    def _lost(self, reason: str) -> Iterable[T]:
        """A connection that served is gone. Returns what there is to tell."""

    def _left(self) -> Iterable[T]:
        """No other connection will come. Returns what there is to tell."""
        return ()

    async def _last_words(self, task: asyncio.Task[None]) -> None:
        """Wait for what should be heard before the end."""

    def _heartbeat(self) -> bytes:
        """What to say so as not to be silent."""
        return b""

    async def _until_ready(self) -> None:
        """Wait until the server may be spoken to. Raises what ended the client."""
        if self._task is not None:
            await self._ready.wait()
        if self._error is not None:
            raise self._error
        if self._closing or self._task is None or self._task.done():
            raise ClientClosed("the client is closed")

    async def _run(self) -> None:
        error: Exception | None = None
        try:
            await self._keep_connected()
        except Exception as failure:
            error = failure
        finally:
            self._finish(error)

    def _finish(self, error: Exception | None) -> None:
        self._error = error
        self._inbox.put(self._left())
        self._inbox.end(error)
        self._ready.set()

    async def _keep_connected(self) -> None:
        clock = asyncio.get_running_loop().time
        reached = clock()
        while True:
            line = self._line = await self._connect(reached)
            began = clock()
            reason = await self._converse(line)
            if self._closing:
                return
            line.abort()
            if not self._reconnects:
                raise ConnectionLost(reason)
            _log.info("%s", reason)
            self._ready.clear()
            if line.served:
                reached = clock()
                if reached - began >= LONGEST_DELAY:
                    self._rotation.did_well()
                self._inbox.put(self._lost(reason))

    async def _connect(self, reached: float) -> Line:
        """Try the addresses in turn. Raises `ConnectionLost` when it is time to give up."""
        clock = asyncio.get_running_loop().time
        tries = inf if self._reconnects else len(self._rotation.addresses)
        while True:
            delay, address = self._rotation.next()
            left = reached + self._give_up_after - clock()
            await asyncio.sleep(max(0.0, min(delay, left)))
            try:
                line = await dial(address, left, self._tls)
            except Unreachable as failure:
                tries -= 1
                if tries <= 0 or clock() - reached >= self._give_up_after:
                    raise ConnectionLost(str(failure)) from None
                _log.info("%s", failure)
            else:
                _log.info("connected to %s", line.name)
                return line

    async def _hear(self, line: Line) -> tuple[bytes, str]:
        """The next bytes; or none, and why. Meanwhile the server is shown that one lives.

        While too much waits to be read nothing is taken from the socket, and the server cannot be
        taken for dead.
        """
        clock, pulse = asyncio.get_running_loop().time, line.pulse
        while True:
            listening = not self._inbox.full
            try:
                async with asyncio.timeout_at(pulse.next(listening=listening)):
                    if listening:
                        piece = await line.read()
                        pulse.heard(clock())
                        return piece, f"the server at {line.name} closed the connection"
                    await self._inbox.room()
            except TimeoutError:
                pass
            if not listening:
                pulse.heard(clock())
            elif pulse.is_dead(clock()):
                # If it was this program that stood still, what the server said is here by now.
                if piece := await line.poll():
                    pulse.heard(clock())
                    return piece, ""
                return b"", f"the server at {line.name} was silent for {pulse.patience:g} s"
            if pulse.must_speak(clock()):
                line.write(self._heartbeat())
