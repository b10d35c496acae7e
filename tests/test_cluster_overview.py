"""What is told of a cluster to those who look on."""

import asyncio
from collections.abc import Awaitable, Callable

import msgpack
import pytest
import redis
from msgspec.msgpack import encode

from tests.cluster import Cluster
from tests.engines import INSTRUMENTS, with_loop
from tests.raw_writer import LEASE, Raw, raw_test
from tests.redis_server import RedisServer
from tests.support import Server, create
from tests.test_exchange import asking, new
from wood.exchange.cluster.client import FAILURES
from wood.exchange.cluster.overview import Overview, View
from wood.exchange.cluster.positions import keep
from wood.exchange.tail import Position
from wood.model.commands import ChangeState
from wood.model.node_report import NodeReport
from wood.model.orders import BUY, State

StartRedis = Callable[..., RedisServer]


def report(name: str) -> NodeReport:
    counts = dict.fromkeys(("private", "public", "health", "started", "time", "sessions"), 1)
    counts |= dict.fromkeys(("named", "subscribers", "commands", "refusals", "unavailable"), 2)
    counts |= dict.fromkeys(("events", "trades", "errors", "slow"), 3)
    rates = dict.fromkeys(("command_rate", "event_rate", "trade_rate", "refusal_rate"), 0.5)
    more = {"ready": None, "loop_lag": 0.001, "submit_p50": None, "submit_p99": 0.1}
    who = {"name": name, "version": "0", "mode": "redis", "host": "::1"}
    rest: dict[str, object] = {"partitions": {}, "states": {}}
    return NodeReport(**who, **counts, **rates, **more, **rest)  # type: ignore[arg-type]


async def look(url: str, prefix: str) -> View:
    overview = Overview(url, prefix)
    try:
        return await overview.ask()
    finally:
        await overview.close()


def overview_test(url: str, prefix: str, test: Callable[[Raw, Overview], Awaitable[None]]) -> None:
    async def main(raw: Raw) -> None:
        overview = Overview(url, prefix)
        try:
            await test(raw, overview)
        finally:
            await overview.close()

    raw_test(url, prefix, main)


def test_how_far_a_partition_is(redis_url: str, prefix: str) -> None:
    async def test(raw: Raw, overview: Overview) -> None:
        await raw.say(new("A", 1, BUY, 100, 5), new("A", 2, BUY, 100, 5))
        await raw.say(asking(ChangeState, "A", "PEAR", State.HALTED))
        [(name, part)] = (await overview.ask()).partitions.items()
        assert (name, part.name, part.tag) == ("main", "main", "main")
        meta = raw.sync.hgetall(raw.keys.meta)
        assert part.journal == meta[b"id"].decode()
        assert (part.seq, part.batch, part.resting, part.kept) == (5, 2, 2, 200)
        assert (part.epoch, part.time) == (int(meta[b"epoch"]), int(meta[b"time"]))
        assert part.time <= part.now < part.time + 60e6
        assert part.epochs == [(part.epoch, 0, 0)]
        assert part.lease == LEASE
        assert part.states == {"WOOD": "open", "PEAR": "halted"}
        assert part.readers == {}
        assert part.redis.role == "master"

    overview_test(redis_url, prefix, test)


def test_nodes_that_live_and_nodes_that_are_lost(redis_url: str, prefix: str) -> None:
    async def test(raw: Raw, overview: Overview) -> None:
        said = report("node one")
        raw.membership.report_by(lambda: encode(said))
        await raw.membership.beat()
        async with raw.another() as other:
            part = (await overview.ask()).partitions["main"]
            assert set(part.writers) == {raw.writer, other.writer}
            assert set(part.nodes) == {raw.writer, other.writer}
            node = part.nodes[raw.writer]
            assert (node.name, node.report, node.lost) == ("node one", said, False)
            assert abs(node.time - part.now) < 60e6
            silent = part.nodes[other.writer]
            assert (silent.name, silent.time, silent.report, silent.lost) == ("", 0, None, False)

            raw.silent_for(LEASE / 2, raw.writer)
            writers = (await overview.ask()).partitions["main"].writers
            assert LEASE / 2 <= writers[raw.writer] < LEASE
            raw.silent_for(LEASE, raw.writer)
            await other.membership.beat()
            part = (await overview.ask()).partitions["main"]
            assert set(part.writers) == {other.writer}
            lost = part.nodes[raw.writer]
            assert (lost.name, lost.report, lost.lost) == ("node one", said, True)
            await raw.membership.leave()
            assert set((await overview.ask()).partitions["main"].nodes) == {other.writer}

    overview_test(redis_url, prefix, test)


def test_a_report_of_another_version_is_none(redis_url: str, prefix: str) -> None:
    async def test(raw: Raw, overview: Overview) -> None:
        raw.membership.report_by(lambda: encode({"name": "new", "figures": [1, 2]}))
        await raw.membership.beat()
        node = (await overview.ask()).partitions["main"].nodes[raw.writer]
        assert (node.name, node.report, node.lost) == ("new", None, False)

    overview_test(redis_url, prefix, test)


def test_how_far_readers_are_behind(redis_url: str, prefix: str) -> None:
    async def test(raw: Raw, overview: Overview) -> None:
        for number in range(5):
            await raw.say(new("A", number, BUY, 100, 5))
        journal = raw.sync.hget(raw.keys.meta, "id").decode()
        position = Position(journal, 1, 4, 2, 77)
        await keep(raw.client, raw.keys, "graylog", position)
        await keep(raw.client, raw.keys, "ahead", Position(journal, 1, 99, 9, 77))
        await keep(raw.client, raw.keys, "old", Position("another", 1, 9, 9, 77))
        part = (await overview.ask()).partitions["main"]
        reader = part.readers["graylog"]
        assert (reader.position, reader.behind) == (position, 6)
        assert part.now - 60e6 < reader.kept_at <= part.now
        assert part.readers["ahead"].behind == 0, "its end was lost"
        assert part.readers["old"].behind == 10, "it has not begun with this one"
        age = await overview.forget_reader("old")
        assert age is not None
        assert 0 <= age < 60
        assert await overview.forget_reader("old") is None
        assert set((await overview.ask()).partitions["main"].readers) == {"graylog", "ahead"}

    overview_test(redis_url, prefix, test)


def test_before_there_is_a_book(redis_url: str, prefix: str) -> None:
    async def test() -> None:
        view = await look(redis_url, prefix)
        assert view.partitions == {}
        assert view.redis.role == "master"

    with_loop(test)


def test_partitions_that_are_added_later(
    redis_url: str, prefix: str, start_server: Callable[..., Server]
) -> None:
    cluster = Cluster(start_server, redis_url, prefix, "--instrument", "WOOD", nodes=1)

    async def test() -> None:
        overview = Overview(redis_url, prefix)
        assert set((await overview.ask()).partitions) == {"main"}
        await asyncio.to_thread(cluster.start, "--instrument", "GOLD@metals")
        parts = (await overview.ask()).partitions
        assert {name: part.states for name, part in parts.items()} == {
            "main": {"WOOD": "open"},
            "metals": {"GOLD": "open"},
        }
        where = {name: (part.name, part.tag) for name, part in parts.items()}
        assert where == {"main": ("main", "main"), "metals": ("metals", "metals")}
        assert len(parts["main"].writers) == 2
        assert len(parts["metals"].writers) == 1
        journal = Position(parts["main"].journal, 1, 0, 0, 0)
        for part in parts.values():
            keys, client = overview._of(part.tag)
            await keep(client, keys, "graylog", journal)
        assert await overview.forget_reader("graylog") is not None
        view = await overview.ask()
        assert not any(part.readers for part in view.partitions.values())
        await overview.close()

    with_loop(test)


def test_redis_itself(start_redis: StartRedis) -> None:
    """Its files, its memory and its replicas, and how long it takes to answer."""

    async def look_at(server: RedisServer) -> View:
        return await look(server.url, "wood")

    plain = start_redis("--maxmemory", "100mb")
    always = "--appendonly", "yes", "--appendfsync", "always"
    master = start_redis(*always, "--repl-diskless-sync-delay", "0")
    replica = start_redis("--replicaof", master.host, str(master.port))

    async def test() -> None:
        view = (await look_at(plain)).redis
        with plain.client() as client:
            assert view.run_id == client.info()["run_id"]
            assert view.redis_version == client.info()["redis_version"]
        assert (view.aof_enabled, view.aof_current_size) == (False, 0)
        assert view.maxmemory == 100 * 2**20
        assert 100_000 < view.used_memory < 100 * 2**20
        assert (view.role, view.replicas) == ("master", 0)
        assert 0 < view.latency < 10
        while (await look_at(master)).redis.replicas != 1:
            pass
        view = (await look_at(master)).redis
        assert (view.aof_enabled, view.aof_last_write_status) == (True, "ok")
        assert (view.aof_last_bgrewrite_status, view.rdb_last_bgsave_status) == ("ok", "ok")
        with master.client() as client:
            client.set("x", "y" * 10_000)
        assert (await look_at(master)).redis.aof_current_size > 10_000
        assert (await look_at(replica)).redis.role == "slave"
        master.kill()
        with pytest.raises(FAILURES):
            await look_at(master)

    with_loop(test)


def test_it_writes_nothing(redis_url: str, prefix: str) -> None:
    async def test(raw: Raw, overview: Overview) -> None:
        await raw.say(new("A", 1, BUY, 100, 5))
        before = raw.dump()
        await overview.ask()
        assert raw.dump() == before

    overview_test(redis_url, prefix, test)


def test_what_stands_in_redis_is_a_position(redis_url: str, prefix: str) -> None:
    """As the catalogue of keys has it, so that other programs can read it."""

    async def test(raw: Raw, overview: Overview) -> None:
        await keep(raw.client, raw.keys, "graylog", Position("id", 2**53 - 1, 2**53, 3, 4))
        unpacker = msgpack.Unpacker()
        unpacker.feed(raw.sync.hget(raw.keys.readers, "graylog"))
        *values, at = list(unpacker)
        assert values == ["id", 2**53 - 1, 2**53, 3, 4]
        assert abs(at - raw.sync.time()[0] * 1e6) < 60e6

    overview_test(redis_url, prefix, test)


def test_a_node_under_a_prefix_of_its_own(
    redis_url: str, prefix: str, start_server: Callable[..., Server]
) -> None:
    """A real one, with an order in its book."""
    cluster = Cluster(start_server, redis_url, prefix, nodes=1)
    with cluster.nodes[0].trader() as trader:
        assert trader.ask(create(1, "BUY", 9.5, 5))["report"] == "NEW"
    part = asyncio.run(look(redis_url, prefix)).partitions["main"]
    [writer] = part.writers
    assert not part.nodes[writer].lost
    assert part.seq >= 2
    assert set(part.states) >= {next(iter(INSTRUMENTS))}
    with redis.Redis.from_url(redis_url) as client:
        assert part.redis.run_id == client.info()["run_id"]
