"""What those are told who have logged in, to the byte, and the same in both encodings."""

from collections.abc import Callable

import msgpack
import pytest

from tests.engines import INSTRUMENTS
from tests.test_wire_reports import EVERY, ORDERS, TIME, accepted, say_the_same, trade
from wood.model.events import OrderAmended, OrderCanceled, SessionOpened
from wood.wire.session_reports import SessionJson, SessionPacked, SessionReports

EPOCH = 1763720000123456
PLACES = {"main": (EPOCH, 99)}
LONGEST = f"{EPOCH}-42"


def opened(recovered: bool | None, orders: bool = False) -> SessionOpened:
    found = ORDERS if orders else None
    return SessionOpened(42, "alice", LONGEST, "~x", False, 13, recovered, found)


LOGINS: dict[str, Callable[[SessionReports], bytes]] = {
    "fresh": lambda reports: reports.login(opened(None), PLACES),
    "recovered": lambda reports: reports.login(opened(True), PLACES),
    "lost": lambda reports: reports.login(opened(False, orders=True), PLACES),
    "lost, and nothing open": lambda reports: reports.login(opened(False), PLACES),
}


@pytest.mark.parametrize("name", EVERY)
def test_json_and_messagepack_say_the_same(name: str) -> None:
    say_the_same(EVERY[name], SessionJson(INSTRUMENTS), SessionPacked(INSTRUMENTS))


@pytest.mark.parametrize("name", LOGINS)
def test_logins_too(name: str) -> None:
    say_the_same(LOGINS[name], SessionJson(INSTRUMENTS), SessionPacked(INSTRUMENTS))


def test_reports_to_the_byte() -> None:
    reports = SessionJson(INSTRUMENTS)
    start = b'{"message":"executionReport","orderId":'
    wood = b',"symbol":"WOOD","time":1461763950.458236,"leaves":'
    assert reports.new(accepted("WOOD", 7), TIME) == (
        start + b'7,"report":"NEW","seq":12' + wood + b"200}\n"
    )
    assert reports.maker_fill(trade("WOOD", 14900, 120), TIME) == (
        start + b'1,"report":"FILL","price":149,"quantity":120,"seq":13' + wood + b'0,"trade":13}\n'
    )
    assert reports.taker_fill(trade("WOOD", 14900, 120), TIME) == (
        start
        + b'18446744073709551615,"report":"FILL","price":149,"quantity":120,"seq":14'
        + wood
        + b'80,"trade":13}\n'
    )
    assert reports.canceled(OrderCanceled(15, "A", "WOOD", 7, 3), TIME) == (
        start + b'7,"report":"CANCELED","seq":15' + wood + b"0}\n"
    )
    assert reports.amended(OrderAmended(16, "A", "PEAR", 7, 41, 3), TIME + 1) == (
        start + b'7,"report":"AMENDED","price":20.5,"quantity":30,"seq":16,"symbol":"PEAR",'
        b'"time":1461763950.458237,"leaves":30}\n'
    )
    assert reports.heartbeat({"main": (EPOCH, 42)}) == (
        b'{"message":"heartbeat","epoch":1763720000123456,"seq":42}\n'
    )


def test_times_of_whole_and_almost_whole_seconds() -> None:
    reports = SessionJson(INSTRUMENTS)
    for time in (1, 10**6, 10**6 + 1, TIME // 10**6 * 10**6):
        line = reports.new(accepted("WOOD", 7), time)
        assert float(line.partition(b'"time":')[2].partition(b",")[0]) == time / 1e6


def test_answers_to_a_login_to_the_byte() -> None:
    reports = SessionJson(INSTRUMENTS)
    begin = (
        b'{"message":"login","participant":"alice","session":"1763720000123456-42",'
        b'"epoch":1763720000123456,"seq":42'
    )
    assert reports.login(opened(None), PLACES) == begin + b"}\n"
    assert reports.login(opened(True), PLACES) == begin + b',"recovered":true}\n'
    assert reports.login(opened(False), PLACES) == begin + b',"recovered":false,"orders":[]}\n'
    assert reports.login(opened(False, orders=True), PLACES) == (
        begin + b',"recovered":false,"orders":['
        b'{"orderId":18446744073709551615,"symbol":"WOOD","side":"BUY","price":145.5,"quantity":3},'
        b'{"orderId":0,"symbol":"PEAR","side":"SELL","price":20.5,"quantity":90071992547409910}'
        b"]}\n"
    )


def test_the_time_in_messagepack_is_a_float() -> None:
    fields = msgpack.unpackb(SessionPacked(INSTRUMENTS).new(accepted("WOOD", 7), TIME))
    assert fields["time"] == 1461763950.458236
    assert list(fields) == ["message", "orderId", "report", "seq", "symbol", "time", "leaves"]
