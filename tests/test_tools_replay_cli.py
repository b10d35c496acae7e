"""`wood replay` as a person runs it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOW = "examples/flow-messages.csv"
FLOW_BOOK = "examples/flow-orderbook.csv"
AAPL = "../shared/data/aapl-2012-06-21-messages.csv"
AAPL_BOOK = "../shared/data/aapl-2012-06-21-orderbook.csv"


class Server(Protocol):
    """As much as is needed here of what the fixture `server` gives."""

    host: str
    private: int


def start(*arguments: object, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "wood", "replay", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of the process once it has ended."""
    with process:
        output, errors = process.communicate()
    return process.returncode, output, errors


def replay(*arguments: object, **environment: str) -> tuple[int, str, str]:
    return end(start(*arguments, **environment))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that takes a connection and nothing else."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def port_of(listening: socket.socket) -> int:
    port: int = listening.getsockname()[1]
    return port


@pytest.mark.parametrize("book", [[], ["--book", FLOW_BOOK]])
def test_the_flow_in_the_examples_hits_every_order_named(server: Server, book: list[str]) -> None:
    code, output, errors = replay(FLOW, *book, "--host", server.host, "-p", server.private)
    executions = sum(line.split(",")[1] == "4" for line in (ROOT / FLOW).read_text().splitlines())
    assert f"executions {executions}, of which {executions} hit the order named\n" in output
    assert "messages refused 0\n" in output
    assert (code, errors) == (0, "")


@pytest.mark.skipif(
    not ((ROOT / AAPL).exists() and (ROOT / AAPL_BOOK).exists()),
    reason="../shared/data/aapl-2012-06-21-*.csv absent",
)
def test_the_recorded_morning_of_aapl_hits_94_orders_named(server: Server) -> None:
    code, output, errors = replay(
        AAPL, "--book", AAPL_BOOK, "--host", server.host, "--port", server.private
    )
    assert "executions 98, of which 94 hit the order named\n" in output
    assert "messages refused 0\n" in output
    assert (code, errors) == (0, "")


def test_interrupted_it_says_what_it_did_so_far(listener: socket.socket) -> None:
    process = start(FLOW, "-p", port_of(listener))
    connection, _ = listener.accept()
    with connection:
        assert connection.recv(1)
        process.send_signal(signal.SIGINT)
        code, output, errors = end(process)
    assert "messages sent in" in output
    assert (code, errors) == (130, "")


def test_a_server_that_goes_away_is_one_line(listener: socket.socket) -> None:
    process = start(FLOW, "-p", port_of(listener))
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
    assert "Usage: wood replay" in errors
    assert "Traceback" not in errors


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
