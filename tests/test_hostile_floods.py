"""Clients that say too much, and those who guess tokens: others do not wait for them."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.engines import INSTRUMENTS, with_loop
from tests.hostile import From
from tests.sessions import LOGIN, log_in
from tests.support import Peer, Server, create, eventually
from tests.test_node_introduction import ALL, NOTHING, TRUSTED
from wood.exchange.memory import MemoryExchange
from wood.model.participants import digest
from wood.node import connection
from wood.node.failures import WAITING
from wood.node.node import Node
from wood.node.settings import Settings

Start = Callable[..., Server]
LINE = b'{"message":"cancelAll"}\n'
BAD = b"\x1b[2J{nonsense}\n"


def answers_so_far(peer: Peer) -> list[bytes]:
    """The lines that have arrived."""
    data = b""
    peer.socket.setblocking(False)
    try:
        while piece := peer.socket.recv(1 << 20):
            data += piece
    except BlockingIOError:
        pass
    return data.splitlines()


@pytest.mark.parametrize(
    ("option", "limit"),
    [("--max-rate", "connectionRate"), ("--max-address-rate", "addressRate")],
)
@pytest.mark.parametrize("kind", ["private", "public"])
def test_a_flood_costs_a_portion_a_pause(
    start_server: Start, option: str, limit: str, kind: str
) -> None:
    """200,000 bad lines would be read within a second: now a thousand or two of them are."""
    server = start_server(option, "10")
    begin = time.monotonic()
    flood = server.trader() if kind == "private" else server.watcher()
    with flood, From("127.0.0.2", server.private) as other:
        flood.socket.setblocking(False)
        sent = 0
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            try:
                sent += flood.socket.send(BAD * 1000)
            except BlockingIOError:
                time.sleep(0.001)
        for _ in range(5):
            assert other.ask(ALL) == NOTHING
        lines = answers_so_far(flood)
        pauses = (time.monotonic() - begin) / 0.1 + 2
        portion = 8 * 1024 / len(BAD)
        assert len(lines) < pauses * portion
        assert len(lines) < 12_000
        told = [json.loads(line) for line in lines[:500]]
        refused = [each for each in told if each.get("code") == "rate"]
        assert refused
        assert {each["limit"] for each in refused} == {limit}
        assert all(0 < each["retryAfter"] <= 0.1 for each in refused)


def test_without_a_rate_a_flood_has_its_turns(server: Server) -> None:
    before = server.memory()
    with server.trader() as flood, server.watcher() as watcher, server.trader() as other:
        flood.socket.setblocking(False)
        watcher.socket.setblocking(False)
        for _ in range(100):
            for each in (flood, watcher):
                with suppress(BlockingIOError):
                    each.socket.send(BAD * 1000)
            assert other.ask(ALL) == NOTHING
        assert server.memory() - before < 40_000_000


def test_whoever_waits_is_heard_again(start_server: Start) -> None:
    server = start_server("--max-rate", "20")
    with server.trader() as peer:
        peer.send(*[ALL] * 60)
        told = peer.messages(60)
        assert told[:20] == [NOTHING] * 20
        assert told[20]["limit"] == "connectionRate"
        wait = told[-1]["retryAfter"]
        time.sleep(wait)  # what the server says is enough
        answer = peer.ask(ALL)
        while answer.get("code") == "rate":
            answer = peer.ask(ALL)
        assert answer == NOTHING


def test_all_connections_of_an_address_share_its_rate(start_server: Start) -> None:
    server = start_server("--max-address-rate", "20")
    with ExitStack() as stack:
        peers = [stack.enter_context(server.trader()) for _ in range(10)]
        told = [peer.ask(ALL) for peer in peers]  # to connect was a message of each
        told += [peer.ask(ALL) for peer in peers]
        assert told[:10] == [NOTHING] * 10
        assert "addressRate" in {each.get("limit") for each in told[10:]}
        with From("127.0.0.3", server.private) as other:
            assert other.ask(ALL) == NOTHING


@pytest.mark.parametrize("kind", ["private", "public"])
@pytest.mark.parametrize("balancer", [False, True])
def test_to_connect_is_a_message(start_server: Start, kind: str, balancer: bool) -> None:
    """Whoever comes and goes is refused as whoever says too much."""
    header = b"PROXY TCP4 192.0.2.7 192.0.2.1 5 6\r\n" if balancer else b""
    server = start_server("--max-address-rate", "10", *(TRUSTED if balancer else ()))
    with ExitStack() as stack:
        told = []
        for _ in range(30):
            peer = server.trader() if kind == "private" else server.watcher()
            stack.enter_context(peer)
            peer.socket.sendall(header)
            peer.socket.shutdown(socket.SHUT_WR)
            told.append(peer.message())
        assert told[0] is None
        eventually(lambda: "refused: too many connections per second" in server.text())
        refused = [each for each in told if each is not None]
        # Who asked for no extension of the public port is told no error.
        assert bool(refused) == (kind == "private")
        assert {(each["code"], each["limit"]) for each in refused} <= {("rate", "addressRate")}
        assert all(0 < each["retryAfter"] <= 0.1 for each in refused)
        with server.trader() if balancer else From("127.0.0.3", server.private) as other:
            other.socket.sendall(header.replace(b"2.7", b"2.8"))
            assert other.ask(ALL) == NOTHING


def test_a_flood_that_only_the_engine_refuses(
    redis_url: str, prefix: str, start_server: Start
) -> None:
    """The refusals come back later than the next turn would: little is heard until then."""
    cluster = Cluster(start_server, redis_url, prefix, "--max-participant-rate", "10", nodes=1)
    line = b'{"message":"cancelOrder","orderId":1}\n'
    with cluster.nodes[0].trader() as flood:
        flood.send(*[ALL] * 11)
        assert flood.messages(11)[-1]["limit"] == "participantRate"
        begin = time.monotonic()
        flood.socket.setblocking(False)
        answered, said = 0, memoryview(b"")
        while (elapsed := time.monotonic() - begin) < 1.0:
            with suppress(BlockingIOError):
                said = said or memoryview(line * 1000)
                said = said[flood.socket.send(said) :]
            answered += len(answers_so_far(flood))
        turns = elapsed / connection.FLOOD_WAIT + 2
        assert answered
        assert answered < turns * connection.FLOOD_TURN / len(line)


def test_one_who_said_too_much_has_small_turns_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SHORTEST_PAUSE", 0.0)

    async def test() -> None:
        async with flooded() as (here, reader, writer):
            [each] = here.private_connections()
            begin = time.monotonic()
            each.slow_down(0)
            turns = 10
            lines = turns * connection.FLOOD_TURN // len(LINE)
            writer.write(LINE * lines)
            for _ in range(lines):
                await reader.readline()
            assert time.monotonic() - begin >= (turns - 2) * connection.FLOOD_WAIT
            # Nor does it wait long for its end.
            each.slow_down(0)
            writer.write(LINE)
            writer.write_eof()
            assert (
                await reader.read() == json.dumps(NOTHING, separators=(",", ":")).encode() + b"\n"
            )

    with_loop(test)


@pytest.mark.parametrize("said", [0, 3_600_000_000])
def test_no_pause_is_long(monkeypatch: pytest.MonkeyPatch, said: int) -> None:
    monkeypatch.setattr(connection, "LONGEST_PAUSE", 0.2)

    async def test() -> None:
        async with flooded() as (here, reader, writer):
            [each] = here.private_connections()
            begin = time.monotonic()
            each.slow_down(said)
            writer.write(LINE)
            async with asyncio.timeout(20):
                assert json.loads(await reader.readline()) == NOTHING
            assert time.monotonic() - begin >= connection.SHORTEST_PAUSE

    with_loop(test)


def test_a_stop_does_not_wait_for_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read is answered, and what an engine said about when to come again is past."""
    monkeypatch.setattr(connection, "LONGEST_PAUSE", 3600.0)

    async def test() -> None:
        async with flooded() as (here, reader, writer):
            writer.write(LINE * 1000)
            await reader.readline()
            [each] = here.private_connections()
            each.slow_down(3_600_000_000)
            async with asyncio.timeout(20):
                stopping = asyncio.create_task(here.stop())
                answers = (await reader.read()).splitlines()
                assert len(answers) > 300, "all but what had not arrived"
                writer.close()
                await stopping
            assert not each.pauses

    with_loop(test)


class TestTooMuchForTooLong:
    """A half-closed client's orders would stay until all is heard that the kernel keeps."""

    @pytest.mark.parametrize("kind", ["private", "public"])
    def test_is_the_end(self, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        monkeypatch.setattr(connection, "FLOODING", 0.3)

        async def test() -> None:
            async with flooded(max_rate=10, cancel_on_disconnect=True) as (here, reader, writer):
                if kind == "private":
                    writer.write(json.dumps(create(1, "BUY", 145, 7)).encode() + b"\n")
                    assert b'"NEW"' in await reader.readline()
                watcher = await asyncio.open_connection("127.0.0.1", here.port("public"))
                if kind == "private":
                    assert b'"quantity":7' in await watcher[0].readline()
                flood, out = (reader, writer) if kind == "private" else watcher
                out.write(BAD * 50_000)
                out.write_eof()
                async with asyncio.timeout(20):
                    *_, last = (await flood.read()).splitlines()
                    told = json.loads(last)
                    assert told["error"] == "too many messages for too long"
                    assert told["code"] == "rate"
                    if kind == "private":
                        assert b'"quantity":0' in await watcher[0].readline()
                watcher[1].close()

        with_loop(test)

    def test_is_not_said_of_who_makes_breaks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection, "FLOODING", 0.0)
        monkeypatch.setattr(connection, "BREAK", -1.0)  # any pause is followed by one

        async def test() -> None:
            async with flooded(max_rate=10) as (here, reader, writer):
                for _ in range(3):
                    writer.write(LINE * 12)
                    codes = [json.loads(await reader.readline()).get("code") for _ in range(12)]
                    assert "rate" in codes
                [each] = here.private_connections()
                assert not each.finishing

        with_loop(test)


@asynccontextmanager
async def flooded(
    **settings: Any,
) -> AsyncIterator[tuple[Node, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A node of one connection, which has said one thing."""
    here = Node(MemoryExchange(INSTRUMENTS), Settings(private=0, public=0, **settings), 10)
    await here.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", here.port("private"))
    writer.write(LINE)
    assert json.loads(await reader.readline()) == NOTHING
    yield here, reader, writer
    writer.close()
    await here.stop()


class TestGuessing:
    @pytest.fixture
    def server(self, start_server: Start, tmp_path: Path) -> Server:
        file = tmp_path / "participants"
        alice = {"digest": digest("right"), "added": 1763720000, "operator": False}
        alice["disabled"] = False
        file.write_text(json.dumps({"alice": alice}))
        file.chmod(0o600)
        return start_server("--auth", "token", "--participants", str(file))

    def test_gets_slower_and_delays_nobody_else(self, server: Server) -> None:
        wrong = LOGIN | {"token": "wrong"}
        with ExitStack() as stack:
            guessers = [stack.enter_context(server.trader()) for _ in range(30)]
            for guesser in guessers:
                guesser.send(*[wrong] * 50)
            # The first wait a quarter of a second, half a one, one ...: so few are answered soon.
            assert guessers[0].message()["code"] == "unauthorized"
            begin = time.monotonic()
            with From("127.0.0.2", server.private) as alice:
                log_in(alice, token="right")
                for number in range(20):
                    assert alice.ask(create(number, "BUY", 5, 1))["report"] == "NEW"
            assert time.monotonic() - begin < 2
            answered = sum(len(answers_so_far(guesser)) for guesser in guessers)
            # Those for whom no more may wait are closed with their first answer.
            assert answered < len(guessers) - WAITING + 10, "of 1,500"
            with server.trader() as here:
                log_in(here, token="right")  # also from that very address

    def test_is_logged_within_bounds(self, server: Server) -> None:
        with ExitStack() as stack:
            peers = [stack.enter_context(server.trader()) for _ in range(60)]
            for peer in peers:
                peer.send(LOGIN | {"token": "wrong"})
            eventually(lambda: "more lines about failed logins were left out" in server.text())
            failed = [line for line in server.text().splitlines() if "a login failed" in line]
            by_second = [line[:19] for line in failed]
            assert max(map(by_second.count, set(by_second))) <= 20
            assert len(failed) < 60


def test_who_guesses_and_leaves_keeps_no_connections(start_server: Start) -> None:
    """That a client is gone shows only when it is written to, and the answers wait."""
    server = start_server()
    gone = 60
    for _ in range(gone):
        with server.trader() as peer:
            peer.send({"message": "login", "participant": "alice", "token": "guess"})
    with server.trader() as other:
        assert other.ask(create(1, "BUY", 5, 1))["report"] == "NEW"
    why = "closed: the participant and its token do not fit"
    eventually(lambda: server.text().count(why) >= gone - WAITING, "they are closed at once")
