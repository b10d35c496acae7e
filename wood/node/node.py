"""A node: two listeners in front of an exchange, and an orderly end."""

import asyncio
import errno
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from wood.exchange.exchange import Exchange
from wood.exchange.sessions import Auth
from wood.model.commands import Command
from wood.model.errors import ConfigError, ErrorCode, Limit, Refusal
from wood.model.log_events import LogEvent, told
from wood.model.participants import anonymous_name
from wood.node.addresses import Addresses
from wood.node.certificates import Certificates
from wood.node.connection import Connection, Pause
from wood.node.failures import Failures
from wood.node.figures import Crowd, Figures
from wood.node.health import Health
from wood.node.introduction import Introduction, Newcomer
from wood.node.limits_hit import limits_hit
from wood.node.log_lines import say_what_was_left_out
from wood.node.market import Market
from wood.node.pages import Pages
from wood.node.private import Encodings, PrivateConnection, Surroundings
from wood.node.public import PublicConnection
from wood.node.router import Router
from wood.node.session import Session
from wood.node.settings import Settings
from wood.node.tasks import Tasks
from wood.node.throttle import AddressThrottles, Allowance, Throttle
from wood.node.tls import Tls
from wood.wire.reports import JsonReports, PackedReports
from wood.wire.session_reports import SessionJson, SessionPacked

log = logging.getLogger("wood.node")

BACKLOG = 4096
"""Connections that the kernel may hold until they are accepted."""

TO_REFUSE = 16
"""Connections beyond the limit that may tell who they are, to be refused in words after that."""

TO_REFUSE_OF_ONE = 2
"""The same of one address."""

TOO_MANY, TOO_OFTEN = "too many connections", "too many connections per second from this address"


class Node:
    """Serves clients of `exchange` from `start` to `stop`."""

    def __init__(self, exchange: Exchange, settings: Settings, max_connections: int) -> None:
        self._router = Router()
        several = len(exchange.partitions) > 1
        self._markets = {
            name: Market(partition, name=name if several else None)
            for name, partition in exchange.partitions.items()
        }
        self._tasks = Tasks()
        self._exchange = exchange
        self._settings = settings
        self._max_connections = max_connections
        self._connections: dict[Connection, None] = {}
        self._listeners: list[asyncio.Server] = []
        self._ports = {"private": settings.private, "public": settings.public}
        """Those that are asked for, and then those that there are."""
        self._addresses = Addresses(settings.max_address_connections)
        rate, clock = settings.max_address_rate, asyncio.get_running_loop().time
        self._address_throttles = AddressThrottles(rate, clock) if rate else None
        self._certificates = _certificates(settings)
        self._newcomers: set[Newcomer] = set()
        self._health_listener: asyncio.Server | None = None
        self._unready: str | None = "starting"
        self._numbers = itertools.count(1)
        self._waiting: dict[str, deque[PrivateConnection]] = {
            name: deque() for name in exchange.partitions
        }
        """Those that the full queue of a partition keeps waiting, the longest first."""
        self.failure: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        """Done when the engine has failed; the node is then to be aborted."""
        self._stopping: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self._unanswered: set[Connection] = set()
        """Private connections that a stopping node still has answers for."""
        self._answered = asyncio.Event()
        self._slow = self._refused = 0
        self._surroundings = self._surround()
        exchange.attach(self._router)
        for name, partition in exchange.partitions.items():
            partition.attach(self._markets[name].feed)
            partition.attach(self._markets[name].recovery)
        self.figures = Figures(
            exchange,
            self._markets,
            settings,
            crowd=self._crowd,
            ready=self._reason,
            port=self.port,
        )
        self._health = Health(Pages(self.figures).by_path(), settings.proxy_protocol)
        exchange.when_room(self._resume)
        exchange.when_failed(self._failed)

    async def start(self) -> None:
        """Start the engine, then listen. Raises `ConfigError` if a port cannot be had.

        Health checks are answered from the beginning, since the engine may have to wait.
        """
        settings = self._settings
        self.figures.start()
        try:
            if settings.health:
                await self._listen_for_health(settings.health)
            await self._exchange.start()
            await self._listen("private", settings.private, self._private_connection)
            await self._listen("public", settings.public, self._public_connection)
        except BaseException:
            await self.abort("the server did not start")
            raise
        self._unready = None

    def drain(self) -> None:
        """Be unready for new connections from now on. All are served as before, old and new."""
        self._unready = "draining"

    def reload_certificates(self) -> None:
        """Read the files again, for connections from now on."""
        if self._certificates is not None:
            self._certificates.reload()

    def port(self, kind: str) -> int:
        """The port that the `private` or `public` listener has, or will have if it is not 0."""
        return self._ports[kind]

    def private_connections(self) -> list[PrivateConnection]:
        """The participants' connections, oldest first."""
        return [c for c in self._connections if isinstance(c, PrivateConnection)]

    async def stop(self) -> None:
        """Stop accepting, answer what was read, let clients read their answers, close.

        Clients that have not read theirs after `Settings.last_words` seconds are cut off. Safe to
        call twice; the second call waits for the first.
        """
        self.drain()
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._forget_newcomers()
        privates = [c for c in self.private_connections() if not c.finishing]
        self._unanswered = set(privates)
        for connection in privates:
            connection.stop()
        try:
            async with asyncio.timeout(self._settings.last_words):
                if self._unanswered:
                    await self._answered.wait()
                for other in list(self._connections):
                    if isinstance(other, PublicConnection):
                        other.stop()
                if self._connections:
                    await self._gone.wait()
        except TimeoutError:
            count = len(self._connections)
            text = "cutting off %d clients that do not read, or whose answers do not come"
            log.warning(text, count, extra=told(LogEvent.ERROR))
        await self.abort("the server stopped")

    async def abort(self, reason: str) -> None:
        """Close everything at once, whatever is still owed. Safe to call twice."""
        for listener in self._listeners:
            listener.close()
        if self._health_listener is not None:
            self._health_listener.close()
        self._health.close()
        self._forget_newcomers()
        for connection in list(self._connections):
            connection.abort(reason)
        if self._connections:
            await self._gone.wait()
        self.figures.stop()
        await self._tasks.close()
        await self._exchange.close()
        limits_hit.flush()
        say_what_was_left_out()

    # Owner of connections

    def opened(self, connection: Connection) -> Refusal | None:
        """Count a connection, unless a limit is reached."""
        refusal = self._admit(connection)
        self._refused += refusal is not None
        return refusal

    def _admit(self, connection: Connection) -> Refusal | None:
        if self._full() or self._stopping is not None:
            return Refusal(ErrorCode.LIMIT, TOO_MANY, limit=Limit.CONNECTIONS)
        address = connection.address
        if self._addresses.full(address):
            text, limit = f"{TOO_MANY} from this address", Limit.ADDRESS_CONNECTIONS
            return Refusal(ErrorCode.LIMIT, text, limit=limit)
        # With TLS it was a message before its handshake.
        if self._certificates is None and (wait := self._too_soon(address)):
            limit, retry_after = Limit.ADDRESS_RATE, max(1, round(wait * 1e6))
            return Refusal(ErrorCode.RATE, TOO_OFTEN, limit=limit, retry_after=retry_after)
        self._addresses.add(connection.address)
        self._connections[connection] = None
        self._gone.clear()
        return None

    def finished(self, connection: Connection) -> None:
        """Notice when all are answered: the public may then be told that there is no more."""
        if connection in self._unanswered:
            self._unanswered.remove(connection)
            if not self._unanswered:
                self._answered.set()

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self.finished(connection)
        self._slow += connection.slow
        del self._connections[connection]
        self._addresses.remove(connection.address)
        if not self._connections:
            self._gone.set()

    def _full(self) -> bool:
        return len(self._connections) + len(self._newcomers) >= self._max_connections

    def _too_soon(self, address: str) -> float:
        """Count a new connection as one message of its address; or the seconds to wait for it."""
        return 0.0 if self._address_throttles is None else self._address_throttles.wait(address)

    # Host of newcomers

    def refuses(self, newcomer: Newcomer) -> str | None:
        """Count what may become a connection; a few more than may are heard, to be told so."""
        reason = self._turn_away(newcomer)
        self._refused += reason is not None
        return reason

    def _turn_away(self, newcomer: Newcomer) -> str | None:
        count = len(self._connections) + len(self._newcomers)
        if count >= self._max_connections + TO_REFUSE or self._stopping is not None:
            return TOO_MANY
        if (address := newcomer.address) is not None:
            if self._addresses.full(address, TO_REFUSE_OF_ONE):
                return TOO_MANY
            if self._too_soon(address):
                return TOO_OFTEN
            self._addresses.add(address)
        self._newcomers.add(newcomer)
        return None

    def introduced(self, newcomer: Newcomer) -> None:
        """Count it no more."""
        if newcomer in self._newcomers:
            self._newcomers.discard(newcomer)
            if (address := newcomer.address) is not None:
                self._addresses.remove(address)

    def _forget_newcomers(self) -> None:
        for newcomer in list(self._newcomers):
            newcomer.abort()

    # What its figures ask for

    def _reason(self) -> str | None:
        """Why it is not ready; None if it is."""
        reason = self._unready or self._exchange.ready
        return TOO_MANY if reason is None and self._full() else reason

    def _crowd(self) -> Crowd:
        privates, named = len(self.private_connections()), self._router.named
        public = len(self._connections) - privates
        return Crowd(privates, named, public, self._slow, self._refused)

    # Commands

    def _submit(self, connection: PrivateConnection, commands: Sequence[Command]) -> None:
        """Ask the engine; who makes its queue full, or adds to it, waits until it has room.

        Each connection is paused by what it says itself, so that one that says little is heard
        however much others say, and the queue exceeds its bound by a turn of each at most.
        """
        full = self._exchange.submit(commands)
        if full is not None and Pause.QUEUE not in connection.pauses:
            connection.pause(Pause.QUEUE)
            self._waiting[full].append(connection)

    def _resume(self, partition: str) -> None:
        """Hear those again who have waited longest, until the queue is full again."""
        waiting, engine = self._waiting[partition], self._exchange.partitions[partition]
        while waiting and not engine.full:
            waiting.popleft().resume(Pause.QUEUE)

    def _failed(self, error: Exception) -> None:
        if not self.failure.done():
            self.failure.set_result(error)

    # Connections

    def _surround(self) -> Surroundings:
        listed = self._exchange.instruments
        return Surroundings(
            self._exchange,
            self._router,
            self._settings,
            Encodings(
                JsonReports(listed),
                PackedReports(listed),
                SessionJson(listed),
                SessionPacked(listed),
            ),
            Failures(asyncio.get_running_loop().time),
            self._submit,
            self._tasks.start,
        )

    def _private_connection(self) -> PrivateConnection:
        allowance = self._allowance()
        session = Session(
            anonymous_name(int(time.time())),
            self._exchange.instruments,
            line_limit=self._settings.line_limit,
            allowance=allowance,
            cancel_on_close=self._settings.cancel_on_disconnect,
            must_log_in=self._settings.auth is Auth.TOKEN,
            must_prove=self._settings.tls_client_ca is not None,
        )
        connection = PrivateConnection(session, self, self._surroundings)
        connection.allowance = allowance
        return connection

    def _public_connection(self) -> PublicConnection:
        return PublicConnection(
            f"p{next(self._numbers)}",
            self,
            self._markets,
            self._exchange.instruments,
            line_limit=self._settings.line_limit,
            backlog_limit=self._settings.backlog_limit,
            allowance=self._allowance(),
            start=self._tasks.start,
        )

    def _allowance(self) -> Allowance | None:
        rate = self._settings.max_rate
        own = Throttle(rate, asyncio.get_running_loop().time) if rate else None
        if own is None and self._address_throttles is None:
            return None
        return Allowance(own, self._address_throttles)

    def _secure(self, make: Callable[[], Connection]) -> Connection | Tls:
        """A connection, or what shakes hands first and then makes one."""
        if self._certificates is None:
            return make()
        return Tls(make, self, self._certificates.context)

    async def _listen(self, kind: str, port: int, make: Callable[[], Connection]) -> None:
        trusted = self._settings.proxy_protocol
        secured = partial(self._secure, make)
        factory = partial(Introduction, secured, self, trusted) if trusted else secured
        shared = self._settings.reuse_port
        listener = await self._listener(kind, port, factory, shared=shared)
        self._listeners.append(listener)
        self._ports[kind] = listener.sockets[0].getsockname()[1]
        log.info("%s port: %s:%d", kind, self._settings.host, self.port(kind))

    async def _listen_for_health(self, port: int) -> None:
        make = self._health.connection
        self._health_listener = await self._listener("health", port, make)
        log.info("health port: %s:%d", self._settings.host, port)

    async def _listener(
        self, kind: str, port: int, factory: Callable[[], asyncio.Protocol], *, shared: bool = False
    ) -> asyncio.Server:
        loop, host = asyncio.get_running_loop(), self._settings.host
        try:
            return await loop.create_server(
                factory, host, port, backlog=BACKLOG, reuse_port=shared or None
            )
        except OSError as error:
            raise _cannot_listen(kind, host, port, error) from None


def _certificates(settings: Settings) -> Certificates | None:
    cert, key, client_ca = settings.tls_cert, settings.tls_key, settings.tls_client_ca
    if cert is None:
        if key is not None or client_ca is not None:
            raise ConfigError("--tls-key and --tls-client-ca go with --tls-cert")
        return None
    return Certificates(cert, key, client_ca)


def _cannot_listen(kind: str, host: str, port: int, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"port {port} is in use: stop what listens there, or choose another with --{kind} PORT"
        )
    if error.errno == errno.EACCES:
        return ConfigError(f"port {port} is not yours to listen on: choose one with --{kind} PORT")
    reason = error.strerror or str(error)
    return ConfigError(f"cannot listen on {host}:{port} ({reason}): check --host and --{kind}")
