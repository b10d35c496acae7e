"""What nodes and Redis say themselves: errors in logs, commands refused, files not written."""

from collections.abc import Iterator

from wood.alerts.conditions import Condition
from wood.alerts.counting import Growth, Recent
from wood.alerts.look import REDIS, Look, PartitionSeen
from wood.alerts.notices import Alert, Finding
from wood.alerts.thresholds import Thresholds


class Errors(Condition):
    """A node has logged so many errors within a while."""

    def __init__(self, thresholds: Thresholds) -> None:
        super().__init__(thresholds)
        self._growth = Growth(thresholds.errors_within)
        self._recent: dict[str, Recent] = {}

    def judge(self, look: Look) -> Iterator[Finding]:
        """As of any condition."""
        within = self.thresholds.errors_within
        for source, report in look.reports:
            recent = self._recent.setdefault(report.name, Recent(within))
            recent.add(self._growth.of(report, "errors", report.errors), look.now)
            if recent.sum >= self.thresholds.errors:
                text = f"{recent.sum} errors in the log of the node in {within:g} s"
                yield Finding(Alert.ERRORS, report.name, source, text, more=recent.tell())


class RedisNotWriting(Condition):
    """Redis refuses to write, or cannot write to its disk, or has little memory left."""

    def __init__(self, thresholds: Thresholds) -> None:
        super().__init__(thresholds)
        self._growth = Growth(thresholds.errors_within)
        self._recent: dict[str, Recent] = {}

    def judge(self, look: Look) -> Iterator[Finding]:
        """As of any condition."""
        for partition in look.partitions:
            if reasons := [*self._reasons(partition)]:
                text = "; ".join(reasons)
                yield Finding(Alert.REDIS_NOT_WRITING, partition.name, REDIS, text)
        within = self.thresholds.errors_within
        for source, report in look.reports:
            recent = self._recent.setdefault(report.name, Recent(within))
            recent.add(self._growth.of(report, "unavailable", report.unavailable), look.now)
            if recent.sum:
                text = (
                    f"{recent.sum} commands in {within:g} s were refused at the node "
                    f"{report.name}, since Redis did not take them"
                )
                more = recent.tell()
                yield Finding(Alert.REDIS_NOT_WRITING, report.name, source, text, more=more)

    def _reasons(self, partition: PartitionSeen) -> Iterator[str]:
        if partition.refuses is not None:
            yield f"Redis refuses to write: {partition.refuses}"
        if partition.write_status != "ok":
            yield "Redis could not write to its append-only file"
        if partition.rewrite_status != "ok":
            yield "Redis could not rewrite its append-only file, which goes on growing"
        if partition.max_memory:
            used = 100 * partition.memory / partition.max_memory
            if used >= self.thresholds.memory_full:
                yield f"Redis has used {used:.0f}% of its maxmemory, and refuses orders at 100%"
