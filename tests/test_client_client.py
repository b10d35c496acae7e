"""The client on real sockets: the dialogue, the end, and arguments."""

import asyncio
import json
from decimal import Decimal
from typing import Any, Literal

import pytest

from tests.client_plays import ENCODINGS, alice, free_port, run, stuck_server, take
from tests.fake_exchange import FakeExchange
from wood.client import (
    AllCanceled,
    Canceled,
    Client,
    ClientClosed,
    Fill,
    New,
    OrderReport,
    QueryRefused,
    Refused,
    Unknown,
)
from wood.client import addresses as addresses_module
from wood.client import client as client_module
from wood.client.inbox import LIMIT
from wood.client.requests import CancelOrder


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses_module, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(addresses_module, "LONGEST_DELAY", 0.01)


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
        with pytest.raises(TypeError, match="order_id"):
            await client.cancel(None)  # type: ignore[arg-type]
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
        for alone in ({"token": "secret"}, {"cancel_on_disconnect": True}):
            with pytest.raises(ValueError, match="participant"):
                Client(["localhost:1"], **alone)

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
