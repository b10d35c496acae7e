"""A connection that a balancer has still to introduce: who the client is, by the PROXY protocol."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from wood.model.log_events import LogEvent, told
from wood.node.connection import source_of
from wood.node.log_lines import FewLines, bad_beginnings, refused_connections
from wood.node.proxy_protocol import BadHeader, Network, Source, is_within, read_header

HEADER = 5.0
"""Seconds in which the header must have come."""


class Newcomer(Protocol):
    """What may become a connection: it has still to say who it is, or to shake hands."""

    @property
    def address(self) -> str | None:
        """The client's own, for counting, if it is known yet."""

    def abort(self) -> None:
        """Close at once."""


class Next(Protocol):
    """What the transport is left to after the header."""

    source: Source

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As of `asyncio.Protocol`."""

    def data_received(self, data: bytes) -> None:
        """As of `asyncio.Protocol`."""


class Host(Protocol):
    """The node, as far as a newcomer knows it."""

    def refuses(self, newcomer: Newcomer) -> str | None:
        """Count it, and wait for it; or why not."""

    def introduced(self, newcomer: Newcomer) -> None:
        """Count it no more: it is a connection now, or gone. Safe to call twice."""


class Introduction(asyncio.Protocol):
    """Reads the header, then leaves the transport to what `make` makes, which is greeted only then.

    Who does not come from a trusted address is closed at once, unheard: it could claim anything.
    """

    def __init__(self, make: Callable[[], Next], host: Host, trusted: Sequence[Network]) -> None:
        self._make = make
        self._host = host
        self._trusted = trusted
        self._data = b""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def address(self) -> str | None:
        """Only the header tells."""
        return None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the header, if the peer may send one."""
        self._transport = cast(asyncio.Transport, transport)
        self._peer = source_of(self._transport)
        if not is_within(self._peer.host, self._trusted):
            text = "only those named by --proxy-protocol may connect"
            self._refuse(text, refused_connections)
        elif reason := self._host.refuses(self):
            self._refuse(reason, refused_connections)
        else:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(HEADER, self._too_late)

    def data_received(self, data: bytes) -> None:
        """Hand over as soon as the header is whole; what came with it goes along."""
        self._data += data
        try:
            header = read_header(self._data)
        except BadHeader as error:
            self._refuse(str(error))
            return
        if header is None:
            return
        self._leave()
        connection, transport = self._make(), self._transport
        connection.source = header.source or self._peer
        transport.set_protocol(cast(asyncio.BaseProtocol, connection))
        connection.connection_made(transport)
        if rest := self._data[header.length :]:
            connection.data_received(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        """It went without a word, as a health check of the simplest kind does."""
        self._leave()

    def abort(self) -> None:
        """Close at once."""
        self._leave()
        self._transport.abort()

    def _too_late(self) -> None:
        self._refuse(f"no PROXY header within {HEADER:g} seconds")

    def _refuse(self, reason: str, lines: FewLines = bad_beginnings) -> None:
        extra = told(LogEvent.CONNECTION_REFUSED, client=self._peer.client, reason=reason)
        lines.warning("a connection from %s port %s closed: %s", *self._peer, reason, extra=extra)
        self.abort()

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._host.introduced(self)
