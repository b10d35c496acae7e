"""What counts as wrong: each condition folds looks at everything into findings. No I/O, no clock.

Those that need to remember more than since when something lasts have a module of their own:
`forks`, `readers`, `faults`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from msgspec.structs import replace

from wood.alerts.look import REDIS, WATCHER, Asked, DiskSeen, Look, NodeSeen, PartitionSeen
from wood.alerts.notices import Alert, Finding
from wood.alerts.thresholds import Thresholds

REDIS_AWAY = "redis is away"
"""What a node says that is not ready, since its Redis does not answer."""

STALL = 1.0
"""Seconds of waiting for Redis that are more than a long answer to somebody else."""

GIB = 2**30


class Condition(ABC):
    """Something that can be wrong."""

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds

    @abstractmethod
    def judge(self, look: Look) -> Iterator[Finding]:
        """What is wrong now. Called with each look, in order."""


class Since:
    """Since when something has been so without a break."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def note(self, key: str, so: bool, now: float) -> float:
        """For how many seconds by now; 0 if it is not so, or only just."""
        if not so:
            self._since.pop(key, None)
            return 0.0
        return now - self._since.setdefault(key, now)


class RedisUnreachable(Condition):
    """Redis does not answer us, or a node that was named says that it does not answer it."""

    def __init__(self, thresholds: Thresholds) -> None:
        super().__init__(thresholds)
        self._away = Since()

    def judge(self, look: Look) -> Iterator[Finding]:
        """As of any condition."""
        patience, redis = self.thresholds.redis_away, look.redis
        if redis is not None and redis.answer is None and look.now - redis.since >= patience:
            text = f"Redis does not answer: {redis.reason}"
            yield Finding(Alert.REDIS_UNREACHABLE, "redis", WATCHER, text, redis.since)
        for target, asked in look.nodes.items():
            report = asked.answer
            if report is None:
                continue
            away = report.ready == REDIS_AWAY
            lasted = self._away.note(target, away, look.now)
            if away and lasted >= patience:
                text = f"the node {report.name} says that Redis does not answer it"
                since = look.now - lasted
                yield Finding(Alert.REDIS_UNREACHABLE, report.name, target, text, since)


class NodeLost(Condition):
    """A node was declared dead; or nobody is left who could; or one that was named is silent."""

    def __init__(self, thresholds: Thresholds) -> None:
        super().__init__(thresholds)
        self._names: dict[str, str] = {}
        self._hindered: dict[str, float] = {}
        """When nodes of a partition could last not show that they live; "" is all partitions."""
        self._writers: dict[str, dict[str, NodeSeen]] = {}
        """Of each partition, at the look before, those that were not lost."""
        self._counted: dict[tuple[str, str], int] = {}
        """Partition and writer of each death that was told, and when it had last reported."""

    def judge(self, look: Look) -> Iterator[Finding]:
        """As of any condition."""
        if look.redis is not None and look.redis.answer is None:
            self._hindered[""] = look.now
        for partition in look.partitions:
            yield from self._in(partition, look.now)
        for target, asked in look.nodes.items():
            if asked.answer is not None:
                self._names[target] = asked.answer.name
            elif look.now - asked.since >= self.thresholds.node_silent:
                name = self._names.get(target, target)
                self._count_in_redis(name)
                text = f"the node at {target} does not answer: {asked.reason}"
                yield Finding(Alert.NODE_LOST, name, WATCHER, text, asked.since)

    def _count_in_redis(self, name: str) -> None:
        """Who does not answer dies in no partition once more."""
        for partition, writers in self._writers.items():
            for node in writers.values():
                if node.name == name:
                    self._count(partition, node)

    def _count(self, partition: str, node: NodeSeen) -> int | None:
        """How many deaths more that is: 0 if it was told before, though it was not found meanwhile.

        Who joins gives all who are silent another lease, and then declares them dead: that is the
        same death, unless the node has reported since.
        """
        last = 0 if node.report is None else node.report.time
        key = partition, node.writer or node.name
        told, self._counted[key] = self._counted.get(key) == last, last
        return 0 if told else None

    def _in(self, partition: PartitionSeen, now: float) -> Iterator[Finding]:
        if not can_write(partition):
            self._hindered[partition.name] = now
        # Where Redis takes nothing, nodes are silent that are well; and for a while after that.
        hindered = max(self._hindered.get(name, 0.0) for name in ("", partition.name))
        patience = max(self.thresholds.node_silent, 2 * partition.lease)
        free = now - hindered >= patience
        for node in partition.nodes:
            if node.lost:
                text = f"the node {node.name} was silent for a lease and was declared dead"
            elif free and node.silent >= patience:
                text = f"the node {node.name} is silent, and no other is there to declare it dead"
            else:
                continue
            more = self._count(partition.name, node)
            yield Finding(Alert.NODE_LOST, node.name, REDIS, text, now - node.silent, more)
        for node in self._gone(partition):
            if free and node.silent >= partition.lease / 2:
                # One that leaves does so between two beats.
                text = f"the node {node.name} died without a word, and was started again"
                more = self._count(partition.name, node)
                yield Finding(Alert.NODE_LOST, node.name, REDIS, text, now - node.silent, more)
        there = {node.writer or node.name for node in partition.nodes}
        for key in [key for key in self._counted if key[0] == partition.name]:
            if key[1] not in there:
                del self._counted[key]

    def _gone(self, partition: PartitionSeen) -> list[NodeSeen]:
        """Who was a writer at the look before, and is none now, not even a lost one.

        A node that is back takes the entry of the dead one away, and with it the name.
        """
        before = self._writers.get(partition.name, {})
        now_there = {node.writer: node for node in partition.nodes if node.writer}
        self._writers[partition.name] = {
            writer: replace(node, name=before[writer].name)
            if node.name == writer and writer in before  # it has no entry, or none yet
            else node
            for writer, node in now_there.items()
            if not node.lost
        }
        return [node for writer, node in before.items() if writer not in now_there]


def can_write(partition: PartitionSeen) -> bool:
    """Whether a node that lives could show that it does."""
    full = partition.max_memory and partition.memory >= partition.max_memory
    return partition.refuses is None and partition.stalls < STALL and not full


class JournalStalled(Condition):
    """Orders wait and nothing is decided: a node says so, or Redis takes no writes in."""

    def judge(self, look: Look) -> Iterator[Finding]:
        """As of any condition."""
        patience = self.thresholds.stalled
        for source, report in look.reports:
            for name, place in report.partitions.items():
                if place.waited >= patience:
                    text = (
                        f"{place.waiting} commands wait at the node {report.name}, and nothing has "
                        f"been decided for {place.waited:.0f} s; the last number is {place.seq}"
                    )
                    since = look.now - place.waited
                    yield Finding(Alert.JOURNAL_STALLED, name, source, text, since)
        for partition in look.partitions:
            if partition.stalls >= patience:
                text = (
                    "Redis answers questions, and takes no writes: nothing is decided; the last "
                    f"number is {partition.seq}"
                )
                since = look.now - partition.stalls
                yield Finding(Alert.JOURNAL_STALLED, partition.name, REDIS, text, since)


class DiskNearlyFull(Condition):
    """There is little room where the append-only file is, or it cannot be looked at."""

    def judge(self, look: Look) -> Iterator[Finding]:
        """As of any condition."""
        size = max((partition.aof_size for partition in look.partitions), default=0)
        for path, asked in look.disks.items():
            text = self._text(asked, size)
            if text is not None:
                yield Finding(Alert.DISK_NEARLY_FULL, path, WATCHER, f"{path} {text}")

    def _text(self, asked: Asked[DiskSeen], aof_size: int) -> str | None:
        disk = asked.answer
        if disk is None:
            return f"cannot be looked at: {asked.reason}"
        if disk.size <= 0:
            return None
        used = 100 * (1 - disk.free / disk.size)
        if used < self.thresholds.disk_full:
            return None
        text = f"is {used:.1f}% full, {disk.free / GIB:.1f} GiB are free"
        if aof_size:
            text += f"; the append-only file has {aof_size / GIB:.1f} GiB"
        return text
