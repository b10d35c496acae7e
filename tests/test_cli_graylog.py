"""`wood graylog` as an operator meets it: each mistake is one line that says how to mend it."""

import asyncio

import pytest

from tests.support import run_wood_here
from wood.cli.graylog import _forget
from wood.exchange.cluster.overview import Overview

GRAYLOG = ("--graylog", "udp://127.0.0.1:9")


def mistake(*arguments: str) -> str:
    """The only line that is said of it."""
    done = run_wood_here("graylog", *arguments)
    assert (done.returncode != 0, done.stdout) == (True, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("wood: ")
    return line.removeprefix("wood: ")


def test_nobody_said_where_graylog_is() -> None:
    assert mistake() == "say where Graylog is: --graylog tcp://HOST:12201 (see 'wood graylog -h')"


def test_graylog_is_at_no_address() -> None:
    line = mistake("--graylog", "http://127.0.0.1")
    assert line.startswith("the Graylog address 'http://127.0.0.1' begins with none of udp://")


def test_there_is_no_redis() -> None:
    line = mistake(*GRAYLOG, "--redis", "redis://127.0.0.1:1/0")
    assert line.startswith("cannot reach Redis at redis://127.0.0.1:1/0")


def test_there_is_no_exchange(redis_url: str, prefix: str) -> None:
    assert mistake(*GRAYLOG, "--redis", redis_url, "--prefix", prefix) == (
        f"there is no exchange under the prefix {prefix!r}: start a node first, or name the right "
        "--redis and --prefix"
    )


@pytest.mark.parametrize("name", ["", "a b", "x" * 65])
def test_a_reader_has_a_short_name(name: str) -> None:
    line = mistake(*GRAYLOG, "--reader", name)
    assert "1 to 64 of the characters A-Z a-z 0-9 _ . -" in line


def test_nobody_can_be_forgotten_who_is_not_known(redis_url: str, prefix: str) -> None:
    where = "--redis", redis_url, "--prefix", prefix
    assert mistake(*where, "--forget") == f"nobody reads as 'graylog' under the prefix {prefix!r}"


@pytest.mark.parametrize(("age", "said"), [(0.3, True), (3_600.0, False)])
def test_who_seems_to_run_is_said_to_be_back_soon(
    age: float,
    said: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    redis_url: str,
    prefix: str,
) -> None:
    async def forget(overview: Overview, name: str) -> float:
        return age

    monkeypatch.setattr(Overview, "forget_reader", forget)
    asyncio.run(_forget(redis_url, prefix, "graylog"))
    first, *more = capsys.readouterr().out.splitlines()
    assert first == "graylog is forgotten"
    assert bool(more) is said
    assert not more or "0.3 s ago how far it is: if it still runs, it is back" in more[0]
