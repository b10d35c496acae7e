"""A node's reading of the journal, without Redis."""

import asyncio
from collections.abc import Callable
from typing import Any

from msgspec import Raw
from msgspec.msgpack import encode

from tests.engines import with_loop
from wood.exchange.cluster.follower import Follower
from wood.exchange.cluster.formats import Entry
from wood.exchange.cluster.journal import Stored
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.membership import State
from wood.model.events import Batch, Snapshot

EPOCH = 7


def entry(batch: int) -> Entry:
    nothing = Raw(encode([]))
    return Entry(EPOCH, batch, "w", batch, 0, batch, batch, 0, nothing, nothing)


class Journal:
    """Takes its time for a snapshot."""

    partition = "main"

    def __init__(self) -> None:
        self.asked, self.go = asyncio.Event(), asyncio.Event()
        self.at = 10
        self.broken = False
        self.heal: Callable[[], None] = lambda: None

    async def snapshot(self, state: State) -> Stored:
        self.asked.set()
        await self.go.wait()
        if self.broken:
            self.broken = False
            self.heal()
            raise ConnectionError("gone")
        return Stored("id", self.at, Snapshot("main", EPOCH, self.at, 0, {}))

    def batch(self, entry: Entry, answers: bytes | None) -> Batch:
        return Batch("main", entry.epoch, "w", 1, entry.first, entry.last, 0, [])


class Target:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.partition_id = "id"

    async def state(self) -> State:
        return State("w", True, self.partition_id, EPOCH, 10, 10, 0, False)

    def apply(self, batch: Batch) -> None:
        self.told.append(("apply", batch.last))

    async def stop_sending(self, forked: bool) -> None:
        self.told.append(("stop", 0))

    def reset(self, snapshot: Snapshot) -> None:
        self.told.append(("reset", snapshot.seq))


def test_nothing_is_told_while_a_snapshot_is_taken() -> None:
    """It would be told again after it, and subscribers would see the numbers go down."""

    async def test() -> None:
        journal: Any = Journal()
        target: Any = Target()
        follower = Follower(None, Keys("p"), journal, target)
        journal.go.set()
        await follower.begin()
        follower.offer(entry(11))
        journal.go.clear()
        journal.asked.clear()
        journal.at = 12
        again = asyncio.create_task(follower.begin())
        await journal.asked.wait()
        for number in (12, 13, 14):
            follower.offer(entry(number))
        journal.go.set()
        await again
        for number in (13, 14):
            follower.offer(entry(number))
        assert target.told == [
            ("reset", 10),
            ("apply", 11),
            ("reset", 12),
            ("apply", 13),
            ("apply", 14),
        ]

    with_loop(test)


def test_a_snapshot_that_could_not_be_taken_is_taken_again() -> None:
    """Though by then nothing seems to be missing: those who send were stopped already."""

    async def test() -> None:
        journal: Any = Journal()
        target: Any = Target()
        follower = Follower(None, Keys("p"), journal, target)
        journal.go.set()
        await follower.begin()
        journal.broken = True
        journal.heal = lambda: setattr(target, "partition_id", "id")
        target.partition_id = "another"
        follower.behind()
        keeping = asyncio.create_task(follower.keep_up())
        while len(target.told) < 4:
            await asyncio.sleep(0)
        follower.offer(entry(11))
        keeping.cancel()
        await asyncio.wait([keeping])
        assert target.told == [
            ("reset", 10),
            ("stop", 0),
            ("stop", 0),
            ("reset", 10),
            ("apply", 11),
        ]

    with_loop(test)
