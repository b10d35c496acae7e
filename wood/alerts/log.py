"""Alerts in the log, and so in Graylog."""

import logging

from wood.alerts.notices import Notice, line
from wood.alerts.outbox import Letter
from wood.alerts.sender import Sink
from wood.model.log_events import LogEvent, told

log = logging.getLogger("wood.alerts")

_LEVELS = {
    LogEvent.ALERT_RAISED: logging.ERROR,
    LogEvent.ALERT_REPEATED: logging.ERROR,
    LogEvent.ALERT_ENDED: logging.WARNING,
}


class LogSink(Sink):
    """One record for each notice."""

    name = "the log"

    def deliver(self, letter: Letter) -> None:
        """Write all of it."""
        for notice in letter.notices:
            log.log(_LEVELS[notice.event], "%s", line(notice), extra=_fields(notice))
        for name, count in letter.left_out.items():
            log.error(
                "%d more notices of %s were left out", count, name,
                extra=told(LogEvent.LINES_LEFT_OUT, count=count, alert=name),
            )  # fmt: skip


def _fields(notice: Notice) -> dict[str, object]:
    lasted = (notice.last - notice.since) * 1000
    return told(
        notice.event,
        alert=notice.alert.value,
        subject=notice.subject,
        count=notice.times,
        duration_ms=round(lasted, 3),
        since=round(notice.since, 6),
        runbook=notice.runbook,
    )
