"""Forks of the journal: Redis lost the end of it, and history went on from before.

A fork is over before anybody looks, and the numbers grow past where they were. So it is found by
what stays: the list of where epochs began, and what nodes have counted, who read every number.
"""

from collections.abc import Iterator

from msgspec import Struct

from wood.alerts.conditions import Condition
from wood.alerts.counting import Growth
from wood.alerts.gone import Gone, GoneBooks
from wood.alerts.look import REDIS, Look, PartitionSeen
from wood.alerts.notices import Alert, Finding
from wood.alerts.thresholds import Thresholds


class _Place(Struct):
    """How far a partition was, and which nodes were there."""

    journal: str
    epoch: int
    seq: int
    batch: int
    nodes: set[tuple[str, int]]
    """Their names, and when each started."""


class _Forks(Struct):
    """Those of a partition that are still shown."""

    last: float
    source: str
    text: str
    untold: int = 0


class JournalForked(Condition):
    """Redis lost the end of the journal, or all of it while nodes ran."""

    def __init__(self, thresholds: Thresholds) -> None:
        super().__init__(thresholds)
        self._growth = Growth(thresholds.forked_for)
        self._places: dict[str, _Place] = {}
        self._replaced: dict[str, _Place] = {}
        """Journals that are there no more, until it is known which nodes have seen that."""
        self._counted: set[tuple[str, str, int]] = set()
        """Partition, journal and epoch that began with a fork: each is one, whoever tells of it."""
        self._forks: dict[str, _Forks] = {}
        self._books = GoneBooks()

    def judge(self, look: Look) -> Iterator[Finding]:
        """As of any condition."""
        for partition in look.partitions:
            self._compare(partition, look.now)
        self._ask_nodes(look)
        for name, forks in list(self._forks.items()):
            if look.now - forks.last >= self.thresholds.forked_for:
                del self._forks[name]
                continue
            more, forks.untold = forks.untold, 0
            since = forks.last
            yield Finding(Alert.JOURNAL_FORKED, name, forks.source, forks.text, since, more)
        for book in self._books.gone(look):
            # Nodes that run begin anew at once, which is told as that.
            if look.now - book.since >= self.thresholds.redis_away:
                yield self._tell_gone(book)

    def _tell_gone(self, book: Gone) -> Finding:
        more, book.told = 0 if book.told else 1, True
        # What begins there now has nothing to do with what was.
        self._places.pop(book.name, None)
        self._replaced.pop(book.name, None)
        nodes = f" of the nodes {', '.join(book.nodes)}" if book.nodes else ""
        text = (
            f"the book{nodes} is gone: Redis answers and has no journal any more, all {book.seq} "
            "events are lost, and no node is there to begin anew; if you cleared it yourself, "
            "start a node, or 'wood alert' again"
        )
        return Finding(Alert.JOURNAL_FORKED, book.name, REDIS, text, book.since, more)

    def _compare(self, partition: PartitionSeen, now: float) -> None:
        """Whether what there was is still there."""
        name, before = partition.name, self._places.get(partition.name)
        if before is not None and _begins_soon(before, partition):
            return
        nodes = {
            (node.name, node.report.started)
            for node in partition.nodes
            if node.report is not None and not node.lost
        }
        if before is not None and before.journal != partition.journal:
            self._replaced.setdefault(name, before)
        elif before is not None and (cut := _cut(before, partition)):
            epoch, seq, batch = cut
            text = (
                f"Redis lost the last {before.seq - seq} events, in {before.batch - batch} "
                f"batches, of those that were seen: history goes on after {seq}, in epoch {epoch}"
            )
            self._note(name, partition.journal, epoch, REDIS, text, now)
        if nodes and name in self._replaced:
            # Nobody clears a book while nodes run.
            gone = self._replaced.pop(name)
            if gone.nodes & nodes:
                text = f"the journal began anew while nodes ran: all {gone.seq} events are gone"
                self._note(name, partition.journal, partition.epoch, REDIS, text, now)
        if not nodes and before is not None:
            nodes = before.nodes
        place = partition.epoch, partition.seq, partition.batch
        self._places[name] = _Place(partition.journal, *place, nodes)

    def _ask_nodes(self, look: Look) -> None:
        for source, report in look.reports:
            for name, place in report.partitions.items():
                if not self._growth.of(report, f"forks of {name}", place.forks):
                    continue
                known = self._places.get(name)
                journal, epoch = ("", 0) if known is None else (known.journal, known.epoch)
                # It counts a fork before it is in the epoch that began with that.
                epoch = max(epoch, place.epoch)
                text = (
                    f"the node {report.name} found that Redis had lost the end of the journal; "
                    f"history goes on in epoch {epoch}"
                )
                self._note(name, journal, epoch, source, text, look.now)

    def _note(
        self, name: str, journal: str, epoch: int, source: str, text: str, now: float
    ) -> None:
        if (name, journal, epoch) in self._counted:
            return
        self._counted.add((name, journal, epoch))
        known = self._forks.get(name)
        untold = 1 if known is None else known.untold + 1
        self._forks[name] = _Forks(now, source, text, untold)


def _cut(before: _Place, partition: PartitionSeen) -> tuple[int, int, int] | None:
    """Where what was seen is not history any more: the epoch that began there, its last number and
    batch before that.
    """
    for place in partition.epochs:
        if place[0] > before.epoch and place[2] < before.batch:
            return place
    return None


def _begins_soon(before: _Place, partition: PartitionSeen) -> bool:
    """Something was lost, and the epoch by which that is known begins only with the next beat."""
    same = partition.journal == before.journal and partition.epoch <= before.epoch
    return same and partition.batch < before.batch
