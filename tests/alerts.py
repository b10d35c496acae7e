"""Notices and findings, for tests of alerts."""

from typing import Any

from msgspec.structs import replace

from tests.reports import node_report
from wood.alerts.conditions import Condition
from wood.alerts.look import Asked, Look, NodeSeen, PartitionSeen
from wood.alerts.notices import Alert, Finding, Notice
from wood.alerts.outbox import Letter
from wood.exchange.tail import Position
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


def position(batch: int = 100, seq: int = 100) -> Position:
    """Of a reader."""
    return Position("j1", 1, seq, batch, 0)


def partition(**fields: Any) -> PartitionSeen:
    """`main`, with the node n1, and well but for these fields."""
    well = PartitionSeen(
        "main", "j1", 1, 200, 100, 5.0, [(1, 0, 0)], [NodeSeen("n1", False, 0.5)], {}
    )
    return replace(well, **fields)


def look(
    now: float, *partitions: PartitionSeen, redis: str | None = None, since: float = 0, **more: Any
) -> Look:
    """At `now` seconds past noon; `redis` is why Redis has not answered since then, if so."""
    if redis is not None:
        asked = Asked[list[PartitionSeen]](None, NOON + since, redis)
    else:
        asked = Asked(list(partitions), NOON + now)
    return Look(NOON + now, asked, **more)


def node_says(now: float, **fields: Any) -> Look:
    """A look at a single server, `s1` at `h:1`, that says this."""
    report = node_report(**{"name": "s1", "time": int((NOON + now) * 1e6)} | fields)
    return Look(NOON + now, None, {"h:1": Asked(report, NOON + now)})


def judged(condition: Condition, *looks: Look) -> list[Finding]:
    """What is found at the last of these looks."""
    found: list[Finding] = []
    for each in looks:
        found = list(condition.judge(each))
    return found
