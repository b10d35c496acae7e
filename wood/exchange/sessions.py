"""Who is connected to an engine in memory, who may log in, and who has left orders behind.

No I/O and no clock; times are microseconds since the epoch. The cluster keeps the same in Redis,
by the same rules: `lua/sessions.lua`.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from hmac import compare_digest

from msgspec import Struct

from wood.model.commands import CloseSession, Command, OpenSession
from wood.model.errors import ErrorCode, Refusal
from wood.model.participants import Participant

GRACE = 3.0
"""Seconds in which a participant may come back before its orders are cancelled."""

_ISSUED = re.compile(r"([1-9][0-9]{0,15})-([1-9][0-9]{0,15})", re.ASCII)


class Auth(StrEnum):
    """Who may trade."""

    OPEN = "open"
    """Anybody, without a name or under any name that has no token."""
    TOKEN = "token"
    """Those who log in with a token."""


class _Session(Struct):
    participant: str
    generation: int
    cancels: bool


class Sessions:
    """The sessions that have a connection; a name is `<epoch>-<number of the first login>`."""

    def __init__(self, auth: Auth, grace: float) -> None:
        self.participants: Mapping[str, Participant] = {}
        """Those who have a token."""
        self._auth = auth
        self._grace = round(grace * 1e6)
        self._open: dict[str, _Session] = {}
        self._of: dict[str, set[str]] = {}  # participant -> its sessions
        self._leaving: dict[str, int] = {}  # participant -> since when
        self._removed: set[str] = set()  # those of them who are to be cut off

    def holds(self, command: Command) -> bool:
        """Whether the session of `command` has that generation; one that nobody can resume has."""
        if not command.generation:
            return True
        session = self._open.get(command.session)
        return session is not None and session.generation == command.generation

    def check(self, command: OpenSession) -> None:
        """Whether this participant may log in with this token. Raises `Refusal`."""
        if command.name == command.participant:
            return
        known = self.participants.get(command.name)
        if command.certified:
            fits = True
        elif known is None:
            fits = self._auth is Auth.OPEN and not command.token
        else:
            fits = compare_digest(known.digest, command.token)
        if not fits:
            raise Refusal(ErrorCode.UNAUTHORIZED, "the participant and its token do not fit")
        if known is not None and known.disabled:
            raise Refusal(ErrorCode.DISABLED, "this participant is disabled")

    def open(self, command: OpenSession, epoch: int, seq: int) -> str:
        """Log in, with the number `seq`; the name of the session, the old one if it can stay."""
        name, resumes = command.name, command.resumes
        self._leaving.pop(name, None)
        self._removed.discard(name)
        if resumes is not None and self.owns(name, resumes):
            self._forget(resumes)
        session = f"{epoch}-{seq}"
        if name == command.participant:
            session = command.session
        elif resumes is not None and resumes not in self._open:
            issued = _ISSUED.fullmatch(resumes)
            if issued and int(issued[1]) == epoch and int(issued[2]) < seq:
                session = resumes
        self._open[session] = _Session(name, seq, command.cancel_orders)
        self._of.setdefault(name, set()).add(session)
        return session

    def owns(self, participant: str, session: str) -> bool:
        """Whether it is connected through that session."""
        return session in self._of.get(participant, ())

    def is_operator(self, participant: str) -> bool:
        """Whether it may act on orders of others."""
        known = self.participants.get(participant)
        return known is not None and known.operator

    def close(self, command: CloseSession, now: int) -> bool:
        """A connection is gone; whether its participant's orders are to be cancelled at once."""
        session = self._forget(command.session)
        if not command.generation:
            return command.cancel_orders
        if session is not None and session.cancels and not self._is_guarded(session.participant):
            # One who was disabled meanwhile is due already, and has no grace.
            self._leaving.setdefault(session.participant, now)
        return False

    def take(self, participants: Mapping[str, Participant]) -> None:
        """These have tokens from now on; who is disabled, or was removed, is to be cut off."""
        for name, known in participants.items():
            before = self.participants.get(name)
            if known.disabled and not (before and before.disabled):
                self._cut_off(name)
        for name in self.participants.keys() - participants.keys():
            self._cut_off(name)
        self.participants = participants

    def _cut_off(self, name: str) -> None:
        self._leaving[name] = 0
        self._removed.add(name)

    def due(self, now: int) -> list[str]:
        """Participants whose orders are to be cancelled, the longest gone first."""
        overdue = [
            (since, name) for name, since in self._leaving.items() if since <= now - self._grace
        ]
        return [name for _, name in sorted(overdue)]

    def next_due(self, now: int) -> float | None:
        """Seconds until somebody is due, None if nobody has left."""
        if not self._leaving:
            return None
        return max(0.0, (min(self._leaving.values()) + self._grace - now) / 1e6)

    def sweep(self, participant: str) -> bool:
        """It is done with; whether it was cut off, and all its sessions have ended."""
        del self._leaving[participant]
        known = self.participants.get(participant)
        cut_off = participant in self._removed and (known is None or known.disabled)
        self._removed.discard(participant)
        if not cut_off:
            return False
        for session in list(self._of.get(participant, ())):
            self._forget(session)
        return True

    def _is_guarded(self, participant: str) -> bool:
        return any(self._open[session].cancels for session in self._of.get(participant, ()))

    def _forget(self, name: str) -> _Session | None:
        session = self._open.pop(name, None)
        if session is not None:
            same = self._of[session.participant]
            same.remove(name)
            if not same:
                del self._of[session.participant]
        return session


def epoch_of(session: str) -> int | None:
    """The epoch in which a session was opened first, None if that is none of ours."""
    issued = _ISSUED.fullmatch(session)
    return int(issued[1]) if issued else None
