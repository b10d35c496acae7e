"""The command line, as a person or a script meets it."""

import re
import runpy
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from tests.support import ROOT, Server, run_wood, run_wood_here
from wood import __version__
from wood.cli.listing import listed, parse_option, read_file
from wood.cli.main import wood
from wood.model.errors import ConfigError


@pytest.fixture
def nobody() -> int:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"]])
def test_help(words: list[str]) -> None:
    done = run_wood_here(*words)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: wood [OPTIONS]")
    assert "WOOD_PRIVATE" in done.stdout


def test_version() -> None:
    assert run_wood("--version").stdout == f"wood {__version__}\n"


@pytest.mark.parametrize("command", ["watch", "replay", "bench"])
def test_help_of_commands(command: str) -> None:
    done = run_wood_here(command, "-h")
    assert done.returncode == 0
    assert f"WOOD_{command.upper()}_HOST" in done.stdout
    assert f"  wood {command} " in done.stdout, "a real example"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--no-such-flag"], "No such option"),
        (["-s", "--private", "x"], "Invalid value for '--private'"),
        (["-s", "--private", "70000"], "Invalid value for '--private'"),
        (["-s", "--instruments", "no-such-file.toml"], "does not exist"),
        (["-s", "-c"], "choose one of -s and -c"),
        (["no-such-command"], "No such command"),
        (["--host", "localhost", "watch"], "options of watch come after the word watch"),
        (["watch", "--no-such-flag"], "No such option"),
        (["-c", "-n", "0"], "Invalid value for '-n'"),
        (["replay", "no-such-file"], "does not exist"),
        (["-c", "--rate", "nan"], "Invalid value for '--rate': nan is not a finite number"),
        (["-c", "--rate", "inf"], "Invalid value for '--rate': inf is not a finite number"),
        (["replay", "README.md", "--speed", "nan"], "Invalid value for '--speed'"),
        (["replay", "README.md", "--speed", "inf"], "Invalid value for '--speed'"),
        (["bench", "--spread", "nan"], "Invalid value for '--spread'"),
        (["bench", "--spread", "inf"], "Invalid value for '--spread'"),
        (["bench", "--spread", "1e308"], "Invalid value for '--spread'"),
        (["bench", "--timeout", "nan"], "Invalid value for '--timeout'"),
        (["bench", "--cancel-share", "nan"], "Invalid value for '--cancel-share'"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], said: str) -> None:
    done = run_wood_here(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("wood: ")
    assert said in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-s", "--instrument", "A:0"], "instrument A: the step of the price must be greater"),
        (["-s", "--instrument", "A:1:1:1"], "write NAME:TICK:LOT"),
        (["-s", "--instrument", "A", "--instrument", "A"], "instrument A is listed twice"),
        (["-s", "--instrument", "a b"], "a symbol is 1 to 32"),
        (["-s", "--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(words: list[str], said: str) -> None:
    done = run_wood_here(*words)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("words", "code"), [(["--no-such-flag"], 2), (["-s", "--instrument", "A:0"], 1)]
)
def test_a_process_ends_as_it_does_here(words: list[str], code: int) -> None:
    """What most of these tests run in their own process is the same in one of its own."""
    done, here = run_wood(*words), run_wood_here(*words)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", here.stderr)
    assert (here.returncode, here.stdout) == (code, "")


@pytest.mark.parametrize(
    "words",
    [
        ["-c", "-n", "2", "-p"],
        ["watch", "-p"],
        ["replay", "examples/flow-messages.csv", "-p"],
        ["bench", "-n", "10", "-p"],
    ],
)
def test_an_unreachable_server_is_one_line(words: list[str], nobody: int) -> None:
    done = run_wood(*words, str(nobody))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"wood: no server at 127.0.0.1:{nobody}")
    assert "Traceback" not in done.stderr + done.stdout


def test_options_from_the_environment(nobody: int) -> None:
    done = run_wood(WOOD_CLIENT="1", WOOD_CLIENT_PORT=str(nobody))
    assert f"no server at 127.0.0.1:{nobody}" in done.stderr
    done = run_wood("watch", WOOD_WATCH_PUBLIC=str(nobody))
    assert f"no server at 127.0.0.1:{nobody}" in done.stderr
    assert "Invalid value for '--private'" in run_wood("-s", WOOD_PRIVATE="x").stderr


def commands(
    group: click.Group = wood, *before: str
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command, those of groups too, and the words that call it."""
    yield before, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)
        else:
            yield (*before, name), command


def test_every_option_is_an_environment_variable_too() -> None:
    for words, command in commands():
        options = [p for p in command.params if isinstance(p, click.Option)]
        options = [option for option in options if option.name != "version"]
        for option in options:
            assert option.show_envvar, f"{words} {option.name}"
        page = run_wood_here(*words, "-h").stdout
        assert len(re.findall(r"env\s+var:\s+WOOD_\w+", page)) == len(options)


def test_every_command_has_an_example() -> None:
    for words, _ in commands():
        assert "wood " + " ".join(words) in run_wood_here(*words, "-h").stdout.partition("\n")[2]


def test_instruments_from_options_and_a_file(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    file = tmp_path / "instruments.toml"
    file.write_text('[[instrument]]\nsymbol = "GOLD"\ntick = 0.05\nlot = 100\n')
    server = start_server("--instruments", str(file), "--instrument", "TIN:0.5")
    with server.trader() as peer:
        assert peer.ask({"message": "instruments"})["instruments"] == [
            {"symbol": "GOLD", "tick": 0.05, "lot": 100, "state": "open"},
            {"symbol": "TIN", "tick": 0.5, "lot": 1, "state": "open"},
        ]


class TestListing:
    def test_defaults(self) -> None:
        instruments = listed([], None)
        assert [(i.symbol, i.tick, i.lot) for i in instruments.values()] == [("WOOD", "0.01", "1")]
        instrument = parse_option("A:0.125")
        assert (instrument.symbol, instrument.tick, instrument.lot) == ("A", "0.125", "1")

    def test_a_tick_in_a_file_is_exact(self, tmp_path: Path) -> None:
        file = tmp_path / "a.toml"
        file.write_text('[[instrument]]\nsymbol="A"\ntick=0.1\n[[instrument]]\nsymbol="B"\nlot="5"')
        first, second = read_file(file)
        assert (first.tick, second.lot) == ("0.1", "5")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("instrument = 1", "list the instruments as tables"),
            ("", "list the instruments as tables"),
            ("[instrument]\nsymbol='A'", "list the instruments as tables"),
            ("[[instrument]]\ntick=1", "an instrument has symbol, tick, lot"),
            ("[[instrument]]\nsymbol='A'\nticks=1", "an instrument has symbol, tick, lot"),
            ("[[instrument]]\nsymbol='A'\ntick=true", "strings or numbers"),
            ("[[instrument]]\nsymbol='A'\ntick=inf", "must be a decimal number"),
            ("[[instrument", "not TOML"),
            ("\x00", "not TOML"),
        ],
    )
    def test_a_file_that_is_wrong(self, tmp_path: Path, text: str, said: str) -> None:
        file = tmp_path / "wrong.toml"
        file.write_text(text)
        with pytest.raises(ConfigError, match=said):
            read_file(file)


def test_the_page_of_the_command_line_is_the_help() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "make_cli_page.py"))
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert page == script["page"](), "run scripts/make_cli_page.py"
