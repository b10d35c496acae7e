"""Who is asked again and again, and what becomes of one who does not answer."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from tests.engines import with_loop
from tests.support import PATIENCE
from wood.alerts.sources import FRESH, Source, disk, end, in_thread


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


Ask = Callable[[], Awaitable[int]]


def asked(ask: Ask, check: Callable[[Source[int], Clock], Awaitable[None]]) -> None:
    """Run `check` once `ask` was asked for the first time."""

    async def test() -> None:
        clock = Clock()
        source = Source(ask, 0.001, clock)
        task = asyncio.create_task(source.run())
        await check(source, clock)
        await end([task])

    with_loop(test)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0)


def test_an_answer_counts_until_the_next() -> None:
    said: list[int] = []

    async def ask() -> int:
        said.append(len(said))
        return said[-1]

    async def check(source: Source[int], clock: Clock) -> None:
        assert (source.state().answer, source.state().reason) == (None, "no answer")
        await until(lambda: source.state().answer == 3)
        assert source.answers_since == 1000

    asked(ask, check)


def test_who_fails_has_no_answer_and_it_is_known_since_when_and_why() -> None:
    error: list[Exception] = []

    async def ask() -> int:
        if error:
            raise error[0]
        return 7

    async def check(source: Source[int], clock: Clock) -> None:
        await until(lambda: source.state().answer == 7)
        clock.now += 1
        await until(lambda: source.state().since == 1001)
        error.append(OSError("away\x1b"))
        await until(lambda: source.state().answer is None)
        clock.now += 5
        assert (source.state().since, source.state().reason) == (1001, "away\\x1b")
        assert source.answers_since is None
        error[0] = KeyError()
        await until(lambda: source.state().reason == "KeyError")
        clock.now += 1
        error.clear()
        await until(lambda: source.state().answer == 7)
        assert source.answers_since == 1007

    asked(ask, check)


def test_an_answer_is_no_answer_when_it_is_old() -> None:
    asked_twice = asyncio.Event()

    async def ask() -> int:
        if not asked_twice.is_set():
            asked_twice.set()
            return 7
        await asyncio.Event().wait()  # as a disk on another machine may
        return 8

    async def check(source: Source[int], clock: Clock) -> None:
        await until(lambda: source.state().answer == 7)
        clock.now += FRESH
        assert source.state().answer == 7
        clock.now += 1
        assert (source.state().answer, source.state().since) == (None, 1000)

    asked(ask, check)


def test_a_call_that_blocks_does_not_block_the_loop() -> None:
    free = threading.Event()

    async def test() -> None:
        waiting = asyncio.create_task(in_thread(lambda: free.wait(PATIENCE)))
        await asyncio.sleep(0)
        free.set()
        assert await waiting
        with pytest.raises(OSError, match="No such file"):
            await in_thread(lambda: disk("/no/such/path"))

    with_loop(test)


def test_a_call_that_nobody_waits_for_any_more_is_left() -> None:
    free, done = threading.Event(), threading.Event()

    def call() -> None:
        assert free.wait(PATIENCE)
        done.set()

    async def test() -> None:
        waiting = asyncio.create_task(in_thread(call))
        await asyncio.sleep(0)
        await end([waiting])

    with_loop(test)
    free.set()
    assert done.wait(PATIENCE)


def test_a_task_that_loses_a_cancellation_is_cancelled_again() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    async def test() -> None:
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        await end([task])
        assert task.done()

    with_loop(test)
