"""The client on real sockets, against an exchange that breaks as it is told."""

import asyncio
import json
import socket
from collections.abc import Coroutine
from decimal import Decimal
from typing import Any, Literal

import pytest

from tests.fake_exchange import Engine, FakeExchange
from wood.client import (
    AllCanceled,
    Canceled,
    Client,
    ClientClosed,
    ConnectionLost,
    Disabled,
    Disconnected,
    Fill,
    LoginRefused,
    New,
    NotTaken,
    OrderReport,
    ProtocolError,
    QueryRefused,
    Refused,
    Report,
    ReportsLost,
    Resumed,
    Superseded,
    Unknown,
)
from wood.client import addresses as addresses_module
from wood.client import client as client_module
from wood.client import line as line_module
from wood.client.inbox import LIMIT
from wood.client.requests import CancelOrder, Command, CreateOrder

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


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses_module, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(addresses_module, "LONGEST_DELAY", 0.01)


def alice(exchange: FakeExchange, **options: Any) -> Client:
    return Client([exchange.address], "alice", **options)


async def take(client: Client, count: int) -> list[Report]:
    return [await anext(client) for _ in range(count)]


# The dialogue


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_command_is_answered(encoding: Literal["json", "msgpack"]) -> None:
    async def play() -> None:
        async with FakeExchange() as exchange, alice(exchange, encoding=encoding) as client:
            first = await client.create("BUY", "145.25", 100)
            await client.amend(first, price=Decimal("145.5"))
            await client.amend(first, quantity=50)
            second = await client.market("SELL", 5)
            await client.cancel(first)
            await client.create("SELL", 150, "0.5", order_id=7, post_only=True)
            await client.cancel_all()
            await client.cancel(first)
            reports = await take(client, 10)
            assert client.under_way == []
        about = [(type(each).__name__, getattr(each, "order_id", None)) for each in reports]
        assert about == [
            ("New", first),
            ("Amended", first),
            ("Amended", first),
            ("New", second),
            ("Fill", second),
            ("Canceled", first),
            ("New", 7),
            ("Canceled", 7),
            ("AllCanceled", None),
            ("Refused", first),
        ]
        numbers = [each.seq for each in reports if isinstance(each, OrderReport)]
        assert numbers == list(range(1, 9))
        assert reports[4] == Fill(
            order_id=second,
            symbol="WOOD",
            seq=5,
            time=1461763950.5,
            leaves=Decimal(0),
            price=Decimal(100),
            quantity=Decimal(5),
            trade=5,
        )
        assert isinstance(reports[-1], Refused)
        assert reports[-1].request == CancelOrder(order_id=first)
        created = exchange.engine.taken[0]
        number: object = "145.25" if encoding == "msgpack" else 145.25
        assert (created["side"], created["price"]) == ("BUY", number)

    run(play())


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_questions(encoding: Literal["json", "msgpack"]) -> None:
    async def play() -> None:
        async with FakeExchange() as exchange, alice(exchange, encoding=encoding) as client:
            await client.create("BUY", 145, 10, order_id=1)
            orders, instruments = await asyncio.gather(client.orders(), client.instruments())
            assert [(each.order_id, each.price) for each in orders] == [(1, Decimal(145))]
            assert instruments[0].tick == Decimal("0.01")

    run(play())


def test_a_question_is_asked_again_after_a_break() -> None:
    async def play() -> None:
        async with FakeExchange() as exchange, alice(exchange) as client:
            exchange.mute = True
            asking = asyncio.create_task(client.orders())
            while not client._session.under_way:
                await asyncio.sleep(0)
            exchange.mute = False
            exchange.drop()
            assert await asking == []
            assert exchange.connections == 2

    run(play())


def test_a_refused_question() -> None:
    async def play() -> None:
        async with FakeExchange() as exchange, alice(exchange) as client:
            exchange.mute = True
            asking = asyncio.create_task(client.orders("NOPE"))
            while not client._session.under_way:
                await asyncio.sleep(0)
            exchange.say({"message": "error", "error": "no", "code": "unknown_symbol"})
            with pytest.raises(QueryRefused, match="no"):
                await asking

    run(play())


def test_a_question_is_answered_though_nobody_reads_the_reports_before_it() -> None:
    async def play() -> None:
        async with FakeExchange() as exchange, alice(exchange) as client:
            for _ in range(2 * LIMIT):
                await client.market("BUY", 1)
            assert await client.orders() == []
            assert len(await take(client, 4 * LIMIT)) == 4 * LIMIT

    run(play())


# Breaks


async def dialogue(client: Client, reports: list[Report]) -> None:
    """Some of everything; the reports are read beside it."""
    first = await client.create("BUY", 145, 10)
    second = await client.create("BUY", 144, 10)
    await client.amend(first, quantity=5)
    await client.cancel(second)
    await client.market("SELL", 1)
    await client.cancel(first)
    await client.orders()  # all before it has been answered, or told to be lost


def fate(command: Command, reports: list[Report], engine: Engine) -> str:
    """What the reports say of `command`."""
    own = [each for each in reports if getattr(each, "request", None) is command]
    assert len(own) <= 1
    if own:
        return type(own[0]).__name__
    return "taken"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_cut_at_every_byte_each_command_has_one_true_fate(
    encoding: Literal["json", "msgpack"],
) -> None:
    async def play() -> None:
        cut: int | None = 1
        cuts = 0
        while cut is not None:
            cut = cut + 1 if await cut_at(cut, encoding) else None
            cuts += 1
        assert cuts > 1000

    async def whole() -> None:
        async with asyncio.timeout(100):
            await play()

    asyncio.run(whole())


async def cut_at(cut: int, encoding: Literal["json", "msgpack"]) -> bool:
    """Play the dialogue, its first connection cut there; whether it was cut at all."""
    async with FakeExchange() as exchange:
        exchange.cut = lambda: cut if exchange.connections == 1 else None
        sent: list[Command] = []
        reports: list[Report] = []
        async with alice(exchange, encoding=encoding) as client:
            send = client._session.send

            def spy(request: Any) -> bytes:
                if isinstance(request, Command):
                    sent.append(request)
                return send(request)

            client._session.send = spy  # type: ignore[method-assign]
            await dialogue(client, reports)
        reports += [each async for each in client]
    engine = exchange.engine
    numbers = [each.seq for each in reports if isinstance(each, OrderReport)]
    assert numbers == list(range(1, len(engine.reports) + 1))
    taken = [(each["message"], each["orderId"]) for each in engine.taken]
    assert len(taken) == len(set(taken))  # none of these was said twice
    new = {each.order_id for each in reports if isinstance(each, New)}
    for command in sent:
        what = fate(command, reports, engine)
        assert what in ("taken", "NotTaken", "Refused")
        if isinstance(command, CreateOrder):
            assert (what == "taken") == (command.order_id in new)
        if what == "taken":
            kind = str(command.__struct_config__.tag)
            assert (kind, getattr(command, "order_id", None)) in taken
    return exchange.connections > 1


def test_a_break_is_told_and_made_good() -> None:
    async def play() -> None:
        async with FakeExchange() as exchange, alice(exchange) as client:
            await client.create("BUY", 145, 10, order_id=1)
            assert [type(each) for each in await take(client, 1)] == [New]
            exchange.mute = True
            await client.create("BUY", 145, 10, order_id=2)
            await exchange.until(lambda: exchange.connections == 1)
            exchange.mute = False
            exchange.engine.fill(1)
            exchange.drop()
            reports = await take(client, 4)
            assert [type(each) for each in reports] == [Disconnected, Fill, Resumed, NotTaken]
            await client.create("BUY", 145, 10, order_id=2)
            assert isinstance(await anext(client), New)
            assert [login.get("lastSeq") for login in exchange.logins] == [None, 1]

    run(play())


def test_reports_that_are_lost() -> None:
    async def play() -> None:
        async with FakeExchange() as exchange, alice(exchange) as client:
            exchange.mute = True
            await client.create("BUY", 145, 10, order_id=1)
            exchange.mute = False
            exchange.engine.forget = True
            exchange.drop()
            reports = await take(client, 3)
            assert [type(each) for each in reports] == [Disconnected, ReportsLost, Unknown]

    run(play())


def test_commands_wait_for_the_next_connection_and_go_out_once() -> None:
    async def play() -> None:
        async with FakeExchange() as exchange, alice(exchange) as client:
            port = exchange.port
            exchange.stop()
            assert isinstance(await anext(client), Disconnected)
            waiting = [asyncio.create_task(client.create("BUY", 1, 1)) for _ in range(3)]
            dropped = asyncio.create_task(client.create("BUY", 1, 1, order_id=9))
            await asyncio.sleep(0)
            dropped.cancel()
            async with FakeExchange(exchange.engine) as again:
                client._rotation.addresses = [("127.0.0.1", again.port)]
                ids = await asyncio.gather(*waiting)
                assert port != again.port
                assert isinstance(await anext(client), Resumed)
                reports = await take(client, 3)
                assert [getattr(each, "order_id", None) for each in reports] == list(ids)
                assert await client.orders()
            assert [each["orderId"] for each in exchange.engine.taken] == list(ids)

    run(play())


def test_the_addresses_are_gone_through_in_turn() -> None:
    async def play() -> None:
        engine = Engine()
        async with FakeExchange(engine) as first, FakeExchange(engine) as second:
            with free_port() as nobody:
                places: list[str | tuple[str, int]] = [
                    ("127.0.0.1", nobody),
                    first.address,
                    second.address,
                ]
                async with Client(places, "alice") as client:
                    assert (first.connections, second.connections) == (1, 0)
                    first.drop()
                    assert [type(each) for each in await take(client, 2)] == [
                        Disconnected,
                        Resumed,
                    ]
                    assert (first.connections, second.connections) == (1, 1)
                    second.drop()
                    assert len(await take(client, 2)) == 2
                    assert (first.connections, second.connections) == (2, 1)

    run(play())


class free_port:  # noqa: N801 (used as a function)
    """A port at which nobody listens while the body runs."""

    def __enter__(self) -> int:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        port: int = self._socket.getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self._socket.close()


@pytest.mark.parametrize("code", ["limit", "unavailable"])
def test_a_server_without_room_is_left_for_the_next(code: str) -> None:
    async def play() -> None:
        async with FakeExchange() as crowded, FakeExchange() as free:
            crowded.refuse = code
            async with Client([crowded.address, free.address], "alice") as client:
                await client.create("BUY", 1, 1)
                assert isinstance(await anext(client), New)
                assert len(free.engine.taken) == 1

    run(play())


# What ends it for good


@pytest.mark.parametrize(("code", "kind"), [("superseded", Superseded), ("disabled", Disabled)])
def test_the_server_ends_it_for_good(code: str, kind: type[Exception]) -> None:
    async def play() -> None:
        async with FakeExchange() as exchange, alice(exchange) as client:
            exchange.mute = True
            asking = asyncio.create_task(client.orders())
            await client.create("BUY", 1, 1, order_id=1)
            exchange.say({"message": "error", "error": "no more", "code": code})
            assert isinstance(await anext(client), Unknown)
            for _ in range(2):
                with pytest.raises(kind, match="no more"):
                    await anext(client)
            with pytest.raises(kind):
                await client.create("BUY", 1, 1)
            with pytest.raises(kind):
                await asking
            assert exchange.connections == 1

    run(play())


@pytest.mark.parametrize("code", ["unauthorized", "disabled", "invalid"])
def test_a_refused_login_is_raised_on_entering(code: str) -> None:
    async def play() -> None:
        async with FakeExchange() as exchange:
            exchange.refuse = code
            with pytest.raises((LoginRefused, Disabled), match=f"it is {code}"):
                async with alice(exchange):
                    raise AssertionError
            assert exchange.connections == 1

    run(play())


def test_without_a_name_a_lost_connection_is_the_end() -> None:
    async def play() -> None:
        async with FakeExchange() as exchange, Client([exchange.address]) as client:
            assert exchange.logins == []
            exchange.mute = True
            await client.create("BUY", 1, 1)
            await client.create("BUY", 1, 1)
            exchange.drop()
            assert [type(each) for each in await take(client, 2)] == [Unknown, Unknown]
            with pytest.raises(ConnectionLost, match="closed the connection"):
                await anext(client)
            with pytest.raises(ConnectionLost):
                await client.create("BUY", 1, 1)

    run(play())


def test_nobody_answers() -> None:
    async def play() -> None:
        with free_port() as port:
            with pytest.raises(ConnectionLost, match=f"no server at 127.0.0.1:{port} "):
                async with Client([("127.0.0.1", port)]):
                    raise AssertionError
            with pytest.raises(ConnectionLost, match=f"no server at 127.0.0.1:{port} "):
                async with Client([("127.0.0.1", port)], "alice", give_up_after=0.05):
                    raise AssertionError

    run(play())


def test_giving_up_tells_what_is_not_known() -> None:
    async def play() -> None:
        async with FakeExchange() as exchange, alice(exchange, give_up_after=0.05) as client:
            exchange.mute = True
            await client.create("BUY", 1, 1)
            exchange.stop()
            assert [type(each) for each in await take(client, 2)] == [Disconnected, Unknown]
            with pytest.raises(ConnectionLost):
                await anext(client)

    run(play())


def test_another_protocol() -> None:
    async def play() -> None:
        async with FakeExchange() as exchange, Client([exchange.address]) as client:
            await client.orders()
            exchange.say(b"HTTP/1.1 400 Bad Request\r\n")
            with pytest.raises(ProtocolError):
                await anext(client)

    run(play())


# Heartbeats and back-pressure


def test_heartbeats_are_sent_in_silence() -> None:
    async def play() -> None:
        async with FakeExchange() as exchange, alice(exchange, heartbeat=0.1) as client:
            await exchange.until(lambda: exchange.heartbeats >= 3)
            assert exchange.connections == 1
            assert exchange.logins[0]["heartbeat"] == 0.1
            await client.create("BUY", 1, 1)
            assert isinstance(await anext(client), New)

    run(play())


def test_a_server_that_is_silent_for_two_intervals_is_replaced() -> None:
    async def play() -> None:
        async with FakeExchange() as exchange, alice(exchange, heartbeat=0.1) as client:
            exchange.mute = True
            lost = await anext(client)
            exchange.mute = False
            assert isinstance(lost, Disconnected)
            assert "was silent for 0.2 s" in lost.reason
            assert isinstance(await anext(client), Resumed)

    run(play())


def test_a_server_that_never_answers_the_login_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "LOGIN_SECONDS", 0.05)

    async def play() -> None:
        async with FakeExchange() as dumb, FakeExchange() as good:
            dumb.mute = True
            async with Client([dumb.address, good.address], "alice"):
                assert dumb.connections == good.connections == 1

    run(play())


def test_who_does_not_read_stops_the_server_and_lives_on() -> None:
    async def play() -> None:
        async with FakeExchange() as exchange, alice(exchange, heartbeat=0.1) as client:
            report = {"message": "executionReport", "orderId": 1, "report": "NEW"}
            exchange.engine.reports += [report | {"seq": n} for n in range(1, 30_001)]
            exchange.say(*exchange.engine.reports)
            heard = exchange.heartbeats
            await exchange.until(lambda: exchange.heartbeats >= heard + 4)  # twice two intervals
            assert exchange.connections == 1
            assert LIMIT <= len(client._inbox._items) < 3 * LIMIT
            numbers = [each.seq for each in await take(client, 30_000) if isinstance(each, New)]
            assert numbers == list(range(1, 30_001))
            assert exchange.connections == 1

    run(play())


def test_commands_wait_for_room_and_a_cancelled_one_is_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "CLOSE_SECONDS", 0.0)
    monkeypatch.setattr(line_module, "CLOSE_SECONDS", 0.0)

    async def play() -> None:
        placed: list[int] = []

        async def place(client: Client) -> None:
            while True:
                placed.append(await client.create("BUY", 1, 1))

        async with stuck_server() as (address, _):
            async with Client([address]) as client:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await place(client)
                assert len(placed) > 100
                assert [getattr(each, "order_id", None) for each in client.under_way] == placed
            reports = [each async for each in client]
            assert len(reports) == len(placed)

    run(play())


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


# The end


def test_leaving_hears_the_answers_to_what_is_under_way() -> None:
    async def play() -> None:
        async with FakeExchange() as exchange:
            async with alice(exchange) as client:
                await client.create("BUY", 1, 1, order_id=1)
                await client.cancel(1)
            assert [type(each) for each in [each async for each in client]] == [New, Canceled]
            assert exchange.connections == 1
            await client.close()
            with pytest.raises(ClientClosed):
                await client.create("BUY", 1, 1)

    run(play())


def test_leaving_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "CLOSE_SECONDS", 0.05)

    async def play() -> None:
        async with stuck_server() as (address, _):
            async with Client([address]) as client:
                await client.create("BUY", 1, 1)
            assert [type(each) for each in [each async for each in client]] == [Unknown]

    run(play())


def test_a_heartbeat_that_falls_due_while_it_leaves_is_not_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "CLOSE_SECONDS", 0.2)

    async def answer_the_login(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        login = {"message": "login", "participant": "alice", "session": "5-1", "epoch": 5, "seq": 1}
        writer.write(json.dumps(login).encode() + b"\n")
        while await reader.readline():
            pass
        await go.wait()
        writer.close()

    async def play() -> None:
        server = await asyncio.start_server(answer_the_login, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with Client([f"127.0.0.1:{port}"], "alice", heartbeat=0.05) as client:
            await client.create("BUY", 1, 1)
        assert [type(each) for each in [each async for each in client]] == [Unknown]
        go.set()
        server.close()

    go = asyncio.Event()
    run(play())


def test_closing_twice_and_from_elsewhere_ends_what_waits() -> None:
    async def play() -> None:
        async with FakeExchange() as exchange:
            client = alice(exchange)
            await client.close()
            async with client:
                reading = asyncio.create_task(take(client, 1))
                exchange.mute = True
                asking = asyncio.create_task(client.orders())
                await asyncio.sleep(0)
                await asyncio.gather(client.close(), client.close())
                with pytest.raises(StopAsyncIteration):
                    await anext(client)
                for task in (reading, asking):
                    with pytest.raises((StopAsyncIteration, RuntimeError, ClientClosed)):
                        await task
            with pytest.raises(ClientClosed):
                async with client:
                    raise AssertionError

    run(play())


def test_entering_may_be_cancelled() -> None:
    async def play() -> None:
        with free_port() as port, pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), Client([f"127.0.0.1:{port}"], "alice"):
                raise AssertionError

    run(play())


def test_a_fault_of_the_program_is_seen() -> None:
    def broken(mark: str, message: bytes) -> None:
        if mark == "<" and b"NEW" in message:
            raise ZeroDivisionError

    async def play(read: bool) -> None:
        async with FakeExchange() as exchange, alice(exchange, trace=broken) as client:
            await client.create("BUY", 1, 1)
            assert client._task is not None
            await asyncio.wait([client._task])
            if read:
                await anext(client)
                await anext(client)

    for read in (True, False):
        with pytest.raises(ZeroDivisionError):
            asyncio.run(play(read))


def test_a_client_is_used_inside_of_its_context() -> None:
    async def play() -> None:
        client = Client(["localhost:1"])
        with pytest.raises(ClientClosed):
            await client.create("BUY", 1, 1)
        with pytest.raises(ClientClosed):
            await anext(client)

    run(play())


# Arguments


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("BUY", 145.25, 1), TypeError),
        (("BUY", 1, 1.0), TypeError),
        (("BUY", True, 1), TypeError),
        (("BUY", "1_000", 1), ValueError),
        (("BUY", Decimal("NaN"), 1), ValueError),
        (("BUY", Decimal("Infinity"), 1), ValueError),
        (("BUY", "1e900000", 1), ValueError),
        (("bid", 1, 1), ValueError),
    ],
)
def test_wrong_numbers_and_words(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    async def play() -> None:
        with pytest.raises(error):
            await Client(["localhost:1"]).create(*arguments)

    run(play())


def test_other_wrong_arguments() -> None:
    async def play() -> None:
        client = Client(["localhost:1"])
        with pytest.raises(TypeError, match="order_id"):
            await client.cancel("7")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="order_id"):
            await client.cancel(1 << 64)
        with pytest.raises(ValueError, match="price, quantity or both"):
            await client.amend(1)
        with pytest.raises(ValueError, match="FOO"):
            await client.create("BUY", 1, 1, time_in_force="FOO")
        with pytest.raises(ValueError, match="encoding"):
            Client(["localhost:1"], encoding="xml")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="list of addresses"):
            Client("localhost:1")

    run(play())


def test_ids_are_drawn_from_all_of_64_bits() -> None:
    async def play() -> None:
        async with FakeExchange() as exchange, alice(exchange) as client:
            ids = {await client.create("BUY", 1, 1) for _ in range(100)}
            assert len(ids) == 100
            assert 2**62 < max(ids) < 2**64
            await client.cancel_all()
            assert isinstance((await take(client, 201))[-1], AllCanceled)

    run(play())
