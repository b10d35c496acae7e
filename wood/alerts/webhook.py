"""Alerts by webhook: one POST of JSON for all that is to be told. docs/alerts.md has its schema."""

import http.client
import itertools
import ssl
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from wood import __version__
from wood.alerts.limits import LONGEST, PATIENCE, within
from wood.alerts.notices import Notice
from wood.alerts.outbox import Letter
from wood.alerts.sender import Sink, Undelivered
from wood.model.errors import ConfigError
from wood.model.text import printable

FORMAT = 1
"""The version of what is posted. Keys may be added without another one."""


@dataclass(frozen=True, repr=False)  # it may have a password, and its path may be a secret
class Hook:
    """Where to post, and as whom."""

    tls: bool
    host: str
    port: int | None
    target: str
    authorization: str | None = None

    @classmethod
    def parse(cls, url: str) -> "Hook":
        """Read a URL. Raises `ConfigError`, whose text has nothing of the URL."""
        wrong = ConfigError(
            "--webhook: this is no URL to post to, such as https://hooks.example/alerts or "
            "http://user:password@host:8080/path"
        )
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise wrong from None
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if parts.scheme not in ("http", "https") or not host or not _plain(target):
            raise wrong
        authorization = None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = f"Basic {b64encode(pair.encode()).decode()}"
        return cls(parts.scheme == "https", host, port, target, authorization)

    @property
    def name(self) -> str:
        """What can be said of it aloud."""
        port = "" if self.port is None else f":{self.port}"
        return f"{'https' if self.tls else 'http'}://{self.host}{port}"


def _plain(target: str) -> bool:
    return target.isascii() and target.isprintable() and " " not in target


class WebhookSink(Sink):
    """A URL that is posted to. Any 2xx is a yes; a redirection is not followed, so that is a no."""

    def __init__(self, hook: Hook, number: int | None = None) -> None:
        """`number` tells it from others on the same host, whose names are the same."""
        self.name = f"the webhook {hook.name}" + ("" if number is None else f" #{number}")
        self._hook = hook
        self._context = ssl.create_default_context() if hook.tls else None

    def deliver(self, letter: Letter) -> None:
        """Post it. Raises `Undelivered`."""
        connection = self._connection()
        try:
            with within(LONGEST, lambda: connection.sock), closing(connection):
                connection.request("POST", self._hook.target, body(letter), self._headers())
                with connection.getresponse() as answer:
                    status, reason = answer.status, answer.reason
        except http.client.HTTPException as error:
            # Some of these quote what was asked for.
            raise Undelivered(f"it does not speak HTTP ({type(error).__name__})") from None
        except OSError as error:
            raise Undelivered(str(error) or type(error).__name__) from None
        if not 200 <= status < 300:
            raise Undelivered(f"it answers {status} {printable(reason)}")

    def _connection(self) -> http.client.HTTPConnection:
        hook = self._hook
        if hook.tls:
            return http.client.HTTPSConnection(
                hook.host, hook.port, timeout=PATIENCE, context=self._context
            )
        return http.client.HTTPConnection(hook.host, hook.port, timeout=PATIENCE)

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": f"wood/{__version__}"}
        if self._hook.authorization is not None:
            headers["Authorization"] = self._hook.authorization
        return headers


def webhooks(hooks: Sequence[Hook]) -> list[Sink]:
    """One for each, with names that differ: those on one host are #1, #2, in the order given."""
    on_host = Counter(hook.name for hook in hooks)
    numbers = {name: itertools.count(1) for name, count in on_host.items() if count > 1}
    return [
        WebhookSink(hook, next(numbers[hook.name]) if hook.name in numbers else None)
        for hook in hooks
    ]


def body(letter: Letter) -> bytes:
    """What is posted."""
    return msgspec.json.encode(
        {
            "format": FORMAT,
            "sent": _time(time.time()),
            "notices": [_notice(notice) for notice in letter.notices],
            "leftOut": dict(letter.left_out),
        }
    )


def _notice(notice: Notice) -> dict[str, Any]:
    return {
        "id": notice.id,
        "event": notice.event.value,
        "alert": notice.alert.value,
        "subject": notice.subject,
        "text": notice.text,
        "since": _time(notice.since),
        "last": _time(notice.last),
        "ended": notice.ended,
        "seconds": round(notice.last - notice.since, 3),
        "times": notice.times,
        "standsFor": notice.stands_for,
        "runbook": notice.runbook,
    }


def _time(seconds: float) -> str:
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
