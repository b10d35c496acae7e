"""The client and a real server, with a line between them that is cut at many places."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from typing import Literal

import pytest

from tests.support import Server
from wood.client import (
    Client,
    Disabled,
    Disconnected,
    Fill,
    New,
    NotTaken,
    OrderReport,
    Refused,
    Report,
    Resumed,
    Superseded,
)
from wood.client import addresses as addresses_module


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses_module, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(addresses_module, "LONGEST_DELAY", 0.01)


class Cutter:
    """Passes bytes between a client and a server; cuts the first connection after `cut` of them."""

    def __init__(self, port: int, cut: int) -> None:
        self.connections = 0
        self._port = port
        self._left = cut
        self._serving: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Cutter":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await asyncio.gather(*self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.append(task)
        self.connections += 1
        first = self.connections == 1
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(reader, back, first))
                both.create_task(self._pass(there, writer, first))
        except* OSError:
            pass  # cut
        for stream in (back, writer):
            stream.close()
            with suppress(OSError):
                await stream.wait_closed()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bool
    ) -> None:
        while data := await reader.read(65536):
            if first:
                data = data[: self._left]
                self._left -= len(data)
            writer.write(data)
            await writer.drain()
            if first and not self._left:
                raise ConnectionResetError
        with suppress(OSError):
            writer.write_eof()


async def dialogue(address: str, name: str, encoding: Literal["json", "msgpack"]) -> list[Report]:
    """Some of everything, and all that was told."""
    async with Client([address], name, encoding=encoding) as client:
        first = await client.create("BUY", "1.25", 10)
        second = await client.create("BUY", "1.25", 10)
        await client.amend(first, quantity=4)
        await client.cancel(second)
        await client.market("SELL", 1)
        await client.cancel(first)
        await client.orders()
    return [report async for report in client]


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_cut_anywhere_what_is_told_is_what_the_book_says(
    server: Server, encoding: Literal["json", "msgpack"]
) -> None:
    async def cut_at(cut: int) -> bool:
        name = f"alice-{encoding}-{cut}"
        async with Cutter(server.private, cut) as cutter:
            reports = await dialogue(cutter.address, name, encoding)
            async with Client([cutter.address], name) as again:
                await again.orders()
                open_now = {order.order_id for order in await again.orders()}
                await again.cancel_all()
        told = [each for each in reports if isinstance(each, OrderReport)]
        numbers = [each.seq or 0 for each in told]
        assert numbers == sorted(set(numbers))
        left: dict[int, bool] = {}
        for each in told:
            assert isinstance(each, New) == (each.order_id not in left)
            left[each.order_id] = bool(each.leaves)
        assert {order_id for order_id, is_open in left.items() if is_open} == open_now
        fates = [each for each in reports if isinstance(each, New | NotTaken | Refused)]
        assert len(fates) >= 3
        return cutter.connections > 2

    async def play() -> None:
        cut = 1
        while await cut_at(cut):
            cut += 7
        assert cut > 500

    asyncio.run(play())


def test_what_happened_meanwhile_is_told(server: Server) -> None:
    async def play() -> None:
        address = f"127.0.0.1:{server.private}"
        async with Client([address], "alice") as alice, Client([address], "bob") as bob:
            order = await alice.create("BUY", 1, 10)
            await alice.orders()
            assert alice._line is not None
            alice._line.abort()
            await bob.market("SELL", 4)
            await bob.orders()
            reports = [await anext(alice) for _ in range(4)]
            assert [type(each) for each in reports] == [New, Disconnected, Fill, Resumed]
            fill, own = reports[2], [await anext(bob) for _ in range(2)][1]
            assert isinstance(fill, Fill)
            assert isinstance(own, Fill)
            assert (fill.order_id, fill.trade) == (order, own.trade)
            assert fill.leaves == 6

    asyncio.run(play())


def test_the_session_is_taken_by_another(server: Server) -> None:
    async def play() -> None:
        address = f"127.0.0.1:{server.private}"
        async with Client([address], "alice") as first:
            other = Client([address], "alice")
            for name in ("_session", "_places"):
                setattr(other._session, name, deepcopy(getattr(first._session, name)))
            async with other:
                assert isinstance(await anext(other), Resumed)
                with pytest.raises((Superseded, Disabled)):
                    await anext(first)

    asyncio.run(play())


def test_heartbeats_keep_a_silent_session(start_server: Callable[..., Server]) -> None:
    server = start_server()

    async def play() -> None:
        async with Client([f"127.0.0.1:{server.private}"], "alice", heartbeat=0.1) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await anext(client)
            await client.create("BUY", 1, 1)
            assert isinstance(await anext(client), New)

    asyncio.run(play())
