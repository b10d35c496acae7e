"""TLS between a TCP transport and a `Connection`, which sees a transport like any other.

The event loops' own TLS cannot half-close, and takes no bytes that were read before it began,
such as those after a PROXY header. This one is OpenSSL's state machine between two buffers. What
waits is bounded by what the TCP transport reads at once: nothing is decrypted for a connection
that does not read, TCP is not read while there is something to decrypt, and what is written goes
to the transport's own buffer, which tells when it is full.
"""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from wood.model.log_events import LogEvent, told
from wood.node.addresses import group
from wood.node.certificates import named, said
from wood.node.connection import UNKNOWN, Connection, source_of
from wood.node.introduction import Host
from wood.node.log_lines import FewLines, bad_beginnings, refused_connections

HANDSHAKE = 5.0
"""Seconds in which a handshake must be done."""

PIECE = 16 * 1024
"""Bytes that are decrypted, or encrypted, at once, the most that a record has.

OpenSSL's buffers never shrink, so they are given no more than that.
"""

NOTHING = memoryview(b"")

LONGEST_HELLO = 64 * 1024
"""Bytes that may come before the handshake is done: two or three kilobytes, with certificates."""


class Tls(asyncio.Protocol):
    """The side of TCP: shakes hands, then makes a `Connection` and hands it a `TlsTransport`."""

    def __init__(self, make: Callable[[], Connection], host: Host, context: ssl.SSLContext) -> None:
        self.source = UNKNOWN
        """The client's own address, if a balancer has told it."""
        self._make = make
        self._host = host
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._connection: Connection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting = NOTHING  # what arrived and OpenSSL has not been given yet
        self._given = 0  # bytes, until the handshake is done
        self._reading = True
        self._decrypting = False
        self._eof = False  # whether TCP has ended
        self._ended = False  # whether the connection was told that the client says no more
        self._all_said = False  # whether the client was told that we say no more

    @property
    def address(self) -> str | None:
        """The client's own, for counting."""
        return group(self.source.host)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        if self.source is UNKNOWN:
            self.source = source_of(self._transport)
        if reason := self._host.refuses(self):
            self._refuse(reason, refused_connections)
            return
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE, self._too_late)

    def data_received(self, data: bytes) -> None:
        """Shake hands, or decrypt for the connection."""
        if self._ended or self._all_said:
            return  # read only so that no reset overtakes our last words
        # Not every event loop stops reading at once.
        self._waiting = memoryview(bytes(self._waiting) + data if self._waiting else data)
        if self._connection is None:
            self._shake_hands()
        else:
            self._decrypt()

    def eof_received(self) -> bool:
        """Nothing more will come; what came is still to be decrypted."""
        self._eof = True
        if self._connection is None:
            return False
        if self._all_said:
            self._end()
        else:
            self._decrypt()
        return True

    def pause_writing(self) -> None:
        """The client does not read."""
        if self._connection is not None:
            self._connection.pause_writing()

    def resume_writing(self) -> None:
        """It does."""
        if self._connection is not None:
            self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone, perhaps before there was a connection."""
        self._waiting = NOTHING
        self._leave()
        if self._connection is not None:
            self._connection.connection_lost(exc)

    # Handshake

    def abort(self) -> None:
        """Close at once."""
        self._leave()
        self._transport.abort()

    def _too_late(self) -> None:
        self._refuse(f"no TLS handshake within {HANDSHAKE:g} seconds")

    def _refuse(self, reason: str, lines: FewLines = bad_beginnings) -> None:
        extra = told(LogEvent.CONNECTION_REFUSED, client=self.source.client, reason=reason)
        lines.warning("a connection from %s port %s closed: %s", *self.source, reason, extra=extra)
        self.abort()

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._host.introduced(self)

    def _shake_hands(self) -> None:
        if self._transport.is_closing():
            return
        try:
            while not self._shaken():
                if not self._give():
                    self.flush()
                    return
                if self._given > LONGEST_HELLO:
                    self._refuse("the TLS handshake is too long")
                    return
        except ssl.SSLError as error:
            self.flush()  # the alert, which says why
            text = f"no TLS handshake: {said(error)}"
            extra = told(LogEvent.CONNECTION_REFUSED, client=self.source.client, reason=text)
            bad_beginnings.warning(
                "a connection from %s port %s closed: %s", *self.source, text, extra=extra
            )
            self._leave()
            self._transport.close()
            return
        self.flush()
        self._leave()
        connection = self._make()
        connection.source = self.source
        connection.certified = named(self._tls.getpeercert())
        self._connection = connection
        connection.connection_made(TlsTransport(self, self._transport))
        self._decrypt()

    def _shaken(self) -> bool:
        with suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
            return True
        return False

    def _give(self) -> bool:
        """Give OpenSSL some of what arrived; False if it has all."""
        if not self._waiting:
            return False
        piece = self._waiting[:PIECE]
        self._incoming.write(piece)
        self._given += len(piece)
        self._waiting = self._waiting[PIECE:] or NOTHING
        return True

    # What the connection's transport uses

    def encrypt(self, data: bytes) -> None:
        """Send `data`."""
        if not data or self._transport.is_closing():
            return
        view, records = memoryview(data), []
        try:
            while view:
                view = view[self._tls.write(view[:PIECE]) :]
                records.append(self._outgoing.read())
        except ssl.SSLError:  # the client's last words were nonsense, or an alert
            self._transport.abort()
            return
        self._transport.write(b"".join(records))

    def flush(self) -> None:
        """Send what OpenSSL wants sent."""
        if (data := self._outgoing.read()) and not self._transport.is_closing():
            self._transport.write(data)

    def end(self) -> None:
        """Say that nothing more will be said; what is still heard is thrown away."""
        if self._all_said or self._transport.is_closing():
            return
        self._all_said = True
        self._waiting = NOTHING
        with suppress(ssl.SSLError):  # the client has not said the same yet, or never will
            self._tls.unwrap()
        self.flush()

    def read(self, on: bool) -> None:
        """Decrypt, or do not for now, what arrives."""
        self._reading = on
        if self._transport.is_closing():
            return
        if not on:
            self._transport.pause_reading()
        elif self._ended or self._all_said:
            self._transport.resume_reading()  # and what arrives is thrown away
        else:
            # Later, since the connection is perhaps not done with what it has.
            asyncio.get_running_loop().call_soon(self._decrypt)

    def _decrypt(self) -> None:
        connection = self._connection
        if self._decrypting or connection is None:
            return
        self._decrypting = True
        try:
            while self._hears():
                try:
                    data = self._tls.read(PIECE)
                except ssl.SSLWantReadError:
                    if self._give():
                        continue
                    self._starve()
                    return
                if not data:  # the client says that it says no more
                    self._end()
                    return
                connection.data_received(data)
        except ssl.SSLError:
            # Nothing can be made of what comes; the next word of ours would fail as well.
            self._transport.abort()
        finally:
            self._decrypting = False

    def _starve(self) -> None:
        """All that arrived is decrypted, so more may arrive."""
        self.flush()  # what TLS itself has to answer
        if self._eof:
            self._end()
        elif not self._transport.is_closing():
            self._transport.resume_reading()

    def _hears(self) -> bool:
        closed = self._ended or self._all_said or self._transport.is_closing()
        return self._reading and not closed

    def _end(self) -> None:
        """The client will say no more; cut off or in order, it is told what it is owed."""
        if self._ended or self._connection is None:
            return
        self._ended = True
        if not self._connection.eof_received() and not self._transport.is_closing():
            self._transport.close()


class TlsTransport(asyncio.Transport):
    """The side of the connection."""

    def __init__(self, tls: Tls, below: asyncio.Transport) -> None:
        super().__init__()
        self._tls = tls
        self._below = below

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the TCP transport knows."""
        return self._below.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Whether it is, or is closed."""
        return self._below.is_closing()

    def close(self) -> None:
        """Close when all is sent."""
        self._tls.end()
        self._below.close()

    def abort(self) -> None:
        """Close at once."""
        self._below.abort()

    def pause_reading(self) -> None:
        """Hear nothing for now."""
        self._tls.read(False)

    def resume_reading(self) -> None:
        """Hear again."""
        self._tls.read(True)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send, or buffer, `data`."""
        self._tls.encrypt(bytes(data))

    def can_write_eof(self) -> bool:
        """It can say that it says no more, and go on reading."""
        return True

    def write_eof(self) -> None:
        """Say that nothing more will be said."""
        self._tls.end()
        self._below.write_eof()

    def get_write_buffer_size(self) -> int:
        """Bytes that wait, encrypted."""
        return self._below.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When the connection is told that the buffer is full, and that it has room."""
        self._below.set_write_buffer_limits(high, low)
