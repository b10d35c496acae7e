"""Telling the log that Graylog or Redis went away, and that it came back."""

import logging
import time

from wood.graylog.address import Address
from wood.model.log_events import LogEvent, told
from wood.model.text import printable

log = logging.getLogger("wood.graylog")


class Outages:
    """One word for each, however many deliver there."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._since: float | None = None

    @property
    def away(self) -> bool:
        """Whether it is away, as far as is known."""
        return self._since is not None

    def on_state(self, up: bool, reason: str) -> None:
        """It is back; or it is away, and why."""
        if up and self._since is not None:
            seconds, self._since = time.monotonic() - self._since, None
            log.warning(
                "Graylog at %s is back after %.1f s",
                self._address,
                seconds,
                extra=told(LogEvent.GRAYLOG_BACK, duration_ms=round(seconds * 1000, 3)),
            )
        elif not up and self._since is None:
            self._since = time.monotonic()
            log.warning(
                "Graylog at %s is away: %s; the market is told when it is back",
                self._address,
                printable(reason),
                extra=told(LogEvent.GRAYLOG_LOST, reason=printable(reason)),
            )


class RedisOutages:
    """The same of Redis, as one reader of a partition meets it."""

    def __init__(self, partition: str) -> None:
        self._partition = partition
        self._since = 0.0

    def when_away(self, error: Exception | None) -> None:
        """It is away, and why; or back, without an error."""
        if error is not None:
            self._since = time.monotonic()
            reason = printable(str(error)) or type(error).__name__
            log.warning(
                "%s: Redis does not answer: %s",
                self._partition,
                reason,
                extra=told(LogEvent.REDIS_LOST, partition=self._partition, reason=reason),
            )
            return
        seconds = time.monotonic() - self._since
        log.warning(
            "%s: Redis answers again after %.1f s",
            self._partition,
            seconds,
            extra=told(
                LogEvent.REDIS_BACK,
                partition=self._partition,
                duration_ms=round(seconds * 1000, 3),
            ),
        )
