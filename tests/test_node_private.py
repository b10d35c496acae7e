"""One private connection on a transport that only remembers, before an engine in memory."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgpack
import pytest

from tests.engines import INSTRUMENTS, with_loop
from wood.exchange.memory import MemoryExchange
from wood.exchange.sessions import Auth
from wood.model.commands import CloseSession, Command, OpenSession
from wood.model.errors import ErrorCode
from wood.model.events import Batch, LoginRefused, Snapshot
from wood.node.connection import FEW, LINES_TURN, TURN, Connection, Pause
from wood.node.failures import Failures
from wood.node.private import (
    PACKED_TURN,
    Encodings,
    PrivateConnection,
    Surroundings,
)
from wood.node.proxy_protocol import Source
from wood.node.router import Router
from wood.node.session import Session
from wood.node.settings import Settings
from wood.wire.reports import JsonReports, PackedReports
from wood.wire.session_reports import SessionJson, SessionPacked

ENCODINGS = Encodings(
    JsonReports(INSTRUMENTS),
    PackedReports(INSTRUMENTS),
    SessionJson(INSTRUMENTS),
    SessionPacked(INSTRUMENTS),
)
LOGIN = b'{"message":"login","participant":"alice"}\n'
HEARTBEAT = b'{"message":"heartbeat"}\n'


class Transport(asyncio.Transport):
    """A transport that only remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True
        self.socket = socket.socket()
        self.data = bytearray()
        self.unsent = 0
        self.closing = False

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self.socket if name == "socket" else default

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write(self, data: Any) -> None:
        self.data += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def abort(self) -> None:
        self.closing = True

    def told(self) -> list[Any]:
        """What was written since the last time."""
        lines = [json.loads(line) for line in self.data.splitlines()]
        self.data.clear()
        return lines


class Owner:
    """A node with room for one."""

    def opened(self, connection: Connection) -> None:
        return None

    def finished(self, connection: Connection) -> None:
        pass

    def closed(self, connection: Connection) -> None:
        pass


class Desk:
    """An engine, and connections to it."""

    def __init__(self, auth: Auth = Auth.OPEN, **settings: Any) -> None:
        self.exchange = MemoryExchange(INSTRUMENTS, auth=auth)
        self.asked: list[Command] = []
        self.router = Router()
        self.exchange.attach(self.router)
        self.node = Surroundings(
            self.exchange,
            self.router,
            Settings(**settings),
            ENCODINGS,
            Failures(lambda: 0.0),
            self._submit,
        )
        self.transports: list[Transport] = []
        self._session = dict[str, Any](must_log_in=auth is Auth.TOKEN)

    def _submit(self, connection: PrivateConnection, commands: Sequence[Command]) -> None:
        self.asked += commands
        self.exchange.submit(commands)

    def connect(self, **options: Any) -> tuple[PrivateConnection, Transport]:
        session = Session(f"~{len(self.transports)}", INSTRUMENTS, **self._session, **options)
        connection, transport = PrivateConnection(session, Owner(), self.node), Transport()
        self.transports.append(transport)
        connection.connection_made(transport)
        return connection, transport

    async def ask(self, connection: PrivateConnection, data: bytes) -> list[Any]:
        """Say something and return all that was told by the time the engine is done."""
        connection.data_received(data)
        await self.exchange.drain()
        transport: Any = connection._transport
        told: list[Any] = transport.told()
        return told


def at_a_desk(
    test: Callable[[Desk], Awaitable[None]], auth: Auth = Auth.OPEN, **settings: Any
) -> None:
    async def run() -> None:
        desk = Desk(auth, **settings)
        try:
            await desk.exchange.start()
            await test(desk)
        finally:
            for transport in desk.transports:
                transport.socket.close()
            await desk.exchange.close()

    with_loop(run)


def connected(asked: list[list[Command]]) -> tuple[PrivateConnection, Transport]:
    def submit(connection: PrivateConnection, commands: Sequence[Command]) -> None:
        asked.append(list(commands))

    exchange = MemoryExchange(INSTRUMENTS)
    router, failures = Router(), Failures(lambda: 0.0)
    node = Surroundings(exchange, router, Settings(), ENCODINGS, failures, submit)
    connection = PrivateConnection(Session("~x", INSTRUMENTS), Owner(), node)
    transport = Transport()
    connection.connection_made(transport)
    return connection, transport


PADDED = msgpack.packb({"message": "cancelAll", "pad": "x" * 1500})


@pytest.mark.parametrize(
    ("data", "most", "count"),
    [
        (b"x\n" * 1000, LINES_TURN, 1000),
        (b"\n" * 50_000 + b"x\n", LINES_TURN, 1),
        (b'{"message":"cancelAll"}\n' * 5000, LINES_TURN, 5000),
        (b" " * 900 + b"x\n", 1, 1),
        ((b" " * 900 + b"x\n") * 100, TURN // 900, 100),
        (b"\x80" * 1000, LINES_TURN, 1000),
        (msgpack.packb({"message": "cancelAll"}) * 1000, PACKED_TURN, 1000),
        (PADDED * 20 + b"\x80" * 1000, LINES_TURN, 1020),
    ],
    ids=["short", "empty", "good", "one", "long", "maps", "messages", "maps after long ones"],
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
        if data[:1] in (b"x", b"\x80"):
            assert max(map(len, asked[1:])) <= FEW, (
                "who cannot be understood is heard little by little"
            )
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


def order(order_id: int, side: str = "BUY", price: int = 5) -> bytes:
    return b'{"message":"createOrder","orderId":%d,"side":"%b","price":%d,"quantity":1}\n' % (
        order_id,
        side.encode(),
        price,
    )


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


def resume_from(login: Any, seq: int) -> bytes:
    keys = {"session": login["session"], "lastSeq": seq, "epoch": login["epoch"]}
    return json.dumps({"message": "login", "participant": "alice"} | keys).encode() + b"\n"


class TestLogin:
    def test_what_is_said_after_it_is_said_under_the_name(self) -> None:
        async def test(desk: Desk) -> None:
            connection, _ = desk.connect()
            told = await desk.ask(connection, LOGIN + order(1) + HEARTBEAT)
            assert [message["message"] for message in told] == [
                "login",
                "executionReport",
                "heartbeat",
            ]
            assert {c.participant for c in desk.asked[1:]} == {"alice"}
            assert {c.generation for c in desk.asked[1:]} == {told[0]["seq"]}

        at_a_desk(test)

    def test_of_a_client_that_went_meanwhile_is_taken_back(self) -> None:
        async def test(desk: Desk) -> None:
            for end in ("lost", "dismissed", "refused"):
                name = b"no name" if end == "refused" else b"alice"
                connection, _ = desk.connect()
                connection.data_received(LOGIN.replace(b"alice", name))
                if end == "dismissed":
                    connection.dismiss(ErrorCode.UNAUTHORIZED, "too late")
                else:
                    connection.connection_lost(None)
                await desk.exchange.drain()
                if end == "dismissed":
                    connection.connection_lost(None)
                    await desk.exchange.drain()
                assert not desk.exchange._sessions._open, end
                assert not desk.router._by_session, end
                assert not desk.router._named, end

        at_a_desk(test)

    @pytest.mark.parametrize("first", ["lost", "fork", "dismissed"])
    def test_of_one_who_went_when_history_forked(self, first: str) -> None:
        """Its answer is among what was lost: nobody waits for it."""

        async def test(desk: Desk) -> None:
            connection, _ = desk.connect()
            connection._login_due = True
            if first == "lost":
                connection.connection_lost(None)
            elif first == "dismissed":
                connection.dismiss(ErrorCode.UNAUTHORIZED, "too late")
            desk.router.reset(Snapshot("main", 2, 0, 0, {}))
            if first != "lost":
                connection.connection_lost(None)
            assert not desk.router._by_session
            assert not desk.router._by_participant
            assert not desk.router._places

        at_a_desk(test)


class TestRefusedLogins:
    WRONG = LOGIN.replace(b"}", b',"token":"wrong"}')

    def test_the_answer_waits_and_what_was_said_after_it_too(self) -> None:
        async def test(desk: Desk) -> None:
            connection, transport = desk.connect()
            assert await desk.ask(connection, self.WRONG + HEARTBEAT) == []
            assert connection._refusing is not None
            assert Pause.ANSWER in connection.pauses
            connection._refuse()
            await desk.exchange.drain()
            assert [m.get("code", "heartbeat") for m in transport.told()] == [
                "unauthorized",
                "heartbeat",
            ]
            assert transport.reading

        at_a_desk(test)

    def test_of_ipv6_a_network_waits(self) -> None:
        async def test(desk: Desk) -> None:
            for host in ("2001:db8::1", "2001:db8::2:3", "2001:db8:0:1::1"):
                connection, _ = desk.connect()
                connection.source = Source(host, 1)
                await desk.ask(connection, self.WRONG)
            networks = "2001:db8::/64", "2001:db8:0:1::/64"
            assert [desk.node.failures.delay(network) for network in networks] == [1.0, 0.5]

        at_a_desk(test)

    def test_a_server_that_stops_answers_at_once(self) -> None:
        async def test(desk: Desk) -> None:
            connection, transport = desk.connect()
            assert await desk.ask(connection, self.WRONG + self.WRONG + order(1)) == []
            connection.stop()
            await until(lambda: connection.finishing)
            codes = [m.get("code") for m in transport.told()]
            assert codes == ["unauthorized", "unauthorized", None]

        at_a_desk(test)

    def test_at_the_end_of_the_time_for_it_the_answer_comes_first(self) -> None:
        async def test(desk: Desk) -> None:
            connection, transport = desk.connect()
            assert await desk.ask(connection, self.WRONG + self.WRONG) == []
            connection._refuse()
            await desk.exchange.drain()
            assert [m["code"] for m in transport.told()] == ["unauthorized"]
            refusing = connection._refusing
            assert refusing is not None, "the second waits"
            connection._too_late(0.3)
            refused, end = transport.told()
            assert refused["error"] == "the participant and its token do not fit"
            assert end["error"] == "no login within 0.3 seconds"
            assert refusing.cancelled()
            connection.connection_lost(None)

        at_a_desk(test, Auth.TOKEN)

    def test_who_goes_takes_the_answer_along(self) -> None:
        async def test(desk: Desk) -> None:
            connection, transport = desk.connect()
            await desk.ask(connection, self.WRONG)
            refusing = connection._refusing
            assert refusing is not None
            connection.connection_lost(None)
            assert refusing.cancelled()
            assert transport.told() == []

        at_a_desk(test)

    def test_a_guard_that_could_not_be_kept_is_no_login(self) -> None:
        """An engine that cannot write refuses also what the client never asked."""

        async def test(desk: Desk) -> None:
            connection, transport = desk.connect(cancel_on_close=True)
            refused = LoginRefused("~0", "~0", ErrorCode.UNAVAILABLE, "not now")
            connection.data_received(order(1))
            assert len(desk.asked) == 2, "the order and its guard"
            desk.router.apply(Batch("main", 0, "", 0, 1, 0, 0, [refused]))
            await desk.exchange.drain()
            assert [m.get("report") for m in transport.told()] == ["NEW"]
            await desk.ask(connection, order(2) + order(3))
            assert [type(c).__name__ for c in desk.asked[2:]] == [
                "OpenSession",
                "NewOrder",
                "NewOrder",
            ]

        at_a_desk(test)


class TestHeartbeats:
    def test_none_is_added_to_what_a_client_does_not_read(self) -> None:
        async def test(desk: Desk) -> None:
            connection, transport = desk.connect()
            await desk.ask(connection, LOGIN.replace(b"}", b',"heartbeat":3600}'))
            connection._beat()
            assert transport.told() == [
                {"message": "heartbeat", "epoch": desk.router.places["main"][0], "seq": 1}
            ]
            connection.pause_writing()
            connection._beat()
            assert transport.told() == []
            connection.resume_writing()
            connection.connection_lost(None)

        at_a_desk(test)

    def test_the_engine_knows_at_once_who_was_dismissed(self) -> None:
        """Not when the client has read its last word, which may take half a minute."""

        async def test(desk: Desk) -> None:
            connection, transport = desk.connect()
            await desk.ask(connection, LOGIN.replace(b"}", b',"heartbeat":3600}'))
            connection._silent()
            await desk.exchange.drain()
            assert [m["code"] for m in transport.told()] == ["silent"]
            assert not desk.exchange._sessions._open
            connection.connection_lost(None)
            await desk.exchange.drain()
            assert [type(c) for c in desk.asked] == [OpenSession, CloseSession]

        at_a_desk(test)


class TestReplay:
    """The client's `resume_writing` is in the hands of the test."""

    async def missed(self, desk: Desk, count: int) -> Any:
        """What alice's first connection is told, each order in a batch of its own."""
        connection, _ = desk.connect()
        [login] = await desk.ask(connection, LOGIN)
        for number in range(count):
            await desk.ask(connection, order(number))
        connection.connection_lost(None)
        return login

    def test_waits_for_a_slow_reader_and_others_do_not(self) -> None:
        async def test(desk: Desk) -> None:
            login = await self.missed(desk, 50)
            slow, transport = desk.connect()
            other, _ = desk.connect()
            slow.data_received(resume_from(login, login["seq"]) + HEARTBEAT)
            slow.pause_writing()
            assert await desk.ask(other, LOGIN.replace(b"alice", b"bob"))
            assert len(await desk.ask(other, order(1, "SELL"))) == 2
            for _ in range(200):
                await asyncio.sleep(0)
            assert len(transport.told()) <= 1, "a batch at most"
            slow.resume_writing()
            await until(lambda: b"heartbeat" in transport.data)
            reports = transport.told()
            assert [m["message"] for m in reports[-3:]] == [
                "login",
                "executionReport",
                "heartbeat",
            ]
            assert reports[-2]["report"] == "FILL", "what came meanwhile comes after"

        at_a_desk(test)

    def test_what_comes_meanwhile_is_bounded(self) -> None:
        async def test(desk: Desk) -> None:
            login = await self.missed(desk, 5)
            slow, transport = desk.connect()
            slow.data_received(resume_from(login, login["seq"]))
            slow.pause_writing()
            await desk.exchange.drain()
            trader, _ = desk.connect()
            await desk.ask(trader, LOGIN)
            count = 0
            while not transport.closing:
                count += 1
                assert count < 1000
                await desk.ask(trader, order(1000 + count))
            assert 65536 / 200 < count < 65536 / 100
            slow.connection_lost(None)
            assert slow._replay is not None
            await asyncio.wait([slow._replay])
            assert slow._replay.cancelled()

        at_a_desk(test, output_limit=65536)

    def test_is_given_up_when_the_session_goes_elsewhere(self) -> None:
        async def test(desk: Desk) -> None:
            login = await self.missed(desk, 5)
            slow, transport = desk.connect()
            slow.data_received(resume_from(login, login["seq"]) + order(77))
            slow.pause_writing()
            await desk.exchange.drain()
            fast, reader = desk.connect()
            fast.data_received(resume_from(login, login["seq"]))
            await until(lambda: slow.finishing)
            assert transport.told()[-1]["code"] == "superseded"
            await until(lambda: b'"login"' in reader.data)
            told = reader.told()
            assert [m["message"] for m in told] == ["executionReport"] * 5 + ["login"]
            # What it said behind its login is not taken.
            assert 77 not in [getattr(c, "order_id", 0) for c in desk.asked]

        at_a_desk(test)

    def test_of_a_journal_that_is_cut_meanwhile(self) -> None:
        async def test(desk: Desk) -> None:
            login = await self.missed(desk, 5)
            slow, transport = desk.connect()

            def trim(*_: object) -> None:
                desk.exchange.journal.trimmed = 10**6

            slow.data_received(resume_from(login, login["seq"]))
            asyncio.get_running_loop().call_soon(trim)
            await until(lambda: slow.finishing)
            assert transport.told()[-1]["code"] == "unavailable"

        at_a_desk(test)
