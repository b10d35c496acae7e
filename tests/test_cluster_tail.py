"""A durable reader through all that can happen to Redis: real processes, under load."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot

from tests.cluster import Cluster
from tests.raw_writer import Raw, raw_test
from tests.reading import Reading, numbered
from tests.redis_cluster import RedisCluster
from tests.redis_sentinel import RedisSentinel
from tests.redis_server import RedisServer
from tests.support import Server, create, eventually, run_wood
from tests.test_cluster_overview import look
from tests.test_exchange import new
from tests.traders import Traders
from wood.exchange.cluster import positions
from wood.exchange.cluster.formats import Entry
from wood.exchange.cluster.journal import StoredJournal
from wood.exchange.cluster.overview import PartitionView
from wood.exchange.cluster.positions import keep
from wood.exchange.cluster.stored_tail import StoredTail
from wood.exchange.tail import Position, Skipped
from wood.model.errors import ConfigError
from wood.model.orders import BUY

StartServer = Callable[..., Server]
StartRedis = Callable[..., RedisServer]

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")


def read_all(reading: Reading, cluster: Cluster, partition: str = "main") -> None:
    """At the end, nobody trades any more: what it has is what `wood export` would tell."""
    journal = cluster.journal(partition)
    end = journal[-1]
    # What was lost may have had more of a number.
    reading.wait(
        lambda: reading.batches and reading.batches[-1].epoch == end.epoch, "the present epoch"
    )
    reading.until(end.last)
    assert numbered(reading.batches) == numbered(journal)


def rest(node: Server, *order_ids: int) -> None:
    """Orders that stay, each a batch of its own with two events."""
    with node.trader() as trader:
        for order_id in order_ids:
            assert trader.ask(create(order_id, "BUY", 1, 1))["report"] == "NEW"


# What it survives


def test_redis_dies_and_comes_back(start_redis: StartRedis, start_server: StartServer) -> None:
    """Each batch comes once and in order; that Redis was away is said each time."""
    server = start_redis(*ALWAYS)
    cluster = Cluster(start_server, server.url, "wood", nodes=2)
    with Reading(server.url) as reading, Traders(cluster.private) as traders:
        for times in (1, 2):
            traders.go_on(100)
            server.kill()
            reading.wait(lambda times=times: len(reading.away) == 2 * times - 1, "its absence")
            server.start()
            reading.wait(lambda times=times: len(reading.away) == 2 * times, "its return")
        traders.go_on(100)
        traders.settle()
        read_all(reading, cluster)
        assert reading.skipped == []
        assert [error is None for error in reading.away] == [False, True] * 2


def test_redis_loses_its_last_batches(start_redis: StartRedis, start_server: StartServer) -> None:
    """What was told and did not happen is counted, and what happened instead is told."""
    server = start_redis(*ALWAYS)
    cluster = Cluster(start_server, server.url, "wood", nodes=2)
    with Reading(server.url) as reading, Traders(cluster.private) as traders:
        for _ in (1, 2):
            traders.go_on(100)
            read = len(reading.batches)
            reading.wait(lambda read=read: len(reading.batches) > read + 20, "some of it")
            for node in cluster.nodes:
                node.process.send_signal(signal.SIGSTOP)
            with cluster.redis() as client:
                reading.until(int(client.hget(cluster.keys.meta, "seq")))
            server.kill()
            server.cut(20, cluster.keys.journal)
            server.start()
            for node in cluster.nodes:
                node.process.send_signal(signal.SIGCONT)
        traders.go_on(100)
        traders.settle()
        read_all(reading, cluster)
        assert reading.reasons == ["forked", "forked"]
        assert all(skipped.count > 0 for skipped in reading.skipped)


def test_a_loss_is_found_before_new_numbers_pass_the_old_ones(
    start_redis: StartRedis, start_server: StartServer
) -> None:
    """Also when nothing is traded any more: the beat of any node begins the new epoch."""
    server = start_redis(*ALWAYS)
    cluster = Cluster(start_server, server.url, "wood", nodes=1)
    with Reading(server.url) as reading:
        rest(cluster.nodes[0], 1, 2, 3, 4, 5, 6)
        reading.until(12)
        server.kill()
        server.cut(3, cluster.keys.journal)
        server.start()
        reading.wait(lambda: reading.skipped, "a fork")
        [skipped] = reading.skipped
        # Of the three batches one may be the end of the session, which has no number.
        assert (skipped.reason, skipped.count) in (("forked", 4), ("forked", 6))
        assert skipped.seq == 12 - skipped.count == cluster.journal()[-1].last
        assert skipped.epoch == reading.batches[0].epoch
        eventually(lambda: _is_taken(cluster.nodes[0], 7), "orders that are taken again")
        read_all(reading, cluster)


def test_a_reader_dies_and_another_goes_on(
    redis_url: str, prefix: str, start_server: StartServer
) -> None:
    """At least once: from the position that was kept, without a gap."""
    cluster = Cluster(start_server, redis_url, prefix, nodes=2)
    told = []
    with Traders(cluster.private) as traders:
        for _ in range(3):
            with Reading(redis_url, prefix) as reading:
                traders.go_on(50)
                reading.wait(lambda: reading.batches, "something")
            told.append(reading)
        traders.settle()
    with Reading(redis_url, prefix) as reading:
        journal = cluster.journal()
        if told[-1].batches[-1].last < journal[-1].last:
            reading.until(journal[-1].last)
        told.append(reading)
    assert not any(each.skipped for each in told)
    seen: list[int] = []
    for each in told:
        for batch in each.batches:
            assert not seen or batch.first <= seen[-1] + 1
            seen.append(batch.last)
    found = {event.seq: event for each in told for event in numbered(each.batches)}  # type: ignore[attr-defined]
    assert list(found.values()) == numbered(journal)


def test_the_book_is_cleared(redis_url: str, prefix: str, start_server: StartServer) -> None:
    """By a first node that does not persist, while one reads and another does not."""
    node = start_server("-m", "--redis", redis_url, "--prefix", prefix)
    rest(node, 1, 2, 3)
    with Reading(redis_url, prefix) as reading:
        with Reading(redis_url, prefix, reader="away") as away:
            away.until(6)
        reading.until(6)
        assert node.stop() == 0
        other = start_server("-m", "--redis", redis_url, "--prefix", prefix)
        rest(other, 1)
        epoch = reading.batches[0].epoch
        reading.wait(lambda: len(numbered(reading.batches)) == 8, "the new journal")
        assert reading.skipped == [Skipped("cleared", epoch, 6, 0)]
        assert len(set(reading.journals)) == 2
    with Reading(redis_url, prefix, reader="away") as away:
        away.until(2)
        assert away.skipped == [Skipped("cleared", epoch, 6, 0)]
        assert len(numbered(away.batches)) == 2


def test_a_reset_on_purpose(redis_url: str, prefix: str, start_server: StartServer) -> None:
    """One that reads waits for the next journal; positions of others are forgotten."""
    where = ("--redis", redis_url, "--prefix", prefix)
    node = start_server("-m", "--persist", *where)
    rest(node, 1)
    with Reading(redis_url, prefix, reader="away") as away:
        away.until(2)
    with Reading(redis_url, prefix) as reading:
        reading.until(2)
        assert node.stop() == 0
        assert run_wood("reset", "--yes", *where).returncode == 0
        again = start_server("-m", "--persist", *where)
        rest(again, 1, 2)
        reading.wait(lambda: len(numbered(reading.batches)) == 6, "the new journal")
        assert reading.reasons == ["cleared"]
    with Reading(redis_url, prefix, reader="away") as away:
        away.until(4)
        assert away.skipped == []


def test_redis_forgets_everything(start_redis: StartRedis, start_server: StartServer) -> None:
    """It was started without its data: the nodes begin a new journal."""
    server = start_redis()
    cluster = Cluster(start_server, server.url, "wood", nodes=1)
    rest(cluster.nodes[0], 1)
    with Reading(server.url) as reading:
        reading.until(2)
        server.kill()
        server.start()
        eventually(lambda: _is_taken(cluster.nodes[0], 2), "orders that are taken again")
        reading.wait(lambda: len(numbered(reading.batches)) == 4, "the new journal")
        assert reading.reasons == ["cleared"]


def _is_taken(node: Server, order_id: int) -> bool:
    with node.trader() as trader:
        answer = trader.ask(create(order_id, "BUY", 1, 1))
        return answer is not None and answer.get("report") == "NEW"


def test_what_is_trimmed_although_a_reader_holds_it(
    redis_url: str, prefix: str, start_server: StartServer
) -> None:
    """It is told how many events it missed, exactly, and has all since."""
    cluster = Cluster(start_server, redis_url, prefix, "--journal", "20", nodes=1)
    rest(cluster.nodes[0], 1)
    with Reading(redis_url, prefix) as reading:
        reading.until(2)
    rest(cluster.nodes[0], *range(2, 35))
    with Reading(redis_url, prefix) as reading:
        reading.until(68)
        assert reading.skipped == [], "held for it, though more than 20 are there"
        assert reading.batches[0].first == 3
    rest(cluster.nodes[0], *range(35, 100))
    oldest = cluster.journal()[0]
    with Reading(redis_url, prefix) as reading:
        reading.until(198)
        [skipped] = reading.skipped
        assert (skipped.reason, skipped.seq) == ("trimmed", 68)
        assert skipped.count == oldest.first - 1 - 68 > 0
        read_all(reading, cluster)


def test_several_partitions(redis_url: str, prefix: str, start_server: StartServer) -> None:
    """Each has a journal and positions of its own."""
    listed = ("--instrument", "WOOD", "--instrument", "GOLD@metals")
    cluster = Cluster(start_server, redis_url, prefix, *listed, nodes=1)
    with cluster.nodes[0].trader() as trader:
        for number, symbol in enumerate(("WOOD", "GOLD", "GOLD")):
            order = create(number, "BUY", 1, 1) | {"symbol": symbol}
            assert trader.ask(order)["report"] == "NEW"
    for name, count in (("main", 2), ("metals", 4)):
        with Reading(redis_url, prefix, cluster.tag(name)) as reading:
            reading.until(count)
            journal = cluster.journal(name)
            assert [b.events for b in reading.batches] == [b.events for b in journal]
        with Reading(redis_url, prefix, cluster.tag(name), "other") as other:
            other.until(count)


# What it waits for


def test_it_waits_for_the_first_node(
    redis_url: str, prefix: str, start_server: StartServer
) -> None:
    with Reading(redis_url, prefix) as reading:
        cluster = Cluster(start_server, redis_url, prefix, nodes=1)
        rest(cluster.nodes[0], 1)
        reading.until(2)
        assert reading.skipped == []


def test_keeping_waits_until_redis_can_write(start_redis: StartRedis) -> None:
    async def test(raw: Raw) -> None:
        await raw.say(new("A", 1, BUY, 100, 1))
        async with StoredTail(raw.url, raw.prefix, "main", None, "reader") as tail:
            page = await tail.read()
            raw.sync.config_set("maxmemory", 1)
            keeping = asyncio.ensure_future(tail.keep(page.position))
            while b"errorstat_OOM" not in str(raw.sync.info("errorstats")).encode():
                await asyncio.sleep(0.01)
            assert not keeping.done()
            assert await tail.behind() == 2
            raw.sync.config_set("maxmemory", 0)
            await keeping
            assert await tail.behind() == 0

    raw_test(start_redis().url, "wood", test)


def test_how_far_behind_while_redis_is_away(start_redis: StartRedis) -> None:
    """As was known last: who asks wants to say so, and not to wait."""
    server = start_redis()

    async def test(raw: Raw) -> None:
        await raw.say(new("A", 1, BUY, 100, 1))
        async with StoredTail(raw.url, raw.prefix, "main", None, "reader") as tail:
            await tail.read()
            assert await tail.behind() == 2
            server.kill()
            assert await tail.behind() == 2

    raw_test(server.url, "wood", test)


# What it refuses


def test_data_of_another_format(redis_url: str, prefix: str) -> None:
    async def test(raw: Raw) -> None:
        await raw.say(new("A", 1, BUY, 100, 1))
        rules = raw.sync.hget(raw.keys.meta, "rules").replace(b'"format": 3', b'"format": 4')
        raw.sync.hset(raw.keys.meta, "rules", rules)
        async with StoredTail(raw.url, raw.prefix, "main", None, "reader") as tail:
            with pytest.raises(ConfigError, match="format 4, and this reads format 3"):
                await tail.read()

    raw_test(redis_url, prefix, test)


def test_a_position_of_a_lost_history_that_was_kept_after_the_loss(
    redis_url: str, prefix: str
) -> None:
    """It told of batch 3 when Redis had already lost it: who goes on from there must notice."""

    async def test(raw: Raw) -> None:
        for number in range(4):
            await raw.say(new("A", number, BUY, 100, 1))
        meta = raw.sync.hgetall(raw.keys.meta)
        journal, epoch = meta[b"id"].decode(), int(meta[b"epoch"])
        await keep(raw.client, raw.keys, "reader", Position(journal, epoch - 1, 14, 7, 9))
        raw.sync.lpush(raw.keys.epochs, raw.sync.lindex(raw.keys.epochs, 0)[:0])
        raw.sync.lpop(raw.keys.epochs)
        async with StoredTail(raw.url, raw.prefix, "main", None, "reader") as tail:
            page = await tail.read()
            assert page.skipped == Skipped("forked", epoch, 0, 14)
            assert [batch.last for batch in (await tail.read()).batches] == [2, 4, 6, 8]

    raw_test(redis_url, prefix, test)


def test_an_epoch_that_was_lost_and_the_next_server_has_a_clock_that_is_behind(
    redis_url: str, prefix: str
) -> None:
    """The one after it has a smaller number, and it is all there will be."""

    async def test(raw: Raw) -> None:
        for number in range(2):
            await raw.say(new("A", number, BUY, 100, 1))
        meta = raw.sync.hgetall(raw.keys.meta)
        journal, epoch = meta[b"id"].decode(), int(meta[b"epoch"])
        an_hour = 3600 * 10**6
        await keep(raw.client, raw.keys, "reader", Position(journal, epoch + an_hour, 8, 4, 9))
        raw.sync.hset(raw.keys.meta, "server", "another")
        async with StoredTail(raw.url, raw.prefix, "main", None, "reader") as tail:
            assert [await tail._next() for _ in range(3)] == [None] * 3, "it has not begun yet"
            await raw.say(new("A", 2, BUY, 100, 1))
            async with asyncio.timeout(20):
                page = await tail.read()
            assert page.skipped == Skipped("forked", epoch, 4, 4)
            assert [batch.last for batch in (await tail.read()).batches] == [6]

    raw_test(redis_url, prefix, test)


def test_history_changes_between_two_questions(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The epoch was the old one when it was asked for; the entries are of the next."""
    true_after = StoredJournal.after

    async def test(raw: Raw) -> None:
        for number in range(2):
            await raw.say(new("A", number, BUY, 100, 1))
        saved = {key: raw.sync.dump(key) for key in raw.dump()}
        await raw.say(new("A", 2, BUY, 100, 1))

        async def after(journal: StoredJournal, place: str, count: int) -> list[Entry]:
            """As `StoredJournal.after`, when Redis has lost a batch and decided two others."""
            monkeypatch.setattr(StoredJournal, "after", true_after)
            raw.sync.delete(*raw.dump())
            for key, value in saved.items():
                raw.sync.restore(key, 0, value)
            raw.sync.hset(raw.keys.meta, "server", "another")
            raw.number -= 1
            for number in (3, 4):
                await raw.say(new("A", number, BUY, 100, 1))
            return await journal.after(place, count)

        async with StoredTail(raw.url, raw.prefix, "main", None, "reader") as tail:
            page = await tail.read()
            assert page.position.seq == 6
            monkeypatch.setattr(StoredJournal, "after", after)
            page_after = await tail.read()
            assert page_after.skipped == Skipped("forked", page.position.epoch, 4, 2)
            assert [batch.last for batch in (await tail.read()).batches] == [6, 8]

    raw_test(redis_url, prefix, test)


def test_what_is_trimmed_before_it_is_held(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that begins has missed nothing: it begins with the oldest that is held for it."""

    async def test(raw: Raw) -> None:
        async def trade() -> None:
            for _ in range(40):
                await raw.say(new("A", raw.number, BUY, 100, 1))

        async def keep_late(*where: Any) -> None:
            monkeypatch.setattr(positions, "keep", keep)
            await trade()
            await keep(*where)

        await trade()
        monkeypatch.setattr(positions, "keep", keep_late)
        async with StoredTail(raw.url, raw.prefix, "main", None, "reader") as tail:
            page = await tail.read()
            assert page.skipped is None
            assert page.batches[-1].last == 160
            await trade()
            assert (await tail.read()).batches[0].first == 161

    raw_test(redis_url, prefix, test, limits=(1000, 1000, 20))


# Where Redis is several servers


@pytest.fixture
def five(tmp_path: Path, redis_binary: str | None) -> Iterator[RedisSentinel]:
    sentinel = RedisSentinel(tmp_path, binary=redis_binary)
    yield sentinel
    sentinel.close()


@pytest.fixture
def sharded(tmp_path: Path, redis_binary: str | None) -> Iterator[RedisCluster]:
    masters = RedisCluster(tmp_path, binary=redis_binary)
    yield masters
    masters.close()


@pytest.mark.parametrize("lags", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_master_with_sentinels_dies(
    five: RedisSentinel, start_server: StartServer, lags: bool
) -> None:
    """A replica is promoted, with everything or without what it lacked."""
    cluster = Cluster(start_server, five.url, "wood", "--lease", "20", nodes=2)
    with Reading(five.url) as reading, Traders(cluster.private) as traders:
        traders.go_on(100)
        if lags:
            five.master.cut_off(five.replica)
            traders.go_on(100)
            with five.master.client() as client:
                reading.until(int(client.hget(cluster.keys.meta, "seq")))
        for node in cluster.nodes:
            node.process.send_signal(signal.SIGSTOP)
        if not lags:
            eventually(lambda: five.master.has_all(five.replica), "a replica with everything")
        five.master.kill()
        eventually(lambda: five.promoted(five.replica), "a fail-over")
        for node in cluster.nodes:
            node.process.send_signal(signal.SIGCONT)
        traders.go_on(100)
        traders.settle()
        read_all(reading, cluster)
        assert reading.reasons == ["forked"] * lags


def test_a_slot_of_a_redis_cluster_moves(sharded: RedisCluster, start_server: StartServer) -> None:
    cluster = Cluster(start_server, sharded.url, "wood", nodes=1)
    slot = key_slot(cluster.keys.meta.encode())
    home = sharded.master_of(cluster.keys.meta)
    with Reading(sharded.url) as reading:
        rest(cluster.nodes[0], *range(10))
        reading.until(20)
        for _ in sharded.migrate(slot, home, sharded.others(home)[0]):
            pass
        rest(cluster.nodes[0], *range(10, 20))
        reading.until(40)
        read_all(reading, cluster)
        assert reading.skipped == []

        def seen() -> PartitionView:
            return asyncio.run(look(sharded.url, "wood")).partitions["main"]

        eventually(lambda: seen().readers["reader"].behind == 0, "a position")
        with sharded.others(home)[0].client() as client:
            assert seen().redis.run_id == client.info()["run_id"]
    with home.client() as client:
        assert client.dbsize() == 0, "its position has moved too"
