"""Notices and findings, for tests of alerts."""

from typing import Any

from msgspec.structs import replace

from wood.alerts.notices import Alert, Finding, Notice
from wood.alerts.outbox import Letter
from wood.model.log_events import LogEvent

NOON = 1_800_000_000.0
"""Seconds: 2027-01-15 08:00:00 UTC."""

_NOTICE = Notice(
    "node-lost/n1/1", LogEvent.ALERT_RAISED, Alert.NODE_LOST, "n1", "n1 is gone", NOON, NOON, 1
)


def notice(**fields: Any) -> Notice:
    """That n1 is lost, but for these fields."""
    return replace(_NOTICE, **fields)


def finding(alert: Alert = Alert.NODE_LOST, subject: str = "n1", **fields: Any) -> Finding:
    """That n1 is lost, as Redis has it, but for these fields."""
    given = {"source": "redis", "text": f"{subject} is gone"} | fields
    return Finding(alert, subject, **given)


def letter(*notices: Notice, **left_out: int) -> Letter:
    """A letter of these, or of one."""
    return Letter(list(notices) or [notice()], left_out)
