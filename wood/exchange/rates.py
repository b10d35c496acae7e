"""How many commands a participant may give: a token bucket each, one second's worth at once.

No clock; times are microseconds. The cluster keeps the same in Redis, by the same rule:
`lua/limits.lua`.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter

from wood.model.commands import (
    CancelAll,
    CancelAnonymous,
    ChangeState,
    CloseSession,
    Command,
    Heartbeat,
    ListInstruments,
    ListOrders,
    OpenSession,
    Refuse,
    Sweep,
)
from wood.model.errors import ErrorCode, Limit
from wood.model.limits import EVERYWHERE, NO_LIMITS, NONE, Limits

SECOND = 1_000_000

FREE = {
    *(CloseSession, Heartbeat, ListInstruments, ListOrders, OpenSession, Sweep),
    *(CancelAnonymous, ChangeState),
}
"""What does not count: a session has one question under way at most, and must be able to end; a
heartbeat costs no engine anything; and an operator is not held up in what it does to others."""

_participant = attrgetter("participant")

CROWD = 1024
"""Buckets that are kept at least before full ones are thrown away."""


class Rates:
    """The buckets of all who gave commands lately.

    What is kept of each is when its bucket will be full again (the "theoretical arrival time" of
    the generic cell rate algorithm, ITU-T I.371).
    """

    def __init__(self, rate: int) -> None:
        self.any = rate > 0
        """Whether anybody is limited."""
        self._rate = rate
        self._own: dict[str, int] = {}
        self._full_at: dict[str, int] = {}
        self._crowd = CROWD

    def take(self, own: Mapping[str, Mapping[str, Limits]]) -> None:
        """These participants have limits of their own from now on."""
        rates = {name: limits.get(EVERYWHERE, NO_LIMITS).rate for name, limits in own.items()}
        self._own = {
            name: 0 if rate == NONE else int(rate)
            for name, rate in rates.items()
            if rate is not None
        }
        self.any = self._rate > 0 or any(self._own.values())

    def admit(self, commands: Sequence[Command], now: int) -> Sequence[Command]:
        """The commands that are within the rates, and in place of the others their refusals."""
        whose = {*map(_participant, commands)}
        if len(whose) == 1:
            return self._admit(whose.pop(), commands, now)
        runs = groupby(commands, _participant)
        return [each for who, run in runs for each in self._admit(who, list(run), now)]

    def _admit(self, participant: str, commands: Sequence[Command], now: int) -> Sequence[Command]:
        rate = self._own.get(participant, self._rate)
        if not rate:
            return commands
        interval = max(1, SECOND // rate)
        full_at = max(self._full_at.get(participant, 0), now)
        # A clock that went back must not make anybody wait for it.
        full_at = min(full_at, now + SECOND)
        if FREE.isdisjoint(kinds := {*map(type, commands)}) and CancelAll not in kinds:
            after = full_at + len(commands) * interval
            if after - now <= SECOND:  # nearly always
                self._keep(participant, after, now)
                return commands
        admitted: list[Command] = []
        for command in commands:
            if not _counts(command):
                admitted.append(command)
            elif full_at + interval - now <= SECOND:
                full_at += interval
                admitted.append(command)
            else:
                admitted.append(_refusal(command, rate, full_at + interval - now - SECOND))
        self._keep(participant, full_at, now)
        return admitted

    def _keep(self, participant: str, full_at: int, now: int) -> None:
        self._full_at[participant] = full_at
        if len(self._full_at) > self._crowd:
            self._full_at = {name: at for name, at in self._full_at.items() if at > now}
            self._crowd = max(CROWD, 2 * len(self._full_at))


def _counts(command: Command) -> bool:
    """Whether it does; of what the node refused for a rate, the answer has been given."""
    if isinstance(command, Refuse):
        return command.code is not ErrorCode.RATE
    if isinstance(command, CancelAll):
        return command.whose is None
    return type(command) not in FREE


def _refusal(command: Command, rate: int, wait: int) -> Refuse:
    return Refuse(
        command.participant,
        command.session,
        command.generation,
        ErrorCode.RATE,
        f"more than {rate} messages per second",
        getattr(command, "order_id", None),
        getattr(command, "symbol", None),
        Limit.PARTICIPANT_RATE,
        wait,
    )
