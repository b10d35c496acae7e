"""What a run compares: the target, and the ceiling if that is asked for; started and connected."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec import Struct

from wood.client.tls import client_tls
from wood.tools.bench.process import HOST, free_ports, running
from wood.tools.bench.server import Server
from wood.tools.bench.settings import Settings
from wood.tools.bench.store import Kind, opened, own_prefix
from wood.tools.children import python


class Sides(Struct, frozen=True):
    """The servers under load; `ceiling` is None if the target is measured alone.

    `redis` is what the nodes share that were started, None if none were.
    """

    target: Server
    ceiling: Server | None
    redis: Kind | None

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
        host, ports, redis = settings.host, [settings.port], None
        public = [] if settings.public is None else [settings.public]
        if settings.serve:
            free = free_ports(2 * settings.nodes)
            host, ports, public = HOST, free[: settings.nodes], free[settings.nodes :]
            redis = await stack.enter_async_context(_serving(settings, ports, public))
        target = Server(host, ports, settings.timeout, _tls(settings))
        stack.callback(target.close)
        await target.connect(settings.connections, settings.in_flight, login=settings.login)
        if public:
            await target.subscribe(public, settings.subscribers)
        ceiling = await stack.enter_async_context(_ceiling(settings)) if settings.ceiling else None
        yield Sides(target, ceiling, redis)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    ca, cert, key = settings.tls_ca, settings.tls_client_cert, settings.tls_client_key
    return client_tls(ca, cert, key) if settings.tls or ca or cert or key else None


@asynccontextmanager
async def _serving(
    settings: Settings, private: Sequence[int], public: Sequence[int]
) -> AsyncIterator[Kind | None]:
    """Run a server for each pair of ports: the nodes of one cluster if there is to be a Redis."""
    async with AsyncExitStack() as stack:
        shared: list[str] = []
        redis = None
        if settings.member:
            store = await stack.enter_async_context(opened(settings))
            prefix = await stack.enter_async_context(own_prefix(store.client))
            shared, redis = ["-m", "--redis", store.url, "--prefix", prefix], store.kind
        for ports in zip(private, public, strict=True):
            on = ["--private", str(ports[0]), "--public", str(ports[1])]
            command = python("wood", "-s", "--host", HOST, *on, *shared)
            await stack.enter_async_context(running("wood", command, ports))
        yield redis


@asynccontextmanager
async def _ceiling(settings: Settings) -> AsyncIterator[Server]:
    ports = free_ports(1)
    command = python("wood.tools.bench.ceiling", "--host", HOST, "--port", str(ports[0]))
    async with running("the ceiling", command, ports):
        server = Server(HOST, ports, settings.timeout)
        try:
            await server.connect(settings.connections, settings.in_flight)
            yield server
        finally:
            server.close()
