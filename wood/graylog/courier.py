"""Carrying batches of the journal to Graylog, in a process of its own, until they have arrived."""

import asyncio
import logging
import socket
import subprocess
from collections.abc import Callable, Sequence

from wood.graylog.address import Address
from wood.graylog.child import Pauses, start
from wood.graylog.frames import (
    LENGTH,
    Delivered,
    Hello,
    State,
    delivery,
    frame,
    pack_instruments,
    read,
)
from wood.graylog.market import EVENTS, Which
from wood.graylog.record import Record
from wood.graylog.sink import make_sink
from wood.model.events import Batch
from wood.model.instruments import Instruments

log = logging.getLogger("wood.graylog")

ENDING = 1.0
"""Seconds in which the process has to end when it is told to."""


class Courier:
    """Delivers in the order given. `on_state` is called with False and a reason when Graylog is
    found to be away, and with True when it is back and whenever something is delivered; while
    nothing is delivered nobody looks.

    Raises `ConfigError` if the files of TLS are of no use.
    """

    def __init__(
        self,
        address: Address,
        node: str,
        instruments: Instruments,
        which: Which,
        on_state: Callable[[bool, str], None],
    ) -> None:
        make_sink(address)
        self._hello = frame(Hello(address.packed, node, which, pack_instruments(instruments)))
        self._wanted = EVENTS[which]
        self._on_state = on_state
        self._closed = False
        self._number = 0
        self._one = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def process(self) -> int | None:
        """The id of the process that sends, if there is one."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start the process that sends. Does not wait for Graylog."""
        async with self._one:
            await self._begin()

    async def deliver(self, batches: Sequence[Batch], records: Sequence[Record] = ()) -> None:
        """Return when Graylog has confirmed the records, and those of the batches after them.

        With UDP, when they are sent. Waits while Graylog is away; may be cancelled: then some
        may have arrived, and what is given the next time is all that is tried again.
        """
        async with self._one:
            self._number += 1
            packed = delivery(self._number, batches, self._wanted, records)
            if packed is None:
                return
            pauses = Pauses()
            while True:
                try:
                    await self._deliver(packed)
                    # Not every process that delivers has seen that Graylog was away.
                    self._on_state(True, "")
                    return
                except (OSError, asyncio.IncompleteReadError):
                    if self._closed:
                        raise
                    code = await self._end()
                    log.warning("what sends the market ended (exit code %s) and begins again", code)
                    await asyncio.sleep(pauses.next())
                except asyncio.CancelledError:
                    self._hang_up()  # or the answer to this would be the answer to the next
                    raise

    async def close(self) -> None:
        """Let go of the process; what was not confirmed may have been sent. Cancel before what is
        being delivered, or it fails.
        """
        self._closed = True
        await self._end()

    async def _deliver(self, packed: bytes) -> None:
        reader, writer = self._stream or await self._begin()
        writer.write(packed)
        await writer.drain()
        while True:
            (size,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
            told = read(await reader.readexactly(size))
            if isinstance(told, State):
                self._on_state(told.up, told.reason)
            elif isinstance(told, Delivered) and told.number == self._number:
                return

    async def _begin(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        await self._end()
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with there:
            self._process = start("wood.graylog.market_sender", there)
        self._stream = await asyncio.open_unix_connection(sock=here)
        self._stream[1].write(self._hello)
        return self._stream

    async def _end(self) -> int | None:
        """Close the stream, and see the process end; its exit code."""
        self._hang_up()
        process, self._process = self._process, None
        if process is None:
            return None
        try:
            return await asyncio.to_thread(process.wait, ENDING)
        except subprocess.TimeoutExpired:
            process.kill()
            return await asyncio.to_thread(process.wait)

    def _hang_up(self) -> None:
        """Close the stream, which ends the process."""
        if self._stream is not None:
            self._stream[1].close()
            self._stream = None
