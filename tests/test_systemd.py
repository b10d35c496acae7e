"""The units of deploy/systemd, checked by systemd itself; and what they run, run without it.

Where there is no systemd-analyze, its tests are skipped and say so.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock
from urllib.error import URLError
from urllib.request import urlopen

import click
import pytest

from tests.support import PATIENCE, ROOT, Server, clean_environment, eventually, free_port
from tests.units import FOLDER, PROGRAM, VARIABLES, Unit, said
from wood.cli.main import wood
from wood.node.settings import Settings

SERVER = Unit("wood.service")
NODES = [Unit("wood@.service", number) for number in ("1", "2", "3")]
GRAYLOG, ALERT = Unit("wood-graylog.service"), Unit("wood-alert.service")
UNITS = [SERVER, *NODES, GRAYLOG, ALERT]
EACH = pytest.mark.parametrize(
    "unit", UNITS, ids=lambda unit: unit.file.replace("@", f"@{unit.instance}")
)
TLS = "tls.conf"

SAFEST = 1.5
"""The exposure that `systemd-analyze security` finds, at most: it calls 2 and less OK."""

LAST_RECORDS = 5.0
"""Seconds that what Graylog is still to be told may take."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@pytest.fixture
def installed(tmp_path: Path) -> Callable[..., list[str]]:
    """Copies of the units, which run a program that is there; the names to verify."""

    def install(wrong: str = "", right: str = "") -> list[str]:
        for unit in UNITS:
            text = (FOLDER / unit.file).read_text().replace(PROGRAM, sys.executable)
            (tmp_path / unit.file).write_text(text.replace(right, wrong) if right else text)
            dropped = tmp_path / f"{unit.file}.d"
            dropped.mkdir(exist_ok=True)
            shutil.copy(FOLDER / TLS, dropped)
        names = [unit.file.replace("@", f"@{unit.instance}") for unit in UNITS]
        return [str(tmp_path / name) for name in names]

    return install


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=os.environ | {"SYSTEMD_COLORS": "0"},
    )


@needs_systemd
def test_systemd_finds_nothing_wrong(installed: Callable[..., list[str]]) -> None:
    verified = analyze("verify", *installed())
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


@needs_systemd
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("KillMode=mixed", "KillMode=mixt"),
        ("ProtectSystem=", "ProtectsSystem="),
        ("SystemCallFilter=@system-service", "SystemCallFilter=@sistem-service"),
        (sys.executable, "/nowhere/wood"),
    ],
)
def test_systemd_would_find_what_is_wrong(
    installed: Callable[..., list[str]], right: str, wrong: str
) -> None:
    assert analyze("verify", *installed(wrong, right)).stderr


@needs_systemd
@EACH
def test_a_unit_may_do_little(installed: Callable[..., list[str]], unit: Unit) -> None:
    found = analyze("security", "--offline=true", "--no-pager", installed()[UNITS.index(unit)])
    if "unrecognized option" in found.stderr:
        pytest.skip("this systemd-analyze looks at running units only")
    (exposure,) = re.findall(r"exposure level for .*: ([\d.]+)", found.stdout)
    assert float(exposure) <= SAFEST


@EACH
def test_what_a_unit_is_told_is_what_its_command_knows(unit: Unit) -> None:
    command, words = command_of(unit)
    known = {option for each in command.params for option in each.opts}
    assert {word for word in words if word.startswith("-")} <= known
    with mock.patch.dict(os.environ, clean_environment(**unit.variables()), clear=True):
        # Without its parent a command would not know the prefix of its variables.
        more = {} if command is wood else {"parent": whole()}
        told = command.make_context(command.name, words, **more).params
    left = told.get("drain", 0.0) + Settings.last_words + LAST_RECORDS
    assert left < float(unit.only("TimeoutStopSec"))


def test_each_variable_is_one_of_a_command_that_is_told_it() -> None:
    """Also those that are only there to be chosen."""
    for file in sorted((FOLDER / "etc").iterdir()):
        readers = [unit for unit in UNITS if file in unit.files()]
        assert readers, f"no unit reads {file}"
        known = {name for unit in readers for name in variables_of(command_of(unit)[0])}
        assert said(file, remarks=True).keys() <= known, file


def command_of(unit: Unit) -> tuple[click.Command, list[str]]:
    """The command that a unit runs, and the words that are left for it."""
    words = unit.words()
    if words[0].startswith("-"):
        return wood, words
    return wood.commands[words[0]], words[1:]


def whole() -> click.Context:
    """Of `wood` itself."""
    return wood.make_context("wood", [], resilient_parsing=True)


def variables_of(command: click.Command) -> list[str]:
    """Those that its help names."""
    root = whole()
    context = (
        root if command is wood else click.Context(command, parent=root, info_name=command.name)
    )
    return re.findall(r"env\s+var:\s+(WOOD_\w+)", command.get_help(context))


def test_nodes_listen_where_haproxy_looks_for_them() -> None:
    config = (ROOT / "deploy" / "haproxy.cfg").read_text()
    for unit in NODES:
        told, node = unit.variables(), unit.instance
        private, public, health = (told[f"WOOD_{key}"] for key in ("PRIVATE", "PUBLIC", "HEALTH"))
        server = f'server node{node} "${{WOOD_NODE{node}}}'
        assert f'{server}:{private}" check port {health}' in config
        assert f'{server}:{public}" track' in config


def test_who_the_units_run_as_is_somebody(tmp_path: Path) -> None:
    (line,) = [
        line
        for line in (FOLDER / "sysusers.conf").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert line.split()[:3] == ["u", "wood", "-"]
    assert {unit.only("User") for unit in UNITS} == {"wood"}
    if (program := shutil.which("systemd-sysusers")) and os.geteuid() == 0:
        (tmp_path / "etc").mkdir()
        made = subprocess.run(
            [program, f"--root={tmp_path}", "--inline", line], capture_output=True, check=False
        )
        assert made.returncode == 0, made.stderr
        assert re.search(r"^wood:", (tmp_path / "etc" / "passwd").read_text(), re.M)


@EACH
def test_a_wrong_option_is_not_tried_again(unit: Unit) -> None:
    """All else is: Redis may be back soon."""
    assert (unit.only("Restart"), unit.only("RestartPreventExitStatus")) == ("always", "2")
    done = subprocess.run(
        [sys.executable, "-m", "wood", *unit.words(), "--wrong"],
        capture_output=True,
        env=clean_environment(),
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 2


def test_only_where_there_is_tls_a_reload_is_offered() -> None:
    """Elsewhere SIGHUP ends a server."""
    assert not any(unit.all("ExecReload") for unit in UNITS)
    dropped = Unit(TLS)
    assert dropped.only("ExecReload") == "/bin/kill -HUP $MAINPID"
    name, _, file = dropped.only("Environment").partition("=")
    assert name in variables_of(wood)
    assert Path(file).parent.parent == VARIABLES


class Run:
    """What a unit would run: its command line, with its variables and some of our own."""

    def __init__(self, folder: Path, unit: Unit, **more: str) -> None:
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "wood", *unit.words()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT,
                env=clean_environment(**unit.variables() | more),
            )  # fmt: skip

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until it has come so far."""
        eventually(lambda: condition() or self.process.poll() is not None, what)
        assert self.process.poll() is None, self.log.read_text()

    def stop(self) -> int:
        """What systemd does; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """End it, if a test failed."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start(unit: Unit, **more: str) -> Run:
        runs.append(Run(tmp_path, unit, **more))
        return runs[-1]

    yield start
    for each in runs:
        each.close()


def ready(port: str) -> bool:
    """Whether a node says so on its health port."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=PATIENCE) as answer:
            return bool(answer.status == 200)
    except URLError:
        return False


def places() -> dict[str, str]:
    """Ports that nobody has, on the loopback."""
    ports = {f"WOOD_{name}": str(free_port()) for name in ("PRIVATE", "PUBLIC", "HEALTH")}
    return {"WOOD_HOST": "127.0.0.1", "WOOD_DRAIN": "0"} | ports


@pytest.mark.parametrize("unit", [SERVER, NODES[1]], ids=["server", "node"])
def test_a_server_runs_as_its_unit_says(
    run: Callable[..., Run], redis_url: str, prefix: str, unit: Unit
) -> None:
    where = places()
    running = run(unit, **where, WOOD_REDIS=redis_url, WOOD_PREFIX=prefix)
    running.until(lambda: ready(where["WOOD_HEALTH"]), "a server that is ready")
    assert running.stop() == 0
    assert "Traceback" not in running.log.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_it_ends_its_children_itself(run: Callable[..., Run]) -> None:
    """As KillMode=mixed leaves it to do: one of them sends the log to Graylog."""
    where = places()
    running = run(SERVER, **where, WOOD_GRAYLOG=f"udp://127.0.0.1:{free_port()}")
    running.until(lambda: ready(where["WOOD_HEALTH"]), "a server that is ready")
    threads = Path(f"/proc/{running.process.pid}/task").glob("*/children")
    found = [pid for thread in threads for pid in thread.read_text().split()]
    assert found
    assert running.stop() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in found)


@pytest.mark.parametrize(
    ("unit", "begun"),
    [(GRAYLOG, "the market of main"), (ALERT, "alerts are told to")],
    ids=["graylog", "alert"],
)
def test_a_reader_runs_as_its_unit_says(
    run: Callable[..., Run],
    redis_url: str,
    prefix: str,
    start_server: Callable[..., Server],
    unit: Unit,
    begun: str,
) -> None:
    start_server("-m", "--redis", redis_url, "--prefix", prefix)
    running = run(
        unit,
        WOOD_REDIS=redis_url,
        WOOD_PREFIX=prefix,
        WOOD_GRAYLOG=f"udp://127.0.0.1:{free_port()}",
    )
    running.until(lambda: begun in running.log.read_text(), "its first words")
    assert running.stop() == 0
    assert "Traceback" not in running.log.read_text()
