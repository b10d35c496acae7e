"""Login, resume, heartbeats and cancel on disconnect, at one server over real sockets."""

import json
import select
import signal
import time
from collections.abc import Callable, Iterator

import msgpack
import pytest

from tests.sessions import (
    ALL,
    HEARTBEAT,
    LOGIN,
    MANY,
    again,
    bad_end,
    is_open,
    log_in,
    numbers,
    open_orders,
    rest_of,
    resume,
    until_canceled,
)
from tests.support import PATIENCE, Server, create, eventually

Start = Callable[..., Server]


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("shared"))
    yield server
    code = server.stop()
    assert "Traceback" not in server.text()
    assert code == 0, server.text()


@pytest.fixture
def shared(used: Server) -> Server:
    """A server with an empty book, for tests that do not mind what others did to it."""
    for name in ("alice", "bob"):
        with used.trader() as peer:
            log_in(peer, name)
            peer.send(ALL)
            while peer.message()["message"] != "cancelAll":
                pass
    return used


class TestLogin:
    def test_to_the_byte(self, server: Server) -> None:
        with server.trader() as alice, server.trader() as nobody, server.watcher() as watcher:
            alice.send(LOGIN)
            line = alice.line()
            login = json.loads(line)
            epoch = login["epoch"]
            assert login["session"] == f"{epoch}-{login['seq']}"
            assert line == (
                b'{"message":"login","participant":"alice","session":"%d-1","epoch":%d,"seq":1}'
                % (epoch, epoch)
            )
            nobody.send(create(7, "BUY", 149, 80))
            assert nobody.line() == b'{"message":"executionReport","orderId":7,"report":"NEW"}'
            assert watcher.message()["price"] == 149
            alice.send(create(1, "SELL", 149.0, 200))
            lines = alice.lines(2)
            trade = json.loads(watcher.line(), parse_float=str)
            assert trade["type"] == "trade"
            now = trade["time"].encode()
            begin = b'{"message":"executionReport","orderId":1,"report":"'
            rest = b'"symbol":"WOOD","time":%b,"leaves":' % now
            assert lines == [
                begin + b'NEW","seq":4,' + rest + b"200}",
                begin + b'FILL","price":149,"quantity":80,"seq":6,' + rest + b'120,"trade":5}',
            ]
            assert nobody.line() == (
                b'{"message":"executionReport","orderId":7,"report":"FILL",'
                b'"price":149,"quantity":80}'
            )
            alice.send({"message": "cancelOrder", "orderId": 1}, HEARTBEAT)
            canceled, heartbeat = alice.lines(2)
            assert canceled.startswith(begin + b'CANCELED","seq":')
            assert canceled.endswith(b',"leaves":0}')
            assert heartbeat.startswith(b'{"message":"heartbeat","epoch":%d,"seq":' % epoch)
            nobody.send(HEARTBEAT)
            assert nobody.line() == b'{"message":"heartbeat"}'

    def test_messagepack(self, server: Server) -> None:
        with server.trader() as alice:
            alice.send(msgpack.packb(LOGIN) + msgpack.packb(create(1, "BUY", "14.5", 2)))
            login, new = alice.packed(2)
            assert list(login) == ["message", "participant", "session", "epoch", "seq"]
            assert list(new)[3:] == ["seq", "symbol", "time", "leaves"]
            alice.socket.close()
        with server.trader() as back:
            back.send(msgpack.packb(again(login)))
            replayed, reply = back.packed(2)
            assert replayed == new
            assert reply == login | {"seq": 4, "recovered": True}
            back.send(msgpack.packb(HEARTBEAT))
            assert back.packed(1)[0] == {"message": "heartbeat", "epoch": login["epoch"], "seq": 4}

    def test_a_trade_with_oneself_is_two_reports_of_one_trade(self, shared: Server) -> None:
        with shared.trader() as alice:
            login = log_in(alice)
            alice.send(create(1, "BUY", 5, 10), create(2, "SELL", 5, 4))
            reports = alice.messages(4)
            numbers(reports)
            maker, taker = reports[2:]
            assert (maker["orderId"], maker["leaves"]) == (1, 6)
            assert (taker["orderId"], taker["leaves"]) == (2, 0)
            assert maker["trade"] == taker["trade"] == maker["seq"] == taker["seq"] - 1
        with shared.trader() as back:
            assert resume(back, again(login))[0] == reports
        with shared.trader() as between:
            assert resume(between, again(login, maker["seq"]))[0] == [taker]

    def test_several_connections(self, shared: Server) -> None:
        with shared.trader() as first, shared.trader() as second, shared.trader() as other:
            one, two = log_in(first), log_in(second)
            assert one["session"] != two["session"]
            log_in(other, "bob")
            first.send(create(1, "BUY", 5, 10), {"message": "cancelOrder", "orderId": 99})
            report = first.message()
            assert first.message()["code"] == "not_found"
            assert second.message() == report
            second.send({"message": "cancelOrder", "orderId": 1}, ALL)
            canceled = second.message()
            assert second.message() == {"message": "cancelAll", "canceled": 0}
            assert first.message() == canceled
            for peer in (first, second, other):
                assert peer.ask(HEARTBEAT)["message"] == "heartbeat"

    def test_its_own_count_of_messages(self, shared: Server) -> None:
        with shared.trader() as alice:
            log_in(alice, seq=1)
            assert alice.ask(HEARTBEAT | {"seq": 2})["message"] == "heartbeat"
            error = alice.ask(HEARTBEAT | {"seq": 4})
            assert (error["code"], error["error"]) == ("sequence", "seq 3 was expected")
            assert alice.ask(LOGIN | {"seq": 3})["code"] == "invalid"
            assert alice.ask(ALL | {"seq": 4})["message"] == "cancelAll"
        with shared.trader() as gap:
            assert gap.ask(LOGIN | {"seq": 2})["code"] == "sequence"
            assert gap.ask(LOGIN | {"seq": 1})["message"] == "login"


class TestResume:
    def test_a_replay_of_ten_thousands_under_full_speed(self, start_server: Start) -> None:
        """Complete, in order, none twice, before the reply; others are answered meanwhile."""
        server = start_server(*MANY)
        with server.trader() as alice, server.trader() as bob:
            login = log_in(alice)
            count = 20_000
            open_orders(alice, count)
            alice.socket.close()
            before = server.memory()
            with server.trader(receive_buffer=4096) as slow:
                slow.send(again(login))
                traded = 0
                while traded < 3000:
                    bob.send(*[create(10**6 + traded + n, "SELL", 1, 1) for n in range(100)])
                    assert len(bob.messages(200)) == 200
                    traded += 100
                    slow.line()
                assert server.memory() - before < 30e6
                reports, reply = rest_of(slow)
                fills = [report for report in reports if report["report"] == "FILL"]
                live = slow.messages(3000 - len(fills))
            news = [report for report in reports if report["report"] == "NEW"]
            # The lines that were read while bob traded were the first news.
            assert [r["orderId"] for r in news] == list(range(count - len(news), count))
            assert len(news) == count - 30
            assert reply["recovered"] is True
            assert numbers(reports)[-1] < reply["seq"] < numbers(live)[0]
            assert [r["orderId"] for r in fills + live] == list(range(3000))

    def test_reports_that_pile_up_meanwhile_are_bounded(self, start_server: Start) -> None:
        server = start_server("--output-limit", "65536", *MANY)
        with server.trader() as alice, server.trader() as bob:
            login = log_in(alice)
            # The kernel's buffers take some megabytes.
            open_orders(alice, 45_000)
            alice.socket.close()
            with server.trader(receive_buffer=4096) as slow:
                slow.send(again(login))
                slow.line()
                for start in range(0, 2000, 100):
                    bob.send(*[create(10**6 + start + n, "SELL", 1, 1) for n in range(100)])
                    bob.messages(200)
                eventually(lambda: "too slow: its reports pile up" in server.text())
            assert bob.ask(ALL)["message"] == "cancelAll"
        with server.trader() as back:
            reports, _ = resume(back, again(login, 90_001))
            assert [report["orderId"] for report in reports] == list(range(2000))

    def test_the_older_connection_is_told_and_what_it_says_is_not_taken(
        self, server: Server
    ) -> None:
        with server.trader() as before, server.trader() as after, server.watcher() as watcher:
            login = log_in(before)
            before.send(create(1, "BUY", 5, 10))
            report = before.message()
            reports, reply = resume(after, again(login))
            assert reports == [report]
            assert reply["session"] == login["session"]
            assert reply["seq"] > report["seq"]
            before.send(*[create(n, "BUY", 4, 1) for n in range(2, 100)])
            bad_end(before, "superseded")
            assert after.ask(create(100, "BUY", 3, 1))["report"] == "NEW"
            assert [watcher.message()["price"] for _ in range(2)] == [5, 3]
            assert not is_open(after, 2)

    def test_commands_that_were_read_but_not_decided_are_not_taken(self, shared: Server) -> None:
        """A stopped server finds both in its sockets: the reply is the line."""
        with shared.trader() as before, shared.trader() as after:
            login = log_in(before)
            shared.process.send_signal(signal.SIGSTOP)
            before.send(*[create(n, "BUY", 5, 1) for n in range(2000)])
            after.send(again(login))
            shared.process.send_signal(signal.SIGCONT)
            reports, reply = rest_of(after)
            known = {report["orderId"] for report in reports}
            assert before.rest().splitlines()[-1].count(b"superseded") == 1
            found = {o["orderId"] for o in after.ask({"message": "orders"})["orders"]}
            assert found == known
            assert reply["recovered"]

    def test_what_cannot_be_proven(self, shared: Server) -> None:
        with shared.trader() as alice:
            login = log_in(alice)
            alice.ask(create(1, "BUY", 5, 10))
        orders = [{"orderId": 1, "symbol": "WOOD", "side": "BUY", "price": 5, "quantity": 10}]
        for keys in (
            {"lastSeq": login["seq"]},
            {"session": login["session"]},
            {"session": "nonsense", "lastSeq": 1},
            {"session": "1-1", "lastSeq": 1},
            {"lastSeq": 10**15, "epoch": login["epoch"]},
            {"lastSeq": 1, "epoch": login["epoch"] - 1},
        ):
            with shared.trader() as back:
                reports, reply = resume(back, LOGIN | keys)
                assert (reports, reply["recovered"], reply["orders"]) == ([], False, orders)
                assert list(reply)[5:] == ["recovered", "orders"]
                assert back.ask(create(2, "BUY", 5, 10))["report"] == "NEW"
                assert back.ask({"message": "cancelOrder", "orderId": 2})["leaves"] == 0
        for keys in (
            {"lastSeq": login["seq"], "epoch": login["epoch"]},
            {"lastSeq": login["seq"], "session": login["session"]},
        ):
            with shared.trader() as back:
                back.send(LOGIN | keys)
                found = [back.message()]
                while found[-1]["message"] != "login":
                    found.append(back.message())
                assert found[-1]["recovered"] is True
                assert [m["orderId"] for m in found if "orderId" in m].count(1) == 1

    def test_nobody_gets_what_is_anothers(self, shared: Server) -> None:
        with shared.trader() as alice, shared.trader() as bob:
            login = log_in(alice)
            alice.ask(create(1, "BUY", 5, 10))
            reports, reply = resume(bob, again(login, participant="bob"))
            assert reports == []
            assert reply["session"] != login["session"]
            assert not is_open(bob, 1)
            assert alice.ask(HEARTBEAT)["message"] == "heartbeat"


class TestHeartbeats:
    def test_come_after_the_answers_to_what_was_said_before(self, shared: Server) -> None:
        with shared.trader() as alice:
            log_in(alice)
            orders = [create(n, "BUY", 5, 1) for n in range(700)]
            alice.send(*[message for order in orders for message in (order, HEARTBEAT)])
            told = alice.messages(1400)
            assert [m["message"] for m in told] == ["executionReport", "heartbeat"] * 700
            seen = 0
            for message in told:
                assert message["seq"] >= seen or message["message"] == "heartbeat"
                assert message["message"] != "heartbeat" or message["seq"] < seen + 3
                seen = max(seen, message["seq"])
            alice.send(HEARTBEAT)
            last = alice.message()
            assert last["seq"] >= told[-2]["seq"]
        with shared.trader() as back:
            assert resume(back, again(last | {"participant": "alice", "session": "x"}))[0] == []

    def test_an_idle_line_gets_them_and_who_is_silent_is_closed(self, shared: Server) -> None:
        with shared.trader() as alice, shared.trader() as bob:
            login = log_in(alice, heartbeat=0.2)
            log_in(bob)
            told = alice.messages(2)
            beat = {"message": "heartbeat", "epoch": login["epoch"], "seq": told[0]["seq"]}
            assert told[0] == beat
            assert told[1].get("code") in (None, "silent")
            while told[-1]["message"] == "heartbeat":
                told.append(alice.message())
            assert told[-1]["code"] == "silent"
            assert 1 <= len(told) - 1 <= 3
            assert alice.message() is None
            assert bob.silent(), "who asked for none gets none"
            assert bob.ask(HEARTBEAT)["message"] == "heartbeat"

    def test_who_answers_each_stays(self, shared: Server) -> None:
        with shared.trader() as alice:
            log_in(alice, heartbeat=0.1)
            for _ in range(8):
                assert alice.message()["message"] == "heartbeat"
                alice.send(ALL)
                while (said := alice.message())["message"] == "heartbeat":
                    pass
                assert said["message"] == "cancelAll"

    def test_a_server_that_was_stopped_blames_nobody(self, shared: Server) -> None:
        with shared.trader() as alice:
            log_in(alice, heartbeat=0.1)
            shared.process.send_signal(signal.SIGSTOP)
            begin = time.monotonic()
            alice.send(HEARTBEAT)
            eventually(lambda: time.monotonic() > begin + 0.3, "three intervals")
            shared.process.send_signal(signal.SIGCONT)
            assert alice.message()["message"] == "heartbeat"
            assert alice.ask(HEARTBEAT)["message"] == "heartbeat"

    def test_nor_one_that_does_not_read(self, shared: Server) -> None:
        """It was asked so much that its answers are not read: it stands still, and so the clock."""
        with shared.trader(receive_buffer=4096) as alice:
            before = shared.text().count("nothing was heard")
            log_in(alice, heartbeat=0.1)
            alice.socket.setblocking(False)
            flood, sent = b'{"message":"instruments"}\n' * 200_000, 0
            while select.select([], [alice.socket], [], 0.5)[1]:
                sent += alice.socket.send(flood[sent : sent + 65536])
                assert sent < len(flood)
            alice.socket.settimeout(PATIENCE)
            for _ in range(300):
                assert alice.message()["message"] in ("instruments", "heartbeat")
            assert shared.text().count("nothing was heard") == before


class TestCancelOnDisconnect:
    GRACE = ("--reconnect-grace", "0.3")

    def test_when_the_grace_is_over(self, start_server: Start) -> None:
        server = start_server(*self.GRACE)
        with server.watcher() as watcher, server.trader() as bob:
            log_in(bob, "bob")
            bob.ask(create(1, "BUY", 4, 10))
            with server.trader() as alice:
                log_in(alice, cancelOnDisconnect=True)
                alice.ask(create(1, "BUY", 5, 10))
                gone = time.monotonic()
            until_canceled(watcher, 5)
            assert time.monotonic() - gone > 0.29
            assert is_open(bob, 1)

    def test_not_of_one_who_is_back(self, start_server: Start) -> None:
        server = start_server("--reconnect-grace", "1")
        with server.watcher() as watcher, server.trader() as carol:
            with server.trader() as alice:
                login = log_in(alice, cancelOnDisconnect=True)
                report = alice.ask(create(1, "BUY", 5, 10))
            with server.trader() as back:
                assert resume(back, again(login))[0] == [report]
                # One who leaves later is due later: when that was done, nothing else was due.
                log_in(carol, "carol", cancelOnDisconnect=True)
                carol.ask(create(1, "BUY", 4, 10))
                carol.socket.close()
                until_canceled(watcher, 4)
                assert is_open(back, 1)

    def test_when_the_last_that_asked_for_it_is_gone(self, start_server: Start) -> None:
        server = start_server("--reconnect-grace", "0")
        with server.watcher() as watcher, server.trader() as third:
            with server.trader() as first, server.trader() as second:
                log_in(first, cancelOnDisconnect=True)
                log_in(second, cancelOnDisconnect=True)
                log_in(third)
                first.ask(create(1, "BUY", 5, 10))
                first.socket.close()
                eventually(lambda: server.text().count(" closed: ") == 1)
                assert third.message()["report"] == "NEW"
                assert is_open(third, 1)
            until_canceled(watcher, 5)
            assert third.message()["report"] == "CANCELED"

    def test_who_did_not_ask_for_it_keeps_its_orders(self, start_server: Start) -> None:
        server = start_server("--reconnect-grace", "0", "--cancel-on-disconnect")
        with server.watcher() as watcher:
            with server.trader() as alice:
                log_in(alice)
                alice.ask(create(1, "BUY", 5, 10))
            with server.trader() as nobody:
                nobody.ask(create(1, "BUY", 4, 10))
            until_canceled(watcher, 4)
            with server.trader() as back:
                assert not log_in(back).get("orders")
                assert is_open(back, 1)


class TestStop:
    def test_tells_all_and_ends_in_time(self, start_server: Start) -> None:
        """During a replay that is not read, with a login refused, and one that waits its turn."""
        server = start_server(*MANY)
        with server.trader() as alice:
            login = log_in(alice)
            open_orders(alice, 9_000)
        with (
            server.trader() as wrong,
            server.trader() as idle,
            server.trader(receive_buffer=4096) as slow,
        ):
            log_in(idle, "bob", heartbeat=3600)
            slow.send(again(login))
            slow.line()
            wrong.send(LOGIN | {"token": "wrong"}, HEARTBEAT)
            eventually(lambda: "a login failed" in server.text())
            server.process.send_signal(signal.SIGTERM)
            assert wrong.message()["code"] == "unauthorized"
            assert wrong.message() == HEARTBEAT
            assert wrong.message() is None
            assert idle.message() is None
            reports, reply = rest_of(slow)
            assert len(reports) == 8_999
            assert reply["recovered"]
            assert slow.message() is None


def test_names(shared: Server) -> None:
    for name in ("x" * 32, "0", "a.b-c_D", "."):
        with shared.trader() as peer:
            assert log_in(peer, name)["participant"] == name


def test_the_journal_of_a_single_server_is_as_long_as_asked_for(start_server: Start) -> None:
    server = start_server("--journal", "10")
    with server.trader() as alice, server.trader() as later, server.trader() as too_late:
        login = log_in(alice)
        open_orders(alice, 4)
        assert resume(later, again(login))[1]["recovered"] is True
        open_orders(later, 20)
        reports, reply = resume(too_late, again(login))
        assert (reports, reply["recovered"], len(reply["orders"])) == ([], False, 20)


def test_a_session_that_ended_may_be_named_by_anybody(server: Server) -> None:
    """Its socket is still there, since the client has not closed."""
    with server.trader() as alice, server.trader() as bob, server.trader() as back:
        login = log_in(alice)
        alice.send(b"x" * 70_000)
        assert alice.message()["code"] == "too_long"
        bob.send(again(login) | {"participant": "bob"})
        rest_of(bob)
        assert bob.ask(create(1, "BUY", 5, 1))["report"] == "NEW"
        _, reply = resume(back, again(login))
        assert reply["session"] != login["session"]
        assert back.ask(create(1, "BUY", 5, 1))["report"] == "NEW"
        assert bob.ask({"message": "heartbeat"})["message"] == "heartbeat"
