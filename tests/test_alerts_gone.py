"""A book that is gone is told for as long as it is; one that was cleared on purpose is not."""

from tests.alerts import NOON, judged, look, partition
from tests.reports import node_report
from wood.alerts.book import AlertBook
from wood.alerts.forks import JournalForked
from wood.alerts.look import Look, NodeSeen
from wood.alerts.notices import Alert
from wood.alerts.run import NoBook
from wood.alerts.thresholds import Thresholds
from wood.alerts.watch import Judge, conditions

T = Thresholds()
DEAD = NodeSeen("n1", lost=False, silent=20)


def told(*looks: Look) -> list[str]:
    """Everything that is told at these looks, such as `alert.raised node-lost n1 1`."""
    judge = Judge(conditions(T), AlertBook(calm=3, repeat=0))
    return [
        f"{notice.event} {notice.alert} {notice.subject} {notice.times}"
        for each in looks
        for notice in judge.judge(each)
    ]


def test_an_empty_redis_ends_nothing_and_the_book_is_told_to_be_gone() -> None:
    empty = [look(second) for second in range(1, 100)]
    assert told(look(0, partition(nodes=[DEAD])), *empty) == [
        "alert.raised node-lost n1 1",
        "alert.raised journal-forked main 1",
    ]


def test_a_book_is_gone_when_it_has_been_for_a_while_and_it_says_what_to_do() -> None:
    condition = JournalForked(T)
    assert judged(condition, look(0, partition()), look(1), look(5.9)) == []
    (found,) = judged(condition, look(6))
    assert (found.alert, found.subject, found.since) == (Alert.JOURNAL_FORKED, "main", NOON + 1)
    assert "the book of the nodes n1 is gone" in found.text
    assert "all 200 events are lost" in found.text
    assert "start a node, or 'wood alert' again" in found.text
    assert [each.more for each in judged(condition, look(9999))] == [0]


def test_it_is_over_when_a_book_begins_anew_which_is_no_other_fork() -> None:
    runs = [NodeSeen("n1", False, 0.5, node_report(name="n1"))]  # and was late to notice
    new = partition(journal="j2", seq=1, batch=1, nodes=runs)
    anew = [look(second, new) for second in range(10, 20)]
    assert told(look(0, partition(nodes=runs)), look(1), look(6), *anew) == [
        "alert.raised journal-forked main 1",
        "alert.ended journal-forked main 1",
    ]


def test_of_two_books_the_one_that_is_gone_is_told() -> None:
    both = look(0, partition(), partition(name="metals"))
    rest = [look(second, partition()) for second in (1, 6)]
    assert told(both, *rest) == ["alert.raised journal-forked metals 1"]


def test_a_book_that_is_cleared_while_no_node_is_there_is_not_told() -> None:
    lost = NodeSeen("n1", lost=True, silent=20)
    for nodes in ([], [lost]):
        cleared = look(0, partition(nodes=nodes)), look(1), look(60)
        assert judged(JournalForked(T), *cleared) == []


def test_a_book_that_is_gone_after_an_outage_was_not_cleared() -> None:
    away = look(0, partition(nodes=[])), look(1, redis="refused"), look(2)
    assert len(judged(JournalForked(T), *away, look(7))) == 1


def test_it_is_said_again_and_again_that_there_is_no_book() -> None:
    reminder = NoBook(repeat=60)
    looks = [look(0, redis="refused"), look(1), look(2), look(60), look(61), look(62)]
    assert [reminder.due(each) for each in looks] == [False, True, False, False, True, False]
    assert [reminder.due(each) for each in (look(63, partition()), look(64))] == [False, True]
    never = NoBook(repeat=0)
    assert [never.due(look(second)) for second in (0, 9999)] == [True, False]
    assert not never.due(Look(NOON, None))
