"""The token bucket of a participant."""

import pytest

from wood.exchange import rates as module
from wood.exchange.rates import SECOND, Rates
from wood.model.commands import (
    CancelAll,
    CancelAnonymous,
    CancelOrder,
    ChangeState,
    CloseSession,
    Command,
    Heartbeat,
    ListInstruments,
    ListOrders,
    OpenSession,
    Refuse,
)
from wood.model.errors import ErrorCode, Limit
from wood.model.limits import NONE, Limits
from wood.model.orders import State

NOW = 10**15


def cancels(count: int, who: str = "A") -> list[Command]:
    return [CancelOrder(who, "s", 1, "WOOD", number) for number in range(count)]


def refused(commands: object) -> list[int]:
    """How long those who are refused shall wait."""
    return [c.retry_after for c in commands if isinstance(c, Refuse)]  # type: ignore


def test_a_second_at_once_then_one_by_one() -> None:
    rates = Rates(10)
    commands = cancels(12)
    assert rates.admit(commands[:10], NOW) == commands[:10]
    assert refused(rates.admit(commands[:1], NOW)) == [SECOND // 10]
    assert refused(rates.admit(commands[:1], NOW + 60_000)) == [40_000]
    assert rates.admit(commands[:1], NOW + 100_000) == commands[:1]
    assert refused(rates.admit(commands[:1], NOW + 100_000)) == [SECOND // 10]
    later = NOW + 100 * SECOND
    assert refused(rates.admit(commands, later)) == [SECOND // 10] * 2, "no more is saved up"


def test_what_is_refused_says_what_it_was_and_keeps_its_place() -> None:
    rates = Rates(1)
    everything = CancelAll("A", "s", 1, "PEAR")
    first, second = cancels(2)
    assert rates.admit([first, second, everything], NOW) == [
        first,
        Refuse(
            *("A", "s", 1, ErrorCode.RATE, "more than 1 messages per second", 1, "WOOD"),
            *(Limit.PARTICIPANT_RATE, SECOND),
        ),
        Refuse(
            *("A", "s", 1, ErrorCode.RATE, "more than 1 messages per second", None, "PEAR"),
            *(Limit.PARTICIPANT_RATE, SECOND),
        ),
    ]


@pytest.mark.parametrize(
    "free",
    [
        Heartbeat("A", "s", 1),
        ListOrders("A", "s", 1),
        ListInstruments("A", "s", 1),
        OpenSession("A", "s", 1, "B"),
        CloseSession("A", "s", 1),
        Refuse("A", "s", 1, ErrorCode.RATE, "said before"),
        CancelAll("A", "s", 1, None, "B"),
        CancelAnonymous("A", "s", 1, 5),
        ChangeState("A", "s", 1, "WOOD", State.HALTED),
    ],
)
def test_what_does_not_count(free: Command) -> None:
    rates = Rates(2)
    first, second, third = cancels(3)
    mixed = [free, first, free, free, second, free]
    assert rates.admit(mixed, NOW) == mixed
    *_, last, refusal = rates.admit([free, third], NOW)
    assert last == free
    assert refused([refusal]) == [SECOND // 2]


def test_what_cannot_be_understood_counts() -> None:
    rates = Rates(1)
    bad = Refuse("A", "s", 1, ErrorCode.INVALID, "what?", 7)
    first, second = rates.admit([bad, bad], NOW)
    assert first == bad
    assert refused([second]) == [SECOND]
    assert isinstance(second, Refuse)
    assert second.order_id == 7


def test_each_has_a_bucket_and_perhaps_a_rate_of_its_own() -> None:
    rates = Rates(1)
    own = {
        "A": {"*": Limits(rate=3)},
        "B": {"*": Limits(rate=NONE)},
        "C": {"WOOD": Limits(position=1)},
    }
    rates.take(own)
    for who, count in (("A", 2), ("B", 0), ("C", 4), ("D", 4)):
        assert len(refused(rates.admit(cancels(5, who), NOW))) == count
    mixed = rates.admit([*cancels(1, "E"), *cancels(2, "F"), *cancels(1, "E")], NOW)
    assert [isinstance(each, Refuse) for each in mixed] == [False, False, True, True]


def test_whether_anybody_is_limited() -> None:
    rates = Rates(0)
    assert not rates.any
    rates.take({"A": {"*": Limits(rate=NONE)}})
    assert not rates.any
    assert rates.admit(cancels(5), NOW) == cancels(5)
    limited = Rates(0)
    limited.take({"A": {"*": Limits(rate=1)}})
    assert limited.any
    assert not refused(limited.admit(cancels(5, "B"), NOW))


def test_a_clock_that_went_back_makes_nobody_wait_for_it() -> None:
    rates = Rates(10)
    rates.admit(cancels(10), NOW)
    back = NOW - 3600 * SECOND
    assert refused(rates.admit(cancels(1), back)) == [SECOND // 10]
    assert not refused(rates.admit(cancels(10), back + SECOND))


def test_what_is_full_again_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CROWD", 4)
    rates = Rates(1)
    for number in range(100):
        rates.admit(cancels(1, str(number)), NOW + number * SECOND)
    assert len(rates._full_at) <= 5
