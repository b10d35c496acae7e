"""Which alerts are raised, repeated and ended, by a clock that the test has."""

from collections.abc import Iterator

from tests.alerts import NOON, finding
from wood.alerts.book import AlertBook
from wood.alerts.notices import Alert, Notice, line
from wood.model.log_events import LogEvent

RAISED, REPEATED, ENDED = (
    LogEvent.ALERT_RAISED,
    LogEvent.ALERT_REPEATED,
    LogEvent.ALERT_ENDED,
)


def book(calm: float = 10, repeat: float = 100) -> AlertBook:
    return AlertBook(calm=calm, repeat=repeat)


def told(notices: list[Notice]) -> list[tuple[LogEvent, str, int]]:
    return [(notice.event, notice.subject, notice.times) for notice in notices]


def each_second(alerts: AlertBook, seconds: range, *present: int) -> Iterator[Notice]:
    """What is told while something is found at these seconds and at no others."""
    for second in seconds:
        found = [finding()] if second in present else []
        yield from alerts.observe(found, NOON + second)


def test_what_is_found_is_raised_once_and_what_is_not_found_any_more_ends() -> None:
    notices = list(each_second(book(), range(60), *range(5, 30)))
    assert told(notices) == [(RAISED, "n1", 1), (ENDED, "n1", 1)]
    raised, ended = notices
    assert raised.id == ended.id
    assert (raised.since, ended.since, ended.last) == (NOON + 5, NOON + 5, NOON + 29)


def test_what_comes_and_goes_is_one_alert_that_counts() -> None:
    notices = list(each_second(book(), range(60), 1, 2, 5, 9, 10, 15))
    assert told(notices) == [(RAISED, "n1", 1), (ENDED, "n1", 4)]
    assert notices[-1].last == NOON + 15


def test_what_comes_again_after_its_end_is_another_alert() -> None:
    first, _, second, _ = each_second(book(), range(100), 1, 50)
    assert first.id != second.id


def test_what_lasts_is_repeated_every_so_often() -> None:
    notices = list(each_second(book(repeat=20), range(60), *range(60)))
    assert told(notices) == [(RAISED, "n1", 1), (REPEATED, "n1", 1), (REPEATED, "n1", 1)]
    assert [notice.last - NOON for notice in notices] == [0, 20, 40]
    assert len(list(each_second(book(repeat=0), range(1000), *range(1000)))) == 1


def test_what_can_be_counted_is_counted() -> None:
    alerts = book(repeat=2)
    counts = [finding(Alert.ERRORS, more=more) for more in (7, 0, 5)]
    notices = [n for second, f in enumerate(counts) for n in alerts.observe([f], NOON + second)]
    assert told(notices) == [(RAISED, "n1", 7), (REPEATED, "n1", 12)]


def test_each_subject_has_its_own_alert() -> None:
    alerts = book()
    assert len(alerts.observe([finding(), finding(subject="n2")], NOON)) == 2
    assert [n.subject for n in alerts.observe([finding()], NOON + 11)] == ["n2"]
    assert [n.subject for n in alerts.raised] == ["n1"]


def test_who_cannot_be_asked_ends_nothing() -> None:
    alerts = book()
    alerts.observe([finding(), finding(subject="n2", source="n2")], NOON)
    assert told(alerts.observe([], NOON + 50, {"redis"})) == [(ENDED, "n2", 1)]
    assert alerts.observe([finding()], NOON + 60) == []  # it had never gone
    assert told(alerts.observe([], NOON + 71)) == [(ENDED, "n1", 1)]


def test_an_alert_that_two_have_seen_ends_when_both_see_it_no_more() -> None:
    alerts = book()
    both = [finding(), finding(source="n1")]
    assert told(alerts.observe(both, NOON)) == [(RAISED, "n1", 1)]
    assert alerts.observe(both[1:], NOON + 30) == []
    assert alerts.observe(both[:1], NOON + 60) == []
    assert told(alerts.observe([], NOON + 90)) == [(ENDED, "n1", 1)]


def test_the_text_is_the_newest_and_the_beginning_the_one_that_is_known() -> None:
    alerts = book()
    (raised,) = alerts.observe([finding(since=NOON - 60)], NOON)
    assert raised.since == NOON - 60
    alerts.observe([finding(text="still gone")], NOON + 1)
    (ended,) = alerts.observe([], NOON + 20)
    assert ended.text == "still gone"
    assert line(ended) == (
        "ENDED node-lost n1: still gone (from 2027-01-15 07:59:00 UTC to 2027-01-15 08:00:01 UTC, "
        "once; see docs/operations.md#node-lost)"
    )


def test_nobodys_words_begin_a_line_of_their_own() -> None:
    (raised,) = book().observe([finding(subject="n1\nRAISED", text="a\x1bb")], NOON)
    assert line(raised).isprintable()
