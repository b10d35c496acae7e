"""A trader on its connection: every message is printed, sent and received."""

import asyncio
import ssl
from time import monotonic
from types import TracebackType
from typing import Self

from wood.client import Client, ProtocolError
from wood.tools.traders.messages import not_a_private_port, printable, reply
from wood.tools.traders.trader import Trader

MAX_LATE = 1.0
"""Seconds that a trader may be behind its own pace and still catch up: more is forgotten, so that
it does not flood a server that comes back from a pause."""


class Session:
    """An anonymous trader at `host`:`port`, connected while the body of its `async with` runs.

    `trade` and `listen` each run in a task of their own and may be cancelled at any time. All
    methods that wait raise `ConnectionLost` when the connection fails, and `UnexpectedReply`.
    """

    def __init__(
        self,
        name: str,
        trader: Trader,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.trader = trader
        self._name = name
        self._client = Client([(host, port)], trace=self._print, tls=tls)
        self._heard = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.__aexit__(kind, error, traceback)

    async def trade(self, rate: float) -> None:
        """Say something at random moments, `rate` times per second on average, for ever."""
        due = monotonic()
        while True:
            due = max(due + self.trader.pause(rate), monotonic() - MAX_LATE)
            await asyncio.sleep(due - monotonic())
            if request := self.trader.decide():
                await self._client.send(request)

    async def listen(self) -> None:
        """Hear what the server says, for ever."""
        try:
            async for report in self._client:
                if said := reply(report):
                    self.trader.receive(said)
                self._heard.set()
        except ProtocolError:
            raise not_a_private_port() from None

    async def leave(self) -> None:
        """Cancel all open orders; return when each of them has come to its end.

        `trade` must have ended, and `listen` must run.
        """
        for request in self.trader.leave():
            await self._client.send(request)
        while self.trader.open_orders:
            self._heard.clear()
            await self._heard.wait()

    def _print(self, mark: str, line: bytes) -> None:
        print(f"{self._name} {mark} {printable(line)}", flush=True)
