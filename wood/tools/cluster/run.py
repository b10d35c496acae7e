"""The order in which the parts of a cluster start, and the order in which they stop."""

import asyncio
import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from wood.exchange.cluster.addresses import without_password
from wood.exchange.cluster.admin import Progress
from wood.exchange.cluster.keys import PREFIX
from wood.tools.children import python
from wood.tools.cluster.balancer import Balancer, installed
from wood.tools.cluster.child import Child, keep
from wood.tools.cluster.folder import passing_folder
from wood.tools.cluster.nodes import Node
from wood.tools.cluster.ports import Inner, front, reachable
from wood.tools.cluster.screen import Screen
from wood.tools.cluster.settings import Settings
from wood.tools.cluster.status import Status
from wood.tools.cluster.store import Store, locked
from wood.tools.signals import SIGNALS, stop_signal


async def run_cluster(settings: Settings) -> bool:
    """Start it all, keep it running, and stop it at SIGTERM, SIGINT or SIGHUP; the second hurries.

    Returns whether the end was an orderly one. Nothing is left behind, on Linux not even by a
    `kill -9`, but the data. Raises `ClusterFailed` and `ConfigError` when all is stopped.
    """
    with ExitStack() as stack:
        screen = Screen()
        program = installed(settings.haproxy)
        ports = {"private": settings.private, "public": settings.public}
        addresses = stack.enter_context(front(settings.host, ports))
        folder = stack.enter_context(passing_folder())
        lock = stack.enter_context(locked(settings.data)) if settings.data else None
        cluster = Cluster(settings, program, addresses, folder, lock, screen)
        stack.callback(screen.close)
        stop = stack.enter_context(stop_signal(_signals()))
        return await _until(stop, cluster)


def _signals() -> Sequence[signal.Signals]:
    """A terminal that is closed asks us to stop too, unless we were started with `nohup`."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return SIGNALS if ignored else (*SIGNALS, signal.SIGHUP)


async def _until(stop: asyncio.Event, cluster: "Cluster") -> bool:
    running = asyncio.create_task(cluster.run())
    asked = asyncio.create_task(stop.wait())
    await asyncio.wait([running, asked], return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    running.cancel()
    stop.clear()
    stopping = asyncio.create_task(cluster.stop())
    orderly = True
    while not stopping.done():
        asked = asyncio.create_task(stop.wait())
        await asyncio.wait([stopping, asked], return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if stop.is_set():
            stop.clear()
            orderly = False
            cluster.hurry()
    orderly = stopping.result() and orderly
    with suppress(asyncio.CancelledError):
        await running
    return orderly


def _first(error: BaseException) -> BaseException:
    """What went wrong first: the rest went with it, or the same way."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Cluster:
    """All its processes."""

    def __init__(
        self,
        settings: Settings,
        program: str | None,
        addresses: Sequence[str],
        folder: Path,
        lock: int | None,
        screen: Screen,
    ) -> None:
        """`program` is HAProxy, None to do without; `lock` is that of the data."""
        self._settings = settings
        self._addresses = addresses
        self._screen = screen
        self._store: Store | None = None
        url = settings.redis
        if url is None:
            self._store = Store(folder, settings.data, lock, settings.append)
            url = self._store.url
        self._url = url
        self._balancer = Balancer(program, folder) if program else None
        shared = None if program else (settings.host, settings.private, settings.public)
        inner = Inner()
        self._nodes = [
            Node(number, settings.options, url, inner, shared, screen.say, settings.drain)
            for number in range(1, settings.nodes + 1)
        ]
        self._traders = Child(
            "traders",
            python(
                "wood", "-c", "-n", str(settings.traders),
                "--host", reachable(settings.host), "-p", str(settings.private),
            ),
            quiet=True,
        )  # fmt: skip
        self._progress = Progress(url, settings.prefix)

    async def run(self) -> None:
        """Start everything and keep it running. Raises `ClusterFailed`."""
        try:
            await self._run()
        except BaseExceptionGroup as failures:
            raise _first(failures) from None

    async def _run(self) -> None:
        say = self._screen.say
        async with asyncio.TaskGroup() as group:
            if self._store:
                await self._store.begin()
                group.create_task(self._store.keep(say))
                say(f"Redis: {self._url} ({self._kept()})")
            say("starting the nodes")
            async with asyncio.TaskGroup() as starting:
                for node in self._nodes:
                    starting.create_task(node.begin())
            for node in self._nodes:
                group.create_task(keep(node.child, say))
            ports = (self._settings.private, self._settings.public)
            if self._balancer:
                await self._balancer.begin(self._addresses, ports, self._nodes)
                group.create_task(keep(self._balancer.child, say))
            if self._settings.traders:
                await self._traders.start()
                group.create_task(keep(self._traders, say))
            self._say_ready()
            await Status(self._nodes, self._progress).show(self._screen.status)

    def _kept(self) -> str:
        data = self._settings.data
        return f"the book is kept in {data}" if data else "in memory: stopped, it forgets the book"

    def _say_ready(self) -> None:
        host = self._settings.host
        how = "HAProxy" if self._balancer else "shared by the nodes"
        self._screen.say(
            f"private port {host}:{self._settings.private}, public port "
            f"{host}:{self._settings.public} ({how}); Ctrl-C stops all"
        )
        self._screen.say(f"how it is: {self._status_command()}")
        if not self._balancer and sys.platform == "darwin" and len(self._nodes) > 1:
            self._screen.say(
                "macOS gives all connections of a shared port to one node: install HAProxy"
            )

    def _status_command(self) -> str:
        """What to type to see it all; without the password of a Redis that somebody named."""
        words = ["wood", "status", "--watch", "--redis", without_password(self._url)]
        if self._store:
            words[-1] = self._store.url
        if self._settings.prefix != PREFIX:
            words += ["--prefix", self._settings.prefix]
        return shlex.join(words)

    async def stop(self) -> bool:
        """Traders first, then no new clients; when the nodes have answered all, Redis.

        Returns whether all ended when they were told to: who did not was ended.
        """
        drain = self._settings.drain
        self._screen.say(f"stopping; the nodes drain for {drain:g} s" if drain else "stopping")
        orderly = await self._end(self._traders)
        if self._balancer:
            self._balancer.child.send(signal.SIGUSR1)
        orderly &= all(await asyncio.gather(*(self._end(node.child) for node in self._nodes)))
        if self._balancer:
            orderly &= await self._end(self._balancer.child)
        await self._progress.close()
        if self._store:
            orderly &= await self._end(self._store.child)
        return orderly

    async def _end(self, child: Child) -> bool:
        orderly = await child.stop()
        if not orderly:
            self._screen.say(f"{child.name} did not end, and was killed")
        return orderly

    def hurry(self) -> None:
        """Wait for nobody; only Redis still ends as it should."""
        for child in (self._traders, *(node.child for node in self._nodes)):
            child.send(signal.SIGKILL)
        if self._balancer:
            self._balancer.child.send(signal.SIGKILL)
