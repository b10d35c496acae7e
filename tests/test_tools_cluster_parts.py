"""The parts of `wood cluster`, each for itself."""

import asyncio
import re
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.cluster import Cluster as Nodes
from tests.cluster import Start
from tests.launcher import HAPROXY, Launcher
from tests.support import PATIENCE, ROOT, create
from wood.exchange.cluster.admin import Progress
from wood.model.errors import ConfigError
from wood.tools.cluster import Settings
from wood.tools.cluster import child as child_module
from wood.tools.cluster import nodes as nodes_module
from wood.tools.cluster.balancer import Balancer, configuration
from wood.tools.cluster.child import Child, keep
from wood.tools.cluster.errors import ClusterFailed
from wood.tools.cluster.folder import passing_folder
from wood.tools.cluster.nodes import Node
from wood.tools.cluster.ports import Inner, front, reachable
from wood.tools.cluster.run import Cluster
from wood.tools.cluster.screen import Screen
from wood.tools.cluster.status import Status
from wood.tools.cluster.store import locked


def python(text: str) -> list[str]:
    """The command that runs a program."""
    return [sys.executable, "-S", "-c", text]


class TestChild:
    def test_how_it_ended(self) -> None:
        async def end(text: str) -> str:
            child = Child("it", python(text))
            await child.start()
            return await child.ended()

        assert (
            asyncio.run(end("print('a'); print('b'); raise SystemExit(3)"))
            == "ended with code 3 (b)"
        )
        assert asyncio.run(end("pass")) == "ended with code 0 (it said nothing)"
        killed = "import os; os.kill(os.getpid(), 9)"
        assert asyncio.run(end(killed)) == "was ended by SIGKILL"

    def test_what_it_says_is_shown_without_control_characters(self) -> None:
        shown: list[str] = []

        async def play() -> None:
            child = Child("it", python("print('a\x1b[31mb\\n\\nc', end='')"), shows=shown.append)
            await child.start()
            await child.ended()

        asyncio.run(play())
        assert shown == ["a [31mb", "c"]

    def test_no_such_program(self) -> None:
        with pytest.raises(ClusterFailed, match="cannot run /no/such: No such file"):
            asyncio.run(Child("it", ["/no/such"]).start())

    def test_it_is_not_told_what_it_is_by_the_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("CLIENT", "PROXY_PROTOCOL", "REUSE_PORT", "HEALTH", "PRIVATE"):
            monkeypatch.setenv(f"WOOD_{name}", "1")
        monkeypatch.setenv("WOOD_MAX_RATE", "9")
        shown: list[str] = []

        async def play() -> None:
            text = "import os; print([k for k in os.environ if k.startswith('WOOD')])"
            child = Child("it", python(text), shows=shown.append, WOOD_REDIS="x")
            await child.start()
            await child.ended()

        asyncio.run(play())
        assert shown == ["['WOOD_MAX_RATE', 'WOOD_REDIS']"]

    @pytest.mark.parametrize(
        ("drain", "does", "how"),
        [
            (0.0, "signal.SIG_IGN", "was ended by SIGKILL"),
            (0.2, "signal.SIG_IGN", "was ended by SIGKILL"),
            # It takes longer than others have for their end, as it was told to.
            (PATIENCE, "lambda *_: time.sleep(0.4) or exit(0)", "ended with code 0 (1)"),
        ],
    )
    def test_one_that_does_not_end_is_ended(
        self, monkeypatch: pytest.MonkeyPatch, drain: float, does: str, how: str
    ) -> None:
        monkeypatch.setattr(child_module, "PATIENCE", 0.1)

        async def play() -> None:
            text = f"import signal, time; signal.signal(15, {does}); print(1); time.sleep(99)"
            ready = asyncio.Event()
            command = [sys.executable, "-u", "-c", text]
            child = Child("it", command, shows=lambda _: ready.set(), drain=drain)
            await child.start()
            await ready.wait()
            assert await child.stop() is ("SIGKILL" not in how)
            assert await child.ended() == how

        asyncio.run(play())

    def test_one_that_ends_again_and_again_is_started_ever_later(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said: list[str] = []
        pauses: list[float] = []

        async def no_sleep(seconds: float) -> None:
            pauses.append(seconds)

        async def play() -> None:
            child = Child("it", python("raise SystemExit(1)"))
            await child.start()
            monkeypatch.setattr(asyncio, "sleep", no_sleep)
            keeping = asyncio.create_task(keep(child, said.append))
            while len(said) < 8:
                await asyncio.wait([keeping], timeout=0.01)
            keeping.cancel()
            await asyncio.wait([keeping])
            await child.stop()
            await child.ended()

        asyncio.run(asyncio.wait_for(play(), PATIENCE))
        assert pauses[:8] == [0, 0.25, 0.5, 1, 2, 4, 5, 5]
        assert said[0] == "it ended with code 1 (it said nothing): started again"
        assert said[1] == "it ended with code 1 (it said nothing): started again in 0.25 s"


class TestPorts:
    def test_the_wanted_one_or_the_next_free_one(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            wanted = taken.getsockname()[1]
            inner = Inner()
            first, second = inner.take(wanted), inner.take(wanted)
        assert wanted < first < second

    def test_front(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with (
                pytest.raises(ConfigError, match=f"port {port} is in use: .* with --public PORT"),
                front("127.0.0.1", {"public": port}),
            ):
                pass
        with front("127.0.0.1", {"public": port}) as addresses:
            assert addresses == ["127.0.0.1"]

    @pytest.mark.skipif(sys.platform != "linux", reason="an abstract name")
    def test_two_at_once(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with (
            front("127.0.0.1", {"private": port}),
            pytest.raises(ConfigError, match="is in use"),
            front("127.0.0.1", {"private": port}),
        ):
            pass

    def test_reachable(self) -> None:
        assert [reachable(host) for host in ("0.0.0.0", "::", "", "10.0.0.7")] == [
            *("127.0.0.1", "::1", "127.0.0.1", "10.0.0.7")
        ]


@pytest.fixture
def two() -> list[Node]:
    """Nodes that have their ports, and do not run."""
    inner = Inner()
    nodes = [Node(number, (), "redis://h", inner, None, print) for number in (1, 2)]
    for node in nodes:
        node._place()
    return nodes


class TestNode:
    def test_ports_that_someone_else_took_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It says so and others are taken; no other end is tried again."""
        said = iter(["wood: port {} is in use: stop what", "wood: other"])

        def command(*_: str) -> list[str]:
            return python(f"print({next(said).format(node.private)!r}); raise SystemExit(1)")

        monkeypatch.setattr(nodes_module, "python", command)
        node = Node(1, (), "redis://h", Inner(), None, print)
        with pytest.raises(ClusterFailed, match=r"^node 1 did not start: other$"):
            asyncio.run(node.begin())
        assert next(said, None) is None

    def test_ours_come_after_what_the_person_says(self, two: list[Node]) -> None:
        node = Node(1, ("--private", "5"), "redis://h", Inner(), None, print)
        node._place()
        words = list(node.child.command)
        assert words.index("5") < len(words) - 1 - words[::-1].index("--private")


class TestBalancer:
    @pytest.mark.skipif(HAPROXY is None, reason="HAProxy is not installed")
    def test_haproxy_takes_the_configuration(self, two: list[Node], tmp_path: Path) -> None:
        """Without a warning; for addresses of both kinds."""

        async def check() -> str:
            file = tmp_path / "haproxy.cfg"
            file.write_text(configuration(tmp_path / "s", ["127.0.0.1", "::1"], (1, 2), two))
            child = Child("HAProxy", [HAPROXY or "", "-c", "-V", "-f", str(file)])
            await child.start()
            return await child.ended()

        assert asyncio.run(check()) == "ended with code 0 (Configuration file is valid)"

    def test_it_is_the_one_that_is_shipped(self, two: list[Node]) -> None:
        """But for where the nodes are, where it logs, and what keeps two off the same port."""
        shipped = directives((ROOT / "deploy" / "haproxy.cfg").read_text())
        ours = directives(configuration(Path("/x"), ["127.0.0.1"], (7001, 7002), two))
        own = {("global", "noreuseport"), ("global", "stats socket '/x'")}
        assert ours - shipped == own
        rest = {line for _, line in shipped - ours if not line.startswith("presetenv WOOD_NODE")}
        assert {line for line in rest if "log" not in line} == set()

    @pytest.mark.skipif(HAPROXY is None, reason="HAProxy is not installed")
    def test_a_port_that_is_taken(self, two: list[Node]) -> None:
        with passing_folder() as folder, socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            balancer = Balancer(HAPROXY or "", folder)
            with pytest.raises(ClusterFailed, match="HAProxy did not start: "):
                asyncio.run(balancer.begin(["127.0.0.1"], (port, port), two))


def directives(text: str) -> set[tuple[str, str]]:
    """Each line of a configuration with its section, servers without their numbers and ports."""
    found, section = set(), ""
    for line in text.splitlines():
        line = re.sub(r"\s+", " ", line.partition("#")[0].strip())
        if not line:
            continue
        if re.match(r"(global|defaults|frontend|backend)\b", line):
            section = line
        line = re.sub(r"node\d", "node", line)
        line = re.sub(r"^(server node) \S+ (check port|track)\b( \S+/node)?.*", r"\1 \2\3", line)
        found.add((section, re.sub(r"^(bind) .*", r"\1", line)))
    return found


@pytest.mark.parametrize("unwilling", ["", "traders", "node 1", "node 2", "HAProxy", "Redis"])
def test_the_order_in_which_all_stops(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    unwilling: str,
) -> None:
    """HAProxy is told to take no more clients before the nodes are, and ends after them.

    Whoever has to be killed does not keep the others from their orderly end, but is told of.
    """
    did: list[str] = []

    async def stop(child: Child, number: signal.Signals = signal.SIGTERM) -> bool:
        await asyncio.sleep(0)
        did.append(f"{child.name} {number.name}")
        return child.name != unwilling

    monkeypatch.setattr(Child, "stop", stop)
    monkeypatch.setattr(
        Child, "send", lambda child, number: did.append(f"{child.name} {number.name}")
    )
    settings = Settings(
        nodes=2, traders=1, host="127.0.0.1", private=1, public=2, redis=None, prefix="p",
        data=None, append="everysec", haproxy=True, options=(),
    )  # fmt: skip

    async def play() -> None:
        cluster = Cluster(settings, "haproxy", ["127.0.0.1"], tmp_path, None, Screen())
        assert await cluster.stop() is not bool(unwilling)

    asyncio.run(play())
    said = capsys.readouterr().err
    assert f"{unwilling} did not end, and was killed" in said if unwilling else "killed" not in said
    assert did == [
        *("traders SIGTERM", "HAProxy SIGUSR1", "node 1 SIGTERM", "node 2 SIGTERM"),
        *("HAProxy SIGTERM", "Redis SIGTERM"),
    ]


class TestFolder:
    def test_a_folder_that_two_want(self, tmp_path: Path) -> None:
        data = tmp_path / "a" / "b"
        with (
            locked(data),
            pytest.raises(ConfigError, match="another cluster uses it"),
            locked(data),
        ):
            pass
        with locked(data):
            assert data.stat().st_mode & 0o777 == 0o700

    def test_a_path_that_is_too_long_for_sockets(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deep = tmp_path / ("x" * 100)
        deep.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(deep))
        with pytest.raises(ClusterFailed, match="too long a path for sockets"), passing_folder():
            pass
        assert not list(deep.iterdir())


def test_the_status_is_that_of_all_partitions(
    redis_url: str, prefix: str, start_server: Start
) -> None:
    """Also of one that nodes bring which come later."""

    async def test() -> None:
        progress = Progress(redis_url, prefix)
        status = Status([], progress)

        async def line() -> str:
            return (await status.line()).removeprefix("nodes 0 of 0, connections , ")

        async def rest(count: int, *options: str) -> None:
            nodes = await asyncio.to_thread(
                Nodes, start_server, redis_url, prefix, *options, nodes=1
            )
            symbol = options[-1].partition("@")[0]
            with nodes.nodes[0].trader() as peer:
                for number in range(count):  # at prices of their own: each is two events
                    order = create(number, "BUY", 5 + number, 1) | {"symbol": symbol}
                    assert peer.ask(order)["report"] == "NEW"

        try:
            assert await line() == "no book yet"
            await rest(3, "--instrument", "WOOD")
            assert await line() == "events 6, open orders 3"
            await rest(2, "--instrument", "WOOD", "--instrument", "GOLD@metals")
            assert re.fullmatch(r"events/s \d+, events 10, open orders 5", await line())
        finally:
            await progress.close()

    asyncio.run(test())


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_in_a_terminal_the_status_is_one_line(tmp_path: Path) -> None:
    """Written over each second, no longer than the terminal is wide."""
    cluster = Launcher(tmp_path, "--nodes", "1", "--no-haproxy", terminal=30)
    try:
        seen = cluster.screen_until(rb"nodes 1 of 1.*nodes 1 of 1")
        last = seen[seen.index(b"nodes 1 of 1") :]
        assert b"\n" not in last
        assert all(len(line) < 30 for line in last.split(b"\r\x1b[K"))
        assert cluster.interrupt() == 0
        cluster.left_nothing()
    finally:
        cluster.close()
