"""`wood status` against real servers, real Redis, and what is left when one of them is gone."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.launcher import Launcher
from tests.redis_cluster import RedisCluster
from tests.redis_sentinel import RedisSentinel
from tests.redis_server import RedisServer
from tests.redis_user import set_user, url_of
from tests.support import (
    PATIENCE,
    ROOT,
    Server,
    clean_environment,
    create,
    eventually,
    free_port,
    run_wood,
    run_wood_here,
)
from wood.exchange.cluster.stored_tail import StoredTail
from wood.monitor import ask

StartServer = Callable[..., Server]
StartRedis = Callable[..., RedisServer]

QUICK = ("--lease", "1")


def status(*options: str) -> tuple[int, Any]:
    """The exit code and what `--json` says."""
    done = run_wood_here("status", "--json", *options)
    assert done.stdout.count("\n") == 1, done
    return done.returncode, json.loads(done.stdout)


def until(condition: Callable[[Any], bool], what: str, *options: str) -> Any:
    """What it says once it says that."""
    found: list[Any] = []

    def holds() -> bool:
        found[:] = [status(*options)[1]]
        return condition(found[0])

    eventually(holds, what)
    return found[0]


def states(summary: Any) -> dict[str, str]:
    return {node["name"]: node["state"] for node in summary["nodes"]}


def whats(summary: Any) -> set[str]:
    return {each["what"] for each in summary["troubles"]}


@pytest.fixture
def of_cluster(redis_url: str, prefix: str) -> tuple[str, ...]:
    return "--redis", redis_url, "--prefix", prefix


def test_a_single_server(start_server: StartServer) -> None:
    health = free_port()
    server = start_server("--health", str(health), "--name", "single", "--instrument", "GOLD")
    where = ("--health", f"127.0.0.1:{health}")
    with server.trader() as trader, server.watcher():
        trader.ask(create(1, "BUY", 5, 1))
        said = until(lambda said: said["rates"]["commands"] > 0, "a rate", *where)
    (node,) = said["nodes"]
    assert (node["name"], node["state"], node["mode"]) == ("single", "ready", "memory")
    assert (node["sessions"], node["subscribers"], node["private"]) == (1, 1, server.private)
    (partition,) = said["partitions"]
    assert (partition["name"], partition["seq"] > 0, partition["waiting"]) == ("main", True, 0)
    assert said["instruments"] == [{"symbol": "GOLD", "partition": "main", "state": "open"}]
    assert (said["well"], said["redis"]) == (True, [])
    done = run_wood("status", *where)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^well .*commands/s", done.stdout)
    assert re.search(r"^single +ready ", done.stdout, re.M)
    assert re.search(r"^GOLD +open", done.stdout, re.M)


def test_a_cluster_at_a_glance(
    of_cluster: tuple[str, ...], redis_url: str, prefix: str, start_server: StartServer
) -> None:
    """Nodes, sessions, instruments and their state, rates, the last number, Redis."""
    cluster = Cluster(
        start_server, redis_url, prefix, "--instrument", "WOOD", "--instrument", "TIN", nodes=0
    )
    nodes = [cluster.start("--name", f"n{number}") for number in (1, 2, 3)]
    token = run_wood_here("participant", "add", "root", "--operator", *of_cluster).stdout.strip()
    who = ("--operator", "root", "--token", token, "--port", str(nodes[0].private))
    assert run_wood("halt", "TIN", *who).returncode == 0
    with nodes[0].trader() as trader, nodes[1].trader() as other, nodes[2].watcher():
        trader.ask(create(1, "BUY", 5, 3))
        other.ask(create(1, "SELL", 5, 1))
        last = cluster.journal()[-1].last

        def all_is_told(said: Any) -> bool:
            counts = [(node["sessions"], node["subscribers"]) for node in said["nodes"]]
            idle = said["partitions"][0]["waiting"] == 0
            return counts == [(1, 0), (1, 0), (0, 1)] and said["rates"]["trades"] > 0 and idle

        said = until(all_is_told, "reports of all", *of_cluster)
    assert (said["well"], states(said)) == (True, {"n1": "ready", "n2": "ready", "n3": "ready"})
    (partition,) = said["partitions"]
    assert (partition["seq"], partition["resting"]) == (last, 1)
    assert {each["symbol"]: each["state"] for each in said["instruments"]} == {
        "WOOD": "open",
        "TIN": "halted",
    }
    (redis,) = said["redis"]
    assert (redis["role"], redis["replicas"], redis["failing"]) == ("master", 0, [])
    assert [node["lag"] for node in said["nodes"]] == [0.0] * 3
    shown = run_wood_here("status", *of_cluster).stdout
    assert re.search(rf"^main +\d+ +{last:,} ", shown, re.M)
    assert re.search(r"^TIN +halted", shown, re.M)
    assert re.search(r"^main +master +0 +\d+\.", shown, re.M)


def test_a_node_is_lost_and_comes_back(
    of_cluster: tuple[str, ...], redis_url: str, prefix: str, start_server: StartServer
) -> None:
    cluster = Cluster(start_server, redis_url, prefix, *QUICK, nodes=0)
    first, second = (cluster.start("--name", name) for name in ("n1", "n2"))
    both = {"n1": "ready", "n2": "ready"}
    until(lambda said: states(said) == both, "two nodes", *of_cluster)
    second.kill()
    said = until(lambda said: states(said) == {**both, "n2": "lost"}, "a lost node", *of_cluster)
    assert (said["well"], said["troubles"][0]["what"], said["troubles"][0]["where"]) == (
        False,
        "node-lost",
        "n2",
    )
    done = run_wood_here("status", *of_cluster)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0].startswith("NOT WELL")
    assert done.stdout.splitlines()[1].startswith("! node-lost n2: ")
    cluster.start("--name", "n2")
    said = until(lambda said: said["well"], "its return", *of_cluster)
    assert states(said) == both
    assert first.stop() == 0
    until(lambda said: states(said) == {"n2": "ready"}, "an orderly end", *of_cluster)


def test_when_all_nodes_are_killed_nobody_is_left_to_say_so(
    of_cluster: tuple[str, ...], redis_url: str, prefix: str, start_server: StartServer
) -> None:
    cluster = Cluster(start_server, redis_url, prefix, *QUICK, "--name", "n1", nodes=1)
    until(lambda said: said["well"], "a node", *of_cluster)
    cluster.nodes[0].kill()
    said = until(lambda said: not said["well"], "its silence", *of_cluster)
    assert (whats(said), states(said)) == ({"no-node", "node-silent"}, {"n1": "silent"})
    assert "no beat for" in said["nodes"][0]["reason"]


def test_a_node_that_drains_is_in_no_trouble(
    of_cluster: tuple[str, ...], redis_url: str, prefix: str, start_server: StartServer
) -> None:
    cluster = Cluster(start_server, redis_url, prefix, "--drain", "60", nodes=0)
    first, second = (cluster.start("--name", name) for name in ("n1", "n2"))
    until(lambda said: len(said["nodes"]) == 2 and said["well"], "two nodes", *of_cluster)
    second.process.send_signal(signal.SIGTERM)
    drains = {"n1": "ready", "n2": "draining"}
    said = until(lambda said: states(said) == drains, "a drain", *of_cluster)
    assert said["well"]
    for node in (first, second):
        node.process.send_signal(signal.SIGTERM)
    cluster.logged("draining", [first])
    first.process.send_signal(signal.SIGTERM)


def test_redis_is_away(start_redis: StartRedis, start_server: StartServer) -> None:
    """It says so; what nodes say themselves is shown all the same."""
    redis, health = start_redis(), free_port()
    where = ("--redis", redis.url, "--prefix", "wood")
    start_server("-m", *where, "--health", str(health), "--name", "n1")
    until(lambda said: said["well"], "a node", *where)
    node = ("--health", f"127.0.0.1:{health}")
    assert status(*where, *node)[0] == 0
    redis.kill()
    done = run_wood_here("status", *where)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"wood: cannot reach Redis at redis://[\w.:/]+ \(.*\); .* --health HOST:PORT.*\n",
        done.stderr,
    )
    code, said = status(*where)
    assert (code, whats(said), said["nodes"]) == (2, {"redis-unreachable"}, [])
    unready = {"redis-unreachable", "no-node", "node-unready"}
    said = until(lambda said: whats(said) == unready, "what the node says", *where, *node)
    assert status(*where, *node)[0] == 1
    assert (states(said), said["nodes"][0]["reason"]) == ({"n1": "unready"}, "redis is away")
    assert said["partitions"][0]["resting"] is None
    assert status(*node)[1]["nodes"][0]["state"] == "unready"
    redis.start()
    until(lambda said: said["well"], "Redis again", *where, *node)


def test_redis_is_silent_and_is_not_waited_for(
    start_redis: StartRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask, "PATIENCE", 0.3)
    redis = start_redis()
    redis.freeze()
    try:
        done = run_wood_here("status", "--redis", redis.url)
    finally:
        redis.thaw()
    assert done.returncode == 2
    assert "was silent for 0.3 s" in done.stderr


def test_several_partitions(
    of_cluster: tuple[str, ...], redis_url: str, prefix: str, start_server: StartServer
) -> None:
    """One that is added later is seen, too; a node of all of them is one node."""
    listed = ("--instrument", "WOOD", "--instrument", "GOLD@metals")
    Cluster(start_server, redis_url, prefix, *listed, "--name", "n1", nodes=1)
    said = until(lambda said: said["well"], "a node", *of_cluster)
    assert [each["name"] for each in said["partitions"]] == ["main", "metals"]
    assert states(said) == {"n1": "ready"}
    assert [(each["symbol"], each["partition"]) for each in said["instruments"]] == [
        ("WOOD", "main"),
        ("GOLD", "metals"),
    ]
    assert [each["partitions"] for each in said["redis"]] == [["main", "metals"]]


def test_a_durable_reader_and_how_far_it_is_behind(
    of_cluster: tuple[str, ...], redis_url: str, prefix: str, start_server: StartServer
) -> None:
    cluster = Cluster(start_server, redis_url, prefix, nodes=1)

    async def read() -> None:
        async with StoredTail(redis_url, prefix, "main", None, "books") as tail:
            await tail.keep((await tail.read()).position)

    with cluster.nodes[0].trader() as trader:
        trader.ask(create(1, "BUY", 5, 1))
        asyncio.run(read())
        assert [each["behind"] for each in status(*of_cluster)[1]["readers"]] == [0]
        trader.ask(create(2, "BUY", 5, 1))
    (reader,) = status(*of_cluster)[1]["readers"]
    assert (reader["name"], reader["partition"]) == ("books", "main")
    assert reader["behind"] > 0
    assert reader["age"] < PATIENCE


def test_nothing_is_under_a_prefix(of_cluster: tuple[str, ...]) -> None:
    done = run_wood_here("status", *of_cluster)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "wood: there is no book in Redis under this --prefix\n"


@pytest.mark.long
def test_sentinels_name_the_redis(
    tmp_path: Path, redis_binary: str | None, start_server: StartServer
) -> None:
    """Before and after a fail-over."""
    five = RedisSentinel(tmp_path, binary=redis_binary)
    try:
        where = ("--redis", five.url, "--prefix", "wood")
        node = start_server("-m", *where, "--name", "n1")
        said = until(lambda said: said["well"], "a node", *where)
        assert (said["redis"][0]["role"], said["redis"][0]["replicas"]) == ("master", 1)
        five.master.kill()
        assert status(*where)[0] == 2
        eventually(lambda: five.promoted(five.replica), "a fail-over")
        said = until(lambda said: said["well"], "a node again", *where)
        assert (said["redis"][0]["role"], said["redis"][0]["replicas"]) == ("master", 0)
        assert node.stop() == 0
    finally:
        five.close()


@pytest.mark.long
def test_partitions_on_masters_of_their_own(
    tmp_path: Path, redis_binary: str | None, start_server: StartServer
) -> None:
    three = RedisCluster(tmp_path, binary=redis_binary)
    try:
        where = ("--redis", three.url, "--prefix", "wood")
        listed = ("--instrument", "WOOD", "--instrument", "GOLD@metals")
        node = start_server("-m", *where, *listed, "--name", "n1")
        said = until(lambda said: said["well"], "a node", *where)
        assert states(said) == {"n1": "ready"}
        assert [each["partitions"] for each in said["redis"]] == [["main"], ["metals"]]
        assert node.stop() == 0
    finally:
        three.close()


def test_a_user_who_may_not_look(start_redis: StartRedis, start_server: StartServer) -> None:
    """The shipped one may; one with fewer rights is told what is missing."""
    redis = start_redis()
    set_user(redis)
    where = ("--redis", url_of(redis.url), "--prefix", "wood")
    start_server("-m", *where, "--name", "n1")
    until(lambda said: said["well"], "a node", *where)
    set_user(redis, "-hgetall")
    done = run_wood_here("status", *where)
    assert done.returncode == 2
    assert "does not let the user of --redis" in done.stderr
    assert "hgetall" in done.stderr
    assert "p4ss" not in done.stderr
    set_user(redis)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--health", "7011"), "'7011' is not an address such as localhost:7001"),
        (("--redis", "http://here"), "this is no URL of a Redis"),
        (("--health", "127.0.0.1:1"), "nobody answers at 127.0.0.1:1 (Connection refused)"),
    ],
)
def test_a_mistake_is_one_line(options: tuple[str, ...], said: str) -> None:
    done = run_wood_here("status", *options)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr


# --watch


class Watch:
    """`wood status --watch`, in a terminal if it is given one."""

    def __init__(self, *options: str, out: int = subprocess.PIPE) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wood", "status", "--watch", *options],
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, cwd=ROOT,
            env=clean_environment(TERM="xterm", COLUMNS="120", LINES="30"), process_group=0,
        )  # fmt: skip

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().decode()

    def block(self) -> str:
        """Up to the next headline, which is read, too."""
        lines = [self.line()]
        while not re.match("well|NOT WELL", lines[-1]):
            assert lines[-1], "it has ended"
            lines.append(self.line())
        return "".join(lines)

    def interrupt(self) -> tuple[int, str]:
        """Ctrl-C; the exit code, and what it said of it."""
        os.killpg(self.process.pid, signal.SIGINT)
        assert self.process.stderr
        said = self.process.stderr.read().decode()
        return self.process.wait(PATIENCE), said

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()


@pytest.fixture
def start_watch() -> Iterator[Callable[..., Watch]]:
    started: list[Watch] = []

    def start(*options: str, out: int = subprocess.PIPE) -> Watch:
        started.append(Watch(*options, out=out))
        return started[-1]

    yield start
    for each in started:
        each.close()


def test_watch_prints_blocks_where_no_terminal_is(
    start_watch: Callable[..., Watch], start_server: StartServer
) -> None:
    """One after the other; Ctrl-C is a good end."""
    health = free_port()
    start_server("--health", str(health), "--name", "single")
    watch = start_watch("--health", f"127.0.0.1:{health}")
    assert watch.block().startswith("well ")
    block = watch.block()
    assert re.search("^single +ready ", block, re.M)
    assert "\x1b" not in block
    assert watch.interrupt() == (0, "")


@pytest.mark.long
def test_watch_goes_on_while_redis_is_away(
    start_watch: Callable[..., Watch], start_redis: StartRedis, start_server: StartServer
) -> None:
    redis = start_redis()
    where = ("--redis", redis.url, "--prefix", "wood")
    start_server("-m", *where, "--name", "n1")
    watch = start_watch(*where)
    eventually(lambda: re.search("^n1 +ready ", watch.block(), re.M) is not None, "a node")
    redis.kill()
    eventually(lambda: "! redis-unreachable: cannot reach" in watch.block(), "an outage")
    redis.start()
    eventually(lambda: re.search("^n1 +ready ", watch.block(), re.M) is not None, "its end")
    assert watch.interrupt() == (0, "")


def test_watch_writes_a_line_of_json_each_second(
    start_watch: Callable[..., Watch], of_cluster: tuple[str, ...]
) -> None:
    watch = start_watch("--json", *of_cluster)
    times = [json.loads(watch.line())["time"] for _ in range(3)]
    assert times[2] - times[0] == pytest.approx(2.0, abs=0.9)
    assert watch.interrupt() == (0, "")


def test_who_no_longer_listens_ends_it_without_a_traceback(
    start_watch: Callable[..., Watch], of_cluster: tuple[str, ...]
) -> None:
    watch = start_watch("--json", *of_cluster)
    watch.line()
    assert watch.process.stdout
    watch.process.stdout.close()
    assert watch.process.wait(PATIENCE) != 0
    assert watch.process.stderr
    assert "Traceback" not in watch.process.stderr.read().decode()


@pytest.mark.skipif(sys.platform != "linux", reason="its pseudo-terminals")
def test_watch_gives_the_terminal_back(
    start_watch: Callable[..., Watch], start_server: StartServer
) -> None:
    """It is drawn again and again on a screen of its own."""
    health = free_port()
    start_server("--health", str(health), "--name", "single")
    mine, its = os.openpty()
    try:
        watch = start_watch("--health", f"127.0.0.1:{health}", out=its)
        seen = b""

        def sees(pattern: bytes) -> bool:
            nonlocal seen
            seen += os.read(mine, 65536)
            return re.search(pattern, seen, re.S) is not None

        eventually(lambda: sees(rb"\x1b\[\?1049h.*single.*ready.*single.*ready"), "two drawings")
        assert watch.interrupt() == (0, "")
        eventually(lambda: sees(rb"\x1b\[\?1049l"), "the other screen")
    finally:
        os.close(mine)
        os.close(its)


# wood cluster


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_wood_cluster_says_how_to_look_at_it(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, "--nodes", "2", "--no-haproxy", "--prefix", "other")
    try:
        launcher.ready()
        eventually(lambda: "how it is: wood status --watch" in launcher.said(), "a hint")
        (line,) = re.findall(r"^how it is: (.*)$", launcher.said(), re.M)
        command = line.replace("wood", f"{sys.executable} -m wood", 1).replace(
            " --watch", " --json"
        )
        found: list[Any] = []

        def two() -> bool:
            done = subprocess.run(
                ["sh", "-c", command],
                capture_output=True,
                cwd=ROOT,
                env=clean_environment(),
                check=False,
            )
            found[:] = [json.loads(done.stdout)]
            return states(found[0]) == {"node1": "ready", "node2": "ready"}

        eventually(two, "two nodes")
        assert found[0]["well"]
        assert launcher.stop() == 0, launcher.said()
    finally:
        launcher.close()
