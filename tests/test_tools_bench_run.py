"""`wood bench` against servers: the real one, the ceiling, and some that do not behave."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import (
    PATIENCE,
    ROOT,
    Server,
    clean_environment,
    eventually,
    run_wood,
    run_wood_here,
)
from wood.model.errors import WoodError
from wood.tools.bench.ceiling import acknowledge
from wood.tools.bench.flow import Flow
from wood.tools.bench.process import free_ports
from wood.tools.bench.run import draw, run
from wood.tools.bench.settings import Settings


def small(port: int, ceiling: bool = False) -> Settings:
    return Settings(port=port, ceiling=ceiling, connections=2, in_flight=8, orders=1000, pairs=2)


@contextmanager
def serving(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on the port given that does `behave` with each connection, then closes it."""

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                behave(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)


def bench(*arguments: object) -> Any:
    """The report of `wood bench --json`."""
    ended = run_wood("bench", "--json", *map(str, arguments))
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def accepts(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def ceiling() -> Iterator[int]:
    """The port of a server that only acknowledges."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "wood.tools.bench.ceiling", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, env=clean_environment()) as process:
        try:
            eventually(lambda: accepts(port), "a port that accepts")
            yield port
        finally:
            process.terminate()


def test_the_ceiling_answers_every_request() -> None:
    create = b'{"message":"createOrder","orderId":9,"side":"BUY","price":10,"quantity":1}\n'
    cancel = b'{"message":"cancelOrder","orderId":18446744073709551615}\n'
    assert acknowledge(create + cancel) == (
        b'{"message":"executionReport","orderId":9,"report":"NEW"}\n'
        b'{"message":"executionReport","orderId":18446744073709551615,"report":"CANCELED"}\n'
    )


def test_all_that_is_sent_is_answered(ceiling: int) -> None:
    report = run(small(ceiling))
    assert (report.rounds, report.ceiling, report.ratio) == (1, None, None)
    assert not report.target.errors
    assert report.target.messages_per_second.min > 0
    assert 0 < report.target.p50_ms.median <= report.target.p99_9_ms.median


def test_fewer_orders_than_connections(ceiling: int) -> None:
    assert run(Settings(port=ceiling, connections=8, orders=3)).rounds == 1


def test_the_ceiling_against_the_ceiling(ceiling: int) -> None:
    report = run(small(ceiling, ceiling=True))
    assert report.rounds == 2
    assert report.ceiling is not None
    assert report.ratio is not None
    assert report.ratio.min <= report.ratio.median <= report.ratio.max


def test_json(ceiling: int) -> None:
    report = bench("-p", ceiling, "-n", 500, "--ceiling", "--pairs", 1)
    assert set(report) == {
        "conditions",
        "settings",
        "redis",
        "interrupted",
        "rounds",
        "target",
        "ceiling",
        "ratio",
        "refusal",
    }
    assert (
        set(report["target"])
        == set(report["ceiling"])
        == {
            "messages_per_second",
            "p50_ms",
            "p99_ms",
            "p99_9_ms",
            "fills_per_order",
            "refused_share",
            "errors",
            "public_lines_per_second",
            "generator_cores",
        }
    )
    assert set(report["ratio"]) == set(report["target"]["p50_ms"]) == {"median", "min", "max"}
    assert set(report["conditions"]) == {"python", "uvloop", "platform", "cores", "load"}
    assert report["settings"]["orders"] == 500


def test_a_real_server_with_a_subscriber(server: Server) -> None:
    report = bench(
        "-p", server.private, "--public", server.public, "-n", 5000, "-c", 4, "-w", 16
    )  # fmt: skip
    assert report["settings"]["subscribers"] == 1
    assert 1.3 < report["target"]["fills_per_order"] < 1.7
    assert report["target"]["refused_share"] < 0.01
    assert report["target"]["public_lines_per_second"] > 0


def test_connections_that_log_in(server: Server) -> None:
    report = bench("-p", server.private, "--login", "-n", 1000, "-c", 3)
    assert set(report["target"]["errors"]) <= {"not_found"}, "no login is refused"
    assert server.text().count(" is bench-") == 3


def test_a_second_run_is_not_refused_for_what_the_first_left(server: Server) -> None:
    for _ in range(2):
        report = bench("-p", server.private, "-n", 2000, "-c", 2, "--cancel-share", 0)
        assert set(report["target"]["errors"]) <= {"not_found"}


def test_nothing_is_left_in_the_book(server: Server) -> None:
    bench("-p", server.private, "-n", 20_000)
    with server.watcher() as watcher:
        watcher.send({"message": "subscribe", "symbols": ["WOOD"]})
        assert [line["type"] for line in watcher.messages(2)] == ["subscribed", "snapshot"]


def test_a_server_that_takes_no_order_is_an_error(server: Server) -> None:
    ended = run_wood("bench", "-p", str(server.public), "-n", "100", "-c", "2")
    assert "100.00% (invalid 100)" in ended.stdout
    assert ended.returncode == 1
    assert ended.stderr.startswith("wood: the server took no order; the first refusal was: message")
    assert ended.stderr.count("\n") == 1


def test_refusals_are_counted_by_code(start_server: Callable[..., Server]) -> None:
    limited = start_server("--max-open-orders", "5")
    report = bench("-p", limited.private, "-n", 2000, "-c", 2)
    assert report["target"]["errors"]["limit"] > 0
    table = run_wood("bench", "-p", str(limited.private), "-n", "2000", "-c", "2")
    assert "limit" in table.stdout


def test_a_server_of_its_own() -> None:
    report = bench("--serve", "--ceiling", "--pairs", 1, "-n", 5000)
    assert report["settings"]["subscribers"] == 1
    assert report["target"]["public_lines_per_second"] > 0
    assert report["ratio"]["median"] > 0


def test_nobody_listens() -> None:
    ended = run_wood("bench", "-p", str(free_ports(1)[0]))
    assert ended.returncode == 1
    assert ended.stderr.startswith("wood: no server at 127.0.0.1:")
    assert ended.stderr.count("\n") == 1


def test_a_server_that_stops_answering() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    with listening, pytest.raises(WoodError, match=r"stopped answering: .* 0\.5 s, with 10 of 10"):
        run(Settings(port=listening.getsockname()[1], orders=100, timeout=0.5))


def test_a_server_that_closes() -> None:
    with (
        serving(lambda connection: None) as port,
        pytest.raises(WoodError, match="closed the connection"),
    ):
        run(Settings(port=port, connections=1, orders=100))


def test_a_server_that_answers_what_was_not_asked() -> None:
    def babble(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(b'{"report":"NEW"}\n' * 100)
        connection.recv(100)

    with serving(babble) as port, pytest.raises(WoodError, match="more than it was asked"):
        run(Settings(port=port, connections=1, in_flight=1, orders=100))


def test_a_server_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WOOD_MAX_RATE", "-1")
    with pytest.raises(WoodError, match=r"wood did not start: .*--max-rate"):
        run(Settings(serve=True))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_in_one_line(number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        command = [sys.executable, "-m", "wood", "bench", "-p", port, "-c", "1", "-n", "10"]
        with subprocess.Popen(
            command, cwd=ROOT, env=clean_environment(), stderr=subprocess.PIPE, text=True
        ) as process:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1)
                process.send_signal(number)
                _, errors = process.communicate(timeout=PATIENCE)
    assert errors == "wood: interrupted before the first round was over\n"
    assert process.returncode == 1


async def _draw_and_cancel() -> None:
    drawing = asyncio.create_task(draw(Flow(1, 0.15, 10, 1), 10**9))
    await asyncio.sleep(0)
    drawing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drawing


def test_drawing_can_be_interrupted() -> None:
    asyncio.run(_draw_and_cancel())


def child_of(pid: int) -> int | None:
    """The server that a benchmark has started, once it runs."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if b"--private" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    return None


def is_over(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_its_own_server_ends_with_it(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "wood", "bench", "--serve", "-n", "1000000000"]
    with subprocess.Popen(
        command, cwd=ROOT, env=clean_environment(), stderr=subprocess.DEVNULL
    ) as process:
        eventually(lambda: child_of(process.pid) is not None, "a server of its own")
        server = child_of(process.pid)
        assert server is not None
        process.send_signal(number)
        assert process.wait(PATIENCE) == (1 if number is signal.SIGINT else -number)
        eventually(lambda: is_over(server), "the end of its server")


def test_interrupted_it_reports_the_rounds_that_are_over() -> None:
    warm_up, orders = 10, 100
    second_round = threading.Event()

    def behave(connection: socket.socket) -> None:
        for _ in range(warm_up + orders):
            connection.sendall(acknowledge(connection.recv(1000)))
        connection.recv(1000)
        second_round.set()
        connection.recv(1000)

    with serving(behave) as port:
        arguments = ["-p", str(port), "-n", str(orders), "-c", "1", "-w", "1", "--ceiling"]
        command = [sys.executable, "-m", "wood", "bench", "--json", *arguments]
        with subprocess.Popen(
            command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, text=True
        ) as process:
            assert second_round.wait(PATIENCE)
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    report = json.loads(output)
    assert report["interrupted"] is True
    assert report["rounds"] == 1
    assert report["ratio"]["median"] > 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--resting", "5000"], "--resting needs --book"),
        (["--subscribers", "1"], "--subscribers needs --public or --serve"),
        (["--cancel-share", "1.5"], "--cancel-share"),
    ],
)
def test_options_that_make_no_sense(arguments: list[str], error: str) -> None:
    ended = run_wood_here("bench", *arguments)
    assert ended.returncode == 2
    assert error in ended.stderr
