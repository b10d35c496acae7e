"""What the tests of `Client` on real sockets share."""

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any, Literal

from tests.fake_exchange import FakeExchange
from wood.client import (
    Client,
    Report,
)

ENCODINGS: list[Literal["json", "msgpack"]] = ["json", "msgpack"]


def run(play: Coroutine[Any, Any, None]) -> None:
    """Run it, strictly; at the end no task is left."""

    async def whole() -> None:
        async with asyncio.timeout(30):
            await play
        others = asyncio.all_tasks() - {asyncio.current_task()}
        left = [task for task in others if "wood/client" in repr(task)]
        assert left == []

    asyncio.run(whole(), debug=True)


def alice(exchange: FakeExchange, **options: Any) -> Client:
    return Client([exchange.address], "alice", **options)


async def take(client: Client, count: int) -> list[Report]:
    return [await anext(client) for _ in range(count)]


class free_port:  # noqa: N801 (used as a function)
    """A port at which nobody listens while the body runs."""

    def __enter__(self) -> int:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        port: int = self._socket.getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self._socket.close()


class stuck_server:  # noqa: N801 (used as a function)
    """A server that takes connections and reads nothing until it is told to."""

    async def __aenter__(self) -> tuple[str, asyncio.Event]:
        self._go = asyncio.Event()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1024)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}", self._go

    async def __aexit__(self, *_: object) -> None:
        self._go.set()
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._go.wait()
        writer.transport.abort()
