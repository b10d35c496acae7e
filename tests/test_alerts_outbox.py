"""What waits for a sink: grouped with counts, bounded, and nothing of it forgotten."""

from tests.alerts import letter, notice
from wood.alerts.notices import Alert
from wood.alerts.outbox import Outbox
from wood.model.log_events import LogEvent


def test_it_is_told_in_the_order_in_which_it_came() -> None:
    outbox = Outbox()
    assert not outbox
    outbox.put([notice(id="a"), notice(id="b")])
    assert outbox
    assert outbox.take() == letter(notice(id="a"), notice(id="b"))
    assert not outbox


def test_what_is_said_of_one_alert_becomes_one_notice_that_stands_for_all() -> None:
    outbox = Outbox()
    outbox.put([notice(), notice(id="b")])
    outbox.put([notice(event=LogEvent.ALERT_REPEATED, times=5)])
    outbox.put([notice(event=LogEvent.ALERT_ENDED, times=9)])
    taken = outbox.take()
    ended = notice(event=LogEvent.ALERT_ENDED, times=9, stands_for=3)
    assert taken == letter(notice(id="b"), ended)
    assert taken.count == 4


def test_what_could_not_be_delivered_is_joined_by_what_came_since() -> None:
    outbox = Outbox()
    outbox.put([notice(id="a"), notice(id="b")])
    under_way = outbox.take()
    outbox.put([notice(id="c"), notice(id="a", event=LogEvent.ALERT_ENDED)])
    outbox.give_back(under_way)
    ended = notice(id="a", event=LogEvent.ALERT_ENDED, stands_for=2)
    assert outbox.take() == letter(notice(id="b"), notice(id="c"), ended)


def test_past_the_bound_the_oldest_are_counted() -> None:
    outbox = Outbox(limit=3)
    outbox.put(notice(id=str(n)) for n in range(5))
    outbox.put([notice(id="e", alert=Alert.ERRORS, stands_for=4)])
    first = outbox.take()
    assert [each.id for each in first.notices] == ["3", "4", "e"]
    assert first.left_out == {"node-lost": 3}
    outbox.put(notice(id=f"later-{n}") for n in range(2))
    outbox.give_back(first)
    second = outbox.take()
    assert [each.id for each in second.notices] == ["e", "later-0", "later-1"]
    assert second.left_out == {"node-lost": 5}
    assert second.count == first.count + 2
