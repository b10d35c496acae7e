"""`wood cancel`, against a server that says what the test wants it to."""

import asyncio
import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.support import PATIENCE, Server, run_wood, run_wood_here
from wood.cli.cancel import Duration
from wood.model.errors import WoodError
from wood.tools.connection import ConnectionFailed
from wood.tools.operator import Operator, cancel_anonymous, cancel_participant

LOGIN = {"message": "login", "participant": "root", "token": "secret"}
LOGGED_IN = {"message": "login", "participant": "root", "session": "1-1", "epoch": 1, "seq": 42}
WHO = {"WOOD_OPERATOR": "root", "WOOD_TOKEN": "secret"}


def canceled(count: int) -> dict[str, object]:
    return {"message": "cancelAll", "canceled": count}


def error(code: str) -> dict[str, object]:
    return {"message": "error", "error": f"what {code} means", "code": code}


class Scripted:
    """A server with one client: it answers each line with the next of its `answers`, then closes.

    An answer is lines, as messages or as bytes; None is never to answer.
    """

    def __init__(self, *answers: list[object] | None) -> None:
        self.heard: list[Any] = []
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with self._listener, self._listener.accept()[0] as client:
            client.settimeout(PATIENCE)
            with client.makefile("rb") as lines:
                for answer in self._answers:
                    self.heard.append(json.loads(lines.readline()))
                    for line in answer or []:
                        data = line if isinstance(line, bytes) else json.dumps(line).encode()
                        with suppress(ConnectionError):  # it may have heard enough
                            client.sendall(data + b"\n")
                    if answer is None:
                        assert lines.readline() == b"", "it went"

    def end(self) -> None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "it was asked less than it had answers for"


@pytest.fixture
def serve() -> Iterator[Callable[..., Scripted]]:
    servers: list[Scripted] = []

    def start(*answers: list[object] | None) -> Scripted:
        servers.append(Scripted(*answers))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


Serve = Callable[..., Scripted]


def cancel(server: Scripted, *words: str) -> subprocess.CompletedProcess[str]:
    done = run_wood_here("cancel", "-p", str(server.port), *words, **WHO)
    server.end()
    return done


def mistake(done: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """What it says in one line."""
    assert (done.returncode, done.stdout) == (code, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("wood: ")
    assert "secret" not in line
    return line


@pytest.mark.parametrize(
    ("count", "said"), [(12, "12 orders"), (1, "1 order"), (0, "0 orders"), (2000, "2000 orders")]
)
def test_orders_of_one_participant(serve: Serve, count: int, said: str) -> None:
    server = serve([LOGGED_IN], [canceled(count)])
    done = cancel(server, "--participant", "bob")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"cancelled {said}\n", "")
    assert server.heard == [LOGIN, {"message": "cancelAll", "participant": "bob"}]


def test_orders_of_anonymous_participants_until_none_is_left(serve: Serve) -> None:
    server = serve([LOGGED_IN], [canceled(4096)], [canceled(4096)], [canceled(7)], [canceled(0)])
    done = cancel(server, "--anonymous-older-than", "2h")
    assert (done.returncode, done.stdout, done.stderr) == (0, "cancelled 8199 orders\n", "")
    assert server.heard == [LOGIN, *[{"message": "cancelAll", "anonymousOlderThan": 7200}] * 4]


def test_what_concerns_others_is_passed_over(serve: Serve) -> None:
    """The operator may trade through other connections: reports go to all."""
    report = {"message": "executionReport", "orderId": 1, "report": "NEW", "seq": 43}
    beat = {"message": "heartbeat", "epoch": 1, "seq": 42}
    server = serve([beat, LOGGED_IN, report], [report, beat, canceled(3), report])
    assert cancel(server, "--participant", "bob").stdout == "cancelled 3 orders\n"


@pytest.mark.parametrize("code", ["unauthorized", "disabled", "unavailable", "invalid"])
def test_the_login_is_refused(serve: Serve, code: str) -> None:
    said = mistake(cancel(serve([error(code)]), "--participant", "bob"))
    assert f"what {code} means ({code})" in said


def test_it_is_no_operator(serve: Serve) -> None:
    server = serve([LOGGED_IN], [error("forbidden")])
    assert "what forbidden means (forbidden)" in mistake(cancel(server, "--participant", "bob"))


def test_what_was_cancelled_before_it_broke(serve: Serve) -> None:
    server = serve([LOGGED_IN], [canceled(5)], [error("unavailable")])
    said = mistake(cancel(server, "--anonymous-older-than", "90s"))
    assert said.endswith("(unavailable); 5 orders were cancelled before")
    server = serve([LOGGED_IN], [canceled(1)], [])
    said = mistake(cancel(server, "--anonymous-older-than", "90s"))
    assert said.endswith("closed the connection; 1 order was cancelled before")


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([[]], "closed the connection"),
        ([[LOGGED_IN], []], "closed the connection"),
        ([[b"HTTP/1.1 400 Bad Request"]], "is no exchange"),
        ([[b"[]"]], "is no exchange"),
        ([[b"\xff\xfe"]], "is no exchange"),
        ([[b'{"message":1}']], "is no exchange"),
        ([[LOGGED_IN], [{"message": "cancelAll"}]], "did not say how many"),
        ([[LOGGED_IN], [canceled(-1)]], "did not say how many"),
        ([[{"type": "orderbook", "side": "bid", "price": 1, "quantity": 1}]], "is a public port"),
    ],
)
def test_a_server_that_is_none(serve: Serve, answers: list[list[object]], said: str) -> None:
    assert said in mistake(cancel(serve(*answers), "--participant", "bob"))


def test_a_line_without_an_end(serve: Serve) -> None:
    server = serve([b"x" * (2 << 20)])
    assert "is no exchange" in mistake(run_wood_here(*_words(server), **WHO))


def _words(server: Scripted) -> list[str]:
    return ["cancel", "-p", str(server.port), "--participant", "bob"]


@pytest.mark.parametrize("answers", [[None], [[LOGGED_IN], None]])
def test_a_server_that_is_silent(serve: Serve, answers: list[list[object] | None]) -> None:
    server = serve(*answers)
    host, port = "127.0.0.1", server.port
    with pytest.raises(WoodError, match=r"did not answer within 0\.1 seconds"):
        asyncio.run(cancel_participant(Operator(host, port, "root", "secret", patience=0.1), "bob"))


def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        done = run_wood("cancel", "-p", str(port), "--participant", "bob", **WHO)
        assert mistake(done).startswith(f"wood: no server at 127.0.0.1:{port}")
        with pytest.raises(ConnectionFailed):
            asyncio.run(cancel_anonymous(Operator("127.0.0.1", port, "root", "secret"), 1))


def test_the_public_port_of_a_real_server(server: Server) -> None:
    """It does not know the message; what matters is that it ends, with one line."""
    mistake(run_wood("cancel", "-p", str(server.public), "--participant", "bob", **WHO))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "choose one of --participant and --anonymous-older-than"),
        (["--participant", "a", "--anonymous-older-than", "1s"], "choose one of --participant"),
        (["--anonymous-older-than", "90"], "'90' is none: write such as 90s, 15m, 2h or 3d"),
        (["--participant", "a", "-p", "0"], "Invalid value for '--port'"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], said: str) -> None:
    assert said in mistake(run_wood_here("cancel", *words, **WHO), code=2)


@pytest.mark.parametrize("missing", ["operator", "token"])
def test_who_asks_must_be_said(missing: str) -> None:
    environment = {name: value for name, value in WHO.items() if missing.upper() not in name}
    done = run_wood_here("cancel", "--participant", "bob", **environment)
    assert f"Missing option '--{missing}'" in mistake(done, code=2)


def test_the_command_line_says_who_asks(serve: Serve) -> None:
    server = serve([LOGGED_IN], [canceled(0)])
    words = ["--operator", "admin", "--token", "another", "--participant", "bob"]
    assert cancel(server, *words).returncode == 0
    assert server.heard[0] == {"message": "login", "participant": "admin", "token": "another"}


def test_a_token_that_is_no_text(serve: Serve) -> None:
    server = serve()
    done = run_wood(*_words(server), WOOD_OPERATOR="root", WOOD_TOKEN="\udcff")
    assert "is text in UTF-8" in mistake(done)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7200), ("3d", 259_200), ("0s", 0)]
)
def test_durations(text: str, seconds: int) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "1", "1.5h", "-1s", "+1s", "1 s", "1w", "1s\n", "1S", "1h30m", "\u0661s"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(Exception, match="is none"):
        Duration().convert(text, None, None)
