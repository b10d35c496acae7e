"""Who may trade: tokens, delays, time limits, and an operator, at one server."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from tests.sessions import ALL, HEARTBEAT, LOGIN, again, bad_end, is_open, log_in, resume
from tests.support import Peer, Server, create, eventually, run_wood
from wood.exchange.participants import ParticipantFile
from wood.model.participants import digest

Start = Callable[..., Server]
TOKEN = "correct horse"
OPERATOR = "battery staple"


class Desk:
    """A server with a file of participants: alice, the operator oscar, and dora, disabled."""

    def __init__(self, start: Start, folder: Path, *options: str) -> None:
        self._file = folder / "participants.json"
        self.participants: dict[str, dict[str, Any]] = {
            "alice": self._one(TOKEN),
            "oscar": self._one(OPERATOR, operator=True),
            "dora": self._one(TOKEN, disabled=True),
        }
        self.write()
        self.server = start("--participants", str(self._file), *options)

    @staticmethod
    def _one(token: str, operator: bool = False, disabled: bool = False) -> dict[str, Any]:
        known = {"digest": digest(token), "added": 1763720000}
        return known | {"operator": operator, "disabled": disabled}

    def write(self) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(self.participants))
        new.chmod(0o600)
        new.rename(self._file)

    def operator(self) -> Peer:
        peer = self.server.trader()
        log_in(peer, "oscar", token=OPERATOR)
        return peer


@pytest.fixture
def desk(start_server: Start, tmp_path: Path) -> Desk:
    return Desk(start_server, tmp_path, "--auth", "token")


@pytest.fixture
def open_desk(start_server: Start, tmp_path: Path) -> Desk:
    return Desk(start_server, tmp_path)


NOBODY = LOGIN | {"participant": "mallory", "token": "wrong"}
WRONG = LOGIN | {"token": "wrong"}
RIGHT = LOGIN | {"token": TOKEN}

REFUSED = b'{"message":"error","error":"the participant and its token do not fit",'
REFUSED += b'"code":"unauthorized"}'

BEFORE_LOGIN: list[dict[str, Any]] = [
    create(1, "BUY", 5, 1),
    {"message": "marketOrder", "orderId": 2, "side": "BUY", "quantity": 1},
    {"message": "cancelOrder", "orderId": 3},
    {"message": "amendOrder", "orderId": 4, "quantity": 1},
    ALL,
    ALL | {"participant": "alice"},
    ALL | {"anonymousOlderThan": 0},
    {"message": "orders"},
    {"message": "instruments"},
    HEARTBEAT,
]

BAD: dict[str, list[object]] = {
    "participant": ["", "~a", "~" + "a" * 20, "a b", "é", "x" * 33, "a\n", 1, None, []],
    "token": [1, True, [], {}],
    "session": [1, "x" * 41, "é", [], False],
    "lastSeq": [-1, 2**53, 2**64, "1", 1.0, True, []],
    "epoch": [-1, 2**53, 2**70, "1", 1.5, []],
    "heartbeat": [0, 0.09, -1, 3600.1, 1e300, 2**70, "5", True, []],
    "cancelOnDisconnect": [1, "true", None, []],
}


class TestToken:
    def test_nothing_but_a_login_before_one_succeeded(self, desk: Desk) -> None:
        with desk.server.trader() as peer, desk.server.watcher() as watcher:
            peer.send(*BEFORE_LOGIN)
            told = peer.messages(len(BEFORE_LOGIN))
            assert {(m["error"], m["code"]) for m in told} == {("log in first", "unauthorized")}
            assert [m.get("orderId") for m in told[:5]] == [1, 2, 3, 4, None]
            peer.send(b"garbage\n", b'{"message":"login"}\n', LOGIN | {"participant": "no name"})
            assert [m["code"] for m in peer.messages(3)] == ["invalid"] * 3
            log_in(peer, token=TOKEN)
            assert peer.ask(create(1, "BUY", 6, 1))["report"] == "NEW"
            assert watcher.message()["price"] == 6, "nothing of what was refused is in the book"

    def test_in_messagepack(self, desk: Desk) -> None:
        with desk.server.trader() as peer:
            peer.send(*[msgpack.packb(message) for message in BEFORE_LOGIN])
            told = peer.packed(len(BEFORE_LOGIN))
            assert {(m["error"], m["code"]) for m in told} == {("log in first", "unauthorized")}
            peer.send(msgpack.packb([1]), msgpack.packb(RIGHT), msgpack.packb(HEARTBEAT))
            error, login, heartbeat = peer.packed(3)
            assert error["code"] == "invalid"
            assert login["participant"] == "alice"
            assert heartbeat["seq"] == login["seq"]

    def test_what_ends_a_connection_is_said(self, desk: Desk) -> None:
        with desk.server.trader() as peer:
            peer.send(b"x" * 70_000)
            bad_end(peer, "too_long")
        with desk.server.trader() as peer:
            peer.send(b"\x81\xc1")
            assert peer.packed(1)[0]["code"] == "invalid"

    def test_a_name_without_a_token_lets_nobody_in(self, desk: Desk) -> None:
        with desk.server.trader() as peer:
            peer.send(LOGIN | {"participant": "mallory"})
            assert peer.line() == REFUSED
            peer.send(LOGIN)
            assert peer.line() == REFUSED

    def test_a_time_limit(self, start_server: Start, tmp_path: Path) -> None:
        desk = Desk(start_server, tmp_path, "--auth", "token", "--login-timeout", "0.3")
        with (
            desk.server.trader() as idle,
            desk.server.trader() as busy,
            desk.server.trader() as wrong,
            desk.server.trader() as alice,
        ):
            log_in(alice, token=TOKEN)
            busy.send(HEARTBEAT)
            assert busy.message()["error"] == "log in first"
            wrong.send(WRONG, WRONG, WRONG, WRONG)
            bad_end(idle, "unauthorized")
            bad_end(busy, "unauthorized")
            told = [json.loads(line) for line in wrong.rest().splitlines()]
            assert told[-1]["error"] == "no login within 0.3 seconds"
            assert alice.ask(HEARTBEAT)["message"] == "heartbeat"


class TestRefusals:
    def test_are_equal_for_a_wrong_token_and_an_unknown_name(self, desk: Desk) -> None:
        """In what is said, and in how long one waits for it."""
        waited = []
        for login in (NOBODY, WRONG):
            # Delays are by address, and each of these is new.
            with desk.server.trader() as peer:
                begin = time.monotonic()
                peer.send(login)
                assert peer.line() == REFUSED
                waited.append(time.monotonic() - begin)
        assert waited[0] >= 0.24
        assert waited[1] >= 0.49, "a second failure takes longer, on whatever connection"

    def test_hold_back_what_is_said_after_them(self, desk: Desk) -> None:
        with desk.server.trader() as peer, desk.server.trader() as other:
            peer.send(WRONG, RIGHT, HEARTBEAT)
            log_in(other, "oscar", token=OPERATOR)
            assert peer.silent(), "others do not wait"
            told = peer.messages(3)
            assert [m["message"] for m in told] == ["error", "login", "heartbeat"]

    def test_a_participant_that_is_disabled(self, desk: Desk) -> None:
        with desk.server.trader() as peer:
            told = peer.ask(RIGHT | {"participant": "dora"})
            assert (told["code"], told["error"]) == ("disabled", "this participant is disabled")
            assert peer.ask(WRONG | {"participant": "dora"})["code"] == "unauthorized"
            log_in(peer, token=TOKEN)


class TestOpen:
    def test_any_name_without_a_token(self, open_desk: Desk) -> None:
        with open_desk.server.trader() as peer, open_desk.server.trader() as other:
            assert peer.ask(NOBODY)["code"] == "unauthorized"
            log_in(peer, "mallory")
            other.send(LOGIN)
            assert other.line() == REFUSED, "a name that has a token needs it"
            log_in(other, token=TOKEN)

    def test_a_login_after_an_order_and_a_second_login(self, server: Server) -> None:
        with server.trader() as peer:
            peer.send({"message": "cancelOrder", "orderId": 1}, ALL, HEARTBEAT)
            assert len(peer.messages(3)) == 3
            log_in(peer)
            told = peer.ask(LOGIN)
            assert (told["code"], told["error"]) == (
                "invalid",
                "this connection has logged in already",
            )
            assert peer.ask(create(1, "BUY", 5, 1))["seq"]
        for order in (create(1, "BUY", 4, 1), create(1, "BUY", 0, 1), BEFORE_LOGIN[1]):
            with server.trader() as peer:
                refused = peer.ask(order).get("code")
                peer.message() if order is BEFORE_LOGIN[1] else None
                told = peer.ask(LOGIN)
                if refused:
                    assert told["message"] == "login", "there was no order"
                else:
                    assert told["error"] == "log in before the first order"

    def test_values_that_no_login_can_have(self, server: Server) -> None:
        with server.trader() as peer, server.trader() as packed:
            for key, values in BAD.items():
                peer.send(*[LOGIN | {key: value} for value in values])
                told = peer.messages(len(values))
                assert {message["code"] for message in told} == {"invalid"}, key
                assert all(key in message["error"] for message in told)
                small = [v for v in values if not isinstance(v, int) or v < 2**64]
                packed.send(*[msgpack.packb(LOGIN | {key: value}) for value in small])
                assert {message["code"] for message in packed.packed(len(small))} == {"invalid"}
            log_in(peer)


class TestOperators:
    def test_cancel_for_others(self, open_desk: Desk) -> None:
        desk = open_desk
        with (
            desk.operator() as oscar,
            desk.server.trader() as bob,
            desk.server.trader() as nobody,
        ):
            log_in(bob, "bob")
            assert oscar.ask(create(1, "BUY", 3, 1))["report"] == "NEW"
            for number in (1, 2):
                assert bob.ask(create(number, "BUY", 5, 1))["report"] == "NEW"
                assert nobody.ask(create(number, "BUY", 4, 1))["report"] == "NEW"
            for peer in (bob, nobody):
                for keys in ({"participant": "oscar"}, {"anonymousOlderThan": 0}):
                    error = peer.ask(ALL | keys)
                    assert error["code"] == "forbidden"
            assert oscar.ask(ALL | {"participant": "bob"}) == ALL | {"canceled": 2}
            assert [m["report"] for m in bob.messages(2)] == ["CANCELED"] * 2
            assert oscar.ask(ALL | {"anonymousOlderThan": 3600}) == ALL | {"canceled": 0}
            eventually(lambda: oscar.ask(ALL | {"anonymousOlderThan": 0})["canceled"] == 2)
            assert [m["report"] for m in nobody.messages(2)] == ["CANCELED"] * 2
            age = {"anonymousOlderThan": 1}
            assert oscar.ask(ALL | {"participant": "no name"})["code"] == "invalid"
            assert oscar.ask(ALL | {"anonymousOlderThan": -1})["code"] == "invalid"
            assert oscar.ask(ALL | age | {"participant": "bob"})["code"] == "invalid"
            assert oscar.ask(ALL | age | {"symbol": "WOOD"})["code"] == "invalid"
            assert is_open(oscar, 1)

    def test_disable(self, desk: Desk) -> None:
        """Every connection is cut off at once, and the orders are cancelled, whatever was asked."""
        with (
            desk.server.trader() as first,
            desk.server.trader() as second,
            desk.server.watcher() as watcher,
            desk.operator() as oscar,
        ):
            login = log_in(first, token=TOKEN)
            log_in(second, token=TOKEN)
            first.ask(create(1, "BUY", 5, 1))
            assert watcher.message()["quantity"] == 1
            desk.participants["alice"]["disabled"] = True
            desk.write()
            assert watcher.message()["quantity"] == 0
            assert [first.message()["report"]] == ["CANCELED"]
            bad_end(first, "disabled")
            assert [m["report"] for m in second.messages(2)] == ["NEW", "CANCELED"]
            bad_end(second, "disabled")
            with desk.server.trader() as back:
                told = back.ask(again(login, token=TOKEN))
                assert told["code"] == "disabled"
                desk.participants["alice"]["disabled"] = False
                desk.write()
                eventually(lambda: desk.server.text().count("read the participants anew") == 2)
                reports, reply = resume(back, again(login, token=TOKEN))
                assert [report["report"] for report in reports] == ["NEW", "CANCELED"]
                assert reply["recovered"]
            assert oscar.ask(HEARTBEAT)["message"] == "heartbeat"

    def test_another_token(self, desk: Desk) -> None:
        """The former one is void; who came in with it stays."""
        with desk.server.trader() as before, desk.server.trader() as after:
            log_in(before, token=TOKEN)
            desk.participants["alice"]["digest"] = digest("new")
            desk.write()
            eventually(lambda: "read the participants anew" in desk.server.text())
            assert after.ask(RIGHT)["code"] == "unauthorized"
            log_in(after, token="new")
            assert before.ask(HEARTBEAT)["message"] == "heartbeat"


def test_a_token_is_in_no_log(desk: Desk) -> None:
    with desk.server.trader() as peer:
        secret = "t0ps3cret" * 3
        assert peer.ask(LOGIN | {"token": secret})["code"] == "unauthorized"
        log_in(peer, token=TOKEN)
    eventually(lambda: " closed: " in desk.server.text())
    for text in (secret, digest(secret), TOKEN, digest(TOKEN)):
        assert text not in desk.server.text()


def test_a_file_that_is_missing_opens_no_names(tmp_path: Path, start_server: Start) -> None:
    file = tmp_path / "participants.json"
    ended = run_wood("-s", "--private", "0", "--public", "0", "--participants", str(file))
    assert ended.returncode == 1
    assert f"there is no file {file}" in ended.stderr
    asyncio.run(ParticipantFile(file).add("alice"))
    server = start_server("--participants", str(file))
    file.unlink()
    eventually(lambda: "is gone" in server.text(), "a word about it")
    with server.trader() as alice:
        assert alice.ask(LOGIN)["code"] == "unauthorized"
