"""What a node says of itself in its log and to other nodes, and when it looks."""

import asyncio
import logging
import socket
from typing import Any

import pytest
from msgspec import msgpack
from msgspec.structs import replace

from tests.engines import INSTRUMENTS, with_loop
from wood.exchange.memory import MemoryExchange
from wood.model.commands import NewOrder, Refuse
from wood.model.errors import ErrorCode
from wood.model.log_events import EXTRA
from wood.model.node_report import NodeReport
from wood.model.orders import BUY, SELL
from wood.node import figures
from wood.node.figures import MEASURED, Figures
from wood.node.node import Node
from wood.node.settings import Settings

SETTINGS = Settings(private=0, public=0, health=0)


def commands() -> list[NewOrder | Refuse]:
    """Two orders that meet, and one that is refused."""
    who = "A", "A", 0
    return [
        NewOrder(*who, "WOOD", 1, BUY, 100, 5),
        NewOrder(*who, "WOOD", 2, SELL, 100, 5),
        Refuse(*who, ErrorCode.INVALID, "no"),
    ]


async def told(caplog: pytest.LogCaptureFixture, count: int) -> list[dict[str, Any]]:
    """The fields of so many records."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        await asyncio.sleep(0.01)
        found = [vars(each)[EXTRA] for each in caplog.records if each.name == MEASURED]
    return found


def test_the_log_is_told_what_happened_since_it_was_last_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(figures, "WINDOW", 1)
    caplog.set_level(logging.INFO, MEASURED)

    async def test() -> None:
        exchange = MemoryExchange(INSTRUMENTS)
        node = Node(exchange, SETTINGS, 100)
        await node.start()
        exchange.submit(commands())
        await exchange.drain()
        first, second = await told(caplog, 2)
        counts = {"commands": 3, "trades": 1, "refusals": 1, "errors": 0, "sessions": 0}
        assert first.items() >= counts.items()
        assert first["events"] > 4
        assert 0 < first["submit_p50_ms"] <= first["submit_p99_ms"]
        assert {second[name] for name in counts} == {0}
        assert "submit_p99_ms" not in second, "nothing was submitted"
        assert "redis_p99_ms" not in first, "there is none"
        numbers = {name: value for name, value in second.items() if name != "event"}
        assert all(type(value) in (int, float) for value in numbers.values())
        await node.stop()

    with_loop(test)


def test_other_nodes_are_told_the_same_as_people_but_for_states(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With each beat: an engine that has others calls for it. A report stays small, however many
    instruments there are.
    """
    given: list[Any] = []
    monkeypatch.setattr(MemoryExchange, "report_by", lambda self, call: given.append(call))

    async def test() -> None:
        node = Node(MemoryExchange(INSTRUMENTS), SETTINGS, 100)
        await node.start()
        (call,) = given
        report = msgpack.decode(call(), type=NodeReport)
        assert report.name == f"{socket.gethostname()}:{node.port('private')}"
        page = node.figures.report()
        assert page.states == {"WOOD": "open", "PEAR": "open"}
        assert report.started <= report.time <= page.time
        assert report == replace(page, states={}, time=report.time)
        await node.stop()

    with_loop(test)


def test_errors_of_the_log_are_counted_while_it_looks() -> None:
    async def test() -> None:
        node = Node(MemoryExchange(INSTRUMENTS), SETTINGS, 100)
        await node.start()
        log = logging.getLogger("wood.anything")
        log.warning("not this")
        log.error("this")
        logging.getLogger("elsewhere").critical("and this")
        assert node.figures.report().errors == 2
        await node.stop()
        log.error("not that")
        assert node.figures.report().errors == 2

    with_loop(test)


def test_rates_are_of_what_there_is_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that has just begun has no ten seconds; later, the window moves on."""
    now = 100.0
    monkeypatch.setattr("wood.node.figures.time.monotonic", lambda: now)

    async def test() -> None:
        nonlocal now
        exchange = MemoryExchange(INSTRUMENTS)
        node = Node(exchange, SETTINGS, 100)
        await node.start()
        looks: Figures = node.figures
        assert looks.report().command_rate == 0
        exchange.submit(commands())
        await exchange.drain()
        for _ in range(2):
            now += 1
            looks._tick()
        assert looks.report().command_rate == 1.5
        for _ in range(figures.WINDOW):
            now += 1
            looks._tick()
        assert looks.report().command_rate == 0
        assert looks.report().submit_p50 is None
        assert looks.report().commands == 3
        await node.stop()

    with_loop(test)
