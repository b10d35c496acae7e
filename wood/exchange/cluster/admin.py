"""What an operator does to a partition from outside: clear it, or write out its journal."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable

from wood.exchange.cluster.client import check_server, connect
from wood.exchange.cluster.journal import StoredJournal
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.layout import Layout
from wood.exchange.cluster.membership import ASK_AGAIN
from wood.exchange.cluster.rules import instruments_in, symbols_in
from wood.exchange.cluster.scripts import RESET
from wood.model.errors import ConfigError, JournalTrimmed
from wood.model.events import Batch
from wood.model.instruments import PARTITION


async def partitions(url: str, prefix: str) -> dict[str, "Partition"]:
    """All partitions that there are, by name; close each. Raises `ConfigError`."""
    layout = Layout(url, prefix)
    try:
        tags = await layout.tags()
    finally:
        await layout.close()
    found: dict[str, Partition] = {}
    try:
        for name, tag in tags.items():
            partition = Partition(url, prefix, tag)
            if await partition.resting() is not None:
                found[name] = partition
            else:
                await partition.close()
    except BaseException:
        for partition in found.values():
            await partition.close()
        raise
    return found


class Progress:
    """How far all partitions are together, asked again and again. Close it in the end."""

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._prefix = prefix
        self._layout = Layout(url, prefix)
        self._partitions: dict[str, Partition] = {}

    async def ask(self) -> tuple[int, int] | None:
        """How many events there were, and how many orders are open; None without a partition.

        Also of partitions that were added since. Raises what the client raises.
        """
        for tag in (await self._layout.look()).values():
            if tag not in self._partitions:
                self._partitions[tag] = Partition(self._url, self._prefix, tag)
        asked = await asyncio.gather(*(each.progress() for each in self._partitions.values()))
        found = [each for each in asked if each is not None]
        return (sum(e for e, _ in found), sum(o for _, o in found)) if found else None

    async def close(self) -> None:
        """Let go of the connections."""
        await self._layout.close()
        for partition in self._partitions.values():
            await partition.close()


class Partition:
    """A partition in the Redis at `url`, for one who is no node of it. Close it in the end."""

    def __init__(self, url: str, prefix: str, tag: str = PARTITION) -> None:
        self._url = url
        self._prefix = prefix
        self._keys = Keys(prefix, tag)
        self._client = connect(url, self._keys.meta)

    async def resting(self) -> int | None:
        """How many orders are open, None if there is no partition. Raises `ConfigError`."""
        await check_server(self._client, self._url, persist=False)
        resting = await self._client.hget(self._keys.meta, "resting")
        return None if resting is None else int(resting)

    async def progress(self) -> tuple[int, int] | None:
        """The number of the last event, and how many orders are open; None without a partition.

        Raises what the client raises.
        """
        seq, resting = await self._client.hmget(self._keys.meta, "seq", "resting")
        return None if seq is None or resting is None else (int(seq), int(resting))

    async def clear(self, waits: Callable[[], None] = lambda: None) -> int:
        """Delete everything but the participants; return how many orders were open.

        Waits for the end of the leases of nodes that may be dead, after calling `waits`. Raises
        `ConfigError` if one is alive.
        """
        keys, stored, since, who = self._keys, "", "0", secrets.token_hex(8)
        while True:
            everything = [keys.epochs, *keys.cleared, *keys.of(symbols_in(stored))]
            everything += [keys.readers, keys.nodes]
            answer = await RESET.run(
                self._client,
                [*keys.fixed[:2], keys.beats, keys.placed, keys.leaving, *everything],
                *(stored, who, since, keys.channels()),
            )
            match [part.decode() for part in answer]:
                case "cleared", orders:
                    return int(orders)
                case ("alive",):
                    raise ConfigError("nodes of the cluster are running: stop them first")
                case "wait", moment:
                    if since == "0":
                        waits()
                    since = moment
                    await asyncio.sleep(ASK_AGAIN)
                case "other", stored:
                    pass

    async def journal(self) -> AsyncIterator[Batch]:
        """All that the journal still has, oldest first.

        Raises `ConfigError` if there is none, and `JournalTrimmed` if it is trimmed, or cleared,
        faster than it is read.
        """
        await check_server(self._client, self._url, persist=False)
        rules, partition_id = await self._client.hmget(self._keys.meta, "rules", "id")
        if rules is None:
            raise ConfigError(f"there is no journal under the prefix {self._prefix!r}")
        journal = StoredJournal(self._client, self._keys, instruments_in(rules.decode()))
        position, last = "0-0", None
        while entries := await journal.after(position):
            same = await self._client.hget(self._keys.meta, "id") == partition_id
            for entry in entries:
                if not same or entry.batch != (last or entry.batch - 1) + 1:
                    raise JournalTrimmed("the journal was cut while it was read: begin again")
                last = entry.batch
                yield journal.batch(entry)
            position = entries[-1].position

    async def close(self) -> None:
        """Let go of the connection."""
        await self._client.aclose()
