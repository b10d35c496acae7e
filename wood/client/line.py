"""One connection: bytes in and out, and the clocks that tell whether the other side lives."""

import asyncio
import os
import socket
import ssl
from contextlib import suppress

from wood.client.addresses import Address, text
from wood.client.pulse import Pulse
from wood.client.tls import why

CONNECT_SECONDS = 10.0
"""How long an address may take to answer."""

CLOSE_SECONDS = 3.0
"""How long the other side may take to read the last of what was written."""

READ_SIZE = 1 << 16


class Unreachable(Exception):
    """Nobody answers at an address; the text is one line."""


class Line:
    """An open connection to the server called `name`.

    For whoever listens: `pulse`, and whether it ever `served`, the server being ready.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: Address
    ) -> None:
        self.name = text(address)
        self.pulse = Pulse(asyncio.get_running_loop().time(), None, None)
        self.served = False
        self._ended = False
        self._reader, self._writer = reader, writer

    async def read(self) -> bytes:
        """The next bytes, none once the connection is gone. When cancelled, nothing is lost."""
        try:
            return await self._reader.read(READ_SIZE)
        except OSError:
            return b""

    async def poll(self) -> bytes:
        """What has arrived, nothing if that is nothing."""
        await asyncio.sleep(0)  # so that the event loop asks the socket once more
        with suppress(TimeoutError):
            async with asyncio.timeout(0):
                return await self.read()
        return b""

    def write(self, data: bytes) -> None:
        """Send, without waiting for room; nothing after `end`."""
        if data and not self._ended and not self._writer.is_closing():
            self._writer.write(data)
            self.pulse.spoke(asyncio.get_running_loop().time())

    async def drained(self) -> bool:
        """Wait until there is room for more; False if the connection is gone."""
        try:
            await self._writer.drain()
        except OSError:
            return False
        return not self._writer.is_closing()

    def end(self) -> bool:
        """Say that nothing more will be said; False if that cannot be said, as in TLS."""
        self._ended = True
        if not self._writer.can_write_eof():
            return False
        with suppress(OSError):
            self._writer.write_eof()
        return True

    def abort(self) -> None:
        """Let go of it at once."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Let go of it, after what was written is sent, if that can be. Safe to call twice."""
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._writer.wait_closed()
        except OSError:  # TimeoutError is one
            self.abort()


async def dial(address: Address, seconds: float, tls: ssl.SSLContext | None = None) -> Line:
    """Connect, with `tls` if it is given. Raises `Unreachable`, after `seconds` at the latest."""
    try:
        async with asyncio.timeout(min(seconds, CONNECT_SECONDS)):
            reader, writer = await asyncio.open_connection(*address, ssl=tls)
    except TimeoutError:
        raise Unreachable(f"no server at {text(address)} (no answer)") from None
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"no server at {text(address)} ({reason(error)})") from None
    _keep_alive(writer)
    return Line(reader, writer, address)


def reason(error: Exception) -> str:
    """What is wrong with an address: asyncio's own text names the address instead."""
    if isinstance(error, OSError) and (text := why(error)) is not None:
        return text
    number = getattr(error, "errno", None)
    return os.strerror(number) if number and number > 0 else str(error)


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    """Have the system find out within half a minute that a silent server is gone."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):  # not everywhere
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
