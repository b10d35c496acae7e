"""What the tests share: a real server process, and a socket that speaks lines."""

import io
import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import msgpack

from wood.cli import main

ROOT = Path(__file__).parent.parent
PATIENCE = 20.0
"""Seconds after which something that should have happened is taken for broken."""


def eventually(condition: Callable[[], bool], what: str = "the condition") -> None:
    """Return as soon as `condition` holds; fail if it never does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true"
        time.sleep(0.002)


_GIVEN: set[int] = set()
_RANDOM = random.SystemRandom()  # nobody's seed may make two test runs want the same ports


def free_port() -> int:
    """A port of the loopback that nobody has.

    Not one of those that the system gives to connections: so it can be had again after a restart.
    """
    while True:
        port = _RANDOM.randrange(20_000, 32_000)
        if port in _GIVEN:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            _GIVEN.add(port)
            return port


class Peer:
    """A client's socket, blocking, with a time limit on everything."""

    def __init__(self, host: str, port: int, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        try:
            self.socket.connect((host, port))
        except OSError:
            self.socket.close()
            raise
        self._lines: deque[bytes] = deque()
        self._data = b""  # of the line that has no end yet
        self._unpacker = msgpack.Unpacker()

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *messages: object) -> None:
        """Send bytes as they are, and anything else as a JSON line, in one write."""
        parts = [m if isinstance(m, bytes) else json.dumps(m).encode() + b"\n" for m in messages]
        self.socket.sendall(b"".join(parts))

    def line(self) -> bytes:
        """The next line, without its end; empty when the server has closed."""
        while not self._lines:
            data = self.socket.recv(65536)
            if not data:
                assert not self._data, f"half a line: {self._data!r}"
                return b""
            *lines, self._data = (self._data + data).split(b"\n")
            self._lines.extend(lines)
        return self._lines.popleft()

    def lines(self, count: int) -> list[bytes]:
        """The next `count` lines."""
        return [self.line() for _ in range(count)]

    def message(self) -> Any:
        """The next line as Python values; None when the server has closed."""
        line = self.line()
        return json.loads(line) if line else None

    def messages(self, count: int) -> list[Any]:
        """The next `count` messages."""
        return [self.message() for _ in range(count)]

    def ask(self, *messages: object) -> Any:
        """Send, and return the next message."""
        self.send(*messages)
        return self.message()

    def packed(self, count: int) -> list[Any]:
        """The next `count` MessagePack messages."""
        found: list[Any] = []
        self._unpacker.feed(self._data)
        self._data = b""
        while len(found) < count:
            try:
                found.append(self._unpacker.unpack())
            except msgpack.OutOfData:
                data = self.socket.recv(65536)
                assert data, f"closed after {found}"
                self._unpacker.feed(data)
        return found

    def rest(self) -> bytes:
        """Everything until the server closes."""
        while data := self.socket.recv(65536):
            self._data += data
        lines = [*self._lines, self._data]
        self._lines.clear()
        self._data = b""
        return b"\n".join(lines)

    def silent(self) -> bool:
        """Whether nothing has arrived yet. Only after an answer that would have come later."""
        return not self._lines and not self._data and not select.select([self.socket], [], [], 0)[0]


def create(order_id: int, side: str, price: object, quantity: int) -> dict[str, Any]:
    """A `createOrder` message."""
    return {
        "message": "createOrder",
        "orderId": order_id,
        "side": side,
        "price": price,
        "quantity": quantity,
    }


class Server:
    """`wood -s` as a process of its own, on free ports; with -m among the options a node."""

    host = "127.0.0.1"

    def __init__(self, folder: Path, *options: str, before: str = "") -> None:
        """Run with `options`; `before` is shell text that runs first, such as a ulimit."""
        self.log = folder / f"server-{os.urandom(4).hex()}.log"
        self.killed = False
        command = [sys.executable, "-m", "wood", "-s", "--private", "0", "--public", "0", *options]
        if before:
            command = ["bash", "-c", f'{before}; exec "$@"', "bash", *command]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stderr=log, cwd=ROOT, env=clean_environment())
        self.private = self._port("private")
        self.public = self._port("public")

    def _port(self, kind: str) -> int:
        pattern = re.compile(rf"{kind} port: \S+:(\d+)")
        eventually(lambda: bool(pattern.search(self.text())) or self.ended(), f"a {kind} port")
        match = pattern.search(self.text())
        assert match, f"the server did not start: {self.text()}"
        return int(match[1])

    def text(self) -> str:
        """The log so far."""
        return self.log.read_text()

    def ended(self) -> bool:
        """Whether the process is gone."""
        return self.process.poll() is not None

    def trader(self, receive_buffer: int | None = None) -> Peer:
        """A connection to the private port."""
        return Peer(self.host, self.private, receive_buffer)

    def watcher(self, receive_buffer: int | None = None) -> Peer:
        """A connection to the public port."""
        return Peer(self.host, self.public, receive_buffer)

    def memory(self) -> int:
        """Resident bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.process.wait(PATIENCE)
        self.killed = True

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; the exit code, 0 if it was killed on purpose."""
        if self.killed:
            return 0
        if not self.ended():
            self.process.send_signal(number)
            self.process.send_signal(signal.SIGCONT)  # a test that failed may have left it stopped
        return self.process.wait(PATIENCE)


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without the settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WOOD_")}
    if kept.pop("PYTHONDONTWRITEBYTECODE", None):  # or each of some hundred processes compiles all
        kept["PYTHONPYCACHEPREFIX"] = str(ROOT / ".pytest_cache" / "pycache")
    return kept | {"PYTHONUNBUFFERED": "1"} | more


def run_wood(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "wood", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
        cwd=ROOT,
        env=clean_environment(**environment),
        check=False,
    )


def run_wood_here(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """As `run_wood`, but in this process: where a process of its own proves nothing more."""
    out, err, code = io.StringIO(), io.StringIO(), None
    with (
        chdir(ROOT),
        mock.patch.dict(os.environ, clean_environment(**environment), clear=True),
        mock.patch.object(sys, "argv", ["wood", *arguments]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())
