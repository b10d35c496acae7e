"""The command line, as a person or a script meets it."""

import asyncio
import re
import runpy
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click
import pytest

from tests.support import ROOT, Server, run_wood, run_wood_here
from wood import __version__
from wood.cli.listing import listed, parse_option, read_file
from wood.cli.main import wood
from wood.cli.roles import _exchange
from wood.cli.trading import texts_in
from wood.exchange.exchange import Exchange
from wood.model.errors import ConfigError
from wood.model.limits import NONE, Limits
from wood.model.orders import Beyond, SelfTrade
from wood.model.trading import NO_RULES, TradingRules
from wood.tools.cluster import Settings


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
            ("[[instrument]]\ntick=1", "an instrument has a symbol, and this one has tick"),
            ("[[instrument]]\nsymbol='A'\nticks=1", "instrument A: unknown: ticks"),
            ("collar='5%'\n[[instrument]]\nsymbol='A'", "collar stands outside of the tables"),
            ("[[instrument]]\nsymbol='A'\ntick=true", "tick is neither a string nor a number"),
            ("[[instrument]]\nsymbol='A'\nlot=[1]", "lot is neither a string nor a number"),
            ("[[instrument]]\nsymbol='A'\ntick=2024-01-01", "tick is neither a string nor a"),
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

    def test_what_the_file_does_not_say_is_as_the_options_say(self, tmp_path: Path) -> None:
        file = tmp_path / "a.toml"
        file.write_text(
            """
            [[instrument]]
            symbol = "GOLD"
            tick = 0.05
            lot = 10
            self_trade = "cancel-both"
            collar = "0.25%"
            beyond_collar = "halt"
            reference = 1800.05
            max_order_quantity = 1e3
            max_order_value = 500_000
            max_position = 0.5
            max_open_orders = 20

            [[instrument]]
            symbol = "TIN"
            collar = "none"
            max_position = "none"
            max_order_value = 7
            """
        )
        trading = {"self_trade": "cancel-oldest", "collar": "5%", "max_position": "99"}
        gold, tin, lead = listed(["LEAD:1"], file, trading).values()
        assert gold.rules == TradingRules(
            SelfTrade.CANCEL_BOTH,
            25,
            Beyond.HALT,
            36001,
            Limits(order_quantity=1000.0, order_value=5e5, position=0.5, open_orders=20.0),
        )
        limits = Limits(order_value=7.0, position=NONE)
        assert tin.rules == TradingRules(SelfTrade.CANCEL_OLDEST, limits=limits)
        assert lead.rules == TradingRules(
            SelfTrade.CANCEL_OLDEST, 500, limits=Limits(position=99.0)
        )
        assert [each.rules for each in listed([], None).values()] == [NO_RULES]
        [wood] = listed([], None, trading).values()
        assert wood.rules == lead.rules

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("self_trade = 'cancel'", "self_trade: write one of the words allow, cancel-newest, "),
            ("collar = 5", "collar: write a share of the price from 0.01% to 100%, such as 5%"),
            *(
                (f"collar = '{wrong}'", f"collar: write a share of the price.*'{wrong}'")
                for wrong in ("5", "0%", "0.00%", "100.01%", "-1%", "1.234%", "05%", "1 %", "1e1%")
            ),
            ("beyond_collar = 'refused'", "beyond_collar: write one of the words refuse, halt, "),
            ("reference = 10.005", "reference: price must be a multiple of 0.01"),
            ("reference = 0", "reference: price must be greater than 0"),
            ("reference = 'none'", "reference: price must be a decimal number"),
            ("reference = 1e30", "reference: price must be at most"),
            ("max_order_quantity = 0", "max_order_quantity: a limit of 0 for order quantity can"),
            ("max_order_quantity = inf", "max_order_quantity: a limit must be a decimal number"),
            ("max_order_value = -1", "max_order_value: a limit of -1 cannot be.*write none"),
            ("max_order_value = -1.0", "max_order_value: a limit of -1.0 cannot be"),
            ("max_position = 'None'", "max_position: a limit must be a decimal.*not 'None'"),
            ("max_position = 1_000.5", "max_position: a limit must be a decimal number"),
            ("max_open_orders = 0.5", "max_open_orders: a limit of 0.5 for open orders is no"),
            ("max_rate = 5", "unknown: max_rate"),
        ],
    )
    def test_rules_that_are_wrong(self, tmp_path: Path, line: str, said: str) -> None:
        file = tmp_path / "wrong.toml"
        file.write_text(f"[[instrument]]\nsymbol = 'GOLD'\n{line}\n")
        with pytest.raises(ConfigError, match=f"^{file}: instrument GOLD: {said}") as caught:
            read_file(file)
        assert "\n" not in str(caught.value)


def test_the_example_of_the_page(tmp_path: Path) -> None:
    """Whose first line is the command line that it goes with."""
    page = (ROOT / "docs" / "operations.md").read_text()
    [text] = re.findall(r"```toml\n(.*?)```", page, re.S)
    command, _, _ = text.partition("\n")
    file = tmp_path / "instruments.toml"
    file.write_text(text)
    words = command.removeprefix("# wood ").replace("instruments.toml", str(file)).split()
    settings = wood.make_context("wood", words).params
    gold, tin = listed([], settings["instruments"], texts_in(settings)).values()
    limits = Limits(order_quantity=5000.0, order_value=1e6, position=500.0, open_orders=50.0)
    assert gold.rules == TradingRules(SelfTrade.CANCEL_NEWEST, 250, Beyond.HALT, 36001, limits)
    assert tin.rules == TradingRules(limits=Limits(order_quantity=NONE))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--collar", "5"], "Invalid value for '--collar': write a share of the price"),
        (["--self-trade", "no"], "Invalid value for '--self-trade'"),
        (["--beyond-collar", "no"], "Invalid value for '--beyond-collar'"),
        (["--max-order-quantity", "x"], "Invalid value for '--max-order-quantity': a limit must"),
        (["--max-order-value", "0"], "Invalid value for '--max-order-value': a limit of 0"),
        (["--max-position", "1e31"], "Invalid value for '--max-position': a limit of 1e+31"),
    ],
)
@pytest.mark.parametrize("who", [["-s"], ["cluster"]])
def test_trading_options_that_are_wrong(who: list[str], words: list[str], said: str) -> None:
    done = run_wood_here(*who, *words)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert said in re.sub(r" \(env var: '\w+'\)", "", line)


def test_a_launcher_tells_its_nodes_how_instruments_are_traded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[Settings] = []

    async def run_cluster(settings: Settings) -> bool:
        told.append(settings)
        return True

    monkeypatch.setattr("wood.cli.cluster.run_cluster", run_cluster)
    words = ("--collar", "5%", "--max-position", "none", "--instrument", "GOLD:0.05")
    assert run_wood_here("cluster", *words, "--", "--collar", "3%").returncode == 0
    [settings] = told
    node = wood.make_context("wood", ["-s", "-m", *settings.options]).params
    assert (node["max_position"], node["instrument"]) == ("none", ("GOLD:0.05",))
    assert node["collar"] == "3%", "what is told the nodes themselves counts"
    assert "--self-trade" not in settings.options


def test_trading_options_reach_the_instruments() -> None:
    words = ["--collar", "5%", "--self-trade", "cancel-newest", "--beyond-collar", "halt"]
    words += ["--max-order-quantity", "10", "--max-order-value", "none", "--max-position", "0"]
    words += ["--max-participant-rate", "50"]
    settings = wood.make_context("wood", ["-s", *words]).params
    make = _exchange(settings)

    async def engine() -> Exchange:
        return await make()

    exchange = asyncio.run(engine())
    [instrument] = exchange.instruments.values()
    limits = Limits(order_quantity=10.0, order_value=NONE, position=0.0)
    rules = TradingRules(SelfTrade.CANCEL_NEWEST, 500, Beyond.HALT, None, limits)
    assert instrument.rules == rules
    assert isinstance(make, partial)
    assert make.keywords["max_rate"] == 50


def test_the_page_of_the_command_line_is_the_help() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "make_cli_page.py"))
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert page == script["page"](), "run scripts/make_cli_page.py"
