"""Which alerts are raised: findings go in, what is to be told comes out. No I/O, no clock.

An alert is one thing that is wrong with one subject, say `node-lost` of `n1`. It is raised when it
is found, repeated every so often while it lasts, and ended when it was not found for a while, so
that what comes and goes is one alert that counts how many times it came.
"""

from collections.abc import Collection, Iterable

from msgspec import Struct

from wood.alerts.notices import Alert, Finding, Notice
from wood.model.log_events import LogEvent

Key = tuple[Alert, str]


class _Raised(Struct):
    """An alert that has not ended."""

    id: str
    since: float
    last: float
    told: float
    times: int
    text: str
    seen: set[str]
    """The sources that find it, or did when they could last be asked."""


class AlertBook:
    """All alerts that are raised.

    One that lasts is told again every `repeat` seconds (0: never), and has ended when it was not
    found for `calm` seconds.
    """

    def __init__(self, *, calm: float, repeat: float) -> None:
        self._calm = calm
        self._repeat = repeat
        self._raised: dict[Key, _Raised] = {}

    def observe(
        self, findings: Iterable[Finding], now: float, blind: Collection[str] = ()
    ) -> list[Notice]:
        """What is to be told. `blind` are the sources that could not be asked this time.

        What such a source found before is taken to be so still: it neither ends nor counts anew.
        """
        notices = []
        found: dict[Key, set[str]] = {}
        for finding in findings:
            key = finding.alert, finding.subject
            if notice := self._find(key, finding, now):
                notices.append(notice)
            found.setdefault(key, set()).add(finding.source)
        for key, alert in list(self._raised.items()):
            alert.seen = found.get(key, set()) | (alert.seen & set(blind))
            if notice := self._pass(key, alert, now):
                notices.append(notice)
        return notices

    @property
    def raised(self) -> list[Notice]:
        """All that has not ended, the oldest first."""
        alerts = sorted(self._raised.items(), key=lambda item: item[1].since)
        return [_notice(key, alert, LogEvent.ALERT_RAISED) for key, alert in alerts]

    def _find(self, key: Key, finding: Finding, now: float) -> Notice | None:
        alert = self._raised.get(key)
        if alert is None:
            since = now if finding.since is None else min(finding.since, now)
            name = f"{key[0].value}/{key[1]}/{round(since * 1000)}"
            times = finding.more or 1
            alert = _Raised(name, since, now, now, times, finding.text, {finding.source})
            self._raised[key] = alert
            return _notice(key, alert, LogEvent.ALERT_RAISED)
        if finding.more is not None:
            alert.times += finding.more
        elif not alert.seen:
            alert.times += 1  # it had gone, and is back
        alert.seen.add(finding.source)
        alert.text = finding.text
        return None

    def _pass(self, key: Key, alert: _Raised, now: float) -> Notice | None:
        """What time has made of it."""
        if alert.seen:
            alert.last = now
            if not self._repeat or now - alert.told < self._repeat:
                return None
            alert.told = now
            return _notice(key, alert, LogEvent.ALERT_REPEATED)
        if now - alert.last < self._calm:
            return None
        del self._raised[key]
        return _notice(key, alert, LogEvent.ALERT_ENDED)


def _notice(key: Key, alert: _Raised, event: LogEvent) -> Notice:
    return Notice(alert.id, event, *key, alert.text, alert.since, alert.last, alert.times)
