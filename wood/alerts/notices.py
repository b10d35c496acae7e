"""What can be wrong, and what is said of it: the vocabulary of alerts."""

from datetime import UTC, datetime
from enum import StrEnum

from msgspec import Struct

from wood.model.log_events import LogEvent
from wood.model.text import printable


class Alert(StrEnum):
    """The stable names. Each has an entry of this name in the runbook."""

    NODE_LOST = "node-lost"
    """A node was declared dead, or does not answer, and did not leave by itself."""
    REDIS_UNREACHABLE = "redis-unreachable"
    """Redis does not answer."""
    JOURNAL_STALLED = "journal-stalled"
    """Orders wait, and nothing is decided."""
    READER_BEHIND = "reader-behind"
    """A reader of the journal does not keep up, or does not move."""
    JOURNAL_FORKED = "journal-forked"
    """Redis lost the end of the journal: what it had acknowledged did not happen."""
    ERRORS = "errors"
    """A node logs errors."""
    DISK_NEARLY_FULL = "disk-nearly-full"
    """There is little room left where the append-only file is."""
    REDIS_NOT_WRITING = "redis-not-writing"
    """Redis answers, and refuses to write, or cannot write to its disk."""


RUNBOOK = "docs/operations.md"


class Finding(Struct, frozen=True):
    """Something that is wrong now. What it is about is `subject`; which source saw it, `source`."""

    alert: Alert
    subject: str
    source: str
    text: str
    since: float | None = None
    """When it began, in seconds since the epoch, where that is known; else it begins now."""
    more: int | None = None
    """Of what can be counted, such as errors: how many there were since the last time. None of what
    is there or is not: that happens once each time that it comes."""


class Notice(Struct, frozen=True):
    """What is to be told about an alert: raised, repeated or ended. Times are seconds."""

    id: str
    """The same for all that is told of it from its beginning to its end."""
    event: LogEvent
    alert: Alert
    subject: str
    text: str
    since: float
    last: float
    """When it was last found."""
    times: int
    """How many times it has happened since it was raised."""
    stands_for: int = 1
    """How many notices this one is: those before it could not be delivered in time."""

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.event is LogEvent.ALERT_ENDED

    @property
    def runbook(self) -> str:
        """Where it says what to do."""
        return f"{RUNBOOK}#{self.alert.value}"


_WORDS = {
    LogEvent.ALERT_RAISED: "RAISED",
    LogEvent.ALERT_REPEATED: "STILL",
    LogEvent.ALERT_ENDED: "ENDED",
}


def moment(seconds: float) -> str:
    """A time as people in different places can compare it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def title(notice: Notice) -> str:
    """A few words: `RAISED node-lost n1`."""
    return printable(f"{_WORDS[notice.event]} {notice.alert.value} {notice.subject}")


def line(notice: Notice) -> str:
    """All of it in one line: what, since when, how many times, and where to read on."""
    if notice.ended:
        when = f"from {moment(notice.since)} to {moment(notice.last)}"
    else:
        when = f"since {moment(notice.since)}"
    times = "once" if notice.times == 1 else f"{notice.times} times"
    grouped = f", {notice.stands_for} notices in one" if notice.stands_for > 1 else ""
    return printable(
        f"{title(notice)}: {notice.text} ({when}, {times}{grouped}; see {notice.runbook})"
    )
