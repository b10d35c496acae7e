"""`wood cluster` as a process of its own, and what can be known of it and its children."""

import fcntl
import os
import pty
import re
import secrets
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import BinaryIO

from tests.redis_server import free_port
from tests.support import PATIENCE, ROOT, Peer, clean_environment, eventually

HOST = "127.0.0.1"

WITH_HAPROXY = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
"""A PATH on which it is, if it is installed."""

HAPROXY = shutil.which("haproxy", path=WITH_HAPROXY)


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


class Launcher:
    """It is in a process group of its own, as a shell starts it; a mark tells its children."""

    def __init__(
        self, folder: Path, *options: str, terminal: int | None = None, **environment: str
    ) -> None:
        """`terminal` gives it one of so many columns for its standard output."""
        # None that the kernel hands to others the moment it is free again.
        self.private, self.public = free_port(), free_port()
        self._screen: int | None = None
        self.mark = f"LAUNCHER_OF_TEST={secrets.token_hex(8)}"
        # pytest's folders are too deep for the paths of sockets.
        self.folder = Path(mkdtemp(prefix="wt-"))
        name, value = self.mark.split("=")
        more = {"TMPDIR": str(self.folder), name: value, **environment}
        command = [sys.executable, "-m", "wood", "cluster"]
        command += ["--private", str(self.private), "--public", str(self.public)]
        self.out, self.err = (folder / f"{secrets.token_hex(4)}.{kind}" for kind in ("out", "err"))
        with ExitStack() as files:
            err = files.enter_context(self.err.open("wb"))
            if terminal is None:
                out: int | BinaryIO = files.enter_context(self.out.open("wb"))
            else:
                self._screen, out = pty.openpty()
                fcntl.ioctl(out, termios.TIOCSWINSZ, struct.pack("4H", 24, terminal, 0, 0))
                files.callback(os.close, out)
                more |= {"TERM": "xterm", "COLUMNS": ""}  # the terminal tells how wide it is
            self.process = subprocess.Popen(
                [*command, *options],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=ROOT,
                env=clean_environment(**more), process_group=0,
            )  # fmt: skip

    def ready(self) -> None:
        """Wait until all is up."""
        eventually(lambda: "Ctrl-C stops all" in self.said() or self.ended(), "a cluster")
        assert not self.ended(), self.said()

    def screen_until(self, pattern: bytes) -> bytes:
        """Read what it writes to its terminal, until that has `pattern` in it."""
        assert self._screen is not None
        seen, deadline = b"", time.monotonic() + PATIENCE
        while not re.search(pattern, seen, re.S):
            assert select.select([self._screen], [], [], deadline - time.monotonic())[0], seen
            seen += os.read(self._screen, 65536)
        return seen

    def said(self) -> str:
        """What stands on its standard error."""
        return self.err.read_text()

    def status(self) -> str:
        """The last line of its standard output."""
        return (["", *self.out.read_text().splitlines()])[-1]

    def hear(self, text: str) -> None:
        """Wait until a status that was asked for from now on has this in it."""
        lines = len(self.out.read_text().splitlines())
        eventually(
            # The next one may have been asked for before.
            lambda: text in "\n".join(self.out.read_text().splitlines()[lines + 1 :]),
            f"{text!r} in the status, which was {self.status()!r}",
        )

    def ended(self) -> bool:
        """Whether it is gone."""
        return self.process.poll() is not None

    def redis(self) -> str:
        """The URL of the server that it started."""
        found = re.search(r"^Redis: (\S+)", self.said(), re.M)
        assert found
        return found[1]

    def processes(self, *words: str) -> dict[int, str]:
        """It and what it started, whose command lines have all these words, by id."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    environment = (entry / "environ").read_bytes()
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    continue
                # Valkey writes its title over its environment.
                ours = self.mark.encode() in environment or str(self.folder) in line
                if ours and line and all(word in line for word in words):
                    found[int(entry.name)] = line
        return found

    def nodes(self) -> set[int]:
        """The nodes' ids."""
        return set(self.processes(" wood ", " -s -m "))

    def the(self, *words: str) -> int:
        """The id of the one process whose command line has these words."""
        (found,) = self.processes(*words)
        return found

    def kill(self, pid: int, *words: str) -> float:
        """End one of its children; the seconds until there is another one with these words."""
        known = set(self.processes(*words))
        assert pid in known
        os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        eventually(lambda: bool(self.processes(*words).keys() - known), "another one")
        return time.monotonic() - began

    def interrupt(self) -> int:
        """Ctrl-C in its terminal: the signal goes to the whole group. The exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(PATIENCE)

    def stop(self) -> int:
        """Ask it to end; the exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def left_nothing(self) -> None:
        """Wait until there is no process, no file and no listener of it any more."""
        assert self.ended()
        eventually(lambda: not self.processes(), f"the end of {self.processes()}")
        assert list(self.folder.iterdir()) == []
        # A process that is ending has no command line any more before its sockets are closed.
        eventually(
            lambda: not any(map(listens, (self.private, self.public))),
            f"nobody listens on {self.private} and {self.public}",
        )

    def close(self) -> None:
        """End all of it for good."""
        self.process.kill()
        self.process.wait(PATIENCE)
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._screen is not None:
            os.close(self._screen)
        shutil.rmtree(self.folder, ignore_errors=True)

    def trader(self) -> Peer:
        """A connection to the private port in front."""
        return Peer(HOST, self.private)
