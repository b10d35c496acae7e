"""The log of a process, on its way to Graylog.

To encode a record costs 50 to 120 microseconds, and to send it may take for ever. Neither is done
here: a record is packed and written to a socket that never waits, and another process does
the rest. If that falls behind, records are dropped, counted, and told as `records.dropped`.
"""

import logging
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from signal import SIG_BLOCK, SIGHUP, SIGINT, SIGTERM, pthread_sigmask
from subprocess import PIPE

import msgspec

from wood.graylog.address import Address
from wood.graylog.child import Pauses, start
from wood.graylog.gelf import FIELD, TEXT, cut
from wood.graylog.log_sender import dropped
from wood.graylog.record import Fields, Record
from wood.graylog.sink import make_sink
from wood.model.log_events import EXTRA, LogEvent

log = logging.getLogger("wood.graylog")

BUFFER = 1 << 20
"""Bytes asked of the system for records on their way; it may give less."""

FLUSHING = 5.0
"""Seconds that `close` waits at most."""

LEAST = 1.0
"""Seconds that it waits though something else has taken those."""

HERE_ONLY = "wood.graylog.here"
"""The logger of lines that Graylog is told in another way, and not by this one."""

LIVED = 10.0
"""A process that sent for so many seconds was no failure to start."""

_pack = msgspec.msgpack.Encoder().encode
_format = logging.Formatter().formatException


def start_log_sender(address: Address, node: str, kind: str = "nodes") -> "GraylogHandler":
    """Start a process that sends to Graylog, and return what to add to the handlers of the log.

    `node` is this process' name, and `kind` the stream that its records belong to (`nodes` or
    `alerts`). Does not wait for Graylog. Raises `ConfigError` if the files of TLS are of no use.
    """
    make_sink(address)  # what is wrong with the files is wrong in the other process too
    return GraylogHandler(_Sender(address, node, kind), node, kind)


class GraylogHandler(logging.Handler):
    """Hands records that have an event, and any warning or worse, to the process that sends them.

    For any thread. Neither waits nor raises, whatever becomes of Graylog.
    """

    def __init__(self, sender: "_Sender", node: str, kind: str) -> None:
        super().__init__()
        self.addFilter(lambda record: record.name != HERE_ONLY)
        self._sender = sender
        self._node = node
        self._kind = kind
        self._closed = False
        self._patience = FLUSHING
        self.dropped = 0
        """Records that did not even reach the other process, and were not told yet."""
        sender.start(self._look_after)

    @property
    def process(self) -> int | None:
        """The id of the process that sends; None before it has started."""
        return None if self._sender.process is None else self._sender.process.pid

    def emit(self, record: logging.LogRecord) -> None:
        """Hand over one record, or count it."""
        try:
            fields = record.__dict__.get(EXTRA)
            if fields is None:
                if record.levelno < logging.WARNING:
                    return
                fields = {"event": LogEvent.ERROR.value}
            elif not isinstance(fields, dict):
                raise TypeError("give the log what told() returns")
            self._tell_dropped()
            self._hand_over(record, fields)
        except Exception:  # a log that fails is no reason for anything else to fail
            self.dropped += 1

    def waited(self, seconds: float) -> None:
        """So long it was waited for Graylog already, and `close` need not do it again."""
        self._patience = max(LEAST, FLUSHING - seconds)

    def close(self) -> None:
        """Send what is on its way, for some seconds at most."""
        if not self._closed:
            self._closed = True
            self._look_after()
            self._sender.close(self._patience)
        super().close()

    def _look_after(self) -> None:
        """Tell what was dropped, though nothing else is to be told."""
        self.acquire()
        try:
            with suppress(OSError):
                self._tell_dropped()
        finally:
            self.release()

    def _tell_dropped(self) -> None:
        if self.dropped:
            self._sender.send(_pack(dropped(self._node, self._kind, self.dropped)))
            self.dropped = 0

    def _hand_over(self, record: logging.LogRecord, fields: Fields) -> None:
        text = record.getMessage()
        traceback = record.exc_text
        if traceback is None and record.exc_info is not None and record.exc_info[0] is not None:
            traceback = _format(record.exc_info)
        node, kind = self._node, self._kind
        ready = Record(record.created, record.levelno, node, kind, text, fields, traceback)
        try:
            packed = _pack(ready)
            if len(packed) > TEXT:
                packed = _pack(_careful(ready))
        except Exception:  # a number or a text that cannot be packed
            packed = _pack(_careful(ready))
        self._sender.send(packed)


def _careful(record: Record) -> Record:
    """The same, such that it can be packed and goes into a datagram."""
    fields: Fields = {}
    for name, value in record.fields.items():
        if isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63):
            fields[name] = value
        else:
            fields[name] = _text(str(value), FIELD)
    traceback = None if record.traceback is None else _text(record.traceback, TEXT)
    text = _text(record.text, TEXT)
    return msgspec.structs.replace(record, text=text, fields=fields, traceback=traceback)


def _text(text: str, most: int) -> str:
    return cut(text, most).encode("utf-8", "backslashreplace").decode()


class _Sender:
    """The process that sends; it is started again if it ends. The socket outlives it, with what
    it had not read.
    """

    def __init__(self, address: Address, node: str, kind: str) -> None:
        self._arguments = address.packed, node, kind
        self._here, self._there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._here.setblocking(False)
        self._here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.send = self._here.send
        """Hand over a packed record. Raises `OSError` if there is no room for it."""
        self._thread: threading.Thread | None = None

    def start(self, each_second: Callable[[], None]) -> None:
        """Start the process, and call this each second."""
        self._thread = threading.Thread(
            target=self._watch, args=(each_second,), name="graylog sender", daemon=True
        )
        self._thread.start()

    def close(self, seconds: float) -> None:
        """Have it send what there is, and end within so many seconds."""
        with self._lock:
            self._closing.set()
            self._let_end()
        assert self._thread is not None
        self._thread.join(seconds)
        if self._thread.is_alive() and self.process is not None:
            log.warning("what was logged last may not have arrived in Graylog")
            self.process.kill()
            self._thread.join(FLUSHING)
        self._here.close()
        self._there.close()

    def _watch(self, each_second: Callable[[], None]) -> None:
        # A signal for this process is not meant for this thread; nor for the one it starts.
        pthread_sigmask(SIG_BLOCK, {SIGHUP, SIGINT, SIGTERM})
        pauses = Pauses()
        while True:
            begun = time.monotonic()
            try:
                process = start(
                    "wood.graylog.log_sender", self._there, *self._arguments, stdin=PIPE
                )
            except OSError as error:  # too many processes, or no memory
                log.warning("cannot start what sends to Graylog: %s; it is tried again", error)
                if self._closing.wait(pauses.next()):
                    return
                continue
            with self._lock:
                self.process = process
                if self._closing.is_set():
                    self._let_end()
            while process.poll() is None and not self._closing.wait(1):
                each_second()
            code = process.wait()
            with self._lock:
                self._let_end()
            if self._closing.is_set():
                return
            log.warning("what sends to Graylog ended (exit code %d); it is started again", code)
            if time.monotonic() - begun > LIVED:
                pauses.begin_again()
            if self._closing.wait(pauses.next()):
                return

    def _let_end(self) -> None:
        """It ends when it has sent what there is and this is closed."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
