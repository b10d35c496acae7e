"""How much counters of nodes grow."""

from tests.reports import node_report
from wood.alerts.counting import Growth


def grown(*counts: int) -> list[int]:
    """By how much, of a node that was there long before."""
    growth, report = Growth(young=60), node_report(started=1)
    return [growth.of(report, "errors", count) for count in counts]


def test_what_was_before_does_not_count() -> None:
    assert grown(100, 100, 103) == [0, 0, 3]


def test_an_older_word_of_the_same_node_counts_nothing() -> None:
    assert grown(100, 101, 100, 101, 102) == [0, 1, 0, 0, 1]


def test_all_of_one_that_was_started_again_counts() -> None:
    growth = Growth(young=60)
    assert growth.of(node_report(started=1), "errors", 100) == 0
    assert growth.of(node_report(started=2), "errors", 3) == 3
    assert growth.of(node_report(started=2), "errors", 5) == 2


def test_all_of_one_that_is_young_counts() -> None:
    report = node_report()
    assert Growth(young=61).of(report, "errors", 3) == 3
    assert Growth(young=60).of(report, "errors", 3) == 0
