"""Whether one who read a journal to some place can go on from there. No I/O.

The list of epochs says where each began in the present history. What a server lost when it was
started anew or replaced is what a position has beyond the beginning of the epoch after its own.
"""

from collections.abc import Sequence

from msgspec import Struct

from wood.exchange.tail import Position

Epoch = tuple[int, int, int]
"""(epoch, last number and batches before it)"""

Trusted = dict[int, int | None]
"""Epoch -> its last batch, None for the present one: what follows a position in one history."""


class Fork(Struct, frozen=True):
    """The last batch that a position has in common with the present history, and its epoch."""

    epoch: int
    seq: int
    batch: int


def follow(
    epochs: Sequence[Epoch], position: Position, *, begun: bool = False
) -> Trusted | Fork | None:
    """What follows `position`, or where history left it; None if that cannot be known yet.

    It cannot before the server, after it lost something, has begun an epoch; `begun` says that the
    present server has one.
    """
    place = sum(epoch <= position.epoch for epoch, _, _ in epochs)
    lost = place > 0 and epochs[place - 1][0] != position.epoch
    if lost and (begun or place < len(epochs)):
        # Epochs grow, so history went on with the first one after the position's own; or with one
        # before it, if the clock of the next server was behind. That did not begin later than the
        # position; and the oldest of all did not begin with a loss.
        for each in range(min(place, len(epochs) - 1), 0, -1):
            if epochs[each][2] <= position.batch:
                place = each
                break
    if place == len(epochs) and (lost or not epochs):
        return None
    # The last that both histories have. It is missing where the list was cut, and the first one
    # after it begins then.
    common, following = epochs[max(place - 1, 0) : place], epochs[place:]
    if following:
        epoch, seq, batch = following[0]
        if position.batch > batch:
            return Fork(common[0][0] if common else epoch, seq, batch)
    ends = [batch for _, _, batch in following]
    names = [epoch for epoch, _, _ in (*common, *following)]
    return dict(zip(names, [*ends, None][-len(names) :], strict=True))


def is_true(trusted: Trusted, epoch: int, batch: int) -> bool:
    """Whether a batch of that epoch is of this history."""
    if epoch not in trusted:
        return False
    end = trusted[epoch]
    return end is None or batch <= end
