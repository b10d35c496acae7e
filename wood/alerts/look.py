"""What one look at everything found: what the conditions judge. No I/O."""

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from msgspec import Struct

from wood.exchange.tail import Position
from wood.model.node_report import NodeReport

T = TypeVar("T")


class Asked(Struct, Generic[T], frozen=True):
    """What a source has answered, or since when and why it does not. Times are seconds."""

    answer: T | None
    since: float
    """Without an answer: when it was last well, or was first asked."""
    reason: str = ""


class NodeSeen(Struct, frozen=True):
    """A node, as a partition in Redis knows it."""

    name: str
    lost: bool
    """Whether it was declared dead."""
    silent: float
    """Seconds since it was last heard of, by the clock of Redis."""
    report: NodeReport | None = None
    writer: str = ""
    """Its id, another one each time that it is started."""


class ReaderSeen(Struct, frozen=True):
    """How far a reader is that keeps its position in Redis."""

    position: Position
    behind: int
    """Events after its position."""
    kept: float
    """Seconds since it last kept a position, by the clock of Redis."""


class PartitionSeen(Struct, frozen=True):
    """A partition, as Redis has it, and the server where it lives."""

    name: str
    journal: str
    epoch: int
    seq: int
    batch: int
    lease: float
    epochs: list[tuple[int, int, int]]
    """Of each epoch its number, and the last number and the batches before it."""
    nodes: list[NodeSeen]
    readers: Mapping[str, ReaderSeen]
    refuses: str | None = None
    """What Redis said to one who tried to write; None if it may."""
    stalls: float = 0.0
    """Seconds for which Redis has not answered one who tries to write, while it answers others."""
    aof_enabled: bool = False
    aof_size: int = 0
    """Bytes."""
    write_status: str = "ok"
    rewrite_status: str = "ok"
    memory: int = 0
    max_memory: int = 0
    """Bytes; 0 is without a bound."""


class DiskSeen(Struct, frozen=True):
    """How full the file system of a path is, in bytes that others than root may have."""

    size: int
    free: int


class Look(Struct, frozen=True):
    """Everything that is watched, at one time. `redis` is None if none is watched."""

    now: float
    redis: Asked[list[PartitionSeen]] | None = None
    nodes: Mapping[str, Asked[NodeReport]] = {}
    """By HOST:PORT."""
    disks: Mapping[str, Asked[DiskSeen]] = {}

    @property
    def partitions(self) -> list[PartitionSeen]:
        """Those in Redis, if it answers."""
        return [] if self.redis is None else self.redis.answer or []

    @property
    def no_book(self) -> bool:
        """Whether Redis answers, and has nothing."""
        return self.redis is not None and self.redis.answer == []

    @property
    def reports(self) -> Iterator[tuple[str, NodeReport]]:
        """The newest of each node that lives, and the source that has it."""
        newest: dict[str, tuple[str, NodeReport]] = {}
        for source, report in self._all():
            known = newest.get(report.name)
            if known is None or known[1].time < report.time:
                newest[report.name] = source, report
        yield from newest.values()

    def _all(self) -> Iterator[tuple[str, NodeReport]]:
        for partition in self.partitions:
            for node in partition.nodes:
                if node.report is not None and not node.lost and node.silent < partition.lease:
                    yield REDIS, node.report
        for target, asked in self.nodes.items():
            if asked.answer is not None:
                yield target, asked.answer

    @property
    def blind(self) -> set[str]:
        """The sources that do not answer, or know nothing: an empty Redis calls nobody well."""
        blind = {target for target, asked in self.nodes.items() if asked.answer is None}
        if self.redis is not None and not self.redis.answer:
            blind.add(REDIS)
        return blind


REDIS = "redis"
"""The source that all is from that Redis tells."""

WATCHER = "watcher"
"""The source of what is judged by not being answered: it is never blind."""
