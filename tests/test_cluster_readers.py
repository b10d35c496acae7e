"""What durable readers and reports of nodes are to the scripts: what is kept for whom, how long."""

from collections.abc import Callable

import msgpack
import pytest
from msgspec.msgpack import encode

from tests.engines import INSTRUMENTS
from tests.raw_writer import Raw, raw_test
from tests.redis_server import RedisServer
from tests.test_exchange import asking, new
from wood.exchange.cluster.admin import Partition
from wood.exchange.cluster.exchange import ClusterExchange
from wood.exchange.cluster.scripts import KEEP
from wood.exchange.partitioned import PartitionedExchange
from wood.model.commands import Command, Refuse
from wood.model.errors import ErrorCode
from wood.model.instruments import Instrument, Instruments
from wood.model.orders import BUY

KEPT = 20
RULES = {"limits": (100_000, 100_000, KEPT)}


def order(number: int) -> Command:
    """It makes two events: accepted, and the level."""
    return new("A", number, BUY, 100, 1)


async def fill(raw: Raw, batches: int) -> None:
    """So many batches of one order each."""
    for _ in range(batches):
        await raw.say(order(raw.number))


async def keep(raw: Raw, reader: str, batch: int, journal: str | None = None) -> None:
    """Have a reader be done with that batch."""
    journal = raw.sync.hget(raw.keys.meta, "id").decode() if journal is None else journal
    position = b"".join(map(msgpack.packb, (journal, 1, 2 * batch, batch, 1)))
    await KEEP.run(raw.client, [raw.keys.readers], reader, position)


def first(raw: Raw) -> int:
    """The number of the oldest batch that is kept."""
    [(name, _)] = raw.sync.xrange(raw.keys.journal, count=1)
    return int(name.split(b"-")[1])


def test_without_readers_only_what_is_to_be_kept_is_kept(redis_url: str, prefix: str) -> None:
    async def test(raw: Raw) -> None:
        await fill(raw, 100)
        assert first(raw) in (90, 91)
        assert raw.sync.llen(raw.keys.fixed[4]) <= KEPT

    raw_test(redis_url, prefix, test, **RULES)


def test_trimming_does_not_pass_the_slowest_reader(redis_url: str, prefix: str) -> None:
    async def test(raw: Raw) -> None:
        await fill(raw, 15)
        await keep(raw, "slow", 12)
        await keep(raw, "fast", 15)
        await fill(raw, 30)
        assert first(raw) == 13, "what it reads next is still there"
        await keep(raw, "slow", 14)
        await fill(raw, 1)
        assert first(raw) == 15
        await keep(raw, "slow", 45)
        await fill(raw, 1)
        assert first(raw) == 16, "now it is the other one"

    raw_test(redis_url, prefix, test, **RULES)


def test_trimming_passes_a_reader_that_is_too_far_behind(redis_url: str, prefix: str) -> None:
    """At four times what is kept anyway: then it has what everybody has, at least."""

    async def test(raw: Raw) -> None:
        await keep(raw, "away", 0)
        await fill(raw, 4 * KEPT // 2 - 1)
        assert first(raw) == 1
        await fill(raw, 20)
        oldest = first(raw)
        assert oldest > 1
        assert raw.number - oldest >= 4 * KEPT // 2 - 2, "and no further than it must"

    raw_test(redis_url, prefix, test, **RULES)


def test_refusals_fill_the_journal_of_a_reader_too(redis_url: str, prefix: str) -> None:
    """They have no number: it is batches that a reader has or has not read."""

    async def test(raw: Raw) -> None:
        refusal = asking(Refuse, "A", ErrorCode.INVALID, "no", 1, "WOOD")
        await raw.say(order(1))
        await keep(raw, "reader", 1)
        for _ in range(3 * KEPT):
            await raw.say(refusal)
        assert first(raw) <= 2
        for _ in range(3 * KEPT):
            await raw.say(refusal)
        assert first(raw) > 2

    raw_test(redis_url, prefix, test, **RULES)


def test_one_who_knows_another_journal_may_want_all_of_this_one(
    redis_url: str, prefix: str
) -> None:
    async def test(raw: Raw) -> None:
        await keep(raw, "reader", 1000, "another")
        await fill(raw, 4 * KEPT // 2 - 1)
        assert first(raw) == 1

    raw_test(redis_url, prefix, test, **RULES)


def test_what_a_reader_lets_go_of_at_once_is_cut_bit_by_bit(redis_url: str, prefix: str) -> None:
    """One call that frees hundreds of megabytes would make everybody wait."""

    async def test(raw: Raw) -> None:
        await keep(raw, "reader", 0)
        for number in range(40):
            await raw.say(*(order(number * 400 + n) for n in range(400)))
        await keep(raw, "reader", 40)
        assert first(raw) == 1
        found = []
        for number in (40, 41):
            await raw.say(*(order(number * 400 + n) for n in range(60)))
            found.append(first(raw))
        assert 10 < found[0] < 20 < found[1]

    raw_test(redis_url, prefix, test, limits=(100_000, 100_000, 10_000))


def test_readers_outlive_a_book_that_a_node_clears_but_no_reset(
    redis_url: str, prefix: str
) -> None:
    """Who comes back shall know that it missed something."""

    async def test(raw: Raw) -> None:
        await fill(raw, 3)
        await keep(raw, "reader", 2)
        raw.sync.hset(raw.keys.nodes, "dead", msgpack.packb("node") + msgpack.packb(1) + b"\x80")
        before = raw.sync.hgetall(raw.keys.readers)
        raw.sync.delete(raw.keys.writers, raw.keys.beats)
        node = ClusterExchange(INSTRUMENTS, redis_url, prefix)
        await node.start()
        await node.close()
        assert not raw.sync.exists(raw.keys.journal), "the book is cleared"
        assert raw.sync.hgetall(raw.keys.readers) == before
        assert raw.sync.exists(raw.keys.nodes)
        partition = Partition(redis_url, prefix)
        await partition.clear()
        await partition.close()
        assert raw.dump() == {}

    raw_test(redis_url, prefix, test)


# Reports of nodes


def report(name: str, **more: object) -> bytes:
    """What matters of one to the scripts; it may hold any bytes."""
    return encode({"name": name, "lag": 0.1, "odd": b"\xff\x00", **more})


async def beat(raw: Raw, name: str, **more: object) -> None:
    """Beat with a report, however short ago the last one was."""
    raw.membership.report_by(lambda: report(name, **more))
    raw.membership._reported = -1.0
    assert await raw.membership.beat() is not None


def nodes(raw: Raw) -> dict[str, tuple[str, bytes]]:
    """Writer -> name, report; and the times are those of the server."""
    now = raw.sync.time()[0] * 1e6
    found = {}
    for writer, value in raw.sync.hgetall(raw.keys.nodes).items():
        unpacker = msgpack.Unpacker()
        unpacker.feed(value)
        name, since = unpacker.unpack(), unpacker.unpack()
        assert now - 60e6 < since < now + 2e6
        found[writer.decode()] = name, value[unpacker.tell() :]
    return found


def test_a_beat_carries_what_a_node_says_of_itself(redis_url: str, prefix: str) -> None:
    async def test(raw: Raw) -> None:
        await raw.membership.beat()
        assert nodes(raw) == {}, "it has nothing to say"
        await beat(raw, "one", n=1)
        assert nodes(raw) == {raw.writer: ("one", report("one", n=1))}
        await beat(raw, "one", n=2)
        assert nodes(raw) == {raw.writer: ("one", report("one", n=2))}
        raw.membership.report_by(lambda: report("one", n=3))
        await raw.membership.beat()
        assert nodes(raw) == {raw.writer: ("one", report("one", n=2))}, "not more often than needed"
        await raw.membership.leave()
        assert nodes(raw) == {}

    raw_test(redis_url, prefix, test)


def test_the_report_of_a_dead_node_stays_until_its_name_is_back(
    redis_url: str, prefix: str
) -> None:
    """So somebody who watches can tell a node that is lost from one that left."""

    async def test(raw: Raw) -> None:
        async with raw.another() as other:
            await beat(raw, "one")
            await beat(other, "two")
            raw.silent_for(120, raw.writer)
            await beat(other, "two")
            assert not raw.sync.hexists(raw.keys.writers, raw.writer), "it was declared dead"
            assert nodes(raw) == {
                raw.writer: ("one", report("one")),
                other.writer: ("two", report("two")),
            }
            await beat(raw, "one", n=2)
            assert nodes(raw)[raw.writer] == ("one", report("one")), "the dead say nothing"
            async with raw.another() as third:
                await beat(third, "one")
                assert set(nodes(raw)) == {other.writer, third.writer}
                await beat(other, "one")
                assert set(nodes(raw)) == {other.writer, third.writer}, "both live"

    raw_test(redis_url, prefix, test)


def test_after_a_day_it_is_forgotten(redis_url: str, prefix: str) -> None:
    async def test(raw: Raw) -> None:
        now = raw.sync.time()[0] * 10**6
        for writer, ago in (("young", 23), ("old", 25)):
            values = (f"node {writer}", now - ago * 3600 * 10**6)
            said = b"".join(map(msgpack.packb, values)) + report("x")
            raw.sync.hset(raw.keys.nodes, writer, said)
        await beat(raw, "one")
        assert set(raw.sync.hkeys(raw.keys.nodes)) == {b"young", raw.writer.encode()}

    raw_test(redis_url, prefix, test)


def test_a_report_that_fails_is_said_once_and_stops_nothing(
    redis_url: str, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(raw: Raw) -> None:
        calls = []

        def fail() -> bytes:
            calls.append(1)
            raise ZeroDivisionError("odd figures")

        raw.membership.report_by(fail)
        for _ in range(3):
            assert await raw.membership.beat() is not None
            raw.membership._reported = -1.0
        assert len(calls) == 1
        [record] = [r for r in caplog.records if r.levelname == "ERROR"]
        assert record.exc_info

    raw_test(redis_url, prefix, test)


def test_a_full_redis_hears_of_the_node_all_the_same(
    start_redis: Callable[..., RedisServer],
) -> None:
    """It tells how far the journal is: a beat that failed would be told as Redis being away."""

    async def test(raw: Raw) -> None:
        await beat(raw, "one", n=1)
        raw.sync.config_set("maxmemory", 1)
        await beat(raw, "one", n=2)
        raw.sync.config_set("maxmemory", 0)
        assert nodes(raw) == {raw.writer: ("one", report("one", n=1))}, "there was no room"

    raw_test(start_redis().url, "wood", test)


def test_all_partitions_carry_it(redis_url: str, prefix: str) -> None:
    listed = Instruments([Instrument("WOOD"), Instrument("GOLD", partition="metals")])
    asked = PartitionedExchange(
        listed, lambda name, mine: ClusterExchange(mine, redis_url, prefix, tag=name)
    )
    asked.report_by(lambda: report("one"))
    for part in asked.partitions.values():
        assert isinstance(part, ClusterExchange)
        assert part._membership._report is not None
