"""A public client who resumes, in front of a journal that is away, slow, trimmed or broken."""

import asyncio
import json
import logging
import socket
import struct
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from tests.engines import INSTRUMENTS, with_loop
from tests.test_exchange import new
from tests.test_node_node import until
from wood.exchange.memory import MemoryExchange
from wood.model.errors import JournalTrimmed
from wood.model.events import Batch
from wood.model.orders import BUY, SELL
from wood.node.node import Node
from wood.node.public import HIGH_WATER, PublicConnection
from wood.node.settings import Settings


class FarExchange(MemoryExchange):
    """Its journal answers while it is `near`, and is read while it is `open`, or breaks."""

    def __init__(self, kept: int = 100_000) -> None:
        super().__init__(INSTRUMENTS, kept=kept)
        self.near = asyncio.Event()
        self.near.set()
        self.open = asyncio.Event()
        self.open.set()
        self.asked = 0
        self.breaks: Exception | None = None

    async def events(
        self, after: int, concerning: str | None = None
    ) -> AsyncGenerator[Batch, None]:
        self.asked += 1
        await self.open.wait()
        if self.breaks is not None:
            raise self.breaks
        async for batch in super().events(after, concerning):
            yield batch

    async def continues(self, epoch: int, seq: int) -> bool:
        self.asked += 1
        await self.near.wait()
        return await super().continues(epoch, seq)

    def trade(self, count: int = 1) -> None:
        """One unit at a time, at the price 1."""
        for number in range(count):
            self.submit([new("A", number, BUY, 100, 1), new("B", number, SELL, 100, 1)])


class Watcher:
    """A client of the public port, in the event loop of the node."""

    def __init__(self, node: Node, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.node = node
        self.reader = reader
        self.writer = writer

    def say(self, **fields: object) -> None:
        self.writer.write(json.dumps({"message": "subscribe", **fields}).encode() + b"\n")

    async def line(self) -> Any:
        """The next one, but for the levels at which the trades were made."""
        while line := await self.reader.readline():
            if b'"type":"orderbook","side":"bid","price":1,' not in line:
                return json.loads(line)
        return None

    async def kinds(self, count: int) -> list[str]:
        return [(await self.line())["type"] for _ in range(count)]

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()

    @property
    def connection(self) -> PublicConnection:
        (found,) = [c for c in self.node._connections if isinstance(c, PublicConnection)]
        return found


async def start(exchange: FarExchange, **settings: Any) -> Watcher:
    """A node, and one who watches it."""
    node = Node(exchange, Settings(private=0, public=0, last_words=0.5, **settings), 100)
    await node.start()
    streams = await asyncio.open_connection("127.0.0.1", node.port("public"))
    await until(lambda: len(node._connections) == 1)
    return Watcher(node, *streams)


RESUME: dict[str, object] = {"symbols": ["WOOD"], "lastSeq": 0}


def played(
    scene: Callable[[FarExchange, Watcher], Any], *, kept: int = 100_000, **settings: Any
) -> None:
    """Play a scene of an exchange and a watcher; afterwards nothing is left of it."""

    async def test() -> None:
        exchange = FarExchange(kept)
        watcher = await start(exchange, **settings)
        await scene(exchange, watcher)
        await watcher.node.stop()
        await watcher.close()
        assert not watcher.node._tasks._tasks
        assert len(asyncio.all_tasks()) == 1

    with_loop(test)


def test_while_the_journal_is_away_the_old_subscription_goes_on_and_what_is_said_waits() -> None:
    async def scene(exchange: FarExchange, watcher: Watcher) -> None:
        exchange.near.clear()
        watcher.say(**RESUME)
        watcher.say(symbols=["PEAR"])
        await until(lambda: exchange.asked == 1)
        exchange.trade()
        await exchange.drain()
        assert await watcher.line() == {
            "type": "trade",
            "time": pytest.approx(0, abs=1e12),
            "price": 1,
            "quantity": 1,
        }
        exchange.near.set()
        assert await watcher.kinds(5) == [
            *("subscribed", "trade", "snapshot"),
            *("subscribed", "snapshot"),
        ]
        watcher.say(**RESUME, epoch=1)
        assert (await watcher.line())["recovered"] is False
        assert await watcher.kinds(1) == ["snapshot"]

    played(scene)


def test_what_happens_while_the_past_is_told_is_told_with_it() -> None:
    """The book is the one of its number."""

    async def scene(exchange: FarExchange, watcher: Watcher) -> None:
        exchange.trade(3)
        await exchange.drain()
        assert await watcher.kinds(3) == ["trade"] * 3
        exchange.open.clear()
        watcher.say(**RESUME)
        assert (await watcher.line())["recovered"] is True
        exchange.trade(2)
        exchange.submit([new("C", 1, BUY, 90, 1)])
        await exchange.drain()
        exchange.open.set()
        lines = [await watcher.line() for _ in range(7)]
        kinds = [line["type"] for line in lines]
        assert kinds == ["trade"] * 5 + ["orderbook", "snapshot"]
        seqs = [line["seq"] for line in lines]
        assert seqs[:5] == sorted(set(seqs[:5]))
        assert seqs[4] < seqs[5] == seqs[6] == exchange._seq
        assert lines[6]["epoch"] == exchange._epoch
        exchange.trade()
        assert await watcher.kinds(1) == ["trade"]

    played(scene)


@pytest.mark.parametrize("where", ["before the answer", "in the past"])
@pytest.mark.parametrize("how", ["leaves", "is stopped", "closes its half and is stopped"])
def test_who_goes_is_waited_for_by_nobody(where: str, how: str) -> None:
    async def scene(exchange: FarExchange, watcher: Watcher) -> None:
        exchange.trade(3)
        await exchange.drain()
        (exchange.near if where == "before the answer" else exchange.open).clear()
        watcher.say(**RESUME)
        await until(lambda: exchange.asked == (1 if where == "before the answer" else 2))
        (task,) = watcher.node._tasks._tasks
        if how == "leaves":
            # With a reset: one who only closes cannot be told from one who listens.
            sock = watcher.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            watcher.writer.transport.abort()
            await until(lambda: not watcher.node._connections)
            await until(task.done)
        elif how == "is stopped":
            await watcher.node.stop()
        else:
            watcher.writer.write_eof()
            await until(lambda: watcher.connection._eof)
            assert not task.done()
            await watcher.node.stop()
        assert task.cancelled()

    played(scene)


def test_who_closes_its_half_is_still_told_what_it_missed() -> None:
    async def scene(exchange: FarExchange, watcher: Watcher) -> None:
        exchange.trade(3)
        await exchange.drain()
        exchange.near.clear()
        watcher.say(**RESUME)
        watcher.writer.write_eof()
        await until(lambda: exchange.asked == 1)
        exchange.near.set()
        assert await watcher.kinds(8) == [
            *["trade"] * 3,
            *("subscribed", "trade", "trade", "trade", "snapshot"),
        ]
        assert await watcher.line() is None

    played(scene)


@pytest.mark.parametrize("breaks", [JournalTrimmed("gone"), RuntimeError("a wire is loose")])
def test_a_journal_that_breaks_costs_the_connection(
    breaks: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(exchange: FarExchange, watcher: Watcher) -> None:
        exchange.trade(3)
        await exchange.drain()
        await watcher.kinds(3)
        exchange.breaks = breaks
        watcher.say(**RESUME)
        watcher.say(symbols=["PEAR"])
        assert await watcher.kinds(1) == ["subscribed"]
        assert await watcher.line() == {
            "type": "error",
            "error": "trades may be missing; connect again",
            "code": "unavailable",
        }
        assert await watcher.line() is None
        await watcher.close()
        await until(lambda: not watcher.node._connections)

    with caplog.at_level(logging.INFO, "wood.node"):
        played(scene)
    assert str(breaks) in caplog.text


def test_who_reads_the_past_slowly_is_given_no_more_than_it_reads() -> None:
    """And once the journal has forgotten the rest, that is said."""

    async def test() -> None:
        exchange = FarExchange(kept=200_000)
        node = Node(exchange, Settings(private=0, public=0, last_words=0.5), 100)
        await node.start()
        exchange.trade(25_000)
        await exchange.drain()
        loop = asyncio.get_running_loop()
        with socket.socket() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.setblocking(False)
            await loop.sock_connect(peer, ("127.0.0.1", node.port("public")))
            await until(lambda: len(node._connections) == 1)
            watcher = Watcher(node, *[None] * 2)  # type: ignore[arg-type]
            sock = watcher.connection._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            line = b'{"message":"subscribe","symbols":["WOOD"],"lastSeq":0}\n'
            await loop.sock_sendall(peer, line)
            await until(lambda: not watcher.connection.writable())
            asked = exchange.asked
            for _ in range(1000):
                await asyncio.sleep(0)
            assert exchange.asked == asked, "it waits for the client"
            assert watcher.connection.unsent() < 2 * HIGH_WATER
            data = b""
            while len(data) < 500_000:
                data += await loop.sock_recv(peer, 1 << 16)
            exchange.trade(60_000)
            await exchange.drain()
            while piece := await loop.sock_recv(peer, 1 << 20):
                data += piece
        lines = [json.loads(line) for line in data.splitlines()]
        assert lines[0]["recovered"] is True
        assert lines[-1]["code"] == "unavailable"
        trades = [line["seq"] for line in lines[1:-1]]
        assert trades == sorted(set(trades))
        assert 5_000 < len(trades) < 25_000
        await node.stop()

    with_loop(test)


def test_too_many_trades_while_the_past_is_told_close_the_client() -> None:
    async def scene(exchange: FarExchange, watcher: Watcher) -> None:
        exchange.trade()
        await exchange.drain()
        await watcher.kinds(1)
        exchange.open.clear()
        watcher.say(**RESUME)
        assert await watcher.kinds(1) == ["subscribed"]
        exchange.trade(60)
        await exchange.drain()
        await until(lambda: not watcher.node._connections)

    played(scene, backlog_limit=50)
