"""What counts as wrong, look by look."""

from typing import Any

from msgspec.structs import replace

from tests.alerts import NOON, judged, look, node_says, partition
from tests.reports import node_report, partition_report
from wood.alerts.book import AlertBook
from wood.alerts.conditions import (
    DiskNearlyFull,
    JournalStalled,
    NodeLost,
    RedisUnreachable,
)
from wood.alerts.faults import Errors, RedisNotWriting
from wood.alerts.look import Asked, DiskSeen, Look, NodeSeen, PartitionSeen
from wood.alerts.notices import Alert, Finding
from wood.alerts.thresholds import Thresholds
from wood.model.node_report import NodeReport

T = Thresholds()


def about(found: list[Finding]) -> list[tuple[Alert, str]]:
    return [(finding.alert, finding.subject) for finding in found]


def test_redis_is_unreachable_when_it_has_not_answered_for_a_while() -> None:
    condition = RedisUnreachable(T)
    assert judged(condition, look(0, partition())) == []
    assert judged(condition, look(4.9, redis="refused")) == []
    (found,) = judged(condition, look(5, redis="refused"))
    assert (found.subject, found.text, found.since) == (
        "redis",
        "Redis does not answer: refused",
        NOON,
    )
    assert judged(condition, look(6, partition())) == []


def test_a_node_that_says_that_its_redis_is_away_is_believed() -> None:
    condition = RedisUnreachable(T)
    away = [node_says(second, ready="redis is away") for second in range(6)]
    assert judged(condition, *away[:5]) == []
    (found,) = judged(condition, away[5])
    assert (found.subject, found.since) == ("s1", NOON)
    assert judged(condition, node_says(6), node_says(7, ready="redis is away")) == []
    assert judged(RedisUnreachable(T), *(node_says(n, ready="full") for n in range(9))) == []


def test_a_node_is_lost_when_it_was_declared_dead() -> None:
    gone = NodeSeen("n2", lost=True, silent=7)
    (found,) = judged(NodeLost(T), look(0, partition(nodes=[NodeSeen("n1", False, 0), gone])))
    assert (found.subject, found.since) == ("n2", NOON - 7)


def test_one_that_nobody_can_declare_dead_is_lost_when_it_is_silent() -> None:
    def silent(seconds: float, **fields: object) -> list[Finding]:
        nodes = [NodeSeen("n1", False, seconds)]
        return judged(NodeLost(T), look(0, partition(nodes=nodes, **fields)))

    assert silent(9.9) == []
    assert about(silent(10)) == [(Alert.NODE_LOST, "n1")]
    assert silent(10, lease=6.0) == []
    # A node cannot show that it lives where Redis takes no writes.
    assert silent(60, refuses="MISCONF") == []
    assert silent(60, stalls=60.0) == []
    assert silent(60, memory=100, max_memory=100) == []


def test_one_that_died_and_is_back_before_it_was_declared_dead_is_told_once() -> None:
    def seen(*nodes: tuple[str, str, float]) -> list[NodeSeen]:
        return [NodeSeen(name, False, silent, writer=writer) for name, writer, silent in nodes]

    def at_last(silent: float, *looks: Look) -> list[Finding]:
        # The new one takes the name of the old one, whose writer is still there for a while.
        return judged(
            NodeLost(T),
            *looks,
            look(0.5, partition(nodes=seen(("w1", "w1", 0.1)))),  # its first beat is to come
            look(1, partition(nodes=seen(("n1", "w1", 0.5)))),
            look(2, partition(nodes=seen(("w1", "w1", silent), ("n1", "w2", 0.5)))),
            look(3, partition(nodes=seen(("n1", "w2", 0.5)))),
        )

    assert about(at_last(4.5)) == [(Alert.NODE_LOST, "n1")]
    assert at_last(0.9) == []  # it left
    assert at_last(4.5, look(0, redis="refused")) == []  # all began anew
    gone = [
        look(1, partition(nodes=seen(("n1", "w1", 4.5)))),
        *(look(n, partition(nodes=[])) for n in (2, 3)),
    ]
    assert judged(NodeLost(T), *gone) == []
    lost = NodeSeen("n1", True, 6, writer="w1")
    assert len(judged(NodeLost(T), gone[0], look(2, partition(nodes=[lost])))) == 1


def test_one_death_is_counted_once_however_often_it_is_found() -> None:
    """Who joins gives the dead another lease before it declares them dead."""

    def seen(silent: float, *, lost: bool = False, said: int = 7) -> PartitionSeen:
        report = node_report(name="n1", time=said)
        return partition(nodes=[NodeSeen("n1", lost, silent, report, "w1")])

    def told(*looks: Look) -> int:
        condition, alerts = NodeLost(T), AlertBook(calm=30, repeat=0)
        for each in looks:
            alerts.observe(condition.judge(each), each.now)
        return alerts.raised[0].times

    found, again = look(0, seen(10)), look(1, seen(0.5))
    assert told(found, again, look(6, seen(5.5, lost=True))) == 1
    assert told(found, again, look(6, seen(5.5, lost=True, said=8))) == 2  # it was back meanwhile
    answers = Asked(node_report(name="n1"), NOON)
    silent = {"h:1": Asked[NodeReport](None, NOON - 10, "refused")}
    by_name = look(0, seen(9), nodes={"h:1": answers}), look(0, seen(9), nodes=silent)
    assert told(*by_name, again, look(6, seen(5.5, lost=True))) == 1


def test_after_an_outage_everybody_has_time_to_come_back() -> None:
    silent = partition(nodes=[NodeSeen("n1", False, 60)])
    for hindered in (
        look(0, partition(refuses="MISCONF")),
        look(0, partition(stalls=60.0)),
        look(0, redis="refused", since=-60),
    ):
        condition = NodeLost(T)
        assert judged(condition, hindered, look(9.9, silent)) == []
        assert about(judged(condition, look(10, silent))) == [(Alert.NODE_LOST, "n1")]


def test_a_node_that_was_named_is_lost_when_it_does_not_answer_and_keeps_its_name() -> None:
    silent = Look(NOON + 20, None, {"h:1": Asked(None, NOON + 10, "refused")})
    condition = NodeLost(T)
    assert judged(condition, node_says(10)) == []
    assert about(judged(condition, silent)) == [(Alert.NODE_LOST, "s1")]
    assert about(judged(NodeLost(T), silent)) == [(Alert.NODE_LOST, "h:1")]


def test_the_journal_is_stalled_when_orders_wait() -> None:
    stuck = {"main": partition_report(waiting=7, waited=5.0)}
    assert judged(JournalStalled(T), node_says(0)) == []
    slow = {"main": partition_report(waiting=7, waited=4.9)}
    assert judged(JournalStalled(T), node_says(0, partitions=slow)) == []
    (found,) = judged(JournalStalled(T), node_says(0, partitions=stuck))
    assert (found.subject, found.since) == ("main", NOON - 5)
    assert "7 commands wait at the node s1" in found.text


def test_what_a_dead_node_said_last_does_not_count() -> None:
    report = node_report(partitions={"main": partition_report(waiting=7, waited=5.0)})
    nodes = [NodeSeen("n1", lost=True, silent=9, report=report)]
    assert judged(JournalStalled(T), look(0, partition(nodes=nodes))) == []
    nodes = [replace(nodes[0], lost=False)]
    assert judged(JournalStalled(T), look(0, partition(nodes=nodes))) == []
    nodes = [replace(nodes[0], silent=1)]
    assert len(judged(JournalStalled(T), look(0, partition(nodes=nodes)))) == 1


def test_the_journal_is_stalled_when_redis_takes_no_writes() -> None:
    assert judged(JournalStalled(T), look(0, partition(stalls=4.9))) == []
    (found,) = judged(JournalStalled(T), look(0, partition(stalls=5.0)))
    assert (found.subject, found.since) == ("main", NOON - 5)


def test_errors_count_from_when_they_are_first_seen() -> None:
    condition = Errors(T)
    assert judged(condition, node_says(0, errors=7)) == []
    (found,) = judged(condition, node_says(1, errors=10))
    assert (found.subject, found.more) == ("s1", 3)
    (found,) = judged(condition, node_says(2, errors=10))
    assert found.more == 0
    assert len(judged(condition, node_says(60, errors=10))) == 1
    assert judged(condition, node_says(61, errors=10)) == []


def test_errors_of_a_node_that_is_started_again_count_from_0() -> None:
    condition = Errors(T)
    judged(condition, node_says(0, errors=7))
    (found,) = judged(condition, node_says(1, errors=2, started=int(NOON * 1e6)))
    assert found.more == 2


def test_errors_of_one_that_has_just_started_count_all() -> None:
    (found,) = judged(Errors(T), node_says(0, errors=2, started=int((NOON - 59) * 1e6)))
    assert found.more == 2
    assert judged(Errors(T), node_says(0, errors=2, started=int((NOON - 60) * 1e6))) == []


def test_how_many_errors_are_too_many_is_for_the_operator_to_say() -> None:
    condition = Errors(replace(T, errors=3, errors_within=10))
    judged(condition, node_says(0))
    assert judged(condition, *(node_says(n * 10, errors=n * 2) for n in range(5))) == []
    (found,) = judged(condition, node_says(41, errors=9))
    assert (found.more, found.text) == (3, "3 errors in the log of the node in 10 s")


def test_of_two_reports_of_a_node_the_newer_counts() -> None:
    said = node_says(5, errors=0)
    old = node_report(name="s1", time=int(NOON * 1e6), errors=9)
    nodes = [NodeSeen("s1", False, 0, old)]
    both = Look(said.now, Asked([partition(nodes=nodes)], said.now), said.nodes)
    assert [(source, report.errors) for source, report in both.reports] == [("h:1", 0)]
    new = [replace(nodes[0], report=replace(old, time=int((NOON + 6) * 1e6)))]
    both = Look(said.now, Asked([partition(nodes=new)], said.now), said.nodes)
    assert [(source, report.errors) for source, report in both.reports] == [("redis", 9)]


def test_redis_does_not_write_when_it_says_so() -> None:
    condition = RedisNotWriting(T)
    assert judged(condition, look(0, partition(memory=89, max_memory=100))) == []
    assert judged(condition, look(0, partition(memory=89, max_memory=0))) == []
    said: list[tuple[dict[str, Any], str]] = [
        ({"refuses": "MISCONF Errors writing"}, "refuses to write: MISCONF"),
        ({"write_status": "err"}, "could not write to its append-only file"),
        ({"rewrite_status": "err"}, "could not rewrite"),
        ({"memory": 90, "max_memory": 100}, "has used 90% of its maxmemory"),
    ]
    for fields, text in said:
        (found,) = judged(condition, look(0, partition(**fields)))
        assert (found.alert, found.subject) == (Alert.REDIS_NOT_WRITING, "main")
        assert text in found.text


def test_redis_does_not_write_when_a_node_had_to_refuse_for_it() -> None:
    condition = RedisNotWriting(T)
    (found,) = judged(condition, node_says(0, unavailable=5), node_says(1, unavailable=9))
    assert (found.subject, found.more) == ("s1", 4)


def test_a_disk_is_nearly_full() -> None:
    def disk(asked: Asked[DiskSeen]) -> list[Finding]:
        return judged(DiskNearlyFull(T), Look(NOON, None, {}, {"/data": asked}))

    assert disk(Asked(DiskSeen(1000, 151), NOON)) == []
    assert disk(Asked(DiskSeen(0, 0), NOON)) == []
    (found,) = disk(Asked(DiskSeen(1000, 150), NOON))
    assert "/data is 85.0% full" in found.text
    (found,) = disk(Asked(None, NOON, "no such file"))
    assert found.text == "/data cannot be looked at: no such file"


def test_how_large_the_append_only_file_is_stands_beside_it() -> None:
    full = {"/data": Asked(DiskSeen(1000, 0), NOON)}
    (found,) = judged(DiskNearlyFull(T), look(0, partition(aof_size=3 * 2**30), disks=full))
    assert "the append-only file has 3.0 GiB" in found.text
