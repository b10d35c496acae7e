"""A trader on its connection: every message is printed, sent and received."""

import asyncio
from time import monotonic

from wood.tools.connection import ConnectionFailed
from wood.tools.requests import Request, encode
from wood.tools.traders.messages import decode, printable
from wood.tools.traders.trader import Trader

MAX_LATE = 1.0
"""Seconds that a trader may be behind its own pace and still catch up: more is forgotten, so that
it does not flood a server that comes back from a pause."""


class Session:
    """`trade` and `listen` each run in a task of their own and may be cancelled at any time.

    All methods that wait raise `gone` when the connection fails, and `UnexpectedReply`.
    """

    def __init__(
        self,
        name: str,
        trader: Trader,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        gone: ConnectionFailed,
    ) -> None:
        self.trader = trader
        self._name = name
        self._reader, self._writer = reader, writer
        self._gone = gone
        self._heard = asyncio.Event()

    async def trade(self, rate: float) -> None:
        """Say something at random moments, `rate` times per second on average, for ever."""
        due = monotonic()
        while True:
            due = max(due + self.trader.pause(rate), monotonic() - MAX_LATE)
            await asyncio.sleep(due - monotonic())
            if request := self.trader.decide():
                await self._send(request)

    async def listen(self) -> None:
        """Hear what the server says, for ever."""
        while True:
            line = await self._read_line()
            print(f"{self._name} < {printable(line)}", flush=True)
            self.trader.receive(decode(line))
            self._heard.set()

    async def leave(self) -> None:
        """Cancel all open orders; return when each of them has come to its end.

        `trade` must have ended, and `listen` must run.
        """
        for request in self.trader.leave():
            await self._send(request)
        while self.trader.open_orders:
            self._heard.clear()
            await self._heard.wait()

    async def _send(self, request: Request) -> None:
        line = encode(request)
        print(f"{self._name} > {printable(line)}", flush=True)
        try:
            self._writer.write(line)
            await self._writer.drain()
        except OSError:
            raise self._gone from None

    async def _read_line(self) -> bytes:
        try:
            line = await self._reader.readline()
        except (OSError, ValueError):  # ValueError: a line beyond all limits
            line = b""
        if not line.endswith(b"\n"):
            raise self._gone
        return line
