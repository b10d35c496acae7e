"""`wood replay` as a person runs it."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import PATIENCE, ROOT, Server, clean_environment, run_wood
from wood.tools.replay.lobster import BookRow, read_book

FLOW = "examples/flow-messages.csv"
FLOW_BOOK = "examples/flow-orderbook.csv"
AAPL = "../shared/data/aapl-2012-06-21-messages.csv"
AAPL_BOOK = "../shared/data/aapl-2012-06-21-orderbook.csv"


def replay(*arguments: object, **environment: str) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of a replay."""
    ended = run_wood("replay", *map(str, arguments), **environment)
    return ended.returncode, ended.stdout, ended.stderr


def begin(*arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "wood", "replay", *map(str, arguments)],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    with process:
        output, errors = process.communicate(timeout=2 * PATIENCE)
    return process.returncode, output, errors


def public_book(server: Server, row: BookRow) -> BookRow:
    """As many levels as `row` has, from the public port, in the unit of a recording."""
    with server.watcher() as watcher:
        lines = watcher.messages(len(row.asks) + len(row.bids))
    levels = [(line["side"], round(line["price"] * 10_000), line["quantity"]) for line in lines]
    return BookRow(
        *([(price, size) for side, price, size in levels if side == s] for s in ("ask", "bid"))
    )


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that takes a connection and nothing else."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(2 * PATIENCE)
        yield listening


def port_of(listening: socket.socket) -> int:
    port: int = listening.getsockname()[1]
    return port


@pytest.mark.parametrize("book", [[], ["--book", FLOW_BOOK]])
def test_the_flow_in_the_examples_is_reproduced(server: Server, book: list[str]) -> None:
    code, output, errors = replay(FLOW, *book, "--host", server.host, "-p", server.private)
    executions = sum(line.split(",")[1] == "4" for line in (ROOT / FLOW).read_text().splitlines())
    assert f"executions {executions}, of which {executions} hit the order named\n" in output
    assert "messages refused 0\n" in output
    assert (code, errors) == (0, "")
    *_, last = read_book(ROOT / FLOW_BOOK)
    assert public_book(server, last) == last


def test_it_trades_in_the_instrument_asked_for(start_server: Callable[..., Server]) -> None:
    server = start_server("--instrument", "CASH:1:1", "--instrument", "FLOW:0.01:1")
    code, output, errors = replay(FLOW, "--symbol", "FLOW", "--port", server.private)
    assert "messages refused 0\n" in output
    assert (code, errors) == (0, "")


def test_it_keeps_the_pace_asked_for(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    path.write_text("34200.0,1,5,10,5853300,1\n34204,3,5,10,5853300,1\n")
    _, output, _ = replay(path, "--port", server.private, "--speed", 10)
    match = re.match(r"2 messages sent in ([0-9.]+) s", output)
    assert match
    assert 0.4 <= float(match[1]) < 4


def test_refusals_are_reported_by_code(server: Server) -> None:
    code, output, errors = replay(FLOW, "--symbol", "NONE", "--port", server.private)
    assert "orders accepted 0, messages refused 476 (476 unknown_symbol)\n" in output
    assert code == 1
    reason = "the first refusal was: no instrument has this symbol"
    assert errors == f"wood: the server took no order; {reason}\n"


def test_the_public_port_by_mistake(server: Server) -> None:
    code, output, errors = replay(FLOW, "--port", server.public)
    assert "orders accepted 0, messages refused 476 (476 invalid)\n" in output
    assert code == 1
    assert errors.startswith("wood: the server took no order; the first refusal was: message")
    assert errors.count("\n") == 1


@pytest.mark.skipif(
    not ((ROOT / AAPL).exists() and (ROOT / AAPL_BOOK).exists()),
    reason="../shared/data/aapl-2012-06-21-*.csv absent",
)
def test_the_recorded_morning_of_aapl_hits_94_orders_named(server: Server) -> None:
    code, output, errors = replay(
        AAPL, "--book", AAPL_BOOK, "--host", server.host, "--port", server.private
    )
    assert re.search(r"seeded order +19\n", output)
    assert "executions 98, of which 94 hit the order named\n" in output
    assert "messages refused 0\n" in output
    assert (code, errors) == (0, "")


def test_interrupted_it_says_what_it_did_so_far(listener: socket.socket) -> None:
    process = begin(FLOW, "-p", port_of(listener))
    connection, _ = listener.accept()
    with connection:
        assert connection.recv(1)
        process.send_signal(signal.SIGINT)
        code, output, errors = end(process)
    assert "messages sent in" in output
    assert (code, errors) == (130, "")


def test_a_server_that_goes_away_is_one_line(listener: socket.socket) -> None:
    process = begin(FLOW, "-p", port_of(listener))
    connection, _ = listener.accept()
    with connection:
        assert connection.recv(1)
    code, output, errors = end(process)
    line = f"wood: the server at 127.0.0.1:{port_of(listener)} closed the connection\n"
    assert (code, output, errors) == (1, "", line)


def test_a_malformed_file_is_one_line_before_anything_is_sent(
    tmp_path: Path, listener: socket.socket
) -> None:
    path = tmp_path / "day.csv"
    path.write_text("34200,1,5,10,5853300,1\n" * 3 + "34200,9,5,10,5853300,1\n")
    code, output, errors = replay(path, "-p", port_of(listener))
    assert (code, output) == (1, "")
    assert errors.startswith(f"wood: {path}:4: expected 'seconds,type")
    assert errors.count("\n") == 1
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize(
    "arguments", [["absent.csv"], [], [FLOW, "--speed", "0"], [FLOW, "--speed", "x"]]
)
def test_a_wrong_argument_is_explained(arguments: list[str]) -> None:
    code, output, errors = replay(*arguments)
    assert (code, output) == (2, "")
    assert errors.startswith("wood: ")
    assert errors.count("\n") == 1


def test_options_may_stand_in_the_environment() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening
        code, _, errors = replay(FLOW, WOOD_REPLAY_PORT=str(port_of(taken)))
        assert code == 1
        assert f"no server at 127.0.0.1:{port_of(taken)}" in errors


def test_the_help_shows_an_example_and_every_variable() -> None:
    code, output, _ = replay("--help")
    assert code == 0
    assert f"wood replay {FLOW} --book {FLOW_BOOK}" in output
    for option in ("BOOK", "SPEED", "SYMBOL", "HOST", "PORT"):
        assert f"WOOD_REPLAY_{option}" in output
