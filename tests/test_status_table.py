"""The tables of `wood status`: what is not well comes first, and nothing in them is markup."""

import io

import pytest
from rich.console import Console

from tests.reports import NOW, node_report
from wood.monitor.gather import Head, Heard
from wood.monitor.summarize import Away, Book, Known, summarize
from wood.monitor.summary import InstrumentStatus, ReaderStatus, RedisStatus, Summary
from wood.monitor.table import render

REDIS = RedisStatus(["main"], "7.2.4", "master", 1, 3 << 20, 0, True, 5 << 30, [], 0.0012)


def cluster(*nodes: Heard, redis: RedisStatus = REDIS) -> Summary:
    there = Known(
        now=NOW,
        nodes=list(nodes) or [Heard("node1", node_report(), NOW)],
        books={"main": Book(Head(1, 1234567, NOW - 7_200_000_000), 70)},
        instruments=[InstrumentStatus("WOOD", "main", "halted")],
        readers=[ReaderStatus("graylog", "main", 1500, 3.0)],
        redis=[redis],
    )
    return summarize(NOW, there, {})


def text(summary: Summary, width: int = 140) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(render(summary))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def row(lines: list[str], name: str) -> list[str]:
    (found,) = (line for line in lines if line.startswith(f"{name} "))
    return found.split()


def test_a_well_one() -> None:
    lines = text(cluster())
    assert lines[0] == "well  10.0 commands/s, 12.0 events/s, 2.0 trades/s, 0.4 refusals/s"
    assert row(lines, "node1") == [
        "node1",
        "ready",
        "3",
        "1",
        "10.0",
        "5.0",
        "-",
        "2.0",
        "0.0",
        "0",
        "60",
        "s",
    ]
    assert row(lines, "WOOD") == ["WOOD", "halted"]
    assert row(lines, "graylog") == ["graylog", "main", "1,500", "3", "s"]
    mains = [line.split() for line in lines if line.startswith("main ")]
    assert mains == [
        ["main", "1", "1,234,567", "2", "h", "0", "70"],
        ["main", "master", "1", "7.2.4", "3", "MiB", "5", "GiB", "1.2", "ms"],
    ]


def test_what_is_not_well_stands_on_top() -> None:
    lines = text(cluster(Heard("node1", None, NOW - 9_000_000, lost=True)))
    assert lines[0].startswith("NOT WELL")
    assert lines[1:4] == [
        "! no-node: no node takes new connections",
        "! node-lost node1: silent for a lease: declared dead",
        "",
    ]
    assert row(lines, "node1") == ["node1", "lost", *"-" * 9]


def test_what_there_is_nothing_of_has_no_table() -> None:
    assert text(summarize(NOW, Away("it is away"), {})) == [
        "NOT WELL  0.0 commands/s, 0.0 events/s, 0.0 trades/s, 0.0 refusals/s",
        "! redis-unreachable: it is away",
    ]


@pytest.mark.parametrize("name", ["[red]node[/red]", "[/]", "\x1b[2Jnode", "a\nb"])
def test_a_strange_name_is_no_command_to_the_terminal(name: str) -> None:
    """It is whatever the one chose who started that node, or wrote into Redis."""
    for lines in (
        text(cluster(Heard(name, node_report(name=name), NOW))),
        text(cluster(Heard(name, None, NOW, lost=True))),
        text(summarize(NOW, Away(name), {})),
    ):
        shown = name.encode("unicode_escape").decode() if not name.isprintable() else name
        assert any(shown in line for line in lines)
        assert "\x1b" not in "".join(lines)


def test_the_file_of_redis() -> None:
    def said(**changed: object) -> str:
        fields = {name: getattr(REDIS, name) for name in REDIS.__struct_fields__}
        return text(cluster(redis=RedisStatus(**fields | changed)))[-1]

    assert said(append_only=False).split()[-3] == "off"
    assert "5 GiB, failing" in said(failing=["append-only file"])
    assert "3 MiB of 10 MiB" in said(max_memory=10 << 20)
    assert "slave" in said(role="slave")


def test_in_a_narrow_terminal_no_number_is_cut_off() -> None:
    lines = text(cluster(Heard("exchange-7.example.org:17001", node_report(), NOW)), 80)
    assert not any("…" in line for line in lines)
    assert max(map(len, lines)) <= 80
