"""What a client is told that it missed."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tests.engines import INSTRUMENTS, with_loop
from wood.exchange.memory import MemoryExchange
from wood.model.errors import ErrorCode, JournalTrimmed
from wood.model.events import (
    Batch,
    CommandRefused,
    Event,
    LevelChanged,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    SessionOpened,
    Trade,
)
from wood.model.orders import BUY, GTC, SELL
from wood.node.replay import replay
from wood.wire.session_reports import SessionJson

A, B = "alice", "bob"


class Exchange(MemoryExchange):
    """One whose history is written by the test."""

    def __init__(self, batches: list[Batch]) -> None:
        super().__init__(INSTRUMENTS)
        self.asked: tuple[int, str | None] | None = None
        self._batches = batches

    async def events(
        self, after: int, concerning: str | None = None
    ) -> AsyncGenerator[Batch, None]:
        self.asked = after, concerning
        for batch in self._batches:
            if batch.last > after:
                yield batch


def accepted(seq: int, who: str) -> OrderAccepted:
    return OrderAccepted(seq, who, "s", "WOOD", seq, BUY, 5, 10, GTC, False)


def opened(seq: int, last_seq: int | None) -> SessionOpened:
    return SessionOpened(seq, A, "s", "~x", False, last_seq, True, None)


def batch(number: int, first: int, last: int, *events: Event) -> Batch:
    return Batch("main", 1, "w", number, first, last, number * 10**6, list(events))


HISTORY = [
    batch(1, 1, 3, accepted(1, A), LevelChanged(2, "WOOD", BUY, 5, 10), accepted(3, B)),
    batch(
        2,
        4,
        7,
        Trade(4, "WOOD", 5, 1, SELL, A, 1, 9, A, 2, 3),
        Trade(6, "WOOD", 5, 1, SELL, B, 1, 9, A, 2, 2),
        CommandRefused(A, "s", ErrorCode.INVALID, "x", None, None),
    ),
    batch(3, 8, 7),
    batch(
        4,
        8,
        12,
        OrderCanceled(8, A, "WOOD", 1, 9),
        OrderCanceled(9, B, "WOOD", 1, 9),
        OrderAmended(10, A, "WOOD", 2, 5, 2),
        opened(11, None),
        accepted(12, A),
    ),
    batch(5, 13, 13, opened(13, 11)),
    batch(6, 14, 14, accepted(14, A)),
]

EVERYTHING = [1, 4, 5, 7, 8, 10]
"""alice's numbers up to her login, which has 11."""


def told(login: SessionOpened, history: list[Batch] = HISTORY) -> list[Any]:
    found: list[list[bytes]] = []

    async def test() -> None:
        exchange = Exchange(history)
        found.extend(
            [
                lines
                async for lines in replay(
                    exchange, A, login.last_seq or 0, login.seq, SessionJson(INSTRUMENTS)
                )
            ]
        )
        assert exchange.asked == (login.last_seq or 0, A)

    with_loop(test)
    assert all(found), "nothing empty is sent"
    return [json.loads(line) for lines in found for line in lines]


@pytest.mark.parametrize("last_seq", range(12))
def test_everything_after_what_it_saw(last_seq: int) -> None:
    reports = told(opened(11, last_seq))
    assert [report["seq"] for report in reports] == [n for n in EVERYTHING if n > last_seq]


def test_from_the_beginning() -> None:
    reports = told(opened(11, None))
    assert [report["report"] for report in reports] == [
        *("NEW", "FILL", "FILL", "FILL"),
        *("CANCELED", "AMENDED"),
    ]
    assert [report["leaves"] for report in reports] == [10, 9, 3, 2, 0, 2]
    assert [report.get("trade") for report in reports] == [None, 4, 4, 6, None, None]
    assert [report["time"] for report in reports] == [1, 2, 2, 2, 4, 4]


def test_a_login_with_nothing_else_in_its_batch_and_much_after_it() -> None:
    assert [report["seq"] for report in told(opened(13, 11))] == [12]


def test_a_journal_that_ends_too_early() -> None:
    with pytest.raises(JournalTrimmed):
        told(opened(99, 0))
    with pytest.raises(JournalTrimmed):
        told(opened(11, 0), [])


def test_up_to_a_number_that_does_not_concern_the_participant() -> None:
    """What comes last may be somebody else's, and is not read then."""

    async def test() -> None:
        for at_login in (False, True):
            told = replay(Exchange(HISTORY), A, 11, 99, SessionJson(INSTRUMENTS), at_login=at_login)
            if at_login:
                with pytest.raises(JournalTrimmed):
                    [lines async for lines in told]
            else:
                assert len([lines async for lines in told]) == 2

    with_loop(test)
