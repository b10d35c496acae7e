"""Reading what Redis keeps: entries of the journal, where epochs began, the levels of the books."""

from dataclasses import dataclass
from typing import Any

from msgspec.msgpack import decode

from wood.exchange.cluster.client import Client
from wood.exchange.cluster.formats import Entry, decode_entry
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.membership import State
from wood.exchange.cluster.rows import decode_events
from wood.model.events import Batch, BookSnapshot, LevelChanged, Levels, Snapshot, StateChanged
from wood.model.instruments import Instruments
from wood.model.orders import BUY
from wood.model.orders import State as Trading

PAGE = 200
"""Entries that are read at once."""

SCAN = 1000
"""Levels that are read at once, so that no book makes Redis stand still."""


@dataclass(frozen=True)
class Stored:
    """The books as they stand after an entry, and its place."""

    partition_id: str
    batch: int
    snapshot: Snapshot


class StoredJournal:
    """The journal and the books of the partition of `instruments`, for reading."""

    def __init__(self, client: Client, keys: Keys, instruments: Instruments) -> None:
        self._client = client
        self._keys = keys
        self._symbols = tuple(instruments)
        self.partition = instruments.default.partition

    def batch(self, entry: Entry, answers: bytes | None = None) -> Batch:
        """An entry as readers know it; `answers` are those to its queries, if known."""
        return Batch(
            self.partition,
            entry.epoch,
            entry.writer,
            entry.number,
            entry.first,
            entry.last,
            entry.time,
            decode_events(entry, answers, self._symbols),
        )

    async def after(self, position: str, count: int = PAGE) -> list[Entry]:
        """Up to `count` entries after the one with the id `position`."""
        return await self.since(f"({position}", count)

    async def since(self, start: str, count: int = PAGE) -> list[Entry]:
        """Up to `count` entries from the id `start` on, itself included unless it begins with (."""
        rows = await self._client.xrange(self._keys.journal, start, "+", count)
        return [decode_entry(fields[b"b"]) for _, fields in rows]

    async def continues(self, epoch: int, seq: int) -> bool:
        """Whether event `seq` of `epoch` is in the present history, and all since then in here."""
        epochs = await self.epochs()
        place = [place for place, (each, _, _) in enumerate(epochs) if each == epoch]
        if not place or any(start < seq for _, start, _ in epochs[place[-1] + 1 :]):
            return False
        now = int(await self._client.hget(self._keys.meta, "seq") or 0)
        oldest = await self.since("-", 1)
        return seq <= now and (oldest[0].first <= seq + 1 if oldest else seq == now)

    async def epochs(self) -> list[tuple[int, int, int]]:
        """(epoch, last number and batches before it) of all that are remembered, oldest first."""
        return _epochs(await self._client.lrange(self._keys.epochs, 0, -1))

    async def history(self) -> tuple[list[tuple[int, int, int]], bool]:
        """The same, and whether the last is the present server's own; else it may have lost one.

        Asked in one go, in an order in which an epoch that has begun is in the list.
        """
        async with self._client.pipeline(transaction=False) as questions:
            questions.hget(self._keys.meta, "server")
            questions.info("replication")
            questions.lrange(self._keys.epochs, 0, -1)
            server, info, rows = await questions.execute()
        master = info["role"] == "master"  # a replica has the id of its master
        return _epochs(rows), master and server == info["master_replid"].encode()

    async def snapshot(self, state: State) -> Stored | None:
        """The books as they stand now; `state` is how far the journal was just before.

        The levels are read bit by bit while the market goes on, and what happened meanwhile is
        then read from the journal: it has totals, not differences. None if that has gone.
        """
        found = {symbol: await self._levels(symbol) for symbol in self._symbols}
        halted = await self._halted()
        batch, seq, time, epoch = state.batch, state.seq, state.time, state.epoch
        more = True
        while more:
            entries = await self.after(f"{seq}-{batch}")
            more = len(entries) == PAGE
            for entry in entries:
                if entry.batch != batch + 1:
                    return None
                batch, seq, time, epoch = entry.batch, entry.last, entry.time, entry.epoch
                for event in decode_events(entry, None, self._symbols):
                    if type(event) is LevelChanged:
                        key = -event.price if event.side is BUY else event.price
                        found[event.symbol][key] = event.quantity
                    elif type(event) is StateChanged:
                        halted[event.symbol] = event.state is Trading.HALTED
        books = {symbol: _book(levels) for symbol, levels in found.items()}
        names = frozenset(symbol for symbol, is_halted in halted.items() if is_halted)
        snapshot = Snapshot(self.partition, epoch, seq, time, books, names)
        return Stored(state.partition_id, batch, snapshot)

    async def _halted(self) -> dict[str, bool]:
        fields = [f"halted:{symbol}" for symbol in self._symbols]
        reasons = await self._client.hmget(self._keys.state, fields)
        return {s: why is not None for s, why in zip(self._symbols, reasons, strict=True)}

    async def _levels(self, symbol: str) -> dict[int, int]:
        found: dict[int, int] = {}
        cursor = 0
        while True:
            cursor, page = await self._client.hscan(self._keys.levels(symbol), cursor, count=SCAN)
            found.update((int(key), int(total)) for key, total in page.items())
            if cursor == 0:
                return found


def _epochs(rows: list[bytes]) -> list[tuple[int, int, int]]:
    return [(epoch, seq, batch) for epoch, seq, batch in map(_values, rows)]


def _values(data: bytes) -> list[Any]:
    """MessagePack values that follow each other: three of them, whole numbers."""
    return list(decode(b"\x93" + data))


def _book(levels: dict[int, int]) -> BookSnapshot:
    bids: Levels = []
    asks: Levels = []
    for key in sorted(levels):
        if levels[key]:
            (bids if key < 0 else asks).append((abs(key), levels[key]))
    return BookSnapshot(bids, asks)
