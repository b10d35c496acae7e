"""Forks are found by what stays of them, each once, whoever tells of it."""

from collections.abc import Iterable

from tests.alerts import NOON, judged, look, partition
from tests.reports import node_report, partition_report
from wood.alerts.forks import JournalForked
from wood.alerts.look import Look, NodeSeen, PartitionSeen
from wood.alerts.thresholds import Thresholds

T = Thresholds()
FIRST = (1, 0, 0)


def node(forks: int = 0, epoch: int = 1, name: str = "n1", started: int = 1) -> NodeSeen:
    report = node_report(
        name=name, started=started, partitions={"main": partition_report(forks=forks, epoch=epoch)}
    )
    return NodeSeen(name, lost=False, silent=0.1, report=report)


def after(
    epoch: int, batch: int, epochs: Iterable[tuple[int, int, int]], *nodes: NodeSeen
) -> PartitionSeen:
    """A partition of which two events are in each batch."""
    return partition(
        epoch=epoch, batch=batch, seq=2 * batch, epochs=[FIRST, *epochs], nodes=list(nodes)
    )


def count(condition: JournalForked, *looks: Look) -> int:
    """How many forks are told at these looks."""
    return sum(finding.more or 0 for each in looks for finding in condition.judge(each))


def test_a_restart_that_loses_nothing_is_no_fork() -> None:
    condition = JournalForked(T)
    whole = after(2, 101, [(2, 200, 100)])
    assert judged(condition, look(0, after(1, 100, [])), look(1, whole), look(2, whole)) == []


def test_what_was_seen_and_is_not_in_history_was_lost() -> None:
    condition = JournalForked(T)
    # The numbers have grown past where they were: only the list of epochs tells.
    (found,) = judged(
        condition, look(0, after(1, 100, [])), look(60, after(2, 900, [(2, 160, 80)]))
    )
    assert (found.subject, found.more, found.since) == ("main", 1, NOON + 60)
    assert "lost the last 40 events, in 20 batches" in found.text
    assert "after 160, in epoch 2" in found.text


def test_it_is_one_fork_before_and_after_its_epoch_begins_and_for_each_node() -> None:
    condition = JournalForked(T)
    # The number of an epoch is the time at which it began: nobody knows it before.
    first, both = (10, 0, 0), [(10, 0, 0), (20, 160, 80)]
    old, new = node(0, 10, name="n2"), node(1, 20, name="n2")
    looks = [
        look(0, after(10, 100, [first], node(0, 10), old)),
        look(1, after(10, 80, [first], node(0, 10), old)),
        look(2, after(20, 81, both, node(1, 20), old)),
        look(3, after(20, 82, both, node(1, 20), new)),
    ]
    assert judged(condition, *looks[:2]) == []
    (found,) = condition.judge(looks[2])
    assert found.more == 1
    assert "after 160, in epoch 20" in found.text
    assert count(condition, looks[3]) == 0


def test_a_node_counts_a_fork_before_it_is_in_the_epoch_after_it() -> None:
    condition = JournalForked(T)
    first, both = (10, 0, 0), [(10, 0, 0), (20, 220, 110)]
    looks = [
        look(0, after(10, 100, [first], node(0, 10), node(0, 10, name="n2"))),
        look(1, after(20, 120, both, node(1, 10), node(0, 10, name="n2"))),
        look(2, after(20, 130, both, node(1, 20), node(1, 20, name="n2"))),
    ]
    (found,) = judged(condition, *looks[:2])
    assert found.more == 1
    assert found.text.endswith("in epoch 20")
    assert count(condition, looks[2]) == 0


def test_what_only_nodes_saw_is_told_by_them_once() -> None:
    condition = JournalForked(T)
    # Nobody looked between batch 100, which was kept, and the one where it was cut.
    begun = [(2, 220, 110)]
    looks = [
        look(0, after(1, 100, [], node(), node(name="n2"))),
        look(60, after(2, 120, begun, node(1, 2), node(name="n2"))),
        look(61, after(2, 130, begun, node(1, 2), node(1, 2, name="n2"))),
    ]
    assert count(condition, *looks) == 1


def test_a_second_fork_counts_again() -> None:
    condition = JournalForked(T)
    looks = [
        look(0, after(1, 100, [], node())),
        look(1, after(2, 81, [(2, 160, 80)], node(1, 2))),
        look(2, after(3, 71, [(2, 160, 80), (3, 140, 70)], node(2, 3))),
    ]
    assert count(condition, *looks) == 2


def test_it_is_shown_for_a_while() -> None:
    condition = JournalForked(T)
    forked = after(2, 81, [(2, 160, 80)])
    judged(condition, look(0, after(1, 100, [])), look(1, forked))
    (found,) = judged(condition, look(600, forked))
    assert found.more == 0
    assert judged(condition, look(601, forked)) == []


def test_a_fork_from_before_the_watch_began_is_not_told_again() -> None:
    assert judged(JournalForked(T), look(0, after(2, 81, [(2, 160, 80)], node(1, 2)))) == []


def test_a_journal_that_is_gone_while_nodes_run_is_a_fork() -> None:
    condition = JournalForked(T)
    new = partition(journal="j2", seq=0, batch=0, nodes=[])
    looks = [look(0, after(1, 100, [], node())), look(1, new)]
    assert judged(condition, *looks) == []  # nobody knows yet whose it is
    (found,) = judged(condition, look(2, partition(journal="j2", seq=2, batch=1, nodes=[node()])))
    assert "all 200 events are gone" in found.text


def test_a_book_that_is_cleared_in_order_is_none() -> None:
    condition = JournalForked(T)
    new = partition(journal="j2", seq=0, batch=0, nodes=[node(started=2)])
    assert judged(condition, look(0, after(1, 100, [], node())), look(1, new)) == []
