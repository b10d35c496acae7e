"""What is refused for limits is counted, and told once a second."""

import asyncio
import logging

import pytest

from tests.engines import with_loop
from wood.model.errors import Limit
from wood.model.log_events import EXTRA
from wood.node.limits_hit import KINDS, LimitsHit
from wood.node.proxy_protocol import Source

HERE = Source("127.0.0.1", 5)
LOG = logging.getLogger("wood.test")


def fields(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [getattr(record, EXTRA) for record in caplog.records]


def test_a_hundred_thousand_are_one_line_with_their_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = LimitsHit(LOG)
    for _ in range(100_000):
        limits.note(Limit.OPEN_ORDERS, "alice", HERE, "WOOD")
    limits.note(Limit.CONNECTION_RATE, "", Source("::1", 6), None)
    limits.flush()
    limits.flush()
    assert fields(caplog) == [
        {
            "event": "limit.hit",
            "limit": "openOrders",
            "participant": "alice",
            "client": "127.0.0.1:5",
            "symbol": "WOOD",
            "count": 100_000,
        },
        {"event": "limit.hit", "limit": "connectionRate", "client": "[::1]:6", "count": 1},
    ]


def test_of_many_those_that_happened_most_are_told_and_the_rest_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = LimitsHit(LOG, most=2)
    everybody = KINDS + 5
    for number in range(everybody):
        for _ in range(3 if number in (7, 9) else 1):
            limits.note(Limit.POSITION, f"p{number}", HERE, "WOOD")
    limits.flush()
    *told, left_out = fields(caplog)
    assert [each["participant"] for each in told] == ["p7", "p9"]
    assert left_out == {
        "event": "lines.left_out",
        "about": "limits hit",
        "count": everybody - 2,
    }


def test_strangers_without_number_take_no_memory_without_bound(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = LimitsHit(LOG, most=2)
    strangers = 10_000
    for number in range(strangers):
        host = f"10.0.{number // 256}.{number % 256}"
        for _ in range(3 if number in (7, strangers - 1) else 1):
            limits.note(Limit.CONNECTION_RATE, "", Source(host, 1), None)
    limits.flush()
    first, second, left_out = fields(caplog)
    assert (first["client"], first["count"]) == ("10.0.0.7:1", 3)
    assert second["count"] == 1, "the last one came when there was no room for its name"
    assert left_out["count"] == strangers + 4 - 3 - 1


def test_it_is_told_when_the_second_is_over(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    limits = LimitsHit(LOG, clock=lambda: now[0])

    async def without_a_second() -> None:
        limits.note(Limit.POSITION, "alice", HERE, "WOOD")

    async def until_told() -> None:
        limits.note(Limit.POSITION, "bob", HERE, "WOOD")
        while len(caplog.records) < 2:
            await asyncio.sleep(0.01)

    with_loop(without_a_second)  # its event loop ends, and with it what would have told
    assert not caplog.records
    now[0] += 10
    with_loop(until_told)
    assert [each["participant"] for each in fields(caplog)] == ["alice", "bob"]
