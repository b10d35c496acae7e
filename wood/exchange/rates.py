"""How many commands a participant may give: a token bucket each, one second's worth at once.

No clock; times are microseconds. The cluster keeps the same in Redis, by the same rule:
`lua/limits.lua`.
"""

from collections.abc import Mapping

from wood.model.commands import (
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
from wood.model.events import CommandRefused
from wood.model.limits import EVERYWHERE, NO_LIMITS, NONE, Limits

SECOND = 1_000_000

FREE = {CloseSession, Heartbeat, ListInstruments, ListOrders, OpenSession, Sweep}
"""What does not count: a session has one question under way at most, and must be able to end."""

CROWD = 1024
"""Buckets that are kept at least before full ones are thrown away."""


class Rates:
    """The buckets of all who gave commands lately.

    What is kept of each is when its bucket will be full again (the "theoretical arrival time" of
    the generic cell rate algorithm, ITU-T I.371).
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._own: dict[str, int] = {}
        self._full_at: dict[str, int] = {}
        self._crowd = CROWD
        self.any = rate > 0
        """Whether anybody is limited."""

    def take(self, own: Mapping[str, Mapping[str, Limits]]) -> None:
        """These participants have limits of their own from now on."""
        rates = {name: limits.get(EVERYWHERE, NO_LIMITS).rate for name, limits in own.items()}
        self._own = {
            name: 0 if rate == NONE else int(rate)
            for name, rate in rates.items()
            if rate is not None
        }
        self.any = self._rate > 0 or any(self._own.values())

    def refuse(self, command: Command, now: int) -> CommandRefused | None:
        """None, and one command more counts; or that it is refused, and when to try again."""
        if type(command) in FREE:
            return None
        if isinstance(command, Refuse) and command.code is ErrorCode.RATE:
            return None  # it has its answer
        participant = command.participant
        rate = self._own.get(participant, self._rate)
        if not rate:
            return None
        full_at = max(self._full_at.get(participant, 0), now) + max(1, SECOND // rate)
        wait = full_at - now - SECOND
        if wait <= 0:
            self._full_at[participant] = full_at
            if len(self._full_at) > self._crowd:
                self._forget(now)
            return None
        return CommandRefused(
            participant,
            command.session,
            ErrorCode.RATE,
            f"more than {rate} messages per second",
            getattr(command, "order_id", None),
            getattr(command, "symbol", None),
            Limit.PARTICIPANT_RATE,
            wait,
        )

    def _forget(self, now: int) -> None:
        self._full_at = {name: at for name, at in self._full_at.items() if at > now}
        self._crowd = max(CROWD, 2 * len(self._full_at))
