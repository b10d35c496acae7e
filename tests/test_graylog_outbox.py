from wood.graylog.log_sender import dropped
from wood.graylog.outbox import Outbox
from wood.graylog.record import Record


def record(number: int) -> Record:
    return Record(float(number), 20, "n", "nodes", str(number), {})


def filled(most: int, count: int) -> Outbox:
    outbox = Outbox(most)
    for number in range(count):
        outbox.put(record(number))
    return outbox


def texts(outbox: Outbox, most: int) -> list[str]:
    return [record.text for record in outbox.waiting(most)]


def test_what_was_sent_stays_until_it_is_confirmed() -> None:
    outbox = filled(10, 5)
    assert texts(outbox, 3) == ["0", "1", "2"]
    outbox.sent(3)
    assert texts(outbox, 3) == ["3", "4"]
    assert (outbox.unsent, outbox.unconfirmed, len(outbox)) == (2, 3, 5)
    outbox.confirmed()
    assert (outbox.unsent, outbox.unconfirmed, len(outbox)) == (2, 0, 2)
    assert texts(outbox, 3) == ["3", "4"]


def test_what_was_lost_is_sent_again_in_its_order() -> None:
    outbox = filled(10, 3)
    outbox.sent(3)
    outbox.put(record(3))
    outbox.lost()
    assert texts(outbox, 9) == ["0", "1", "2", "3"]


def test_what_does_not_fit_is_counted() -> None:
    outbox = filled(3, 5)
    assert (len(outbox), outbox.dropped) == (3, 2)
    assert texts(outbox, 9) == ["0", "1", "2"]
    outbox.sent(2)
    outbox.put(record(5))
    assert outbox.dropped == 3, "what is not confirmed takes room"
    outbox.confirmed()
    outbox.put(record(6))
    assert texts(outbox, 9) == ["2", "6"]


def test_a_count_of_others_that_were_dropped_is_not_lost_when_it_does_not_fit() -> None:
    outbox = filled(3, 5)
    outbox.put(dropped("n", "nodes", 127))
    assert outbox.dropped == 2 + 127
