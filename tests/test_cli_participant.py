"""`wood participant`, as an operator or a script meets it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
import redis

from tests.sessions import log_in
from tests.support import (
    PATIENCE,
    ROOT,
    Server,
    clean_environment,
    create,
    eventually,
    run_wood,
    run_wood_here,
)
from wood.cli.participant import _table
from wood.exchange.cluster.keys import Keys
from wood.exchange.participants import ParticipantFile
from wood.model.participants import Participant, digest

Ended = subprocess.CompletedProcess[str]
Run = Callable[..., Ended]


@pytest.fixture(params=["file", "cluster"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """`wood participant` with either store, which the environment names."""
    if request.param == "file":
        where = {"WOOD_PARTICIPANTS": str(tmp_path / "participants.json")}
    else:
        url, prefix = (request.getfixturevalue(name) for name in ("redis_url", "prefix"))
        where = {"WOOD_REDIS": url, "WOOD_PREFIX": prefix}

    def run(*words: str, **environment: str) -> Ended:
        return run_wood_here("participant", *words, **where, **environment)

    return run


def listed(run: Run) -> dict[str, dict[str, object]]:
    done = run("list", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return {who["name"]: who for who in json.loads(done.stdout)}


def mistake(done: Ended, code: int = 1) -> str:
    """What it says in one line."""
    assert (done.returncode, done.stdout) == (code, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("wood: ")
    return line


def test_a_day_of_an_operator(run: Run) -> None:
    added = run("add", "bob")
    assert added.returncode == 0
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\n", added.stdout)
    token = added.stdout.strip()
    [sentence] = added.stderr.splitlines()
    assert "bob" in sentence
    assert token not in sentence
    assert run("add", "alice", "--operator").returncode == 0

    today = datetime.now(UTC).timestamp()
    found = listed(run)
    assert list(found) == ["alice", "bob"]
    bob = found["bob"]
    assert isinstance(bob["added"], int)
    assert today - 120 < bob["added"] < today + 120
    flags = {"operator": False, "disabled": False, "limits": {}}
    assert bob == {"name": "bob", "added": bob["added"]} | flags
    assert found["alice"]["operator"] is True

    done = run("disable", "bob")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "bob is disabled\n")
    assert listed(run)["bob"] == bob | {"disabled": True}
    rotated = run("rotate", "bob")
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\n", rotated.stdout)
    assert rotated.stdout != added.stdout
    assert rotated.stdout.strip() not in rotated.stderr
    assert listed(run)["bob"] == bob | {"disabled": True}
    table = run("list").stdout.splitlines()
    assert [line.split() for line in table] == [
        ["name", "added", "operator", "disabled", "limits"],
        ["alice", date(bob["added"]), "yes", "no", "default"],
        ["bob", date(bob["added"]), "no", "yes", "default"],
    ]
    done = run("enable", "bob")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "bob is enabled\n")
    assert listed(run)["bob"] == bob


def date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def test_limits_of_ones_own(run: Run) -> None:
    assert run("add", "bob").returncode == run("add", "alice").returncode == 0
    head = ["instrument", "limit", "value"]
    assert run("limit", "bob").stdout.split() == head
    done = run("limit", "bob", "--max-rate", "1000", "--max-order-value", "none")
    said = "bob has other limits from now on\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, "", said)
    words = ("--max-position", "0.5", "--max-order-quantity", "2e3", "--max-open-orders", "7")
    assert run("limit", "bob", "--symbol", "GOLD", *words).returncode == 0
    everywhere = [["*", "max-rate", "1000"], ["*", "max-order-value", "none"]]
    gold = [["GOLD", "max-open-orders", "7"], ["GOLD", "max-order-quantity", "2000"]]
    gold.append(["GOLD", "max-position", "0.5"])
    assert table(run("limit", "bob")) == [head, *everywhere, *gold]
    assert table(run("limit", "bob", "--symbol", "GOLD")) == [head, *gold]
    assert listed(run)["bob"]["limits"] == {
        "*": {"rate": 1000, "order_value": "none"},
        "GOLD": {"open_orders": 7, "order_quantity": 2000, "position": 0.5},
    }
    assert [row[-1] for row in table(run("list"))] == ["limits", "default", "own"]
    assert run("limit", "bob", "--max-rate", "default", "--max-order-value", "5").returncode == 0
    assert table(run("limit", "bob")) == [head, ["*", "max-order-value", "5"], *gold]
    assert table(run("limit", "alice")) == [head]


def table(done: Ended) -> list[list[str]]:
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--max-rate", "-1"], "for no limit write none"),
        (["--max-rate", "2.5"], "a limit of 2.5 for rate is no whole number"),
        (["--max-rate", "0"], "a limit of 0 for rate cannot be"),
        (["--max-order-value", "1_000"], "must be a decimal number, or the word none, not '1_000'"),
        (["--max-order-value", "inf"], "must be a decimal number"),
        (["--max-order-value", "nan"], "must be a decimal number"),
        (["--max-order-value", "1e31"], "a limit of 1e+31 for order value cannot be"),
        (["--max-order-value", "1e999"], "a limit is too large"),
        (["--max-position", "\u0665"], "must be a decimal number"),
        (["--max-position", ""], "must be a decimal number"),
        (["--max-position", "5", "--symbol", "a b"], "a symbol is 1 to 32"),
        (["--max-rate", "5", "--symbol", "GOLD"], "rate holds in all instruments"),
    ],
)
def test_limits_that_cannot_be(run: Run, words: list[str], said: str) -> None:
    assert run("add", "bob").returncode == 0
    done = run("limit", "bob", *words)
    assert said in mistake(done, code=done.returncode)
    assert done.returncode in (1, 2)
    assert listed(run)["bob"]["limits"] == {}


def test_limits_of_nobody(run: Run) -> None:
    for words in ((), ("--max-rate", "5")):
        assert "there is no participant carl" in mistake(run("limit", "carl", *words))


def test_mistakes_are_one_line(run: Run) -> None:
    assert run("add", "alice").returncode == 0
    before = listed(run)
    assert "wood participant rotate alice" in mistake(run("add", "alice"))
    for command in ("disable", "enable", "rotate"):
        assert "there is no participant carl" in mistake(run(command, "carl"))
    for command in ("add", "disable", "enable", "rotate"):
        assert "'a~b' is no name of a participant" in mistake(run(command, "a~b"))
        assert "Missing argument 'NAME'" in mistake(run(command), code=2)
    assert listed(run) == before


def test_nobody_is_there(run: Run) -> None:
    assert run("list").stdout == "name  added  operator  disabled  limits\n"
    assert run("list", "--json").stdout == "[]\n"


def test_the_token_fits_what_is_kept_and_is_nowhere_else(tmp_path: Path) -> None:
    file = tmp_path / "participants.json"
    script = 'TOKEN=$("$0" -m wood participant add alice --participants "$1") && echo "<$TOKEN>"'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable, str(file)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=ROOT,
        env=clean_environment(),
        check=True,
    )
    token = done.stdout.strip()[1:-1]
    assert ParticipantFile(file).load()["alice"].digest == digest(token)
    assert token not in done.stderr + file.read_text()


def test_columns_are_aligned() -> None:
    table = _table({"b" * 32: Participant("", 86400, False, True), "a": Participant("", 0, True)})
    assert table.splitlines() == [
        "name" + " " * 30 + "added       operator  disabled  limits",
        "a" + " " * 33 + "1970-01-01  yes       no        default",
        "b" * 32 + "  1970-01-02  no        yes       default",
    ]


@pytest.mark.parametrize("mode", ["file", "cluster"])
def test_a_running_server_goes_by_them(
    request: pytest.FixtureRequest,
    start_server: Callable[..., Server],
    tmp_path: Path,
    mode: str,
) -> None:
    """Of the listing, of the option, and then those of a participant's own, as they change."""
    if mode == "file":
        where = ["--participants", str(tmp_path / "participants.json")]
        options = where
    else:
        url, prefix = (request.getfixturevalue(name) for name in ("redis_url", "prefix"))
        where = ["--redis", url, "--prefix", prefix]
        options = ["-m", *where]
    toml = tmp_path / "instruments.toml"
    toml.write_text(
        "[[instrument]]\nsymbol='GOLD'\nmax_order_quantity=20\n[[instrument]]\nsymbol='TIN'"
    )
    token = run_wood_here("participant", "add", "alice", *where).stdout.strip()
    server = start_server(*options, "--instruments", str(toml), "--max-order-quantity", "10")
    ids = count(1)
    with server.trader() as alice:
        log_in(alice, token=token)

        def takes(symbol: str, quantity: int) -> bool:
            answer = alice.ask(create(next(ids), "BUY", 1, quantity) | {"symbol": symbol})
            refused = answer["message"] == "error"
            assert not refused or (answer["code"], answer["limit"]) == ("limit", "orderQuantity")
            return not refused

        def limit(*words: str) -> None:
            done = run_wood_here("participant", "limit", "alice", *words, *where)
            assert done.returncode == 0, done.stderr

        assert [takes("GOLD", 20), takes("GOLD", 21)] == [True, False], "the instrument's"
        assert [takes("TIN", 10), takes("TIN", 11)] == [True, False], "the option's"
        limit("--max-order-quantity", "15")
        eventually(lambda: takes("TIN", 15), "her own")
        assert [takes("TIN", 16), takes("GOLD", 15), takes("GOLD", 16)] == [False, True, False]
        limit("--max-order-quantity", "none", "--symbol", "GOLD")
        eventually(lambda: takes("GOLD", 10**9), "her own in one instrument")
        assert not takes("TIN", 16)
        limit("--max-order-quantity", "default")
        limit("--max-order-quantity", "default", "--symbol", "GOLD")
        eventually(lambda: not takes("GOLD", 21) and not takes("TIN", 11), "none of her own")
        assert [takes("GOLD", 20), takes("TIN", 10)] == [True, True]


class TestWhere:
    """The command line says more than the environment, and one that says both is a mistake."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> str:
        return str(tmp_path / "participants.json")

    def in_file(self, file: str) -> list[str]:
        return sorted(ParticipantFile(Path(file)).load())

    def in_redis(self, redis_url: str, prefix: str) -> list[str]:
        with redis.Redis.from_url(redis_url) as client:
            found = client.hkeys(Keys(prefix).participants)
        return sorted(name.decode() for name in found)

    @pytest.mark.parametrize("option", ["--redis", "--prefix"])
    def test_both_on_the_command_line(self, file: str, option: str) -> None:
        done = run_wood_here("participant", "add", "a", "--participants", file, option, "x")
        assert "choose one" in mistake(done, code=2)
        assert not Path(file).exists()

    @pytest.mark.parametrize("name", ["WOOD_REDIS", "WOOD_PREFIX"])
    def test_both_in_the_environment(self, file: str, name: str) -> None:
        done = run_wood_here("participant", "add", "a", WOOD_PARTICIPANTS=file, **{name: "x"})
        said = mistake(done, code=2)
        assert "choose one" in said
        assert "the environment has both" in said
        assert not Path(file).exists()

    def test_the_command_line_wins(self, file: str, redis_url: str, prefix: str) -> None:
        environment = {"WOOD_REDIS": redis_url, "WOOD_PREFIX": prefix, "WOOD_PARTICIPANTS": file}
        add = ("participant", "add")
        assert run_wood_here(*add, "a", "--participants", file, **environment).returncode == 0
        assert (self.in_file(file), self.in_redis(redis_url, prefix)) == (["a"], [])
        assert run_wood_here(*add, "b", "--redis", redis_url, **environment).returncode == 0
        assert (self.in_file(file), self.in_redis(redis_url, prefix)) == (["a"], ["b"])
        assert run_wood_here(*add, "c", "--prefix", prefix, **environment).returncode == 0
        assert (self.in_file(file), self.in_redis(redis_url, prefix)) == (["a"], ["b", "c"])

    def test_a_broken_file_is_one_line(self, file: str) -> None:
        Path(file).write_text('{"a~b":1}')
        done = run_wood("participant", "list", "--participants", file)
        assert mistake(done).startswith(f"wood: {file}: 'a~b' is no name of a participant")

    def test_there_is_no_redis(self) -> None:
        done = run_wood("participant", "list", "--redis", "redis://:secret@127.0.0.1:1/0")
        said = mistake(done)
        assert said.startswith("wood: cannot reach Redis at redis://127.0.0.1:1/0")
        assert "secret" not in said
