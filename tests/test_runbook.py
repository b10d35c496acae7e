"""Every command of the runbook, run where its alert is raised: on real nodes and a real Redis."""

import asyncio
import json
import re
import shlex
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from tests.cluster import Cluster
from tests.redis_server import RedisServer, free_port
from tests.runbook import FIRST, Expected, Shell, sections
from tests.support import ROOT, Server, create, eventually
from tests.test_cluster_failures import ALWAYS
from tests.tls import Office
from wood.alerts.notices import Alert
from wood.cli.main import wood
from wood.exchange.cluster.stored_tail import StoredTail

COMMANDS = sections()
STATUS = "wood status"
ADMIN = 'redis-cli -u "$REDIS_ADMIN" '
READER = "graylog"

WELL, NOT_WELL, UNKNOWN = range(3)

SLOW_LOG = {ADMIN + "slowlog get 5": Expected(0, "")}
PERSISTENCE = {ADMIN + "info persistence": Expected(0, "aof_last_write_status:ok")}

EXPECTED: dict[str, dict[str, Expected]] = {
    FIRST: {STATUS: Expected(WELL, "ready"), "wood alert --once": Expected(0, "")},
    "node-lost": {STATUS: Expected(NOT_WELL, r"node-lost.*declared dead")},
    "redis-unreachable": {
        STATUS: Expected(UNKNOWN, "cannot reach Redis"),
        ADMIN + "ping": Expected(1, "Connection refused"),
    },
    "journal-stalled": {
        'wood status --health "$NODE"': Expected(NOT_WELL, "journal-stalled"),
        ADMIN + "client unpause": Expected(0, "OK"),
        **SLOW_LOG,
        **PERSISTENCE,
    },
    "reader-behind": {
        STATUS: Expected(WELL, rf"{READER} +main +[1-9]"),
        "wood graylog --forget": Expected(0, "graylog is forgotten"),
    },
    "journal-forked": {
        "wood status --json": Expected(WELL, '"epoch":[1-9]'),
        "wood export > journal.jsonl": Expected(0, "^$"),
        ADMIN + "config get append*": Expected(0, "appendfsync\nalways"),
    },
    "errors": {"wood status --json": Expected(WELL, '"errors":[1-9]')},
    "disk-nearly-full": {
        'df -h "$REDIS_DIR"': Expected(0, "Avail"),
        'du -sh "$REDIS_DIR/appendonlydir"': Expected(0, "appendonlydir"),
        ADMIN + "bgrewriteaof": Expected(0, "rewriting started|scheduled"),
    },
    "redis-not-writing": {
        STATUS: Expected(NOT_WELL, "redis-memory"),
        ADMIN + "info replication": Expected(0, "role:master"),
        ADMIN + "config get maxmemory*": Expected(0, "maxmemory\n1\n"),
        ADMIN + "config set maxmemory 0": Expected(0, "OK"),
        **PERSISTENCE,
    },
    "node-not-ready": {STATUS: Expected(NOT_WELL, "node3.*too many connections")},
    "answers-slow": {
        ADMIN + "info commandstats": Expected(0, "cmdstat_evalsha|cmdstat_fcall"),
        **SLOW_LOG,
    },
    "refusals": {
        STATUS: Expected(WELL, "halted"),
        "wood participant list": Expected(0, "alice"),
    },
    "descriptors": {STATUS: Expected(WELL, r"sessions.*\b2\b")},
}
"""How each command of each section ends, and what it says."""


def test_every_command_of_the_runbook_is_run_here() -> None:
    of_the_page = {name: set(found) for name, found in COMMANDS.items() if found}
    assert of_the_page == {name: set(found) for name, found in EXPECTED.items()}
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {re.sub(r"[ -]", "_", name) for name in EXPECTED} <= tests


def test_every_alert_is_in_the_runbook() -> None:
    rules = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()
    of_prometheus = set(re.findall(r"^ *- alert: (\S+)$", rules, re.M))
    assert of_prometheus
    assert set(Alert) | of_prometheus == COMMANDS.keys() - {FIRST}


@pytest.mark.parametrize("command", sorted({each for found in COMMANDS.values() for each in found}))
def test_its_commands_have_options_that_exist(command: str) -> None:
    program, *words = shlex.split(command.partition(">")[0])
    assert program in ("wood", "redis-cli", "df", "du")
    if program == "wood":
        context, group = click.Context(wood), wood
        while words and words[0] in group.commands:
            name = words.pop(0)
            found = group.commands[name]
            context = click.Context(found, info_name=name, parent=context)
            if not isinstance(found, click.Group):
                found.parse_args(context, [word.replace("$NODE", "127.0.0.1:1") for word in words])
                return
            group = found
        pytest.fail(f"what is {words}?")


class Scene:
    """Two nodes that one may ask about."""

    def __init__(self, redis: RedisServer, start: Callable[..., Server], folder: Path) -> None:
        self.redis = redis
        options = ("--persist", "--lease", "1")
        self.cluster = Cluster(start, redis.url, "wood", *options, nodes=0)
        self.cluster.nodes = [self.cluster.start("--name", "node1")]
        health = free_port()
        self.cluster.nodes.append(self.cluster.start("--name", "node2", "--health", str(health)))
        self.shell = Shell(
            folder, WOOD_REDIS=redis.url, REDIS_ADMIN=redis.url, REDIS_DIR=str(redis.folder),
            NODE=f"127.0.0.1:{health}",
        )  # fmt: skip

    def said(self, pattern: str, command: str = STATUS) -> None:
        """Wait until `wood status` says so."""
        eventually(lambda: bool(re.search(pattern, self.shell.run(command).stdout)), pattern)

    def well(self) -> None:
        """Wait until it says that all is well."""
        eventually(lambda: self.shell.run(STATUS).returncode == WELL, "that all is well")

    def follow(self, name: str) -> None:
        """Run the commands of a section, in their order."""
        self.shell.follow(COMMANDS[name], EXPECTED[name])

    def trade(self) -> None:
        """Somebody buys and sells."""
        with self.cluster.nodes[-1].trader() as peer:
            for order_id, side in enumerate(("BUY", "SELL")):
                assert peer.ask(create(order_id, side, 100, 1))["report"] == "NEW"


Begin = Callable[..., Scene]


@pytest.fixture
def begin(
    start_redis: Callable[..., RedisServer], start_server: Callable[..., Server], tmp_path: Path
) -> Begin:
    if shutil.which("redis-cli") is None:
        pytest.skip("there is no redis-cli")

    def begin(*options: str) -> Scene:
        scene = Scene(start_redis(*ALWAYS, *options), start_server, tmp_path)
        scene.said("node1(.|\n)*node2")
        scene.well()
        return scene

    return begin


def test_first_of_all(begin: Begin) -> None:
    begin().follow(FIRST)


@pytest.mark.long
def test_node_lost(begin: Begin) -> None:
    scene = begin()
    scene.cluster.nodes[0].kill()
    scene.said("node-lost")
    scene.follow("node-lost")
    scene.cluster.start("--name", "node1")
    scene.said("node1")
    scene.well()


@pytest.mark.long
def test_redis_unreachable(begin: Begin) -> None:
    scene = begin()
    scene.redis.kill()
    scene.follow("redis-unreachable")
    scene.redis.start()
    scene.well()


@contextmanager
def an_order_that_waits(scene: Scene) -> Iterator[None]:
    with scene.cluster.nodes[1].trader() as peer:
        peer.send(create(1, "BUY", 100, 1))
        yield
        assert peer.message()["report"] == "NEW"


@pytest.mark.long
def test_journal_stalled(begin: Begin) -> None:
    scene = begin()
    with scene.redis.client() as client:
        client.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
    with an_order_that_waits(scene):
        scene.said("journal-stalled", 'wood status --health "$NODE"')
        scene.follow("journal-stalled")
    scene.well()


@pytest.mark.long
def test_reader_behind(begin: Begin) -> None:
    scene = begin()

    async def read() -> None:
        async with StoredTail(scene.redis.url, "wood", "main", None, READER) as tail:
            page = await tail.read()
            assert page.position is not None
            await tail.keep(page.position)

    scene.trade()
    asyncio.run(read())
    scene.trade()
    scene.said(READER)
    scene.follow("reader-behind")
    assert READER not in scene.shell.run(STATUS).stdout


@pytest.mark.long
def test_journal_forked(begin: Begin) -> None:
    scene = begin()
    scene.trade()
    scene.redis.kill()
    scene.redis.cut(1, scene.cluster.keys.journal)
    scene.redis.start()
    scene.well()
    scene.trade()
    scene.follow("journal-forked")
    lines = (scene.shell.folder / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines]


@pytest.mark.long
def test_errors(begin: Begin, tmp_path: Path) -> None:
    """New certificates are of no use: that is an error, and harms nobody yet."""
    scene, office = begin(), Office(tmp_path / "office")
    node = scene.cluster.start("--name", "node3", *office.options)
    scene.said("node3 +ready")
    office.cert.write_text("nothing of use")
    node.process.send_signal(signal.SIGHUP)
    scene.cluster.logged("the certificates are those of before", [node])
    scene.said('"errors":1', "wood status --json")
    scene.follow("errors")


def test_disk_nearly_full(begin: Begin) -> None:
    begin().follow("disk-nearly-full")


@pytest.mark.long
def test_redis_not_writing(begin: Begin) -> None:
    scene = begin()
    with scene.redis.client() as client:
        client.config_set("maxmemory", "1")
    scene.follow("redis-not-writing")
    scene.well()
    scene.trade()


@pytest.mark.long
def test_node_not_ready(begin: Begin) -> None:
    scene = begin()
    full = scene.cluster.start("--name", "node3", "--max-connections", "1")
    with full.trader():
        scene.said("too many connections")
        scene.follow("node-not-ready")


@pytest.mark.long
def test_answers_slow(begin: Begin) -> None:
    scene = begin()
    scene.trade()
    scene.follow("answers-slow")


@pytest.mark.long
def test_refusals(begin: Begin) -> None:
    scene = begin()
    token = scene.shell.run("wood participant add alice --operator 2> add").stdout.strip()
    port = scene.cluster.nodes[0].private
    halt = f"WOOD_TOKEN={token} wood halt WOOD --operator alice --port {port}"
    done = scene.shell.run(halt)
    assert done.returncode == 0, done.stdout
    scene.said("halted")
    scene.follow("refusals")


@pytest.mark.long
def test_descriptors(begin: Begin) -> None:
    scene = begin()
    with scene.cluster.nodes[0].trader(), scene.cluster.nodes[0].trader():
        scene.said(r"\b2\b")
        scene.follow("descriptors")
