"""How a cluster is, as far as Redis knows: partitions, nodes, readers, and Redis itself.

For those who look on: it writes nothing, and needs no rights that a node does not have.
"""

import asyncio
import json
from typing import Any

from msgspec import MsgspecError, Struct
from msgspec.msgpack import Decoder

from wood.exchange.cluster.client import Client, connect
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.layout import Layout
from wood.exchange.cluster.positions import Kept, kept_in
from wood.exchange.tail import Position
from wood.model.instruments import PARTITION
from wood.model.node_report import NodeReport

SECOND = 1_000_000
"""In the times that Redis keeps."""


class NodeView(Struct, frozen=True):
    """A node as a partition knows it."""

    name: str
    """As it called itself with its last report; empty without one."""
    time: int
    """When that was, in microseconds by the clock of Redis; 0 without one."""
    report: NodeReport | None
    """None without one, or if a node of another version wrote it."""
    lost: bool
    """Whether it is a writer no more, and did not leave: it was declared dead."""


class ReaderView(Struct, frozen=True):
    """A durable reader of a partition."""

    position: Position
    kept_at: int
    """When it said so, in microseconds by the clock of Redis."""
    behind: int
    """Events since then; all there are if it knows only a journal that was cleared."""


class RedisView(Struct, frozen=True):
    """The server on which a partition lies, mostly in the words of its INFO."""

    run_id: str
    redis_version: str
    role: str
    replicas: int
    """That are connected."""
    used_memory: int
    maxmemory: int
    """Bytes; 0 is without limit."""
    aof_enabled: bool
    aof_last_write_status: str
    aof_last_bgrewrite_status: str
    aof_current_size: int
    """Bytes; 0 without an append-only file."""
    rdb_last_bgsave_status: str
    latency: float
    """Seconds that all these questions took, there and back."""


class PartitionView(Struct, frozen=True):
    """A partition. Times are in microseconds by the clock of Redis unless they are said to be in
    seconds.
    """

    name: str
    tag: str
    journal: str
    """Its random id."""
    epoch: int
    seq: int
    batch: int
    time: int
    """Of the last batch."""
    now: int
    resting: int
    """Open orders."""
    kept: int
    """Events that the journal keeps at least."""
    lease: float
    """Seconds."""
    epochs: list[tuple[int, int, int]]
    """(epoch, last number and batches before it), oldest first."""
    writers: dict[str, float]
    """Writer -> seconds since its last beat. If all died, none is left to declare them dead."""
    nodes: dict[str, NodeView]
    """By writer: of all that are, and of those that were lost within a day and are not back."""
    readers: dict[str, ReaderView]
    states: dict[str, str]
    """`open` or `halted`, of each instrument."""
    redis: RedisView


class View(Struct, frozen=True):
    """All of it. `redis` is the server that has the partition `main`, also before that is there."""

    redis: RedisView
    partitions: dict[str, PartitionView]


_nodes_in = Decoder(tuple[str, int, Any]).decode
_report_in = Decoder(tuple[str, int, NodeReport]).decode
_epoch_in = Decoder(tuple[int, int, int]).decode
_THREE = b"\x93"
"""Makes an array of MessagePack values that follow each other."""


class Overview:
    """Looks at the exchange under `prefix` in the Redis at `url`. Close it in the end."""

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._prefix = prefix
        self._layout = Layout(url, prefix)
        self._clients: dict[str, tuple[Keys, Client]] = {}

    async def ask(self) -> View:
        """How it is now, also in partitions that were added since. Raises what the client does."""
        tags = await self._layout.look()
        found = await asyncio.gather(*(self._ask(name, tag) for name, tag in tags.items()))
        parts = dict(zip(tags, found, strict=True))
        redis, _ = parts[PARTITION]
        return View(redis, {name: part for name, (_, part) in parts.items() if part is not None})

    async def forget_reader(self, name: str) -> float | None:
        """Keep nothing for that reader any more. How many seconds ago it said how far it is; None
        if it was not known. Raises as `ask` does.
        """
        ages: list[float] = []
        for tag in (await self._layout.look()).values():
            keys, client = self._of(tag)
            async with client.pipeline(transaction=False) as questions:
                questions.time()
                questions.hget(keys.readers, name)
                questions.hdel(keys.readers, name)
                (seconds, microseconds), value, _ = await questions.execute()
            if value is not None:
                now = seconds * SECOND + microseconds
                ages.append(max(0.0, (now - kept_in(value).at) / SECOND))
        return min(ages, default=None)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._layout.close()
        for _, client in self._clients.values():
            await client.aclose()

    def _of(self, tag: str) -> tuple[Keys, Client]:
        if tag not in self._clients:
            keys = Keys(self._prefix, tag)
            self._clients[tag] = keys, connect(self._url, keys.meta)
        return self._clients[tag]

    async def _ask(self, name: str, tag: str) -> tuple[RedisView, PartitionView | None]:
        keys, client = self._of(tag)
        loop = asyncio.get_running_loop()
        before = loop.time()
        async with client.pipeline(transaction=False) as questions:
            questions.time()
            questions.info()
            questions.hgetall(keys.meta)
            questions.lrange(keys.epochs, 0, -1)
            questions.hkeys(keys.writers)
            questions.zrange(keys.beats, 0, -1, withscores=True)
            questions.hgetall(keys.nodes)
            questions.hgetall(keys.readers)
            questions.hkeys(keys.state)
            (seconds, microseconds), info, meta, *rest = await questions.execute()
        redis = _redis(info, loop.time() - before)
        if b"id" not in meta:
            return redis, None
        return redis, _partition(name, tag, seconds * SECOND + microseconds, meta, rest, redis)


def _partition(
    name: str,
    tag: str,
    now: int,
    meta: dict[bytes, bytes],
    rest: list[Any],
    redis: RedisView,
) -> PartitionView:
    epochs, writers, beats, nodes, readers, states = rest
    journal, seq = meta[b"id"].decode(), int(meta[b"seq"])
    heard = {writer: max(0.0, (now - at) / SECOND) for writer, at in beats}
    halted = {field.removeprefix(b"halted:").decode() for field in states}
    listed = [symbol for symbol, *_ in json.loads(meta[b"rules"])["instruments"]]
    return PartitionView(
        name=name,
        tag=tag,
        journal=journal,
        epoch=int(meta[b"epoch"]),
        seq=seq,
        batch=int(meta[b"batch"]),
        time=int(meta[b"time"]),
        now=now,
        resting=int(meta[b"resting"]),
        kept=int(meta[b"kept"]),
        lease=int(meta[b"lease"]) / SECOND,
        epochs=[_epoch_in(_THREE + each) for each in epochs],
        # One that has just joined may not have beaten when it was asked who has.
        writers={writer.decode(): heard.get(writer, 0.0) for writer in writers},
        nodes=_nodes(writers, nodes),
        readers={
            reader.decode(): _reader(kept_in(value), journal, seq)
            for reader, value in readers.items()
        },
        states={symbol: "halted" if symbol in halted else "open" for symbol in listed},
        redis=redis,
    )


def _nodes(writers: list[bytes], reports: dict[bytes, bytes]) -> dict[str, NodeView]:
    nodes = {writer.decode(): NodeView("", 0, None, lost=False) for writer in writers}
    for writer, value in reports.items():
        name, time, _ = _nodes_in(_THREE + value)
        try:
            report = _report_in(_THREE + value)[2]
        except MsgspecError:
            report = None
        nodes[writer.decode()] = NodeView(name, time, report, lost=writer not in writers)
    return nodes


def _reader(kept: Kept, journal: str, seq: int) -> ReaderView:
    position = kept.position
    # A position of a lost history may be ahead.
    behind = max(0, seq - position.seq) if position.journal == journal else seq
    return ReaderView(position, kept.at, behind)


def _redis(info: dict[str, Any], latency: float) -> RedisView:
    return RedisView(
        run_id=info["run_id"],
        redis_version=info["redis_version"],
        role=info["role"],
        replicas=info["connected_slaves"],
        used_memory=info["used_memory"],
        maxmemory=info["maxmemory"],
        aof_enabled=bool(info["aof_enabled"]),
        aof_last_write_status=info["aof_last_write_status"],
        aof_last_bgrewrite_status=info["aof_last_bgrewrite_status"],
        aof_current_size=info.get("aof_current_size", 0),
        rdb_last_bgsave_status=info["rdb_last_bgsave_status"],
        latency=latency,
    )
