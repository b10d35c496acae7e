"""One summary of what Redis has and what nodes said themselves. No I/O and no clock."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from wood.model.node_report import NodeReport
from wood.monitor import troubles
from wood.monitor.gather import (
    SECOND,
    Head,
    Heard,
    furthest,
    instruments_of,
    living,
    node_status,
    partition_status,
    rates,
    readers_within,
)
from wood.monitor.summary import (
    InstrumentStatus,
    PartitionStatus,
    ReaderStatus,
    RedisStatus,
    Summary,
    Trouble,
)

Address = tuple[str, int]
"""A host and the port of its health checks."""


class Book(NamedTuple):
    """What Redis has of a partition."""

    head: Head
    resting: int


class Known(Struct, frozen=True):
    """What Redis has, of all partitions, and when it was asked."""

    now: int
    nodes: list[Heard]
    books: dict[str, Book]
    instruments: list[InstrumentStatus]
    readers: list[ReaderStatus]
    redis: list[RedisStatus]


class Away(Struct, frozen=True):
    """Redis could not be asked, and why."""

    reason: str


def summarize(
    now: int, redis: Known | Away | None, asked: Mapping[Address, NodeReport | str]
) -> Summary:
    """The exchange at `now`, in microseconds since the epoch of clocks; if Redis knows, by its own.

    `redis` is None if there is none, or nobody wants to know of it. `asked` are nodes that were
    asked themselves: what they said, or why they did not.
    """
    known = redis if isinstance(redis, Known) else None
    now = known.now or now if known else now
    nodes = _nodes(known.nodes if known else [], asked)
    reports = living(nodes)
    heads = {name: book.head for name, book in known.books.items()} if known else {}
    # A report may be younger than what Redis said.
    for name, head in furthest(reports).items():
        heads[name] = max(heads.get(name, head), head)
    rows = [node_status(each, heads, now) for each in nodes]
    partitions = _partitions(heads, known.books if known else {}, reports, now)
    readers = [*(known.readers if known else []), *readers_within(reports)]
    servers = known.redis if known else []
    away = [Trouble("redis-unreachable", "", redis.reason)] if isinstance(redis, Away) else []
    if known and not known.books:
        away = [Trouble("no-book", "", "there is no book in Redis under this --prefix")]
    return judged(
        Summary(
            now / SECOND,
            not away,
            away,
            rates(reports),
            rows,
            partitions,
            known.instruments if known else instruments_of(reports),
            readers,
            servers,
        )
    )


def _nodes(known: Sequence[Heard], asked: Mapping[Address, NodeReport | str]) -> list[Heard]:
    """Each once, by name: what it says itself is the latest."""
    nodes = {each.name: each for each in known}
    names = {(each.report.host, each.report.health): each.name for each in known if each.report}
    for (host, port), said in asked.items():
        if isinstance(said, NodeReport):
            nodes[said.name] = Heard(said.name, said, said.time)
            continue
        name = names.get((host, port), f"{host}:{port}")
        before = nodes.get(name, Heard(name, None, 0))
        nodes[name] = replace(before, silent=said)
    return [nodes[name] for name in sorted(nodes)]


def _partitions(
    heads: Mapping[str, Head], books: Mapping[str, Book], reports: Sequence[NodeReport], now: int
) -> list[PartitionStatus]:
    found = []
    for name, head in sorted(heads.items()):
        book = books.get(name)
        resting = book.resting if book else None
        found.append(partition_status(name, head, reports, now, resting))
    return found


def judged(summary: Summary) -> Summary:
    """The same with all troubles that can be seen in it, after what is wrong with Redis itself."""
    away = [each for each in summary.troubles if each.what in ("redis-unreachable", "no-book")]
    found = [
        *away,
        *(troubles.of_nodes(summary.nodes) if summary.nodes or not away else ()),
        *troubles.of_partitions(summary.partitions),
        *troubles.of_readers(summary.readers),
        *troubles.of_redis(summary.redis),
    ]
    return replace(summary, well=not found, troubles=found)
