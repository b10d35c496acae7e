"""The client on real sockets that break, stay silent, or lead to nobody."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Literal

import pytest

from tests.client_plays import ENCODINGS, alice, free_port, run, stuck_server, take
from tests.fake_exchange import Engine, FakeExchange
from tests.support import Server
from wood.client import (
    Client,
    ConnectionLost,
    Disabled,
    Disconnected,
    Fill,
    LoginRefused,
    New,
    NotTaken,
    OrderReport,
    ProtocolError,
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
from wood.client.requests import Command, CreateOrder

STRIDE = 7
"""Without --full it is cut every so many bytes; ids are drawn, so that the places vary."""


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses_module, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(addresses_module, "LONGEST_DELAY", 0.01)


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
    encoding: Literal["json", "msgpack"], full: bool
) -> None:
    async def play() -> None:
        cut = 1
        while await cut_at(cut, encoding):
            cut += 1 if full else STRIDE
        assert cut > 1000

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


def test_a_connection_that_ends_with_the_words_after_the_login_is_told_too() -> None:
    """Both arrive at once; whoever was told that it is resumed must be told that this is over."""
    login: dict[str, Any] = {"message": "login", "participant": "alice", "session": "5-1"}
    login |= {"epoch": 5, "seq": 1}
    again, end = (
        login | {"recovered": True},
        {"message": "error", "error": "x", "code": "unavailable"},
    )
    script = [[login], [again, end], [again, end], [again]]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        words = script.pop(0)
        writer.write(b"".join(json.dumps(word).encode() + b"\n" for word in words))
        if script:
            writer.close()
        else:
            await reader.read()
            writer.close()

    async def play() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with Client([f"127.0.0.1:{port}"], "alice", heartbeat=None) as client:
            reports = await take(client, 6)
        assert [type(each) for each in reports] == [Disconnected, Resumed] * 3
        server.close()

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


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_server_that_has_not_heard_how_one_speaks(
    start_server: Callable[..., Server], encoding: Literal["json", "msgpack"]
) -> None:
    """It says in JSON that it has no room; one who speaks MessagePack understands that too."""
    server = start_server("--max-connections", "1")
    with server.trader() as other:
        assert other.ask({"message": "cancelAll"})["canceled"] == 0
        refused = asyncio.Event()

        def heard(mark: str, frame: bytes) -> None:
            if mark == "<" and b'"code":"limit"' in frame:
                refused.set()
                other.socket.close()  # so that there is room

        async def play() -> None:
            address = f"{server.host}:{server.private}"
            async with Client([address], "alice", encoding=encoding, trace=heard) as client:
                await client.create("BUY", 1, 1)
                assert isinstance(await anext(client), New)
            assert refused.is_set()

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
                placed.append(await client.create("BUY", 1, 1, symbol="A" * 1000))

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
