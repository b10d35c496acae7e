"""From what Redis has of a cluster to what is shown of it. No I/O and no clock."""

from collections.abc import Iterator

from wood.exchange.cluster.overview import NodeView, PartitionView, RedisView, View
from wood.model.instruments import PARTITION
from wood.monitor.gather import Head, Heard, ago
from wood.monitor.summarize import Book, Known
from wood.monitor.summary import InstrumentStatus, ReaderStatus, RedisStatus


def known(view: View) -> Known:
    """All of it, at the latest of the moments at which partitions were asked."""
    partitions = view.partitions
    return Known(
        now=max((each.now for each in partitions.values()), default=0),
        nodes=_nodes(partitions.values().__iter__()),
        books={
            name: Book(Head(each.epoch, each.seq, each.time), each.resting)
            for name, each in partitions.items()
        },
        instruments=[
            InstrumentStatus(symbol, name, state)
            for name, each in partitions.items()
            for symbol, state in each.states.items()
        ],
        readers=[
            ReaderStatus(reader, name, kept.behind, ago(kept.kept_at, each.now))
            for name, each in partitions.items()
            for reader, kept in each.readers.items()
        ],
        redis=_servers(view),
    )


def _nodes(partitions: Iterator[PartitionView]) -> list[Heard]:
    """Each once, though it is a writer of each partition: as the one knows it that is worst off."""
    nodes: dict[str, Heard] = {}
    for partition in partitions:
        for each in _writers(partition):
            before = nodes.get(each.name)
            nodes[each.name] = each if before is None else _both(before, each)
    return list(nodes.values())


def _writers(partition: PartitionView) -> Iterator[Heard]:
    names = set[str]()
    for writer, node in sorted(partition.nodes.items(), key=lambda item: item[1].lost):
        # Two nodes may be called the same; that is shown, and not mixed up.
        name = node.name if node.name and node.name not in names else f"{node.name} {writer}"
        names.add(node.name)
        yield Heard(
            name.strip(), node.report, node.time, node.lost, _silence(partition, writer, node)
        )


def _silence(partition: PartitionView, writer: str, node: NodeView) -> str | None:
    """Why it is taken for dead where nobody is left to declare it so."""
    beat = partition.writers.get(writer, 0.0)
    if node.lost or beat <= partition.lease:
        return None
    return f"no beat for {beat:.0f} s"


def _both(one: Heard, other: Heard) -> Heard:
    latest = max(one, other, key=lambda each: each.time)
    lost = one.lost or other.lost
    return Heard(one.name, latest.report, latest.time, lost, one.silent or other.silent)


def _servers(view: View) -> list[RedisStatus]:
    """Each once, with the partitions that lie on it."""
    servers: dict[str, tuple[RedisView, list[str]]] = {}
    for name, partition in view.partitions.items():
        _, names = servers.setdefault(partition.redis.run_id, (partition.redis, []))
        names.append(name)
    found = servers.values() or [(view.redis, [PARTITION])]
    return [_server(redis, names) for redis, names in found]


def _server(redis: RedisView, partitions: list[str]) -> RedisStatus:
    said = {
        "append-only file": redis.aof_last_write_status,
        "rewrite of it": redis.aof_last_bgrewrite_status,
        "snapshot": redis.rdb_last_bgsave_status,
    }
    return RedisStatus(
        partitions,
        redis.redis_version,
        redis.role,
        redis.replicas,
        redis.used_memory,
        redis.maxmemory,
        redis.aof_enabled,
        redis.aof_current_size,
        [what for what, how in said.items() if how != "ok"],
        redis.latency,
    )
