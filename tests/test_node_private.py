"""How much of what a connection said is understood in one turn."""

import asyncio
import socket
from collections.abc import Sequence

import msgpack
import pytest

from tests.engines import INSTRUMENTS, with_loop
from wood.model.commands import Command
from wood.node.connection import TURN, Connection, Pause
from wood.node.private import LINES_TURN, PACKED_TURN, PrivateConnection
from wood.node.router import Router
from wood.node.session import Session
from wood.wire.reports import JsonReports, PackedReports


class Transport(asyncio.Transport):
    """A transport that only remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True
        self.socket = socket.socket()

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self.socket if name == "socket" else default

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Owner:
    """A node with room for one."""

    def opened(self, connection: Connection) -> bool:
        return True

    def finished(self, connection: Connection) -> None:
        pass

    def closed(self, connection: Connection) -> None:
        pass


def connected(asked: list[list[Command]]) -> tuple[PrivateConnection, Transport]:
    def submit(connection: PrivateConnection, commands: Sequence[Command]) -> None:
        asked.append(list(commands))

    reports = JsonReports(INSTRUMENTS), PackedReports(INSTRUMENTS)
    session = Session("~x", INSTRUMENTS)
    connection = PrivateConnection(session, Owner(), Router(), submit, reports, 10**6)
    transport = Transport()
    connection.connection_made(transport)
    return connection, transport


@pytest.mark.parametrize(
    ("data", "most", "count"),
    [
        (b"x\n" * 50_000, LINES_TURN, 50_000),
        (b"\n" * 50_000 + b"x\n", LINES_TURN, 1),
        (b'{"message":"cancelAll"}\n' * 5000, LINES_TURN, 5000),
        (b" " * 900 + b"x\n", 1, 1),
        ((b" " * 900 + b"x\n") * 100, TURN // 900, 100),
        (b"\x80" * 50_000, PACKED_TURN, 50_000),
        (msgpack.packb({"message": "cancelAll"}) * 1000, PACKED_TURN, 1000),
    ],
    ids=["short", "empty", "good", "one", "long", "maps", "messages"],
)
def test_a_long_read_is_understood_turn_by_turn(data: bytes, most: int, count: int) -> None:
    async def test() -> None:
        asked: list[list[Command]] = []
        connection, transport = connected(asked)
        connection.data_received(data)
        assert sum(map(len, asked)) <= most, "in the first turn"
        assert transport.reading is (len(data) <= TURN and count <= most)
        while Pause.TURN in connection.pauses:
            before = len(asked)
            await asyncio.sleep(0)
            assert len(asked) <= before + 1
        assert transport.reading
        assert sum(map(len, asked)) == count
        assert max(map(len, asked)) <= most
        transport.socket.close()

    with_loop(test)


def test_what_arrives_while_it_waits_keeps_its_place() -> None:
    async def test() -> None:
        asked: list[list[Command]] = []
        connection, transport = connected(asked)
        line = b'{"message":"cancelOrder","orderId":%d}\n'
        connection.data_received(b"".join(line % n for n in range(500)))
        connection.data_received(b"".join(line % n for n in range(500, 600)))
        while Pause.TURN in connection.pauses:
            await asyncio.sleep(0)
        ids = [command.order_id for commands in asked for command in commands]  # type: ignore[attr-defined]
        assert ids == list(range(600))
        transport.socket.close()

    with_loop(test)
