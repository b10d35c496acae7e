"""Who is asked for the master, and who of them is believed."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import hiredis
import pytest
import redis
from redis.exceptions import MovedError, ReadOnlyError

from tests.engines import with_loop
from tests.redis_cluster import RedisCluster
from tests.redis_server import RedisServer
from tests.support import eventually
from wood.exchange.cluster.addresses import seeds
from wood.exchange.cluster.client import check_server, connect
from wood.exchange.cluster.masters import ClusterFinder, NoMaster, SentinelFinder, masters
from wood.model.errors import ConfigError

Start = Callable[..., RedisServer]


def says(address: tuple[str, int], epoch: int, flags: str = "master") -> list[str]:
    """What a sentinel answers, as far as it matters."""
    host, port = address
    state = ["name", "x", "ip", host, "port", str(port), "flags", flags]
    return [*state, "config-epoch", str(epoch)]


@asynccontextmanager
async def sentinel(answer: list[str] | str | None) -> AsyncIterator[str]:
    """One that knows only this; a text is an error, None is silence. Yields its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands = hiredis.Reader()
        while data := await reader.read(1000):
            commands.feed(data)
            while command := commands.gets():
                if command[0] != b"SENTINEL":
                    writer.write(b"+OK\r\n")
                elif isinstance(answer, str):
                    writer.write(f"-{answer}\r\n".encode())
                elif answer is not None:
                    words = "".join(f"${len(word)}\r\n{word}\r\n" for word in answer)
                    writer.write(f"*{len(answer)}\r\n{words}".encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def found_by(*answers: list[str] | str | None) -> tuple[str, int]:
    async with AsyncExitStack() as stack:
        hosts = [await stack.enter_async_context(sentinel(answer)) for answer in answers]
        there = seeds(f"sentinel://{','.join(hosts)}/x")
        assert there is not None
        return await SentinelFinder(there).find()


OLD, NEW = ("10.0.0.1", 1), ("10.0.0.2", 2)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([says(OLD, 0)] * 3, OLD),
        # One slept through a fail-over, whichever it is.
        ([says(OLD, 1), says(NEW, 2), None], NEW),
        ([None, says(NEW, 2), says(OLD, 1)], NEW),
        ([says(OLD, 1, "s_down,o_down,master"), says(NEW, 2), says(NEW, 2)], NEW),
        # It alone cannot reach the master.
        ([says(NEW, 2, "s_down,master"), None, says(NEW, 2)], NEW),
        ([says(NEW, 2), "ERR No such master with that name", says(NEW, 2)], NEW),
        ([says(NEW, 2)], NEW),
    ],
)
def test_the_latest_word_of_most_sentinels_counts(
    answers: list[list[str] | str | None], expected: tuple[str, int]
) -> None:
    async def test() -> None:
        assert await found_by(*answers) == expected

    with_loop(test)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([says(OLD, 1, "s_down,o_down,master")] * 3, "hold the master 'x' for down"),
        # The latest word is that it is down; where it was before says nothing.
        ([says(NEW, 2, "s_down,master"), says(OLD, 1), None], "for down"),
        (["ERR No such master with that name"] * 3, "no sentinel at .* knows a master 'x'"),
        (["ERR unknown command 'SENTINEL'"], "no sentinel answers at .*unknown command"),
        (["NOAUTH Authentication required."], "does not let us in.*see sentinel_password"),
        ([None], "no sentinel answers at"),
        # They may be cut off together with a master that is none any more.
        ([None, None, says(OLD, 1)], "only 1 of the 3 sentinels at .* where 'x' is, no majority$"),
        ([says(OLD, 1), None], "only 1 of the 2 "),
        ([says(OLD, 1), None, says(OLD, 1), None], "only 2 of the 4 "),
        ([says(NEW, 2), "ERR No such master with that name", "BUSY"], r"no majority \(.+\)$"),
    ],
)
def test_sentinels_that_know_no_master(answers: list[list[str] | str | None], said: str) -> None:
    async def test() -> None:
        with pytest.raises(NoMaster, match=said):
            await found_by(*answers)

    with_loop(test)


async def refused(url: str) -> str:
    client = connect(url, "wood:{main}:meta")
    try:
        with pytest.raises(ConfigError) as caught:
            await check_server(client, url, persist=False)
    finally:
        await client.aclose()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_who_is_named_must_be_a_master(start_redis: Start) -> None:
    """Sentinels can be behind; and a server that turns out to be a replica is left."""
    master, replica = start_redis("--repl-diskless-sync-delay", "0"), start_redis()
    with replica.client() as operator:
        operator.replicaof(master.host, str(master.port))
        eventually(replica.follows, "a replica")

    async def test() -> None:
        async with sentinel(says((replica.host, replica.port), 1)) as host:
            assert "is a replica" in await refused(f"sentinel://{host}/x")
        replica.close()
        async with sentinel(says((master.host, master.port), 1)) as host:
            for single in (False, True):
                client: Any = connect(f"sentinel://{host}/x", "key", single=single)
                await client.set("key", "1")
                with master.client() as operator:
                    operator.replicaof("127.0.0.1", "1")
                    with pytest.raises(ReadOnlyError):
                        await client.set("key", "2")
                    # The connection is gone, and the next one looks first.
                    with pytest.raises(NoMaster):
                        await client.get("key")
                    operator.replicaof("NO", "ONE")
                    await client.set("key", "3")
                    operator.config_set("min-replicas-to-write", "1")
                    before = operator.info("stats")["total_connections_received"]
                    for _ in range(2):
                        with pytest.raises(Exception, match="NOREPLICAS"):
                            await client.set("key", "4")
                    assert operator.info("stats")["total_connections_received"] > before
                    operator.config_set("min-replicas-to-write", "0")
                await client.aclose()

    with_loop(test)


@pytest.mark.parametrize("how", ["silent", "cut"])
def test_the_idle_connections_go_with_the_first_that_breaks(start_redis: Start, how: str) -> None:
    """A machine that vanished answers none: else each would cost a time-out of its own."""
    old, new = start_redis(), start_redis()
    answer = says((old.host, old.port), 1)

    async def test() -> None:
        async with sentinel(answer) as host:
            client: Any = connect(f"sentinel://{host}/x?socket_timeout=0.5", "key")
            blocked = [asyncio.create_task(client.blpop(["list"], 0.1)) for _ in range(4)]
            await asyncio.gather(*blocked)
            assert len(client.connection_pool._available_connections) == 4
            answer[:] = says((new.host, new.port), 2)
            waits = asyncio.create_task(client.blpop(["list"], 0))
            with old.client() as operator:
                while operator.info("clients")["blocked_clients"] == 0:
                    await asyncio.sleep(0.001)
                if how == "silent":
                    old.freeze()
                else:
                    clients: Any = operator.client_list()
                    [it] = [each["id"] for each in clients if "b" in each["flags"]]
                    operator.client_kill_filter(_id=it)
            with pytest.raises((redis.TimeoutError, redis.ConnectionError)):
                await waits
            await asyncio.gather(*(client.set(f"key{number}", "1") for number in range(4)))
            await client.aclose()
        with new.client() as operator:
            assert operator.dbsize() == 4

    try:
        with_loop(test)
    finally:
        old.thaw()


@pytest.fixture(scope="module")
def sharded(
    tmp_path_factory: pytest.TempPathFactory, redis_binary: str | None
) -> Iterator[RedisCluster]:
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"), binary=redis_binary)
    yield cluster
    cluster.close()


def test_the_masters_of_a_cluster(sharded: RedisCluster) -> None:
    async def test() -> None:
        found = await masters(sharded.url)
        assert found is not None
        assert found.addresses == [f"127.0.0.1:{server.port}" for server in sharded.servers]
        for number in range(20):
            key = f"wood:{{p{number}}}:meta"
            assert found.master_of(key) == f"127.0.0.1:{sharded.master_of(key).port}"
        assert await masters("redis://127.0.0.1:1") is None
        assert await masters("sentinel://127.0.0.1:1/x") is None

    with_loop(test)


def test_any_key_is_looked_for_where_it_is(sharded: RedisCluster) -> None:
    """One address of the cluster, even beside wrong ones, is enough."""
    url = "cluster://127.0.0.1:1," + sharded.url.rpartition(",")[2]

    async def test() -> None:
        for number in range(20):
            client: Any = connect(url, f"key{number}", single=True)
            await client.set(f"key{number}", "1")
            await client.aclose()

    with_loop(test)


def test_who_is_said_to_have_the_slot_is_asked_first(sharded: RedisCluster) -> None:
    there = seeds("cluster://127.0.0.1:1")
    assert there is not None
    port = sharded.servers[1].port

    async def test() -> None:
        finder = ClusterFinder(there, "key")
        with pytest.raises(NoMaster):
            await finder.find()
        finder.turned_away(MovedError(f"1 127.0.0.1:{port}"), ("127.0.0.1", 1))
        owner = sharded.master_of("key").port
        assert await finder.find() == ("127.0.0.1", owner)
        # It knows the others now, and asks each in turn: one may be behind.
        asked = {finder._nodes[-1] for _ in range(5) if await finder.find()}
        assert {("127.0.0.1", server.port) for server in sharded.servers} <= asked

    with_loop(test)


def test_urls_that_do_not_fit_the_server(
    sharded: RedisCluster, start_redis: Start, tmp_path: Path, redis_binary: str | None
) -> None:
    node, single = sharded.servers[0], start_redis()
    alone = RedisCluster(tmp_path, masters=1, binary=redis_binary)

    async def test() -> None:
        said = await refused(node.url)
        assert said == "this Redis is a node of a Redis Cluster: use cluster:// with its address"
        said = await refused(f"cluster://127.0.0.1:{single.port}")
        assert "no node of a Redis Cluster: use redis://" in said
        said = await refused(f"sentinel://127.0.0.1:{single.port}/x")
        assert "no sentinel answers" in said
        said = await refused("cluster://:secret@127.0.0.1:1,[::1]:1")
        assert "no node of the Redis Cluster answers at 127.0.0.1:1, [::1]:1" in said
        assert "secret" not in said
        with alone.servers[0].client() as client:
            client.execute_command("CLUSTER", "DELSLOTSRANGE", 0, 16383)
        said = await refused(alone.url)
        assert re.search(r"slot \d+ of the Redis Cluster is not covered", said)
        with alone.servers[0].client() as client:
            client.config_set("requirepass", "p4ssw0rd")
        host = alone.url.partition("//")[2]
        for url in (f"cluster://:wr0ng@{host}", f"cluster://{host}"):
            said = await refused(url)
            assert "Redis does not let us in" in said
            assert "wr0ng" not in said

    try:
        with_loop(test)
    finally:
        alone.close()
