"""`wood -s`: a process that is the whole exchange, or with `-m` one node of it."""

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from signal import SIG_BLOCK, SIG_UNBLOCK, SIGHUP, pthread_sigmask
from typing import Any

import uvloop

from wood import __version__
from wood.cli.to_graylog import ToGraylog, logging_to, market_of
from wood.exchange.exchange import Exchange
from wood.exchange.memory import MemoryExchange
from wood.graylog.handler import GraylogHandler
from wood.graylog.market_task import MarketTask
from wood.model.errors import ConfigError, EngineFailed
from wood.model.log_events import LogEvent, told
from wood.node.descriptors import raise_limit
from wood.node.figures import MEASURED
from wood.node.log_lines import PlainText
from wood.node.node import Node
from wood.node.settings import Settings
from wood.tools.signals import SIGNALS, stop_signal

log = logging.getLogger("wood")

CANCELING = 2.0
"""Seconds after which a start that was told to end and goes on is told so again: what is said while
an answer of Redis arrives can get lost. Longer than leaving the cluster may take.
"""


def serve(
    make_exchange: Callable[[], Awaitable[Exchange]],
    settings: Settings,
    log_level: str,
    graylog: ToGraylog | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C, and tell Graylog of it. Raises `ConfigError`."""
    handler = logging.StreamHandler()
    handler.setFormatter(PlainText("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(lambda record: record.name != MEASURED)
    handler.setLevel(log_level.upper())
    logging.basicConfig(level=log_level.upper(), handlers=[handler])
    # Threads inherit this: the event loop's own shall never be the ones to get a signal, which
    # would end the process where the main thread no longer listens for it.
    pthread_sigmask(SIG_BLOCK, SIGNALS)
    with logging_to(graylog, settings) as sender:
        start = partial(_started, make_exchange, settings, graylog, sender)
        uvloop.run(_serve(start, settings, _max_connections(settings)))


def _max_connections(settings: Settings) -> int:
    possible = raise_limit()
    if settings.max_connections is None:
        return possible
    if settings.max_connections > possible:
        raise ConfigError(
            f"--max-connections {settings.max_connections} is more than the {possible} that the "
            "limit on open files allows: raise that with 'ulimit -Hn' or lower the option"
        )
    return settings.max_connections


async def _serve(
    start: Callable[[int], Coroutine[None, None, "_Server"]],
    settings: Settings,
    max_connections: int,
) -> None:
    # The threads of the event loop begin with the first name that is looked up, signals blocked.
    await asyncio.get_running_loop().getaddrinfo("localhost", None)
    with stop_signal() as stop:
        pthread_sigmask(SIG_UNBLOCK, SIGNALS)
        server = await _start(stop, start(max_connections))
        if server is None:
            return
        try:
            await _until_stopped(stop, server.node, settings)
        finally:
            await server.tell_the_rest()
        # A signal that comes now, while the interpreter ends, must not make a failure of success.
        pthread_sigmask(SIG_BLOCK, SIGNALS)


@dataclass(frozen=True)
class _Server:
    node: Node
    market: MarketTask | None
    """What tells Graylog the market of a single server."""
    sender: GraylogHandler | None
    """What sends the log there."""

    async def tell_the_rest(self) -> None:
        if self.market is not None and self.sender is not None:
            began = time.monotonic()
            await self.market.close()
            self.sender.waited(time.monotonic() - began)


async def _until_stopped(stop: asyncio.Event, node: Node, settings: Settings) -> None:
    _spare_the_collector()
    if settings.tls_cert is not None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(SIGHUP, node.reload_certificates)
    await _either(stop, node)
    if settings.drain:
        await _drain(stop, node, settings.drain)
    log.info("stopping: no new connections; what was read is answered")
    began = time.monotonic()
    await node.stop()
    log.info("stopped", extra=told(LogEvent.NODE_STOPPED, duration_ms=_since(began)))


async def _started(
    make_exchange: Callable[[], Awaitable[Exchange]],
    settings: Settings,
    graylog: ToGraylog | None,
    sender: GraylogHandler | None,
    max_connections: int,
) -> _Server:
    began = time.monotonic()
    exchange = await make_exchange()
    node = Node(exchange, settings, max_connections)
    market = market_of(exchange, graylog, settings, node.figures.readers)
    server = _Server(node, market, sender)
    try:
        await node.start()
    except BaseException:
        await server.tell_the_rest()
        raise
    if server.market is not None:
        server.market.start()
    _say_started(exchange, node, settings, _since(began))
    return server


def _say_started(exchange: Exchange, node: Node, settings: Settings, took: float) -> None:
    log.info(
        "listening, %d ms after the start",
        took,
        extra=told(
            LogEvent.NODE_STARTED,
            version=__version__,
            mode="memory" if isinstance(exchange, MemoryExchange) else "redis",
            private=node.port("private"),
            public=node.port("public"),
            health=settings.health or None,
            duration_ms=took,
        ),
    )


async def _start(stop: asyncio.Event, start: Coroutine[None, None, _Server]) -> _Server | None:
    """The server; None if the order to stop comes first: a node may have to wait for Redis."""
    starting = asyncio.create_task(start)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not stop.is_set():
        return starting.result()
    while not starting.done():
        starting.cancel()
        await asyncio.wait([starting], timeout=CANCELING)
    if not starting.cancelled() and starting.exception() is None:
        server = starting.result()
        await server.node.abort("the server was told to stop")
        await server.tell_the_rest()
    return None


async def _either(stop: asyncio.Event, node: Node) -> None:
    """Wait for the order to stop. Raises `EngineFailed` if the engine fails first."""
    stopping = asyncio.create_task(stop.wait())
    either: list[asyncio.Future[Any]] = [stopping, node.failure]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if node.failure.done():
        error = node.failure.result()
        log.critical(
            "the engine failed; nobody may trade on what it says",
            exc_info=error,
            extra=told(LogEvent.NODE_FAILED, reason=repr(error)),
        )
        await node.abort("the server failed")
        raise EngineFailed(f"stopped, since the engine failed: {error!r}") from None


async def _drain(stop: asyncio.Event, node: Node, seconds: float) -> None:
    """Serve on, while a balancer sends new connections elsewhere; a second signal ends that.

    Raises `EngineFailed` if the engine fails meanwhile.
    """
    node.drain()
    log.info(
        "draining for %g seconds: new connections are to go elsewhere",
        seconds,
        extra=told(LogEvent.NODE_DRAINING, duration_ms=seconds * 1000),
    )
    stop.clear()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await _either(stop, node)


def _since(began: float) -> float:
    """Milliseconds since then, by the monotonic clock."""
    return round((time.monotonic() - began) * 1000, 3)


def _spare_the_collector() -> None:
    """What lives as long as the process need not be looked through again and again.

    Orders, levels and events are not looked at anyway (gc=False), see docs/performance.md.
    """
    gc.collect()
    gc.freeze()
