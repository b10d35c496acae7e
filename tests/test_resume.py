"""Who has a session: several connections want it, one gets it; and what heartbeats say of it."""

import asyncio
import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import msgpack
import pytest

from tests.accounts import ONLY, Account, Order
from tests.cluster import Cluster
from tests.redis_server import RedisServer
from tests.resuming import Client, resume, told_anew, until_all_have_left
from tests.support import Server, create
from tests.wires import Wire

CROWD = 100

Told = dict[int, tuple[list[dict[str, Any]], bool]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, redis_binary: str | None) -> Iterator[Cluster]:
    """Two nodes on a Redis of their own."""
    folder = tmp_path_factory.mktemp("nodes")
    redis = RedisServer(folder, binary=redis_binary)
    cluster = Cluster(partial(Server, folder), redis.url, "wood", nodes=2)
    yield cluster
    assert [node.stop() for node in cluster.nodes] == [0, 0]
    redis.close()


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    assert server.stop() == 0


@pytest.fixture(params=["single", "pair"])
def ports(request: pytest.FixtureRequest) -> list[int]:
    """The private ports of one server, or of two nodes."""
    servers = request.getfixturevalue(request.param)
    return [servers.private] if request.param == "single" else [p for _, p in servers.private]


def test_a_heartbeat_tells_no_less_than_was_told(ports: list[int]) -> None:
    """Also where it shares a batch with reports that came before it: the account sees to that."""
    account = Account("alice")
    with Client(account, ports[0]) as client:
        assert client.log_in()
        orders = [create(number, "BUY", 1, 1) for number in range(20)]
        client.converse(
            [each for order in orders for each in (order, {"message": "heartbeat"})],
            step_by_step=False,
        )
        assert account.seq >= account.reports[-1].seq
    with resume(account, ports[-1]):
        assert len(account.reports) == 20


def test_what_happens_during_the_replay_comes_after_it(ports: list[int]) -> None:
    """Resume again and again from the beginning, while the other side goes on trading."""
    maker, taker = Account("maker"), Account("taker")
    with Client(maker, ports[0]) as client:
        assert client.log_in()
        client.converse([create(1, "BUY", 70, 10**6)], step_by_step=True)
    began, told = maker.place.began, maker.reports
    with Client(taker, ports[-1]) as other:
        assert other.log_in()
        for turn in range(20):
            other.say(*[create(100 * turn + n, "SELL", 70, 1) for n in range(100)])
            place = replace(maker.place, seq=began)
            maker = Account("maker", session=maker.session, places={ONLY: place})
            maker.orders[1] = Order("BUY", 10**6)
            with resume(maker, ports[turn % len(ports)]) as client:
                assert other.hear_all()
                while maker.seq < taker.seq:
                    client.converse([{"message": "heartbeat"}], step_by_step=True)
            assert maker.reports[: len(told)] == told
            told = maker.reports
            assert len(told) == 1 + 100 * (turn + 1)


def test_two_fight_for_a_session(ports: list[int]) -> None:
    """Who comes last has it, under its old name; who had it is told, and can do no more."""
    account = Account("fighter")
    old = Client(account, ports[0])
    assert old.log_in()
    name = account.session
    for turn in range(6):
        before = account.seq
        new = resume(account, ports[turn % len(ports)])
        assert account.session == name
        assert account.seq > before
        old.send(create(1000 + turn, "BUY", 1, 1))
        *_, last = old.rest()
        assert last["code"] == "superseded"
        old.close()
        new.converse([create(turn, "BUY", 1, 1)], step_by_step=True)
        old = new
    assert account.open.keys() == set(range(6))
    old.close()
    assert told_anew(account, ports[0]) == account.reports


@pytest.mark.parametrize("replay", [True, False], ids=["replay", "none"])
def test_a_hundred_want_the_same_session(ports: list[int], replay: bool) -> None:
    """One ends up with it and all others are told; each can trade in its own turn only."""
    account = Account(f"crowd-{replay}")
    with Client(account, ports[0]) as first:
        assert first.log_in()
        place = account.login()
        if not replay:
            del place["lastSeq"]  # so that each is answered before the next one comes
        told = asyncio.run(storm(ports, place))
        assert first.rest()[-1]["code"] == "superseded"
    (last,) = [number for number, (_, closed) in told.items() if not closed]
    for number, (messages, _) in told.items():
        assert (messages[-1].get("code") == "superseded") == (number != last)
    logins = {number: reply["seq"] for number, reply in replies(told, account.session)}
    assert logins[last] == max(logins.values())
    reports = told_anew(account, ports[0])
    assert all(report.seq < logins[last] for report in reports if report.order_id != last)
    if not replay:
        assert len(set(logins.values())) == CROWD
        for report in reports:
            in_force = max(seq for seq in logins.values() if seq < report.seq)
            assert in_force == logins[report.order_id]


def replies(told: Told, session: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """The answers to logins. Who lost the session during the replay got none."""
    for number, (messages, _) in told.items():
        for message in messages:
            if message["message"] == "login":
                assert message["session"] == session
                yield number, message


async def storm(ports: list[int], login: dict[str, Any]) -> Told:
    """A hundred log in and order at once. What each was told, and whether it was closed then."""
    told: Told = {}
    all_but_one = asyncio.Event()

    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", ports[number % len(ports)])
        writer.write(Wire().encode(login, create(number, "BUY", 1, 1)))
        messages: list[dict[str, Any]] = []
        told[number] = messages, False
        try:
            while line := await reader.readline():
                messages.append(json.loads(line))
        finally:
            writer.close()
        told[number] = messages, True
        if sum(closed for _, closed in told.values()) == CROWD - 1:
            all_but_one.set()

    tasks = [asyncio.create_task(one(number)) for number in range(CROWD)]
    async with asyncio.timeout(20):
        await all_but_one.wait()
    (winner,) = [task for task in tasks if not task.done()]
    await heard_own_order(told)
    winner.cancel()
    await asyncio.wait(tasks)
    return told


async def heard_own_order(told: Told) -> None:
    """Wait until the one who is left was told of its order."""
    async with asyncio.timeout(20):
        while True:
            ((number, messages),) = [(n, m) for n, (m, closed) in told.items() if not closed]
            if any(m.get("report") == "NEW" and m["orderId"] == number for m in messages):
                return
            await asyncio.sleep(0.001)


def test_the_generation_in_redis_is_that_of_the_last_login(pair: Cluster) -> None:
    """And nothing is left of the older connections."""
    until_all_have_left(pair)
    account = Account("grace")
    old = Client(account, pair.nodes[0].private)
    assert old.log_in()
    for turn in range(4):
        new = resume(account, pair.nodes[(turn + 1) % 2].private)
        with pair.redis() as client:
            ((name, record),) = client.hgetall(pair.keys.sessions).items()
            (placed,) = client.zrange(pair.keys.placed, 0, -1)
        unpacker = msgpack.Unpacker()
        unpacker.feed(record)
        participant, generation, writer, _ = unpacker
        assert (name.decode(), participant, generation) == (account.session, "grace", account.seq)
        assert placed.decode() == f"{writer} {account.session}"
        old.close()
        old = new
    old.close()


def test_what_is_read_behind_the_login_is_not_taken(server: Server) -> None:
    """Both lines are full when the server gets to read them, the new one's first."""
    account = Account("alice")
    with Client(account, server.private) as old, server.trader() as new:
        assert old.log_in()
        assert new.ask({"message": "heartbeat"}) == {"message": "heartbeat"}
        server.process.send_signal(signal.SIGSTOP)
        new.send(account.login())
        old.send(create(1, "BUY", 1, 1))
        server.process.send_signal(signal.SIGCONT)
        reply = new.message()
        assert (reply["message"], reply["session"]) == ("login", account.session)
        assert [message["code"] for message in old.rest()] == ["superseded"]
        assert new.ask({"message": "orders"}) == {"message": "orders", "orders": []}
