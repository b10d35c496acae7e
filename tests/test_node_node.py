"""A node in front of an engine that is slow: what it reads, and when it stops reading."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Sequence

import pytest

from tests.engines import INSTRUMENTS, with_loop
from wood.exchange.exchange import Partition
from wood.exchange.memory import MemoryExchange
from wood.model.commands import Command
from wood.model.errors import ConfigError
from wood.model.events import Batch, Snapshot
from wood.node import connection
from wood.node.connection import KEEPALIVE, LINES_TURN, Pause
from wood.node.node import Node
from wood.node.settings import Settings

LINE = b'{"message":"cancelOrder","orderId":1}\n'
SETTINGS = Settings(private=0, public=0, last_words=0.5)


class SlowExchange(Partition):
    """Holds commands back until `go`, as an engine does whose Redis is away."""

    def __init__(self, limit: int) -> None:
        super().__init__(INSTRUMENTS)
        self.engine = MemoryExchange(INSTRUMENTS)
        self.waiting: list[Command] = []
        self.limit = limit
        self.going = False

    async def start(self) -> None:
        for reader in self._readers:
            self.engine.attach(reader)
        await self.engine.start()

    def submit(self, commands: Sequence[Command]) -> str | None:
        self.waiting += commands
        if self.going:
            self.go()
        return self.name if self.full else None

    def go(self) -> None:
        self.going = True
        self.engine.submit(self.waiting)
        self.waiting = []
        self._room(self.name)

    @property
    def full(self) -> bool:
        return len(self.waiting) >= self.limit

    def events(self, after: int, concerning: str | None = None) -> AsyncGenerator[Batch, None]:
        return self.engine.events(after, concerning)

    async def continues(self, epoch: int, seq: int) -> bool:
        return await self.engine.continues(epoch, seq)

    async def snapshot(self) -> Snapshot:
        return await self.engine.snapshot()

    async def drain(self) -> None:
        await self.engine.drain()

    async def close(self) -> None:
        await self.engine.close()


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until `condition` holds; the test's own time limit ends it."""
    while not condition():
        await asyncio.sleep(0)


def test_reading_stops_while_the_queue_is_full_and_nothing_is_lost() -> None:
    async def test() -> None:
        exchange = SlowExchange(limit=5000)
        node = Node(exchange, SETTINGS, 100)
        await node.start()
        streams = [await asyncio.open_connection("127.0.0.1", node.port("private")) for _ in "ab"]
        (reader, writer), (second_reader, second) = streams
        count = 300_000
        writer.write(LINE * count)
        await until(lambda: exchange.full)
        [busy, idle] = node.private_connections()
        await until(lambda: Pause.QUEUE in busy.pauses)
        taken = len(exchange.waiting)
        assert taken < 5000 + LINES_TURN, "one more turn at most"
        second.write(LINE)
        await until(lambda: Pause.QUEUE in idle.pauses)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(exchange.waiting) == taken + 1, "who says little is heard, the other is not"
        second.write(LINE * 1000)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(exchange.waiting) == taken + 1, "and now neither is"
        exchange.go()
        for _ in range(1001):
            assert b"not_found" in await second_reader.readline()
        for _ in range(count):
            assert b"not_found" in await reader.readline()
        for stream in (writer, second):
            stream.close()
            await stream.wait_closed()
        await node.stop()

    with_loop(test)


def test_a_vanished_peer_is_noticed() -> None:
    async def test() -> None:
        node = Node(MemoryExchange(INSTRUMENTS), SETTINGS, 100)
        await node.start()
        _, writer = await asyncio.open_connection("127.0.0.1", node.port("private"))
        await until(lambda: len(node.private_connections()) == 1)
        sock = node.private_connections()[0]._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        for name, value in KEEPALIVE.items():
            assert sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value
        writer.close()
        await writer.wait_closed()
        await node.stop()

    with_loop(test)


def test_stopping_twice_waits_for_the_first() -> None:
    async def test() -> None:
        node = Node(MemoryExchange(INSTRUMENTS), SETTINGS, 100)
        await node.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port("private"))
        await until(lambda: len(node.private_connections()) == 1)
        first, second = asyncio.create_task(node.stop()), asyncio.create_task(node.stop())
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        await first
        await second
        await node.stop()
        assert len(node.private_connections()) == 0

    with_loop(test)


def test_a_client_that_reads_late_still_gets_all_that_it_is_owed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The connection is finished and has lingered again and again before the client reads."""
    monkeypatch.setattr(connection, "LINGER", 0.01)
    lingered: list[float] = []
    stop_lingering = connection.Connection._stop_lingering

    def count(self: connection.Connection, deadline: float) -> None:
        lingered.append(deadline)
        stop_lingering(self, deadline)

    monkeypatch.setattr(connection.Connection, "_stop_lingering", count)

    async def test() -> None:
        node = Node(MemoryExchange(INSTRUMENTS), Settings(private=0, public=0), 100)
        await node.start()
        loop = asyncio.get_running_loop()
        with socket.socket() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.setblocking(False)
            await loop.sock_connect(peer, ("127.0.0.1", node.port("private")))
            await until(lambda: len(node.private_connections()) == 1)
            sock = node.private_connections()[0]._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            await loop.sock_sendall(peer, b"[]\n" * 500 + b"x" * 70_000)
            await until(lambda: len(lingered) > 5)
            data = b""
            while piece := await loop.sock_recv(peer, 1 << 20):
                data += piece
            assert data.count(b"\n") == 501
            assert b"too_long" in data[-200:]
        await node.stop()

    with_loop(test)


def test_an_engine_that_fails_is_told_and_the_node_can_be_aborted() -> None:
    async def test() -> None:
        exchange = MemoryExchange(INSTRUMENTS)
        node = Node(exchange, SETTINGS, 100)
        await node.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port("private"))
        monkey = RuntimeError("broken")

        def apply(batch: Batch) -> None:
            raise monkey

        node._markets["main"].feed.apply = apply  # type: ignore[method-assign]
        writer.write(LINE)
        assert await node.failure is monkey
        await node.abort("the server failed")
        await reader.read()
        assert node.private_connections() == []
        writer.close()
        await node.stop()

    with_loop(test)


def test_a_port_in_use_leaves_nothing_open() -> None:
    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            node = Node(MemoryExchange(INSTRUMENTS), Settings(private=0, public=port), 100)
            with pytest.raises(ConfigError, match="is in use"):
                await node.start()
            assert not any(listener.is_serving() for listener in node._listeners)

    with_loop(test)
