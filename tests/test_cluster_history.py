"""How one who read to some place can go on, by the list of epochs alone."""

import pytest

from wood.exchange.cluster.history import Epoch, Fork, Trusted, follow, is_true
from wood.exchange.tail import Position

LIST: list[Epoch] = [(10, 0, 0), (20, 100, 50), (30, 200, 90)]
"""Epoch 10 ended with batch 50, epoch 20 with batch 90; 30 is the present one."""


def after(epoch: int, batch: int) -> Trusted | Fork | None:
    return follow(LIST, Position("journal", epoch, 2 * batch, batch, 0))


@pytest.mark.parametrize(
    ("epoch", "batch", "trusted"),
    [
        (10, 0, {10: 50, 20: 90, 30: None}),
        (10, 50, {10: 50, 20: 90, 30: None}),
        (20, 50, {20: 90, 30: None}),
        (20, 90, {20: 90, 30: None}),
        (30, 90, {30: None}),
        (30, 1000, {30: None}),
    ],
)
def test_a_position_of_this_history(epoch: int, batch: int, trusted: Trusted) -> None:
    assert after(epoch, batch) == trusted


@pytest.mark.parametrize(
    ("epoch", "batch", "fork"),
    [
        (10, 51, Fork(10, 100, 50)),
        (10, 1000, Fork(10, 100, 50)),
        (20, 91, Fork(20, 200, 90)),
        # Of epochs that began in what was lost.
        (15, 60, Fork(10, 100, 50)),
        (25, 95, Fork(20, 200, 90)),
    ],
)
def test_a_position_that_was_lost(epoch: int, batch: int, fork: Fork) -> None:
    assert after(epoch, batch) == fork


def test_an_epoch_that_was_lost_with_nothing_in_it() -> None:
    """The server was started twice, and forgot the first time; no batch was decided between."""
    assert after(15, 50) == {10: 50, 20: 90, 30: None}


def test_an_epoch_that_is_to_come() -> None:
    """The server lost one, and nobody has asked it for anything since: it will begin another."""
    assert after(35, 95) is None
    assert follow([], Position("journal", 10, 0, 0, 0)) is None


@pytest.mark.parametrize(
    ("batch", "follows"),
    [
        (90, {20: 90, 30: None}),
        (95, Fork(20, 200, 90)),
        # What it forked from was lost before: by the one that began epoch 20.
        (60, Fork(10, 100, 50)),
        (50, {10: 50, 20: 90, 30: None}),
    ],
)
def test_an_epoch_of_a_clock_that_was_ahead(batch: int, follows: Trusted | Fork) -> None:
    """It was lost, and the next server, which has its own, counts from an earlier time."""
    position = Position("journal", 35, 2 * batch, batch, 0)
    assert follow(LIST, position, begun=True) == follows


def test_a_clock_that_was_ahead_and_is_right_again() -> None:
    """Somebody who was away does not see at once that the next epoch was not the next one."""
    position = Position("journal", 35, 120, 60, 0)
    assert follow([*LIST, (40, 300, 140)], position) == Fork(10, 100, 50)


def test_a_history_in_which_nothing_was_lost() -> None:
    """It is not the one that the position is of: an old server that thinks it still is one."""
    assert follow(LIST[:1], Position("journal", 15, 120, 60, 0), begun=True) is None


def test_an_epoch_that_is_older_than_the_list() -> None:
    assert after(5, 0) == {10: 50, 20: 90, 30: None}
    assert follow(LIST[1:], Position("journal", 10, 100, 50, 0)) == {20: 90, 30: None}
    assert follow(LIST[1:], Position("journal", 10, 102, 51, 0)) == Fork(20, 100, 50)


def test_what_is_of_this_history() -> None:
    trusted: Trusted = {20: 90, 30: None}
    assert is_true(trusted, 20, 90)
    assert is_true(trusted, 30, 91)
    assert not is_true(trusted, 20, 91)
    assert not is_true(trusted, 10, 40)
    assert not is_true(trusted, 40, 100)
