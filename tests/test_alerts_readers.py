"""Readers that fall behind, or stand still."""

from msgspec.structs import replace

from tests.alerts import NOON, judged, look, node_says, partition, position
from wood.alerts.look import Look, PartitionSeen, ReaderSeen
from wood.alerts.readers import ReaderBehind
from wood.alerts.thresholds import Thresholds

T = Thresholds()


def reads(batch: int, behind: int, kept: float = 0.0) -> PartitionSeen:
    return partition(readers={"graylog": ReaderSeen(position(batch), behind, kept)})


def test_one_that_is_far_behind_is_told() -> None:
    assert judged(ReaderBehind(T), look(0, reads(1, 99_999))) == []
    (found,) = judged(ReaderBehind(T), look(0, reads(1, 100_000)))
    assert found.subject == "graylog of main"


def test_one_that_stands_still_while_there_is_something_to_read_is_told() -> None:
    condition = ReaderBehind(T)
    still = [look(second, reads(7, 5)) for second in range(32)]
    assert judged(condition, *still[:31]) == []
    (found,) = judged(condition, still[31])
    assert "has 5 events to go and has not moved for 30 s" in found.text
    assert judged(condition, look(32, reads(8, 5))) == []


def test_one_that_has_read_all_may_stand_still() -> None:
    looks = [look(second, reads(7, 0, kept=3600.0)) for second in range(90)]
    assert judged(ReaderBehind(T), *looks) == []


def test_one_that_moves_slowly_is_not_far_behind() -> None:
    looks = [look(second, reads(second, 5)) for second in range(90)]
    assert judged(ReaderBehind(T), *looks) == []


def test_who_asks_once_goes_by_what_the_reader_wrote() -> None:
    condition = ReaderBehind(T, at_once=True)
    assert judged(condition, look(0, reads(7, 5, 40)), look(1, reads(8, 5, 0.1))) == []
    (found,) = judged(condition, look(2, reads(8, 5, 41)))
    assert found.since == NOON + 2 - 41


def test_one_that_is_part_of_a_server_is_judged_by_what_it_has_to_go() -> None:
    def looks(*behind: int) -> list[Look]:
        return [node_says(second, readers={"graylog": n}) for second, n in enumerate(behind)]

    few = replace(T, behind_seconds=3)
    (found,) = judged(ReaderBehind(few), *looks(5, 6, 6, 7, 8))
    assert found.subject == "graylog in s1"
    assert judged(ReaderBehind(few), *looks(5, 6, 6, 5, 6)) == []
    assert judged(ReaderBehind(few), *looks(0, 0, 0, 0, 0)) == []
    assert len(judged(ReaderBehind(few), *looks(100_000))) == 1
