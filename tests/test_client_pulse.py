"""The two clocks of a connection; the time is handed in."""

from wood.client.pulse import Pulse


def test_one_speaks_after_an_interval_of_silence() -> None:
    pulse = Pulse(100.0, 5.0, None)
    assert pulse.next(listening=True) == 105
    assert not pulse.must_speak(104.9)
    assert pulse.must_speak(105)
    pulse.spoke(103)
    assert not pulse.must_speak(105)
    assert pulse.next(listening=False) == 108


def test_the_other_side_is_dead_when_patience_ends() -> None:
    pulse = Pulse(100.0, None, 10.0)
    assert pulse.next(listening=True) == 110
    assert not pulse.is_dead(109.9)
    assert pulse.is_dead(110)
    pulse.heard(105)
    assert not pulse.is_dead(110)
    assert pulse.next(listening=True) == 115


def test_who_does_not_listen_looks_at_its_own_silence_only() -> None:
    pulse = Pulse(100.0, 50.0, 10.0)
    assert pulse.next(listening=True) == 110
    assert pulse.next(listening=False) == 150


def test_without_limits_there_is_nothing_to_wait_for() -> None:
    pulse = Pulse(100.0, None, None)
    assert pulse.next(listening=True) is None
    assert not pulse.must_speak(1e9)
    assert not pulse.is_dead(1e9)


def test_both_may_change() -> None:
    pulse = Pulse(100.0, None, 30.0)
    pulse.interval, pulse.patience = 5.0, 10.0
    assert pulse.next(listening=True) == 105
    pulse.spoke(107)
    assert pulse.next(listening=True) == 110
