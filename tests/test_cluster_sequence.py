"""Entries in every order that a network can make of them: each is passed on once, in its place."""

from msgspec import Raw

from wood.exchange.cluster.formats import Entry
from wood.exchange.cluster.sequence import Sequence


def entry(batch: int, epoch: int = 1, writer: str = "w") -> Entry:
    """Each has two numbers; its writer numbers its batches as the journal does."""
    return Entry(
        epoch, batch, writer, batch, 1, batch * 2 - 1, batch * 2, batch * 100, Raw(), Raw()
    )


def sequence(batch: int = 0) -> Sequence:
    fresh = Sequence()
    fresh.reset(1, batch, batch * 2, batch * 100)
    return fresh


def ready(sequence: Sequence) -> list[int]:
    return [entry.batch for entry, _ in sequence.ready()]


def test_in_order() -> None:
    s = sequence()
    for batch in (1, 2, 3):
        s.offer(entry(batch))
        assert ready(s) == [batch]
    assert (s.batch, s.seq, s.time, s.epoch, s.position) == (3, 6, 300, 1, "6-3")
    assert not s.incomplete


def test_what_comes_too_early_waits() -> None:
    s = sequence(5)
    for batch in (8, 7):
        s.offer(entry(batch))
        assert ready(s) == []
        assert s.incomplete
        assert s.position == "10-5"
    s.offer(entry(6))
    assert not s.incomplete
    assert ready(s) == [6, 7, 8]
    assert not s.incomplete


def test_a_second_gap_is_seen_too() -> None:
    s = sequence()
    for batch in (1, 3):
        s.offer(entry(batch))
    assert ready(s) == [1]
    assert s.incomplete


def test_repeats_are_dropped() -> None:
    s = sequence()
    for batch in (1, 2, 2):
        s.offer(entry(batch))
    assert ready(s) == [1, 2]
    for batch in (1, 2):
        s.offer(entry(batch), b"\x90")
    assert ready(s) == []
    assert not s.incomplete


def test_what_is_not_taken_is_still_there() -> None:
    """A reader of `ready` may stop in the middle."""
    s = sequence()
    for batch in (1, 2, 3):
        s.offer(entry(batch))
    assert next(s.ready())[0].batch == 1
    assert ready(s) == [2, 3]


def test_answers_come_with_one_of_the_copies() -> None:
    for answers_first in (True, False):
        s = sequence()
        offers = [(entry(1), b"\x90"), (entry(1), None)]
        for each in offers if answers_first else reversed(offers):
            s.offer(*each)
        assert [answers for _, answers in s.ready()] == [b"\x90"]


def test_a_held_batch_waits_for_its_answers_and_so_do_those_after_it() -> None:
    s = sequence()
    s.held.add(("w", 2))
    for batch in (1, 2, 3):
        s.offer(entry(batch))
    assert ready(s) == [1]
    assert not s.incomplete, "nothing is to be fetched: the answers come by themselves"
    s.held.discard(("w", 2))
    s.offer(entry(2), b"\x90")
    assert [(e.batch, answers) for e, answers in s.ready()] == [(2, b"\x90"), (3, None)]


def test_only_the_writer_that_is_named_is_held() -> None:
    s = sequence()
    s.held.add(("other", 1))
    s.offer(entry(1))
    assert ready(s) == [1]


def test_an_unknown_epoch_waits_until_somebody_has_looked() -> None:
    s = sequence()
    s.offer(entry(1))
    s.offer(entry(2, epoch=9))
    assert ready(s) == [1]
    assert s.incomplete
    assert s.position == "2-1"
    s.trust({1: 1, 9: None})
    assert ready(s) == [2]
    assert s.epoch == 9


def test_reset_forgets_what_waits_and_trusts_one_epoch() -> None:
    s = sequence()
    s.trust({1: 3, 2: None})
    s.offer(entry(3))
    s.held.add(("w", 1))
    s.reset(2, 7, 70, 700)
    assert (s.batch, s.seq, s.time, s.epoch, s.position) == (7, 70, 700, 2, "70-7")
    assert s.trusted == {2: None}
    assert s.held == {("w", 1)}, "that is known by the writer alone"
    s.offer(entry(8))
    assert ready(s) == []
    s.offer(entry(9, epoch=2))
    assert ready(s) == []
    assert s.incomplete
    s.offer(entry(8, epoch=2))
    assert ready(s) == [8, 9]


def test_history_may_be_shorter_after_a_reset() -> None:
    s = sequence(9)
    s.reset(2, 3, 6, 300)
    s.offer(entry(4, epoch=2))
    assert ready(s) == [4]


def test_a_copy_of_the_lost_history_does_not_stand_in_the_way() -> None:
    """The stream has the truth; what pub/sub said of a batch that was lost must give way to it."""
    s = sequence()
    s.offer(entry(1, epoch=1, writer="lost"))
    s.reset(2, 0, 0, 0)
    s.offer(entry(1, epoch=2, writer="true"))
    assert [e.writer for e, _ in s.ready()] == ["true"]


def test_much_that_waits_does_not_keep_out_what_it_waits_for() -> None:
    """Only so much is kept; the stream, read in pages, brings the rest and the missing one."""
    s = sequence()
    for batch in range(2, 5001):
        s.offer(entry(batch))
    assert ready(s) == []
    assert s.incomplete
    found: list[int] = []
    for _ in range(25):
        for batch in range(s.batch + 1, s.batch + 201):
            s.offer(entry(batch))
        found += ready(s)
    assert found[:5000] == list(range(1, 5001))


def test_an_epoch_is_trusted_up_to_its_end() -> None:
    """What an old master still says beyond it is of a history that was lost."""
    s = sequence()
    s.trust({1: 2, 2: None})
    for batch in (1, 2, 3):
        s.offer(entry(batch))
    assert ready(s) == [1, 2]
    assert s.incomplete
    s.offer(entry(3, epoch=2))
    assert ready(s) == [3]
    s.offer(entry(4, epoch=1))
    assert ready(s) == [], "history does not go back"
    s.offer(entry(4, epoch=2))
    assert ready(s) == [4]


def test_answers_that_came_before_their_epoch_was_known_are_kept() -> None:
    """No other copy of the entry has them."""
    s = sequence()
    s.offer(entry(1, epoch=9), b"answers")
    s.offer(entry(2))
    assert ready(s) == []
    s.trust({1: 0, 9: None})
    s.offer(entry(1, epoch=9))
    assert [answers for _, answers in s.ready()] == [b"answers"]
    assert not s.incomplete, "the other one was of a lost history"
