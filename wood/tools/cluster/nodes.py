"""The nodes: processes of `wood -s -m`, and whether they are ready."""

import asyncio
import re
from collections.abc import Sequence

from wood.tools.children import python
from wood.tools.cluster.child import Child, Say
from wood.tools.cluster.errors import ClusterFailed
from wood.tools.cluster.ports import LOOPBACK, Inner, reachable

FIRST_PORT, FIRST_HEALTH = 17001, 17011
PATIENCE = 1.0
"""Seconds for an answer about a node's health."""

STARTS = 10
"""Of a node whose ports someone else takes first."""


class Node:
    """One of several: behind a balancer on ports of its own, or all on the `shared` ones."""

    def __init__(
        self,
        number: int,
        options: Sequence[str],
        url: str,
        inner: Inner,
        shared: tuple[str, int, int] | None,
        say: Say,
        drain: float = 0.0,
    ) -> None:
        """`options` are those of every node; `shared` is a host, a private and a public port.

        `drain` is what the options, or the environment, say of it.
        """
        self.number = number
        self._options = options
        self._inner = inner
        self._shared = shared
        self._say = say
        # Not on the command line, where others could read a password.
        self.child = Child(f"node {number}", (), shows=self._shows, drain=drain, WOOD_REDIS=url)

    def _place(self) -> None:
        host, behind = LOOPBACK, 2 * (self.number - 1)
        if self._shared is None:
            self.private = self._inner.take(FIRST_PORT + behind)
            self.public = self._inner.take(FIRST_PORT + behind + 1)
            how = ["--proxy-protocol", LOOPBACK]
        else:
            host, self.private, self.public = self._shared
            how = ["--reuse-port"]
        self.health = self._inner.take(FIRST_HEALTH + self.number - 1)
        self._health_host = reachable(host)
        places = [
            *("--host", host, "--private", str(self.private), "--public", str(self.public)),
            *("--health", str(self.health), "--name", f"node{self.number}"),
        ]
        # Ours come last: they are what counts.
        self.child.command = python("wood", *self._options, "-s", "-m", *places, *how)

    async def begin(self) -> None:
        """Start it; return when it is ready. Raises `ClusterFailed` if it ends before."""
        for left in reversed(range(STARTS)):
            self._place()
            await self.child.start()
            try:
                await self.child.until(self._ready)
                return
            except ClusterFailed:
                if not left or not self._lost_the_race():
                    raise

    async def _ready(self) -> bool:
        return await self.unready() is None

    def _lost_the_race(self) -> bool:
        taken = re.match(r"port (\d+) is in use", self.child.last_words)
        own = {self.health} if self._shared else {self.private, self.public, self.health}
        return taken is not None and int(taken[1]) in own

    async def unready(self) -> str | None:
        """Why it takes no new connections, in a few words; None if it does."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._ask()
        except TimeoutError:
            return "silent"
        except OSError:
            return "starting"

    async def _ask(self) -> str | None:
        reader, writer = await asyncio.open_connection(self._health_host, self.health)
        try:
            writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        if b" 200 " in head.split(b"\r\n", 1)[0]:
            return None
        return body.decode(errors="replace").strip() or "starting"

    def _shows(self, line: str) -> None:
        # What it ends with is said by whoever starts it again.
        if not line.startswith("wood: "):
            self._say(f"node {self.number}: {line}")
