"""A node's reading of the journal, without Redis."""

import asyncio
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

    def __init__(self) -> None:
        self.asked, self.go = asyncio.Event(), asyncio.Event()
        self.at = 10

    async def snapshot(self, state: State) -> Stored:
        self.asked.set()
        await self.go.wait()
        return Stored("id", self.at, Snapshot("main", EPOCH, self.at, 0, {}))

    def batch(self, entry: Entry, answers: bytes | None) -> Batch:
        return Batch("main", entry.epoch, "w", 1, entry.first, entry.last, 0, [])


class Target:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    async def state(self) -> State:
        return State("w", True, "id", EPOCH, 10, 10, 0, False)

    def apply(self, batch: Batch) -> None:
        self.told.append(("apply", batch.last))

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
