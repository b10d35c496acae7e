"""A master, its replica and three sentinels of the tests' own, on the loopback."""

from pathlib import Path
from typing import Any

import redis

from tests.redis_server import RedisServer
from tests.support import eventually

NAME = "trading"
"""What the sentinels call the master."""

DOWN_AFTER = 600
"""Milliseconds of silence after which a sentinel takes a server for down."""


class SentinelServer(RedisServer):
    """One sentinel. It keeps what it knows in its file."""

    def __init__(self, folder: Path, master: RedisServer, *lines: str, binary: str | None) -> None:
        self._lines = [
            f"sentinel monitor {NAME} {master.host} {master.port} 2",
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER}",
            f"sentinel failover-timeout {NAME} 5000",
            *lines,
        ]
        super().__init__(folder, binary=binary)

    def _command(self) -> list[str]:
        file = self.folder / "sentinel.conf"
        if not file.exists():
            own = [f"port {self.port}", f"bind {self.host}", f"dir {self.folder}"]
            own.append("logfile redis.log")
            file.write_text("\n".join([*own, *self._lines, ""]))
        return [self.binary, str(file), "--sentinel"]

    def state(self) -> dict[bytes, bytes]:
        """What it knows of the master."""
        with self.client() as client:
            row: Any = client.execute_command("SENTINEL", "MASTER", NAME)
        return dict(zip(row[::2], row[1::2], strict=True))

    def knows(self, sentinels: int, replicas: int) -> bool:
        """Whether it has found so many others."""
        state = self.state()
        found = int(state[b"num-other-sentinels"]), int(state[b"num-slaves"])
        return found == (sentinels, replicas)


class RedisSentinel:
    """The five of them."""

    def __init__(self, folder: Path, *options: str, binary: str | None = None) -> None:
        self.servers: list[RedisServer] = []
        self.sentinels: list[SentinelServer] = []
        try:
            own = ("--repl-diskless-sync-delay", "0", *options)
            self.master = self._start(folder, *own, binary=binary)
            follow = ("--replicaof", f"{self.master.host} {self.master.port}")
            self.replica = self._start(folder, *own, *follow, binary=binary)
            eventually(self.replicates, "a replica")
            for _ in range(3):
                self.sentinels.append(SentinelServer(folder, self.master, binary=binary))
            for sentinel in self.sentinels:
                eventually(lambda sentinel=sentinel: sentinel.knows(2, 1), "sentinels")  # type: ignore[misc]
        except BaseException:
            self.close()
            raise

    def _start(self, folder: Path, *options: str, binary: str | None) -> RedisServer:
        self.servers.append(RedisServer(folder, *options, binary=binary))
        return self.servers[-1]

    @property
    def url(self) -> str:
        """What `--redis` takes."""
        return f"sentinel://{','.join(f'{s.host}:{s.port}' for s in self.sentinels)}/{NAME}"

    def replicates(self) -> bool:
        """Whether the replica follows the master."""
        with self.replica.client() as client:
            return bool(client.info("replication").get("master_link_status") == "up")

    def promoted(self, server: RedisServer) -> bool:
        """Whether a server is the master, by its own word and that of all sentinels that are up."""
        try:
            with server.client() as client:
                if client.info("replication")["role"] != "master":
                    return False
            for sentinel in self.sentinels:
                up = sentinel.process.poll() is None
                if up and int(sentinel.state()[b"port"]) != server.port:
                    return False
        except redis.RedisError:
            return False
        return True

    def close(self) -> None:
        """End all of them."""
        for each in [*self.sentinels, *self.servers]:
            each.close()
