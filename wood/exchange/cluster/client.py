"""Clients of Redis: how they connect, and whether the server will do."""

import asyncio
import logging
import re
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, NoPermissionError

from wood.exchange.cluster.addresses import Seeds, seeds, without_password
from wood.exchange.cluster.connections import MasterConnection, MasterConnectionTLS, MasterPool
from wood.exchange.cluster.faults import FAILURES, Fault, as_broken, fault
from wood.exchange.cluster.masters import ANONYMOUS, NoMaster, finder
from wood.model.errors import ConfigError
from wood.model.log_events import LogEvent, told

__all__ = [
    "FAILURES",
    "BackOff",
    "Client",
    "Fault",
    "as_broken",
    "check_server",
    "connect",
    "fault",
]

log = logging.getLogger("wood.redis")

Client = Any
"""A `redis.asyncio.Redis`, whose own type hints do not tell what its methods return."""

URL = "redis://localhost:6379/0"
"""Where Redis is, unless the operator says otherwise."""

TIMEOUT = 5.0
"""Seconds for an answer; past it the connection is taken for broken and the question asked anew."""

OLDEST = (7, 0)
"""The oldest Redis whose commands suffice. Valkey says that it is 7.2."""

_DATABASE = re.compile("/?[0-9]{0,9}/?")

_LONGEST_WAIT = 1.0
_SHORTEST_WAIT = 0.01


class _Redis(Redis):
    """Says that a connection is closed in the library's words also when the event loop says it."""

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Execute a command. Raises what is in `FAILURES`."""
        client: Client = super()
        with as_broken():
            return await client.execute_command(*arguments, **options)


def connect(url: str, key: str, *, single: bool = False) -> Client:
    """A client of the master that has `key`; `single` has one connection, the least work.

    Whenever it connects, it asks anew which one that is, unless the URL names a single server. It
    tries nothing twice by itself: only who sent a batch knows whether that is safe. Raises
    `ConfigError` if the URL cannot be one.
    """
    settings: dict[str, Any] = {
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": TIMEOUT,
        "socket_connect_timeout": TIMEOUT,
        "socket_read_size": 262_144,
        **ANONYMOUS,
    }
    if not url.startswith("unix:"):
        settings["socket_keepalive"] = True
    try:
        there = seeds(url)
        if there is None:
            if url.startswith("redis") and not _DATABASE.fullmatch(urlsplit(url).path):
                raise ValueError  # the library would take the first database
            pool: Any = ConnectionPool.from_url(url, **settings)
        else:
            pool = _pool(there, key, settings)
        # Not for the URL to say, which comes first: all that we decode depends on it.
        pool.connection_kwargs.update(protocol=2, decode_responses=False)
        pool.make_connection()  # only this looks at the options
    except (ValueError, TypeError, AttributeError):
        # The library's own words may hold a part of the password.
        raise ConfigError(
            f"--redis {without_password(url)}: this is no URL of a Redis, such as "
            "redis://user:password@host:6379/0, sentinel://host1,host2,host3/NAME or "
            "cluster://host1,host2 (in a password, write / as %2F, # as %23, ? as %3F)"
        ) from None
    client: Client = _Redis(connection_pool=pool, single_connection_client=single)
    client.auto_close_connection_pool = True
    return client


def _pool(seeds: Seeds, key: str, settings: dict[str, Any]) -> MasterPool:
    return MasterPool(
        connection_class=MasterConnectionTLS if seeds.tls else MasterConnection,
        finder=finder(seeds, key),
        **settings | seeds.options,
    )


async def check_server(client: Client, url: str, *, persist: bool) -> None:
    """Whether the server is there and will do. Raises `ConfigError`."""
    while True:
        try:
            info = await client.info()
            break
        except BusyLoadingError:
            log.info("Redis is loading its data")
            await asyncio.sleep(_LONGEST_WAIT / 5)
        except AuthenticationError as error:
            raise ConfigError(f"Redis does not let us in ({error}): check --redis") from None
        except NoPermissionError as error:
            raise ConfigError(
                f"Redis does not let the user of --redis use INFO ({error}); deploy/redis.acl has "
                "all that it needs"
            ) from None
        except NoMaster as error:
            raise ConfigError(f"--redis {without_password(url)}: {error}") from None
        except FAILURES as error:
            raise ConfigError(
                f"cannot reach Redis at {without_password(url)} ({error}): "
                "start it, or name another with --redis URL"
            ) from None
    version = str(info.get("redis_version", "7.0"))
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise ConfigError(f"Redis {version} is too old: wood needs 7.0 or newer, or Valkey")
    if info.get("cluster_enabled") and seeds(url) is None:
        raise ConfigError(
            "this Redis is a node of a Redis Cluster: use cluster:// with its address"
        )
    if not info.get("master_replid"):
        raise ConfigError(
            "this Redis does not tell its replication id: what it lost would not show"
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise ConfigError(
            f"Redis throws keys away when it is full (maxmemory-policy {policy}), orders too: "
            "set maxmemory-policy to noeviction"
        )
    if persist and not info.get("aof_enabled", 1):
        log.warning(
            "--persist, but the append-only file of Redis is off: "
            "when Redis stops, the book is gone (set appendonly to yes)",
            extra=told(LogEvent.ERROR),
        )


class BackOff:
    """The waits between tries: short at first, then a second at most."""

    def __init__(self) -> None:
        self._wait = _SHORTEST_WAIT

    async def wait(self) -> None:
        """Wait for longer than before."""
        await asyncio.sleep(self._wait)
        self._wait = min(self._wait * 2, _LONGEST_WAIT)

    def reset(self) -> None:
        """All is well again."""
        self._wait = _SHORTEST_WAIT
