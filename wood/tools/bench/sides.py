"""What a run compares: the target, and the ceiling if that is asked for; started and connected."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec import Struct

from wood.tools.bench.process import HOST, free_ports, running
from wood.tools.bench.server import Server
from wood.tools.bench.settings import Settings


class Sides(Struct, frozen=True):
    """The servers under load; `ceiling` is None if the target is measured alone."""

    target: Server
    ceiling: Server | None

    def in_turn(self, number: int) -> list[Server]:
        """All sides, the other one first in every second round.

        A machine that slows down in the middle of a pair so wrongs now one, now the other.
        """
        sides = [self.target] if self.ceiling is None else [self.target, self.ceiling]
        return sides[::-1] if number % 2 else sides


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Sides]:
    """Start the servers that are to be started and connect to all; undo it at the exit.

    Raises `ConnectionFailed` and `ServerFailed`.
    """
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(_target(settings))
        ceiling = await stack.enter_async_context(_ceiling(settings)) if settings.ceiling else None
        yield Sides(target, ceiling)


@asynccontextmanager
async def _target(settings: Settings) -> AsyncIterator[Server]:
    async with AsyncExitStack() as stack:
        host, port, public = settings.host, settings.port, settings.public
        if settings.serve:
            host, (port, public) = HOST, free_ports(2)
            arguments = ("-s", "--host", host, "--private", str(port), "--public", str(public))
            await stack.enter_async_context(running("wood", *arguments, ports=(port, public)))
        server = Server(host, port, settings.timeout)
        stack.callback(server.close)
        await server.connect(settings.connections, settings.in_flight)
        if public is not None:
            await server.subscribe(public, settings.subscribers)
        yield server


@asynccontextmanager
async def _ceiling(settings: Settings) -> AsyncIterator[Server]:
    (port,) = free_ports(1)
    arguments = ("--host", HOST, "--port", str(port))
    async with running("wood.tools.bench.ceiling", *arguments, ports=(port,)):
        server = Server(HOST, port, settings.timeout)
        try:
            await server.connect(settings.connections, settings.in_flight)
            yield server
        finally:
            server.close()
