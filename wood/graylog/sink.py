"""Sending to Graylog, from a process that may wait."""

import select
import socket
import ssl
import time
from abc import ABC, abstractmethod
from contextlib import suppress

from wood.graylog.address import Address
from wood.graylog.encoding import Datagrams, Frames
from wood.graylog.record import Record
from wood.model.errors import ConfigError

PATIENCE = 10.0
"""Seconds in which Graylog must take what is sent; and say, when asked, that it has taken all."""

CONNECTING = 5.0
"""Seconds in which it must answer at all."""

BUFFER = 65_536
"""Bytes that are gathered before they are given to a connection."""

CLOSED = "it has closed the connection"


class SinkDown(Exception):
    """Graylog is away, or what was sent since it last confirmed may be lost."""


def why_down(error: Exception) -> str:
    """What to say when a sink raised this: `SinkDown`, or what nobody has thought of."""
    return str(error) if isinstance(error, SinkDown) else f"{type(error).__name__}: {error}"


class Sink(ABC):
    """A way to Graylog; it connects when there is something to send, and after `SinkDown` anew."""

    @abstractmethod
    def send(self, record: Record) -> None:
        """Send one record, perhaps only with the next ones. Raises `SinkDown`."""

    @abstractmethod
    def flush(self) -> None:
        """Send what is not sent yet. Raises `SinkDown`."""

    @abstractmethod
    def confirm(self) -> None:
        """Return when Graylog has taken all that was sent.

        Raises `SinkDown` if that is not known: all since the last time is to be sent again. With
        UDP nobody can know, and it returns at once.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection, whatever becomes of what was sent."""


def make_sink(address: Address) -> Sink:
    """A sink that has not connected yet. Raises `ConfigError`."""
    if address.scheme == "udp":
        return UdpSink(address)
    return StreamSink(address, make_context(address) if address.scheme == "tls" else None)


def make_context(address: Address) -> ssl.SSLContext:
    """Who is trusted, and what is shown. Raises `ConfigError`."""
    try:
        context = ssl.create_default_context(cafile=address.ca)
    except OSError as error:
        raise ConfigError(f"cannot use {address.ca} for ca= of Graylog: {_said(error)}") from None
    if address.cert is not None:
        try:
            context.load_cert_chain(address.cert, address.key, _no_password)
        except (OSError, ValueError) as error:
            which = f"{address.cert}" + (f" with {address.key}" if address.key else "")
            raise ConfigError(f"cannot use {which} for Graylog: {_said(error)}") from None
    return context


class UdpSink(Sink):
    """Nobody says whether it has arrived; if nobody listens at all, that is mostly noticed."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._datagrams = Datagrams(address.chunk, address.compress)
        self._socket: socket.socket | None = None

    def send(self, record: Record) -> None:
        """Send it."""
        try:
            connected = self._socket or self._connect()
            for datagram in self._datagrams.of(record):
                connected.send(datagram)
        except OSError as error:
            self.close()
            raise SinkDown(_said(error)) from None

    def flush(self) -> None:
        """Everything is sent."""

    def confirm(self) -> None:
        """Raises `SinkDown` if it is known that nobody was there."""
        if self._socket is None:
            return
        if number := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.close()
            raise SinkDown(_said(OSError(number, "nobody listens there")))

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        """To be connected means to be told when nobody listens; the name is looked up once."""
        host, port = self._address.host, self._address.port
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        self._socket = socket.socket(family, kind, protocol)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(place)
        return self._socket


class StreamSink(Sink):
    """A connection, with TLS or without.

    GELF has no answers. What a server says nevertheless is that it has read to the end: it ends its
    side when we end ours. Was something unread, because the server died, the system resets the
    connection instead. A process that is killed after it has read is told from one that has gone on
    by connecting again: nobody listens there any more.
    """

    def __init__(self, address: Address, context: ssl.SSLContext | None = None) -> None:
        self._address = address
        self._context = context
        self._frames = Frames()
        self._socket: socket.socket | None = None
        self._waiting = bytearray()
        self._sent = False
        """Whether something was given to this connection."""

    def send(self, record: Record) -> None:
        """Send it when more has gathered, or with `flush`."""
        self._waiting += self._frames.of(record)
        if len(self._waiting) >= BUFFER:
            self.flush()

    def flush(self) -> None:
        """Send what has gathered."""
        if not self._waiting:
            return
        try:
            self._still_there()
            connected = self._socket or self._connect()
            self._sent = True
            connected.sendall(self._waiting)
            self._waiting = bytearray()
        except OSError as error:
            self._fail(error)

    def confirm(self) -> None:
        """End this side of the connection, wait for the end of the other, and connect again."""
        self.flush()
        if self._socket is None or not self._sent:
            return
        try:
            self._still_there()
            connected = self._socket
            _say_no_more(connected)
            while connected.recv(BUFFER):
                pass  # what a server of TLS says at the end
            self.close()
            self._connect()
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Let go of the connection, and of what has gathered."""
        self._waiting = bytearray()  # the old one may be held by the error that led here
        self._sent = False
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        place = self._address.host, self._address.port
        plain = socket.create_connection(place, CONNECTING)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected = self._shake_hands(plain)
        except BaseException:
            plain.close()
            raise
        connected.settimeout(PATIENCE)
        self._socket = connected
        return connected

    def _shake_hands(self, plain: socket.socket) -> socket.socket:
        if self._context is None:
            return plain
        return self._context.wrap_socket(plain, server_hostname=self._address.host)

    def _still_there(self) -> None:
        """Raises `OSError` if the server has ended its side, though we have not, and what we sent
        may be lost; was nothing sent, there is just no connection.
        """
        if self._socket is None or not _ended(self._socket):
            return
        if self._sent:
            raise ConnectionResetError(0, CLOSED)
        self._socket.close()
        self._socket = None

    def _fail(self, error: OSError) -> None:
        self.close()
        raise SinkDown(_said(error)) from None


def _ended(connected: socket.socket) -> bool:
    """Whether the other side has said that it says no more."""
    connected.settimeout(0)
    try:
        return not connected.recv(BUFFER)
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    finally:
        connected.settimeout(PATIENCE)


def _say_no_more(connected: socket.socket) -> None:
    """Half-close: of TLS first, if it is TLS, and then of the connection below it."""
    if isinstance(connected, ssl.SSLSocket):
        connected.settimeout(0)
        deadline = time.monotonic() + PATIENCE
        poll = select.poll()
        poll.register(connected, select.POLLOUT)
        with suppress(ssl.SSLWantReadError):  # it is said; nobody need wait for the answer here
            while not _unwrapped(connected):
                if not poll.poll(max(deadline - time.monotonic(), 0) * 1000):
                    raise TimeoutError
        connected.settimeout(PATIENCE)
    # Of a socket with TLS this also ends TLS: what is read from then on are bytes as they come.
    connected.shutdown(socket.SHUT_WR)


def _unwrapped(connected: ssl.SSLSocket) -> bool:
    """Whether there was room for the last words."""
    try:
        connected.unwrap()
    except ssl.SSLWantWriteError:
        return False
    return True


def _no_password() -> str:
    """Nobody is there to be asked."""
    raise ValueError("the key has a password: give one without, in a file that only wood can read")


def _said(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return CLOSED
    if isinstance(error, ssl.SSLError):
        return (error.reason or "it is no such file in PEM").replace("_", " ").lower()
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error)
