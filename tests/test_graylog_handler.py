import fcntl
import logging
import os
import signal
import sys
import termios
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gelf_receiver import HOST, GelfReceiver, certified, needs_gelf
from tests.support import PATIENCE, eventually, free_port
from tests.tls import Office
from wood.graylog import child
from wood.graylog import handler as handlers
from wood.graylog.address import Address
from wood.graylog.handler import start_log_sender
from wood.graylog.log_sender import MOST
from wood.model.errors import ConfigError
from wood.model.log_events import LogEvent, told

Start = Callable[..., GelfReceiver]


class Sending:
    """A log of its own that goes to Graylog only."""

    def __init__(self, address: Address) -> None:
        self.handler = start_log_sender(address, "node-1")
        self.log = logging.Logger("wood.test")
        self.log.addHandler(self.handler)

    def info(self, number: int, text: str = "Redis answers again") -> None:
        self.log.info(text, extra=told(LogEvent.REDIS_BACK, count=number))

    def until_read(self) -> None:
        """Wait until the process that sends has taken all that it was handed."""
        here = self.handler._sender._here.fileno()
        unread = array("i", [0])

        def nothing_waits() -> bool:
            fcntl.ioctl(here, termios.TIOCOUTQ, unread)
            return unread[0] == 0

        eventually(nothing_waits, "everything read")

    @property
    def child(self) -> int:
        """The process that sends."""
        eventually(lambda: self.handler.process is not None, "a process that sends")
        process = self.handler.process
        assert process is not None
        return process


@pytest.fixture
def sending() -> Iterator[Callable[[Address], Sending]]:
    started: list[Sending] = []

    def start(address: Address) -> Sending:
        started.append(Sending(address))
        return started[-1]

    yield start
    for each in started:
        each.handler.close()


Send = Callable[[Address], Sending]


def nowhere() -> Address:
    return Address("tcp", HOST, free_port())


def dropped(messages: list[dict[str, Any]]) -> int:
    """How many are told to be missing."""
    return sum(m["_count"] for m in messages if m["_event"] == "records.dropped")


def arrived(messages: list[dict[str, Any]]) -> set[int]:
    """Which of those that a test numbered have come."""
    return {m["_count"] for m in messages if m["_event"] == "redis.back"}


@needs_gelf
@pytest.mark.parametrize("scheme", ["udp", "tcp"])
def test_a_record_arrives_with_its_fields(start_gelf: Start, sending: Send, scheme: str) -> None:
    receiver = start_gelf(scheme)
    sender = sending(receiver.address())
    fields = told(LogEvent.SESSION_CLOSED, session="1-1", duration_ms=1.5, client="[::1]:5")
    before = time.time()
    sender.log.info("session %s closed", "1-1", extra=fields)
    (message,) = receiver.until(1)
    assert before <= message.pop("timestamp") <= time.time()
    assert message == {
        "version": "1.1",
        "host": "node-1",
        "short_message": "session 1-1 closed",
        "level": 6,
        "_log": "nodes",
        "_node": "node-1",
        "_event": "session.closed",
        "_session": "1-1",
        "_duration_ms": 1.5,
        "_client": "[::1]:5",
    }


@needs_gelf
def test_what_has_no_event_is_sent_if_it_is_a_warning_or_worse(
    start_gelf: Start, sending: Send
) -> None:
    receiver = start_gelf()
    sender = sending(receiver.address())
    sender.log.info("a line")
    sender.log.warning("a warning")
    try:
        raise ValueError("what went wrong")
    except ValueError:
        sender.log.exception("an error")
    warning, error = receiver.until(2)
    assert (warning["short_message"], warning["_event"]) == ("a warning", "error")
    assert (error["short_message"], error["_event"], error["level"]) == ("an error", "error", 3)
    assert error["full_message"].startswith("Traceback")
    assert "ValueError: what went wrong" in error["full_message"]


@needs_gelf
def test_close_sends_what_is_on_its_way(start_gelf: Start, sending: Send) -> None:
    receiver = start_gelf()
    sender = sending(receiver.address())
    for number in range(100):
        sender.info(number)
    sender.handler.close()
    assert [message["_count"] for message in receiver.messages()] == list(range(100))
    sender.handler.close()  # twice is no mistake
    sender.info(100)  # nor is a line after the end


@needs_gelf
@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_a_receiver_that_is_killed_and_started_again_gets_all(
    start_gelf: Start, sending: Send, tmp_path: Path, scheme: str
) -> None:
    certificates, options = certified(scheme, Office(tmp_path))
    receiver = start_gelf(scheme, *certificates)
    sender = sending(receiver.address(**options))
    for number in range(5):
        for each in range(100):
            sender.info(100 * number + each)
        eventually(lambda: receiver.count() > 0, "something that has come")
        receiver.kill()
        for each in range(100):
            sender.info(100 * number + each)
        receiver.start()
    sender.handler.close()
    assert {message["_count"] for message in receiver.messages()} == set(range(500))


@needs_gelf
def test_while_the_receiver_stands_still_nobody_waits(start_gelf: Start, sending: Send) -> None:
    receiver = start_gelf()
    sender = sending(receiver.address())
    sender.info(0)
    receiver.until(1)
    receiver.freeze()
    begun = time.monotonic()
    for number in range(1, 1_001):
        sender.info(number, "x" * 1_000)
    assert time.monotonic() - begun < 1
    receiver.go_on()
    sender.handler.close()
    assert len(arrived(receiver.messages())) + dropped(receiver.messages()) == 1_001


@needs_gelf
def test_what_does_not_fit_between_the_processes_is_counted_and_told(
    start_gelf: Start, sending: Send
) -> None:
    receiver = start_gelf()
    sender = sending(receiver.address())
    sender.info(0)
    receiver.until(1)
    os.kill(sender.child, signal.SIGSTOP)
    for number in range(1, 5_000):
        sender.info(number)
    lost = sender.handler.dropped
    assert lost > 1_000
    os.kill(sender.child, signal.SIGCONT)
    eventually(lambda: sender.handler.dropped == 0, "room, though nothing else is told")
    sender.handler.close()
    messages = receiver.messages()
    assert dropped(messages) == lost
    assert arrived(messages) == set(range(5_000 - lost)), "the latest ones are dropped"
    told_so = next(m for m in messages if m["_event"] == "records.dropped")
    assert told_so["short_message"] == f"{told_so['_count']} records could not be sent to Graylog"
    assert told_so["level"] == 4


@needs_gelf
def test_what_does_not_fit_while_the_receiver_is_away_is_counted_and_told(
    start_gelf: Start, sending: Send
) -> None:
    receiver = start_gelf()
    sender = sending(receiver.address())
    sender.info(0)
    receiver.until(1)
    receiver.kill()
    many = MOST + 2_000
    for number in range(1, many):
        sender.info(number)
    sender.until_read()
    receiver.start()
    eventually(lambda: dropped(receiver.messages()) > 0, "what was dropped, told")
    sender.handler.close()
    messages = receiver.messages()
    assert len(arrived(messages)) + dropped(messages) == many
    assert len(arrived(messages)) <= MOST + 1


def test_nothing_is_waited_for_or_raised_when_nobody_reads(sending: Send) -> None:
    sender = sending(nowhere())
    os.kill(sender.child, signal.SIGSTOP)
    longest = 0.0
    for number in range(20_000):
        begun = time.perf_counter()
        sender.info(number)
        longest = max(longest, time.perf_counter() - begun)
    assert sender.handler.dropped > 10_000
    assert longest < 0.5, "a machine may be busy; who waits waits for ever"
    os.kill(sender.child, signal.SIGKILL)


@needs_gelf
def test_a_process_that_dies_is_started_again(
    start_gelf: Start, sending: Send, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = start_gelf()
    sender = sending(receiver.address())
    sender.info(0)
    receiver.until(1)
    child = sender.child
    os.kill(child, signal.SIGKILL)
    for number in range(1, 11):  # they wait for the next one
        sender.info(number)
    eventually(lambda: sender.child != child, "another process")
    assert {m["_count"] for m in receiver.until(11)} == set(range(11))
    assert "what sends to Graylog ended (exit code -9); it is started again" in caplog.text


@needs_gelf
def test_a_process_that_cannot_be_started_is_tried_again(
    start_gelf: Start, sending: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = start_gelf()
    tries = [OSError("no memory"), OSError("no memory")]

    def fail(*arguments: Any, **more: Any) -> Any:
        if tries:
            raise tries.pop()
        return child.start(*arguments, **more)

    monkeypatch.setattr(handlers, "start", fail)
    sender = sending(receiver.address())
    sender.info(1)
    assert receiver.until(1)[0]["_count"] == 1
    assert not tries


@needs_gelf
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_stop_are_not_meant_for_it(
    start_gelf: Start, sending: Send, number: signal.Signals
) -> None:
    receiver = start_gelf()
    sender = sending(receiver.address())
    sender.info(0)
    receiver.until(1)
    child = sender.child
    assert os.getpgid(child) != os.getpgid(0), "nor Ctrl-C"
    os.kill(child, number)
    sender.info(1)
    receiver.until(2)
    assert sender.child == child


@needs_gelf
def test_it_ends_with_the_process_that_started_it(start_gelf: Start, tmp_path: Path) -> None:
    receiver = start_gelf()
    program = f"""
import logging, os, signal
from wood.graylog import child
from wood.graylog import handler as handlers
from wood.graylog.address import Address
from wood.graylog.handler import start_log_sender
handler = start_log_sender(Address.parse({receiver.url()!r}), "node-1")
log = logging.Logger("it")
log.addHandler(handler)
while handler.process is None:
    pass
log.warning("%d", handler.process)
os.kill(os.getpid(), signal.SIGKILL)
"""
    os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", program])
    (message,) = receiver.until(1)
    child = int(message["short_message"])
    eventually(lambda: not Path(f"/proc/{child}").exists(), "the end of the process")


@needs_gelf
def test_anything_can_be_logged(start_gelf: Start, sending: Send) -> None:
    receiver = start_gelf()
    sender = sending(receiver.address())
    log = sender.log
    log.warning("%d", "no number")
    log.warning("odd", extra={"told": 3})
    assert sender.handler.dropped == 2
    log.warning("\ud800 alone", extra=told(LogEvent.REDIS_BACK, client="\udcff"))
    log.warning("a number", extra=told(LogEvent.REDIS_BACK, count=2**70))
    log.warning("x" * 5_000_000, extra=told(LogEvent.REDIS_BACK, client="y" * 5_000_000))
    log.warning("none", exc_info=(None, None, None))
    log.warning("odd", extra={"told": {"event": "e", "a": object(), "b": True, "c": [1]}})
    lost, alone, number, long, none, odd = receiver.until(6)
    assert lost["_count"] == 2
    assert (alone["short_message"], alone["_client"]) == (r"\ud800 alone", r"\udcff")
    assert number["_count"] == str(2**70)
    assert len(long["short_message"]) > len(long["_client"]) > 1_000
    assert none["_event"] == "error"
    assert (odd["_b"], odd["_c"]) == ("True", "[1]")


@needs_gelf
def test_from_any_thread(start_gelf: Start, sending: Send) -> None:
    receiver = start_gelf()
    sender = sending(receiver.address())

    def some(start: int) -> None:
        for number in range(start, start + 200):
            sender.info(number)

    threads = [threading.Thread(target=some, args=(200 * number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sender.handler.close()
    assert len(arrived(receiver.messages())) + dropped(receiver.messages()) == 1_000


def test_close_does_not_wait_for_a_receiver_that_is_away(sending: Send) -> None:
    sender = sending(nowhere())
    sender.info(0)
    begun = time.monotonic()
    sender.handler.close()
    assert time.monotonic() - begun < PATIENCE / 2


@needs_gelf
def test_what_graylog_is_told_in_another_way_is_not_sent(start_gelf: Start, sending: Send) -> None:
    receiver = start_gelf()
    sender = sending(receiver.address())
    here = logging.Logger(handlers.HERE_ONLY)
    here.addHandler(sender.handler)
    here.warning("main: 3 events after number 5 were not told")
    sender.info(1)
    sender.handler.close()
    [message] = receiver.messages()
    assert message["_count"] == 1


def test_close_waits_only_for_what_is_left_of_the_time(
    sending: Send, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handlers, "FLUSHING", 10 * PATIENCE)
    monkeypatch.setattr(handlers, "LEAST", 0.1)
    sender = sending(nowhere())
    os.kill(sender.child, signal.SIGSTOP)
    sender.handler.waited(20 * PATIENCE)
    begun = time.monotonic()
    sender.handler.close()
    assert time.monotonic() - begun < PATIENCE
    assert "what was logged last may not have arrived in Graylog" in caplog.text


def test_files_of_no_use_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    address = Address.parse(f"tls://{HOST}?ca={tmp_path / 'ca.pem'}")
    with pytest.raises(ConfigError, match=r"cannot use"):
        start_log_sender(address, "node-1")
