"""Who is the master now: asked of sentinels, or of any node of a Redis Cluster."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from inspect import signature
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AuthenticationError, MovedError
from redis.exceptions import ConnectionError as ConnectionBroken

from wood.exchange.cluster.addresses import Address, Seeds, address_text, seeds
from wood.exchange.cluster.faults import FAILURES, as_broken

PATIENCE = 1.0
"""Seconds for a sentinel, or a node of a Redis Cluster, to say who is the master."""


# The library would tell its own name and version, for which a user needs a right that some servers
# do not know (CLIENT SETINFO). Which option keeps it from that depends on the version.
ANONYMOUS: dict[str, Any] = (
    {"driver_info": None}
    if "driver_info" in signature(AbstractConnection.__init__).parameters
    else {"lib_name": None, "lib_version": None}
)
"""Options of a connection that says nothing of itself."""


class NoMaster(ConnectionBroken):
    """Nobody says who is the master, at least not now."""


class Finder(Protocol):
    """Knows whom to ask."""

    async def find(self) -> Address:
        """Where the master is, asked anew. Raises what is in `FAILURES`."""

    def turned_away(self, error: Exception, by: Address) -> None:
        """The one that was found is not the master, or not any more."""


def finder(seeds: Seeds, key: str) -> Finder:
    """Who finds the master, of those that the seeds know, that has `key`."""
    return SentinelFinder(seeds) if seeds.name else ClusterFinder(seeds, key)


@dataclass(frozen=True)
class _Word:
    """What one sentinel says."""

    address: Address
    epoch: int
    """Greater after each fail-over."""
    down: bool
    """Whether it, or all of them, cannot reach the master."""


class SentinelFinder:
    """Asks all sentinels at once, and believes the latest word of the first majority that answers.

    A fail-over needs a majority, so one of them at least knows of it. Fewer are not believed: they
    may be cut off together with a master that is none any more.
    """

    def __init__(self, seeds: Seeds) -> None:
        self._seeds = seeds

    async def find(self) -> Address:
        """Where the master is. Raises `NoMaster`."""
        seeds = self._seeds
        known, errors = await self._answers()
        if not known:
            unknown = [error for error in errors if "No such master" in str(error)]
            if unknown:
                raise NoMaster(f"no sentinel at {seeds} knows a master {seeds.name!r}")
            raise NoMaster(f"no sentinel answers at {seeds}{_because(errors)}")
        if not self._is_majority(known):
            count = f"{len(known)} of the {len(seeds.hosts)} sentinels at {seeds}"
            raise NoMaster(
                f"only {count} can say where {seeds.name!r} is, no majority{_because(errors)}"
            )
        latest = max(state.epoch for state in known)
        for state in known:
            if state.epoch == latest and not state.down:
                return state.address
        raise NoMaster(f"the sentinels hold the master {seeds.name!r} for down")

    def turned_away(self, error: Exception, by: Address) -> None:
        """Nothing to remember: all sentinels are asked each time."""

    def _is_majority(self, known: list["_Word"]) -> bool:
        return len(known) > len(self._seeds.hosts) // 2

    async def _answers(self) -> tuple[list["_Word"], list[Exception]]:
        seeds = self._seeds
        clients = [_client(host, seeds.tls, seeds.sentinel_options) for host in seeds.hosts]
        asking = [
            asyncio.create_task(self._ask(*each)) for each in zip(seeds.hosts, clients, strict=True)
        ]
        known: list[_Word] = []
        errors: list[Exception] = []
        try:
            for answer in asyncio.as_completed(asking, timeout=PATIENCE):
                try:
                    known.append(await answer)
                except FAILURES as error:
                    errors.append(error)
                if self._is_majority(known):
                    break
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            # Not by who asks: one who is cancelled while it closes its connection leaves it open.
            await asyncio.gather(*(client.aclose() for client in clients), return_exceptions=True)
        return known, errors

    async def _ask(self, host: Address, client: Any) -> "_Word":
        seeds = self._seeds
        try:
            with as_broken():
                row = await client.execute_command("SENTINEL", "MASTER", seeds.name)
        except AuthenticationError as error:
            text = f"the sentinel {address_text(host)} does not let us in: {error}"
            raise NoMaster(f"{text}; see sentinel_password") from None
        state = dict(zip(row[::2], row[1::2], strict=True))
        return _Word(
            (state[b"ip"].decode(), int(state[b"port"])),
            int(state[b"config-epoch"]),
            b"down" in state[b"flags"],
        )


def _because(errors: list[Exception]) -> str:
    """The first of the errors that says anything, in brackets; silence says nothing."""
    return next((f" ({error})" for error in errors if str(error)), "")


@dataclass(frozen=True)
class Masters:
    """Which master of a Redis Cluster has which slots."""

    slots: tuple[tuple[int, int, Address], ...]
    """First and last slot, and who has them."""
    nodes: tuple[Address, ...]
    """All nodes, replicas included."""

    @property
    def addresses(self) -> list[str]:
        """The masters that have slots, as host:port, in the order of their first slots."""
        return list(dict.fromkeys(address_text(owner) for _, _, owner in sorted(self.slots)))

    def master_of(self, key: str) -> str:
        """The master that has this key, as host:port. Raises `NoMaster` if none has."""
        return address_text(self.owner(key))

    def owner(self, key: str) -> Address:
        """The master that has this key. Raises `NoMaster` if none has."""
        slot = key_slot(key.encode())
        for first, last, owner in self.slots:
            if first <= slot <= last:
                return owner
        raise NoMaster(f"slot {slot} of the Redis Cluster is not covered by any node")


async def masters(url: str) -> Masters | None:
    """Those of the Redis Cluster at a `cluster://` URL, None for any other URL.

    Raises what `connect` has not refused already: what is in `FAILURES`.
    """
    found = seeds(url)
    return None if found is None or found.name else await ClusterFinder(found, "").masters()


class ClusterFinder:
    """Asks one node after the other; those that it hears of can be asked too, later."""

    def __init__(self, seeds: Seeds, key: str) -> None:
        self._seeds = seeds
        self._key = key
        self._nodes = list(seeds.hosts)  # whom to ask first stands first

    async def find(self) -> Address:
        """Where the master of the key is. Raises `NoMaster` and what the client raises."""
        found = await self.masters()
        return found.owner(self._key)

    def turned_away(self, error: Exception, by: Address) -> None:
        """Who turns one away may say who is next, and that one knows best about itself."""
        if isinstance(error, MovedError):
            node = error.host or by[0], error.port
            self._nodes = [node, *(each for each in self._nodes if each != node)]

    async def masters(self) -> Masters:
        """What the first node says that answers."""
        reason: Exception | None = None
        for node in tuple(self._nodes):
            # Another one is asked first next time: this one may be behind, or gone.
            self._nodes = [*(each for each in self._nodes if each != node), node]
            try:
                found = await self._ask(node)
            except AuthenticationError:
                raise
            except FAILURES as error:
                reason = reason or error
                if "cluster support disabled" in str(error):
                    text = f"{address_text(node)} is no node of a Redis Cluster"
                    raise NoMaster(f"{text}: use redis:// for a single server") from None
            else:
                self._learn(found.nodes)
                return found
        raise NoMaster(f"no node of the Redis Cluster answers at {self._seeds} ({reason})")

    def _learn(self, nodes: Iterable[Address]) -> None:
        new = [node for node in nodes if node not in self._nodes]
        there = {*nodes, *self._seeds.hosts}
        self._nodes = [*new, *(node for node in self._nodes if node in there)]

    async def _ask(self, node: Address) -> Masters:
        client = _client(node, self._seeds.tls, self._seeds.options)
        try:
            async with asyncio.timeout(PATIENCE):
                with as_broken():
                    rows = await client.execute_command("CLUSTER", "SLOTS")
        except TimeoutError:
            raise ConnectionBroken(f"{address_text(node)} is silent") from None
        finally:
            await client.aclose()
        slots, nodes = [], {}
        for first, last, *owners in rows:
            addresses = [_address_in(owner, node) for owner in owners]
            slots.append((int(first), int(last), addresses[0]))
            nodes.update(dict.fromkeys(addresses))
        return Masters(tuple(slots), tuple(nodes))


def _address_in(row: Iterable[Any], asked: Address) -> Address:
    """A node in an answer to CLUSTER SLOTS; who does not know its own name is the one asked."""
    host, port, *_ = row
    text = (host or b"").decode()
    return text if text not in ("", "?") else asked[0], int(port)


def _client(host: Address, tls: bool, options: dict[str, Any]) -> Any:
    """A client of one server for one question."""
    settings = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE} | options
    settings |= ANONYMOUS
    settings |= {"retry": Retry(NoBackoff(), 0), "protocol": 2, "decode_responses": False}
    kind = SSLConnection if tls else Connection
    pool = ConnectionPool(kind, host=host[0], port=host[1], **settings)
    client = Redis(connection_pool=pool)
    client.auto_close_connection_pool = True
    return client
