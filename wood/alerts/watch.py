"""The watch: asks everybody, judges what they say, and has those told who are to know."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from wood.alerts.book import AlertBook
from wood.alerts.conditions import (
    Condition,
    DiskNearlyFull,
    JournalStalled,
    NodeLost,
    RedisUnreachable,
)
from wood.alerts.faults import Errors, RedisNotWriting
from wood.alerts.forks import JournalForked
from wood.alerts.look import DiskSeen, Look
from wood.alerts.notices import Finding, Notice
from wood.alerts.readers import ReaderBehind
from wood.alerts.redis_watch import RedisWatch
from wood.alerts.sources import DISK_INTERVAL, Source, disk, end, in_thread
from wood.alerts.thresholds import Thresholds
from wood.model.node_report import NodeReport
from wood.monitor.nodes import ask_node

log = logging.getLogger("wood.alerts")

Target = tuple[str, int]


class SteadyClock:
    """Seconds since the epoch that nobody sets back: what is told may be off, what lasts is not."""

    def __init__(self) -> None:
        self._start = time.time() - time.monotonic()

    def __call__(self) -> float:
        """The time."""
        return self._start + time.monotonic()


def conditions(thresholds: Thresholds, *, at_once: bool = False) -> list[Condition]:
    """All that can be wrong."""
    return [
        RedisUnreachable(thresholds),
        NodeLost(thresholds),
        JournalStalled(thresholds),
        JournalForked(thresholds),
        RedisNotWriting(thresholds),
        ReaderBehind(thresholds, at_once=at_once),
        Errors(thresholds),
        DiskNearlyFull(thresholds),
    ]


class Watch:
    """Everything that is watched: Redis or not, nodes by their health ports, paths of disks."""

    def __init__(
        self,
        *,
        redis: str | None,
        prefix: str,
        nodes: Sequence[Target],
        disks: Sequence[str],
        interval: float,
        thresholds: Thresholds,
    ) -> None:
        """Raises `ConfigError` for a URL that cannot be one."""
        self.clock = SteadyClock()
        self.interval = interval
        self.no_book = f"there is no book under the prefix {prefix!r}"
        """What is to be said where Redis answers, and has nothing."""
        self._redis = None
        if redis is not None:
            away = thresholds.redis_away
            self._redis = RedisWatch(redis, prefix, interval, self.clock, away)
        self._nodes: Mapping[str, Source[NodeReport]] = {
            f"{host}:{port}": Source(
                partial(ask_node, host, port), interval, self.clock, thresholds.node_silent
            )
            for host, port in nodes
        }
        self._disks: Mapping[str, Source[DiskSeen]] = {
            path: Source(partial(in_thread, partial(disk, path)), DISK_INTERVAL, self.clock)
            for path in disks
        }
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, patience: float) -> None:
        """Begin to ask, and wait until each has answered once, or has not for `patience`."""
        sources: list[Source[Any]] = [*self._nodes.values(), *self._disks.values()]
        first: list[Coroutine[Any, Any, Any]] = [source.tried.wait() for source in sources]
        running = [source.run() for source in sources]
        if self._redis is not None:
            first.append(self._redis.tried(patience))
            running.append(self._redis.source.run())
        self._tasks = [asyncio.create_task(run) for run in running]
        with suppress(TimeoutError):
            async with asyncio.timeout(patience + self.interval):
                await asyncio.gather(*first)

    def look(self) -> Look:
        """How everything is now."""
        return Look(
            self.clock(),
            None if self._redis is None else self._redis.state(),
            {target: source.state() for target, source in self._nodes.items()},
            {path: source.state() for path, source in self._disks.items()},
        )

    @property
    def unseen(self) -> list[str]:
        """What cannot be noticed with what is watched, for the operator to know."""
        found = []
        if self._redis is None:
            found.append(
                "without --redis: a node that died and was not named with --health, readers, "
                "and what Redis says of itself"
            )
        if not self._nodes:
            found.append("without --health: what nodes cannot tell while Redis is away")
        if not self._disks:
            found.append("without --disk: how full the disk of the append-only file is")
        return found

    async def close(self) -> None:
        """Ask nobody any more."""
        await end(self._tasks)
        if self._redis is not None:
            await self._redis.close()


class Judge:
    """Makes of looks what is to be told."""

    def __init__(self, judged: Iterable[Condition], book: AlertBook) -> None:
        self._conditions = list(judged)
        self.book = book

    def judge(self, look: Look) -> list[Notice]:
        """What is to be told after this look."""
        findings: list[Finding] = []
        for condition in self._conditions:
            try:
                findings += condition.judge(look)
            except Exception:  # a fault in one must not silence the others
                log.exception("%s cannot be judged", type(condition).__name__)
        return self.book.observe(findings, look.now, look.blind)
