import pytest

from wood.model.errors import ErrorCode, Limit, Refusal
from wood.node.throttle import AddressThrottles, Allowance, Throttle


def counts(throttle: Throttle, messages: int) -> list[bool]:
    return [not throttle.wait() for _ in range(messages)]


def test_a_second_at_once_then_the_rate() -> None:
    now = [100.0]
    throttle = Throttle(4, lambda: now[0])
    assert counts(throttle, 6) == [True] * 4 + [False] * 2
    now[0] += 0.5
    assert counts(throttle, 4) == [True] * 2 + [False] * 2
    now[0] += 1000
    assert counts(throttle, 6) == [True] * 4 + [False] * 2


@pytest.mark.parametrize("rate", [1, 3, 7, 1000, 99_999])
def test_whoever_waits_as_long_as_told_is_let_in(rate: int) -> None:
    now = [12345.678]
    throttle = Throttle(rate, lambda: now[0])
    assert all(counts(throttle, rate))
    for _ in range(10):
        wait = throttle.wait()
        assert wait == pytest.approx(1 / rate, rel=0.1)
        now[0] += wait
        assert not throttle.wait()


def test_connecting_anew_gives_no_new_bucket_and_old_ones_are_not_kept() -> None:
    now = [5.0]
    throttles = AddressThrottles(2, lambda: now[0])
    assert [bool(throttles.wait("a")) for _ in range(3)] == [False, False, True]
    assert not throttles.wait("b"), "each has its own"
    now[0] += 0.4
    assert throttles.wait("a"), "that it asked and was refused is no reason to forget it"
    for number in range(1000):
        throttles.wait(str(number))
    assert len(throttles) == 1002
    now[0] += 1.1
    throttles.wait("c")
    assert len(throttles) == 1
    assert not throttles.wait("a")


def test_which_limit_refuses_and_when_to_come_again() -> None:
    addresses = AddressThrottles(4, lambda: 0.0)
    allowances = [Allowance(Throttle(2, lambda: 0.0), addresses) for _ in range(3)]
    for each in allowances:
        each.address = "a"
    refusals = []
    for number in range(7):
        if number < 4:
            allowances[number % 3].check()
        else:
            with pytest.raises(Refusal) as caught:
                allowances[number % 3].check()
            refusals.append(caught.value)
    assert {refusal.code for refusal in refusals} == {ErrorCode.RATE}
    assert [(refusal.limit, refusal.retry_after) for refusal in refusals] == [
        (Limit.ADDRESS_RATE, 250_000),
        (Limit.ADDRESS_RATE, 250_000),
        (Limit.CONNECTION_RATE, 500_000),
    ]
