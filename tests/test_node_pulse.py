"""When a line is idle and when a client is silent, by a clock of the test's own."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from wood.node.pulse import GLANCE, Pulse


class Timer:
    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at, self.call = at, call
        self.canceled = False

    def cancel(self) -> None:
        self.canceled = True


class Loop:
    """An event loop of one timer, whose time goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timer: Timer | None = None

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, call: Callable[[], None]) -> Timer:
        assert self.timer is None
        self.timer = Timer(at, call)
        return self.timer

    def go_on(self, seconds: float) -> None:
        """Let time pass, and call each timer when it is due."""
        end = self.now + seconds
        while self.timer and not self.timer.canceled and self.timer.at <= end:
            self.now = max(self.now, self.timer.at)
            self._ring()
        self.now = end

    def stand_still(self, seconds: float) -> None:
        """The process is stopped; when it goes on, it calls what has become due first."""
        self.now += seconds
        if self.timer and not self.timer.canceled and self.timer.at <= self.now:
            self._ring()

    def _ring(self) -> None:
        timer, self.timer = self.timer, None
        assert timer is not None
        timer.call()


class Line:
    """A client that wants a heartbeat every ten seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = Loop()
        found: Any = self.loop
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: found)
        self.reading = True
        self.beats: list[float] = []
        self.silent: list[float] = []
        self.pulse = Pulse(
            10.0,
            lambda: self.reading,
            lambda: self.beats.append(self.loop.now - 100),
            lambda: self.silent.append(self.loop.now - 100),
        )


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    return Line(monkeypatch)


def test_an_idle_line_gets_one_each_interval(line: Line) -> None:
    for _ in range(7):
        line.loop.go_on(5)
        line.pulse.heard()
    assert line.beats == [10, 20, 30]
    assert not line.silent


def test_what_is_said_makes_them_superfluous(line: Line) -> None:
    for _ in range(7):
        line.loop.go_on(5)
        line.pulse.heard()
        line.pulse.said()
    line.loop.go_on(9)
    assert line.beats == []
    line.loop.go_on(1)
    assert line.beats == [45]


def test_silent_for_two(line: Line) -> None:
    line.loop.go_on(15)
    line.pulse.heard()
    line.loop.go_on(19.9)
    assert not line.silent
    line.loop.go_on(5)
    assert line.silent == pytest.approx([35 + GLANCE])
    assert line.loop.timer is None, "and nothing more happens"


def test_what_is_said_to_it_does_not_make_it_less_silent(line: Line) -> None:
    for _ in range(5):
        line.loop.go_on(5)
        line.pulse.said()
    assert line.silent == pytest.approx([20 + GLANCE])


def test_the_clock_stands_still_while_the_server_does_not_read(line: Line) -> None:
    line.reading = False
    line.loop.go_on(95)
    assert not line.silent
    line.reading = True
    line.pulse.heard()
    line.loop.go_on(19)
    assert not line.silent
    line.loop.go_on(2)
    assert line.silent == pytest.approx([115 + GLANCE])


@pytest.mark.parametrize("seconds", [3, 10, 17, 20, 21, 24.9, 60])
def test_or_was_stopped_itself(line: Line, seconds: float) -> None:
    """However long: what the client said meanwhile is read before it is judged."""
    line.loop.stand_still(seconds)
    line.loop.go_on(GLANCE / 2)
    line.pulse.heard()
    line.loop.go_on(19)
    assert not line.silent
    line.loop.go_on(2)
    assert len(line.silent) == 1


def test_one_that_was_silent_before_the_stop_too_is_closed_later(line: Line) -> None:
    line.loop.go_on(19)
    line.loop.stand_still(60)
    line.loop.go_on(21)
    assert line.silent == pytest.approx([99 + GLANCE])


def test_the_end(line: Line) -> None:
    line.pulse.stop()
    line.loop.go_on(100)
    assert (line.beats, line.silent) == ([], [])
