"""The thread of a sink: tries again, groups what waits, holds up nobody, ends when it is told."""

import logging
import threading
import time

import pytest

from tests.alerts import notice
from tests.support import PATIENCE, eventually
from wood.alerts import sender as module
from wood.alerts.log import LogSink
from wood.alerts.outbox import Letter
from wood.alerts.sender import Sender, Sink, Undelivered
from wood.model.log_events import EXTRA, LogEvent


class Friend(Sink):
    """Takes letters, unless it is away or made to wait."""

    name = "a friend"

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.error: Exception | None = None
        self.tries = 0
        self.free = threading.Event()
        self.free.set()

    def deliver(self, letter: Letter) -> None:
        self.tries += 1
        assert self.free.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        self.letters.append(letter)


def started(friend: Friend, wait: float = 0.001) -> Sender:
    sender = Sender(friend, wait=wait)
    sender.start()
    return sender


def end(sender: Sender) -> Letter | None:
    sender.end()
    return sender.ended(PATIENCE)


def test_it_is_delivered_at_once() -> None:
    friend = Friend()
    sender = started(friend)
    sender.tell([notice()])
    eventually(lambda: len(friend.letters) == 1)
    assert end(sender) is None


def test_who_was_away_gets_all_of_it_grouped_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    friend = Friend()
    friend.error = Undelivered("nobody is there")
    sender = started(friend)
    for times in range(1, 6):
        sender.tell([notice(times=times)])
        eventually(lambda before=friend.tries: friend.tries > before + 1)  # type: ignore[misc]
    friend.error = None
    eventually(lambda: len(friend.letters) == 1)
    assert friend.letters[0].notices == [notice(times=5, stands_for=5)]
    assert end(sender) is None
    assert [record.getMessage() for record in caplog.records] == [
        "a friend does not take alerts (nobody is there): what it is to be told waits",
        "a friend takes alerts again: it was told 5",
    ]


def test_a_sink_that_breaks_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    friend = Friend()
    friend.error = KeyError("a fault of the program")
    sender = started(friend)
    sender.tell([notice()])
    eventually(lambda: friend.tries > 2)
    friend.error = None
    eventually(lambda: len(friend.letters) == 1)
    assert end(sender) is None
    assert "KeyError" in caplog.text


def test_one_that_hangs_is_left_alone_and_what_it_was_not_told_is_known() -> None:
    friend = Friend()
    friend.free.clear()
    sender = started(friend)
    sender.tell([notice(id="a")])
    eventually(lambda: friend.tries == 1)
    sender.tell([notice(id="b")])  # does not block
    sender.end()
    began = time.monotonic()
    undelivered = sender.ended(0.05)
    assert time.monotonic() - began < PATIENCE / 2
    assert undelivered is not None
    assert [each.id for each in undelivered.notices] == ["a", "b"]
    friend.free.set()


def test_the_end_tries_once_more_and_waits_for_no_pause() -> None:
    friend = Friend()
    friend.error = Undelivered("away")
    sender = started(friend, wait=1000)
    sender.tell([notice()])
    eventually(lambda: friend.tries == 1)
    friend.error = None
    assert end(sender) is None
    assert len(friend.letters) == 1


def test_the_end_does_not_try_for_ever() -> None:
    friend = Friend()
    friend.error = Undelivered("away")
    sender = started(friend, wait=1000)
    sender.tell([notice()])
    undelivered = end(sender)
    assert undelivered is not None
    assert undelivered.notices == [notice()]


def test_pauses_grow_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.004)
    friend = Friend()
    friend.error = Undelivered("away")
    sender = started(friend, wait=0.001)
    sender.tell([notice()])
    eventually(lambda: friend.tries > 10)
    assert end(sender) is not None


def test_the_log_is_a_sink(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ended = notice(event=LogEvent.ALERT_ENDED, times=3, last=notice().since + 2.5)
    LogSink().deliver(Letter([notice(), ended], {"errors": 7}))
    first, second, third = caplog.records
    assert first.getMessage().startswith("RAISED node-lost n1: n1 is gone (since 2027-01-15 ")
    assert (first.levelname, second.levelname) == ("ERROR", "WARNING")
    assert getattr(second, EXTRA) == {
        "event": "alert.ended",
        "alert": "node-lost",
        "subject": "n1",
        "count": 3,
        "duration_ms": 2500.0,
        "since": 1_800_000_000.0,
        "runbook": "docs/operations.md#node-lost",
    }
    assert third.getMessage() == "7 more notices of errors were left out"
