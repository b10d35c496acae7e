"""A flood of lines of one kind hides none of another."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines import with_loop
from tests.hostile import From
from tests.sessions import LOGIN
from tests.support import Server, eventually
from tests.test_node_private import LOGIN as LOGIN_LINE
from tests.test_node_private import connected
from wood.model.events import Batch, SessionOpened
from wood.model.participants import digest
from wood.node.log_lines import SERVED, logins

Start = Callable[..., Server]


@pytest.fixture
def server(start_server: Start, tmp_path: Path) -> Server:
    file = tmp_path / "participants"
    alice = {"digest": digest("right"), "added": 1763720000, "operator": False, "disabled": False}
    file.write_text(json.dumps({"alice": alice}))
    file.chmod(0o600)
    options = "--auth", "token", "--participants", str(file), "--max-address-connections", "2"
    return start_server(*options, "--cancel-on-disconnect")


def test_refused_connections_hide_no_logins(server: Server) -> None:
    with From("127.0.0.2", server.private), From("127.0.0.2", server.private):
        for number in range(3, 6):
            for _ in range(60):
                From("127.0.0.2", server.private).socket.close()  # refused
            for _ in range(SERVED // 2):
                From(f"127.0.0.{number}", server.private).socket.close()  # opened and closed
            with (
                From(f"127.0.1.{number}", server.private) as guesser,
                From(f"127.0.2.{number}", server.private) as alice,
            ):
                guesser.send(LOGIN | {"token": "wrong"})
                assert alice.ask(LOGIN | {"token": "right"})["participant"] == "alice"
    eventually(lambda: "more lines about refused connections were left out" in server.text())
    eventually(lambda: "more lines about connections opened and closed were" in server.text())
    text = server.text()
    assert text.count("a login failed") == text.count(" is alice, in session ") == 3


@pytest.mark.parametrize("operator", [False, True])
def test_no_login_of_an_operator_is_left_out(
    caplog: pytest.LogCaptureFixture, operator: bool
) -> None:
    async def test() -> None:
        for _ in range(3 * SERVED):
            logins.info("somebody is somebody")
        connection, transport = connected([])
        router = connection._node.router
        router.places["main"] = 1, 0
        connection.data_received(LOGIN_LINE)
        opened = SessionOpened(1, "alice", "alice:1", "~x", operator, None, None, None)
        router.apply(Batch("main", 1, "w", 1, 1, 0, 0, [opened]))
        assert connection.session.participant == "alice"
        transport.socket.close()

    with caplog.at_level(logging.INFO, "wood.node"):
        with_loop(test)
    assert ("~x is alice, in session alice:1" in caplog.text) == operator
