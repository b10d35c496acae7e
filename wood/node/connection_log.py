"""What the log tells of a connection: a line for what becomes of it, none for what it says."""

import logging
from typing import Protocol

from wood.model.errors import ErrorCode, Refusal
from wood.model.events import SessionOpened
from wood.model.log_events import LogEvent, Value, told
from wood.node.log_lines import (
    connections,
    failed_logins,
    logins,
    refused_connections,
    refused_logins,
    slow_clients,
)
from wood.node.proxy_protocol import Source

log = logging.getLogger("wood.node")


class Told(Protocol):
    """A connection, as far as the log knows it."""

    kind: str
    name: str
    source: Source

    def whose(self) -> str | None:
        """The participant, perhaps one without a name; None of one that has none."""


def say_refused(it: Told, refusal: Refusal) -> None:
    """It may not be."""
    refused_connections.warning(
        "%s %s refused: %s (%s port %s)",
        *(it.kind, it.name, refusal.text, *it.source),
        extra=told(
            LogEvent.CONNECTION_REFUSED,
            client=it.source.client,
            reason=refusal.text,
            limit=refusal.limit,
        ),
    )


def say_opened(it: Told) -> None:
    """It is admitted."""
    event = LogEvent.SUBSCRIBER_OPENED if it.whose() is None else LogEvent.SESSION_OPENED
    what = it.kind, it.name, *it.source
    connections.info("%s %s opened from %s port %s", *what, extra=_about(it, event))


def say_closed(it: Told, reason: str, lasted: float) -> None:
    """It is gone, after so many seconds."""
    event = LogEvent.SUBSCRIBER_CLOSED if it.whose() is None else LogEvent.SESSION_CLOSED
    duration = round(lasted * 1000, 3)
    connections.info(
        "%s %s closed: %s (%s port %s)",
        *(it.kind, it.name, reason, *it.source),
        extra=_about(it, event, reason=reason, participant=it.whose(), duration_ms=duration),
    )


def say_slow(it: Told, reason: str) -> None:
    """It is closed, since its client does not read."""
    slow_clients.warning(
        "%s %s does not read: %s (%s port %s)",
        *(it.kind, it.name, reason, *it.source),
        extra=_about(it, LogEvent.CLIENT_SLOW, reason=reason, participant=it.whose()),
    )


def say_named(it: Told, event: SessionOpened) -> None:
    """A participant logged in. Operators are few, and none of their lines is left out."""
    who, session = event.participant, event.session
    (log if event.operator else logins).info(
        "%s %s is %s, in session %s",
        *(it.kind, it.name, who, session),
        extra=_about(it, LogEvent.SESSION_NAMED, participant=who, session_name=session),
    )


def say_login_refused(it: Told, code: ErrorCode, claimed: str | None) -> None:
    """A login failed. `claimed` is a name by its grammar, and so cannot be a token: it is short."""
    what = it.kind, it.name, it.source.host
    extra = _about(it, LogEvent.LOGIN_REFUSED, participant=claimed, code=code)
    if code is ErrorCode.UNAUTHORIZED:
        failed_logins.warning("%s %s from %s: a login failed", *what, extra=extra)
    else:
        refused_logins.warning("%s %s from %s: login refused: %s", *what, code, extra=extra)


def _about(it: Told, event: LogEvent, **fields: Value | None) -> dict[str, object]:
    return told(event, session=it.name, client=it.source.client, **fields)
