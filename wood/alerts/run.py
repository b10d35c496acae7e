"""`wood alert` from its start to its end."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress

from msgspec.structs import replace

from wood.alerts.book import AlertBook
from wood.alerts.look import Look
from wood.alerts.notices import line, title
from wood.alerts.sender import Sender, Sink
from wood.alerts.thresholds import Thresholds
from wood.alerts.watch import Judge, Watch, conditions
from wood.model.text import printable
from wood.tools.signals import stop_signal

log = logging.getLogger("wood.alerts")

DELIVERING = 5.0
"""Seconds in which what waits is delivered, or given up, at the end."""

FIRST_ANSWERS = 5.0
"""Seconds that all have for a first answer, before what they say or do not say is judged."""

SLACK = 0.5
"""Seconds more than a threshold, so that what lasts so long has been seen to."""

NAMED = 20
"""Notices that are named one by one when they could not be delivered."""


async def watch_over(
    watch: Watch,
    thresholds: Thresholds,
    sinks: Sequence[Sink],
    *,
    calm: float,
    repeat: float,
) -> None:
    """Watch, and have alerts told, until SIGTERM or Ctrl-C."""
    senders = [Sender(sink) for sink in sinks]
    judge = Judge(conditions(thresholds), AlertBook(calm=calm, repeat=repeat))
    reminder = NoBook(repeat)
    with stop_signal() as stop:
        for sender in senders:
            sender.start()
        log.info("alerts are told to %s", ", ".join(printable(sender.name) for sender in senders))
        for text in watch.unseen:
            log.warning("not watched, %s", text)
        try:
            await _unless(stop, watch.start(FIRST_ANSWERS))
            while not stop.is_set():
                look = watch.look()
                if reminder.due(look):
                    log.warning(
                        "%s: nothing is watched there (is it the right prefix, and database?)",
                        watch.no_book,
                    )
                notices = judge.judge(look)
                for sender in senders:
                    sender.tell(notices)
                with suppress(TimeoutError):
                    async with asyncio.timeout(watch.interval):
                        await stop.wait()
        finally:
            await watch.close()
    deliver_rest(senders, DELIVERING)
    log.info("stopped; %d alerts had not ended", len(judge.book.raised))


async def _unless(stop: asyncio.Event, begin: Coroutine[None, None, None]) -> None:
    """Do it, or leave it when the order to stop comes first."""
    tasks = [asyncio.create_task(begin), asyncio.create_task(stop.wait())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


def deliver_rest(senders: Sequence[Sender], seconds: float) -> None:
    """Deliver what waits, all at the same time, and say what could not be."""
    end = time.monotonic() + seconds
    for sender in senders:
        sender.end()
    for sender in senders:
        letter = sender.ended(end - time.monotonic())
        if letter is None:
            continue
        names = [title(notice) for notice in letter.notices[:NAMED]]
        more = letter.count - len(names)
        log.error(
            "%s was not told: %s%s",
            sender.name,
            ", ".join(names),
            f" and {more} notices more" if more > 0 else "",
        )


class NoBook:
    """When to say that Redis has no book: once it is so, and again every `repeat` seconds."""

    def __init__(self, repeat: float) -> None:
        self._repeat = repeat
        self._told: float | None = None

    def due(self, look: Look) -> bool:
        """Whether to say so now."""
        if not look.no_book:
            if look.partitions:
                self._told = None
            return False
        if self._told is not None and not 0 < self._repeat <= look.now - self._told:
            return False
        self._told = look.now
        return True


async def wrong_now(watch: Watch, thresholds: Thresholds) -> list[str]:
    """What is wrong at present, a line each, as far as two looks can tell."""
    now = replace(thresholds, redis_away=0.0, node_silent=0.0)
    judge = Judge(conditions(now, at_once=True), AlertBook(calm=0.0, repeat=0.0))
    try:
        await watch.start(thresholds.stalled + SLACK)
        judge.judge(watch.look())
        await asyncio.sleep(watch.interval)
        last = watch.look()
        judge.judge(last)
    finally:
        await watch.close()
    return [line(notice) for notice in judge.book.raised] + [watch.no_book] * last.no_book
