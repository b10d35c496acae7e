"""How the cluster is, in one line a second."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from wood.exchange.cluster.admin import Progress
from wood.exchange.cluster.client import FAILURES
from wood.tools.cluster.nodes import Node

INTERVAL = 1.0
PATIENCE = 0.8
"""Seconds for an answer of Redis, so that the line stays one of each second."""

_ESTABLISHED = "01"


class Status:
    """Asks nodes and Redis, and remembers the last answer to tell the speed."""

    def __init__(self, nodes: Sequence[Node], progress: Progress) -> None:
        self._nodes = nodes
        self._progress = progress
        self._last: tuple[float, int] | None = None

    async def show(self, show: Callable[[str], None]) -> None:
        """Show a line a second, for ever."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            show(await self.line())
            due = max(due + INTERVAL, loop.time())
            await asyncio.sleep(due - loop.time())

    async def line(self) -> str:
        """The line for now."""
        whys, market = await asyncio.gather(
            asyncio.gather(*(node.unready() for node in self._nodes)), self._market()
        )
        away = [f"{n.child.name} {why}" for n, why in zip(self._nodes, whys, strict=True) if why]
        up = f"nodes {len(whys) - len(away)} of {len(whys)}"
        parts = [f"{up} ({', '.join(away)})" if away else up, *self._connections(), market]
        return ", ".join(parts)

    def _connections(self) -> Iterator[str]:
        """How many connections each node has, where the system tells."""
        ports = {port for node in self._nodes for port in (node.private, node.public)}
        if (sockets := _established(ports)) is not None:
            counts = [len(sockets & _sockets(node.child.pid)) for node in self._nodes]
            yield f"connections {'+'.join(map(str, counts))}"

    async def _market(self) -> str:
        try:
            async with asyncio.timeout(PATIENCE):
                found = await self._progress.ask()
        except (TimeoutError, *FAILURES):
            self._last = None
            return "Redis does not answer"
        if found is None:
            return "no book yet"
        events, resting = found
        return f"{self._speed(events)}events {events:,}, open orders {resting:,}"

    def _speed(self, events: int) -> str:
        now = asyncio.get_running_loop().time()
        last, self._last = self._last, (now, events)
        if last is None or events < last[1] or now == last[0]:
            return ""
        return f"events/s {(events - last[1]) / (now - last[0]):,.0f}, "


def _established(ports: set[int]) -> set[str] | None:
    """The connections to these ports, by the inodes of their sockets; None if nobody tells."""
    found = set()
    try:
        for table in ("tcp", "tcp6"):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                _, local, _, state, *rest = line.split()
                if state == _ESTABLISHED and int(local.rpartition(":")[2], 16) in ports:
                    found.add(rest[5])
    except OSError:
        return None
    return found


def _sockets(pid: int | None) -> set[str]:
    """The inodes of the sockets that a process has."""
    found = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            name = str(descriptor.readlink())
            if name.startswith("socket:["):
                found.add(name[8:-1])
    except OSError:  # it has just ended, or closed one
        pass
    return found
