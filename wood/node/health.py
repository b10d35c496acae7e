"""A node's answers to a balancer's health checks: as little HTTP as those need.

One request to a connection, which is closed after the answer; what a client may cost is bounded.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import NamedTuple, cast

from wood.model.log_events import LogEvent, told
from wood.node.connection import source_of
from wood.node.log_lines import refused_connections
from wood.node.proxy_protocol import Network, is_loopback, is_within

log = logging.getLogger("wood.node")

LONGEST_REQUEST = 8192
"""Bytes of a request's line and headers."""

PATIENCE = 5.0
"""Seconds that a client has for its request and to take the answer."""

MAX_CLIENTS = 16
"""Connections at once. They come off the reserve of descriptors.

One more ends the oldest: a check is asked and answered at once, and who only holds connections
open shall not keep it out.
"""


class Answer(NamedTuple):
    """What a page says now."""

    status: HTTPStatus
    text: str
    type: str = "text/plain; charset=utf-8"


Page = Callable[[], Answer]


class Health:
    """The pages by their paths, and who is asking.

    If `balancers` are named, only they are answered, and who is on this machine.
    """

    def __init__(self, pages: Mapping[str, Page], balancers: Sequence[Network] = ()) -> None:
        self._pages = pages
        self._balancers = balancers
        self.clients: dict[HealthClient, None] = {}
        """The oldest first."""

    def connection(self) -> "HealthClient":
        """The protocol of a new connection."""
        return HealthClient(self)

    def admits(self, host: str) -> bool:
        """Whether who has this address may ask."""
        return not self._balancers or is_loopback(host) or is_within(host, self._balancers)

    def opened(self, client: "HealthClient") -> None:
        """Count it; where there are enough already, end the oldest."""
        while len(self.clients) >= MAX_CLIENTS:
            oldest = next(iter(self.clients))
            self.closed(oldest)
            oldest.abort()
        self.clients[client] = None

    def closed(self, client: "HealthClient") -> None:
        """Count it no more. Safe to call twice."""
        self.clients.pop(client, None)

    def answer(self, head: bytes) -> bytes:
        """The response to a request, given up to its empty line."""
        line, _, _ = head.partition(b"\n")
        words = line.rstrip(b"\r").split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1.") or not words[1]:
            return _response(Answer(HTTPStatus.BAD_REQUEST, "this is no HTTP/1.1 request\n"))
        method, path = words[0], words[1].partition(b"?")[0].decode("latin-1")
        page = self._pages.get(path)
        if page is None:
            there_are = ", ".join(self._pages)
            return _response(Answer(HTTPStatus.NOT_FOUND, f"there are {there_are}\n"), method)
        if method not in (b"GET", b"HEAD"):
            return _response(Answer(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD\n"), method)
        return _response(page(), method)

    def close(self) -> None:
        """End all connections."""
        for client in list(self.clients):
            client.abort()


class HealthClient(asyncio.Protocol):
    """A connection that asks one thing."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._data = b""
        self._answered = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the request, for a while, if the peer may ask."""
        self._transport = cast(asyncio.Transport, transport)
        source = source_of(self._transport)
        if not self._health.admits(source.host):
            reason = "only this machine and those named by --proxy-protocol may ask"
            refused_connections.warning(
                "a health check from %s port %s closed: %s",
                *(*source, reason),
                extra=told(LogEvent.CONNECTION_REFUSED, client=source.client, reason=reason),
            )
            self._transport.abort()
            return
        self._health.opened(self)
        self._timer = asyncio.get_running_loop().call_later(PATIENCE, self.abort)

    def data_received(self, data: bytes) -> None:
        """Answer as soon as the empty line has come; what comes after it is thrown away."""
        if self._answered:
            return
        self._data += data
        lines = self._data.replace(b"\r\n", b"\n")
        if b"\n\n" in lines:
            self._say(self._health.answer(lines))
        elif len(self._data) > LONGEST_REQUEST:
            too_large = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self._say(_response(Answer(too_large, "the request is too long\n")))

    def eof_received(self) -> bool:
        """Nothing more will be asked; what was answered is still sent."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._health.closed(self)
        if self._timer is not None:
            self._timer.cancel()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def _say(self, response: bytes) -> None:
        """Answer; closed once the client has, for a reset could overtake the answer."""
        self._answered = True
        self._data = b""
        self._transport.write(response)
        self._transport.write_eof()


def _response(answer: Answer, method: bytes = b"GET") -> bytes:
    body = answer.text.encode()
    head = [
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Content-Type: {answer.type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
        head.append("Allow: GET, HEAD")
    return "\r\n".join([*head, "", ""]).encode() + (b"" if method == b"HEAD" else body)
