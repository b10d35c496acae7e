"""The scripts themselves, on a real server: each batch is taken once, exactly, and nothing else."""

import asyncio
from collections.abc import Callable

import msgpack
import pytest
import redis

from tests.engines import INSTRUMENTS, Recorder, run, with_loop
from tests.raw_writer import READ, Raw, raw_test
from tests.redis_books import stored_books
from tests.redis_server import RedisServer
from tests.test_exchange import asking, new
from wood.exchange.cluster.admin import Partition
from wood.exchange.cluster.client import connect
from wood.exchange.cluster.exchange import ClusterExchange
from wood.exchange.cluster.formats import decode_entry
from wood.exchange.memory import MemoryExchange
from wood.model.commands import AmendOrder, CancelAll, Command, ListOrders, Refuse
from wood.model.errors import ErrorCode
from wood.model.events import LevelChanged, Trade
from wood.model.orders import BUY, SELL


def test_a_script_is_handed_over_when_the_server_has_forgotten_it(
    redis_url: str, prefix: str
) -> None:
    async def test(raw: Raw) -> None:
        for number in (1, 2, 3):
            raw.sync.script_flush()
            answer = await raw.decide(number, new("A", number, BUY, 100, 1))
            assert answer[0] == b"ok"
            assert raw.sync.xlen(raw.keys.journal) == number

    raw_test(redis_url, prefix, test)


def test_a_batch_that_comes_again_is_answered_and_changes_nothing(
    redis_url: str, prefix: str
) -> None:
    async def test(raw: Raw) -> None:
        commands = [new("A", 1, BUY, 100, 5), new("B", 1, SELL, 100, 2)]
        word, taken, data, _ = await raw.decide(1, *commands)
        entry = decode_entry(data)
        assert (word, taken, entry.number, entry.writer) == (b"ok", 2, 1, raw.writer)
        before = raw.dump()
        entry_id = f"{entry.last}-{entry.batch}".encode()
        assert raw.sync.xrange(raw.keys.journal) == [(entry_id, {b"b": data})]
        for again in (commands, commands, [new("C", 9, BUY, 1, 1)], []):
            assert await raw.decide(1, *again) == [b"again", 2, entry_id]
        assert raw.dump() == before
        assert (await raw.decide(2, *commands))[0] == b"ok"
        assert raw.dump() != before

    raw_test(redis_url, prefix, test)


def test_who_is_out_of_step_or_unknown_is_fenced_and_changes_nothing(
    redis_url: str, prefix: str
) -> None:
    async def test(raw: Raw) -> None:
        order = new("A", 1, BUY, 100, 5)
        before = raw.dump()
        for number in (2, 100, -1):
            assert await raw.decide(number, order) == [b"fenced"]
        assert raw.dump() == before
        for number in (1, 2, 3):
            assert (await raw.decide(number, new("A", number, BUY, 100, 5)))[0] == b"ok"
        before = raw.dump()
        for number in (0, 1, 2, 5, 2**53):
            assert await raw.decide(number, order) == [b"fenced"]
        for writer in ("nobody", raw.writer.upper() + " ", raw.writer[:-1]):
            assert await raw.decide(4, order, writer=writer) == [b"fenced"]
        assert raw.dump() == before
        assert (await raw.decide(4, order))[0] == b"ok"

    raw_test(redis_url, prefix, test)


def test_of_a_hundred_clients_with_the_same_batch_one_is_served(
    redis_url: str, prefix: str
) -> None:
    async def test(raw: Raw) -> None:
        clients = [connect(redis_url, "key", single=True) for _ in range(100)]
        await asyncio.gather(*(client.ping() for client in clients))
        for number in (1, 2, 3):
            answers = await asyncio.gather(
                *(
                    raw.decide(number, new("A", number, BUY, 100, 1), client=client)
                    for client in clients
                )
            )
            [served] = [answer for answer in answers if answer[0] == b"ok"]
            entry = decode_entry(served[2])
            others = [answer for answer in answers if answer[0] != b"ok"]
            assert others == [[b"again", 1, f"{entry.last}-{entry.batch}".encode()]] * 99
            assert raw.sync.xlen(raw.keys.journal) == number
        await asyncio.gather(*(client.aclose() for client in clients))
        assert stored_books(raw.sync, raw.prefix, INSTRUMENTS)["WOOD"].bids == [
            (-100, "A", number, 1, False) for number in (1, 2, 3)
        ]

    raw_test(redis_url, prefix, test)


def test_without_memory_nothing_of_a_batch_is_done(start_redis: Callable[..., RedisServer]) -> None:
    async def test(raw: Raw) -> None:
        await raw.decide(1, new("A", 1, BUY, 100, 5))
        before = raw.dump()
        raw.sync.config_set("maxmemory", 1)
        # One that only makes things less is refused as well: it has an entry.
        for command in (new("B", 1, SELL, 100, 2), asking(CancelAll, "A", None)):
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                await raw.decide(2, command)
            assert raw.dump() == before
        raw.sync.config_set("maxmemory", 0)
        assert (await raw.decide(2, new("B", 1, SELL, 100, 2)))[0] == b"ok"

    raw_test(start_redis().url, "wood", test)


def test_nothing_ever_expires(redis_url: str, prefix: str) -> None:
    async def test(raw: Raw) -> None:
        batches: list[list[Command]] = [
            [new("A", n, side, 100 + n, 5, symbol) for n, side in ((1, BUY), (2, SELL))]
            for symbol in INSTRUMENTS
        ]
        for number, commands in enumerate([*batches, [asking(CancelAll, "A", "PEAR")]], 1):
            await raw.decide(number, *commands)
            if number == 2:
                assert raw.dump().keys() >= {name.encode() for name in raw.keys.of(INSTRUMENTS)}
            assert {raw.sync.ttl(key) for key in raw.dump()} == {-1}

    raw_test(redis_url, prefix, test)


def test_other_keys_of_the_database_are_untouched(start_redis: Callable[..., RedisServer]) -> None:
    async def test(raw: Raw) -> None:
        names = ["wood", "wood:", "wood:{main}", "wood:{main}:other", "wood:{main}:bids:GOLD"]
        names += ["meta", "WOOD", "bids:WOOD", "wood2:{main}:meta", "wood:{second}:meta", "*"]
        for name in names:
            raw.sync.hset(name, "seq", "1")
        raw.sync.select(1)
        raw.sync.set("elsewhere", "1")
        raw.sync.select(0)

        def others() -> dict[bytes, object]:
            return {key: value for key, value in raw.dump("*").items() if key.decode() in names}

        before = others()
        assert len(before) == len(names)
        await raw.decide(1, new("A", 1, BUY, 100, 5), asking(CancelAll, "A", None))
        exchange = raw.node()
        await run(exchange, [new("A", 1, BUY, 100, 5)])
        await exchange.close()
        assert others() == before
        raw.sync.delete(raw.keys.writers)  # nobody is alive any more
        partition = Partition(raw.url, raw.prefix)
        assert await partition.clear() == 1
        await partition.close()
        assert raw.dump("*") == before
        raw.sync.select(1)
        assert raw.sync.keys() == [b"elsewhere"]

    raw_test(start_redis().url, "wood", test)


HOSTILE = [
    "]]redis.call('FLUSHALL')--",
    "';redis.call('FLUSHALL');--",
    '"\\"..redis.call("FLUSHALL")..',
    "%d%s%1%",
    "^[^",
    "{main}",
    "*",
    "A",
    "A!",
    "A\x00",
    "A\x1f",
    "A\r\nFLUSHALL\r\n",
    "\u00e9\U0001f333",
    "KEYS[1]",
    "nil",
    "false",
    "0",
    "1e+15",
    "__index",
    "\x7f",
]


def test_names_and_texts_are_never_understood(redis_url: str, prefix: str) -> None:
    """They mean what they mean in memory: something to compare and to say again."""
    commands: list[Command] = []
    for n, who in enumerate(HOSTILE):
        commands += [
            new(who, 1, BUY, 100 + n % 3, 2),
            new(who, 2, SELL, 200 + n % 3, 2, "PEAR"),
            asking(Refuse, who, ErrorCode.INVALID, who + " ", 1, who),
        ]
    commands.append(new("seller", 1, SELL, 101, 7))
    for who in HOSTILE:
        commands.append(asking(AmendOrder, who, "PEAR", 2, 150, None))
        commands.append(asking(ListOrders, who, None))
    more: list[Command] = []
    for who in HOSTILE[::-1]:
        more += [asking(ListOrders, who, "PEAR"), asking(CancelAll, who, None)]

    async def test() -> None:
        memory, said = MemoryExchange(INSTRUMENTS), Recorder()
        memory.attach(said)
        await memory.start()
        cluster = ClusterExchange(INSTRUMENTS, redis_url, prefix)
        for part in (commands, more):
            memory.submit(part)
            await memory.drain()
        found = await run(cluster, commands)
        with redis.Redis.from_url(redis_url, protocol=2) as client:
            books = stored_books(client, prefix, INSTRUMENTS)
            assert {who for _, who, *_ in books["PEAR"].asks} == set(HOSTILE)
            cluster.submit(more)
            await cluster.drain()
            assert stored_books(client, prefix, INSTRUMENTS)["PEAR"].asks == []
        await cluster.close()
        assert found == said.events[: len(found)]

    with_loop(test)


def test_ids_and_symbols_are_never_understood(start_redis: Callable[..., RedisServer]) -> None:
    """No node lets them in; the script does not rely on that."""

    async def test(raw: Raw) -> None:
        raw.sync.set("kept", "1")
        odd = [name for name in HOSTILE if " " not in name]
        rows = [[1, 1, n + 1, name, True, 5, 6, 0, False] for n, name in enumerate(odd)]
        rows += [[1, 2, n + 1, name, False, 5, 7, 0, False] for n, name in enumerate(odd)]
        batch = msgpack.packb([[["A", "a", 0], ["B", "b", 0]], odd, rows])
        word, taken, data, _ = await raw.send(1, batch, tuple(odd))
        assert (word, taken) == (b"ok", len(rows))
        for name in odd:
            bids, asks, orders, levels, positions = raw.keys.of([name])
            assert raw.sync.hgetall(levels) == {b"5": b"1"}
            assert list(raw.sync.hgetall(orders)) == [f"B {name}".encode()]
            assert raw.sync.zcard(asks) == 1
            assert raw.sync.zcard(bids) == 0
            assert raw.sync.hkeys(positions) == [b"B"], "A has nothing open, and no record"
        makers = msgpack.unpackb(bytes(decode_entry(data).rows))
        assert {f"A {name}" for name in odd} <= {row for row in makers if isinstance(row, str)}
        batch = msgpack.packb([[["B", "b", 0]], odd, [[4, 1, None]]])
        assert (await raw.send(2, batch, tuple(odd)))[0] == b"ok"
        assert raw.sync.hget(raw.keys.meta, "resting") == b"0"
        assert raw.sync.get("kept") == b"1"

    raw_test(start_redis().url, "wood", test)


def test_a_kind_that_no_command_has_fails_before_anything_is_written(
    redis_url: str, prefix: str
) -> None:
    async def test(raw: Raw) -> None:
        before = raw.dump()
        for kind in (0, 14, "1", None):
            rows = [[1, 1, 1, "1", True, 5, 6, 0, False], [kind, 1, 1, "1"]]
            batch = msgpack.packb([[["A", "a", 0]], ["WOOD"], rows])
            with pytest.raises(redis.ResponseError, match="unknown kind of command"):
                await raw.send(1, batch, ("WOOD",))
        for data in (b"", b"\xc1", b"\x93\x90", msgpack.packb([[], ["WOOD"], [[1, 1, 1]]])):
            with pytest.raises(redis.ResponseError):
                await raw.send(1, data, ("WOOD",))
        assert raw.dump() == before

    raw_test(redis_url, prefix, test)


@pytest.mark.parametrize("seq", [10**14 - 4, 10**15 - 4, 2 * 10**15, 2**53 - 1000])
def test_large_numbers_are_written_in_full(redis_url: str, prefix: str, seq: int) -> None:
    """Lua, and what converts its numbers for Redis, would write 1e+15 for some."""
    price, lots = 2**53 - 1, 10**12

    async def test(raw: Raw) -> None:
        raw.sync.hset(raw.keys.meta, mapping={"seq": seq, "rows": seq, "batch": 10**15 - 2})
        commands = [
            *(new("A", n, BUY, price, lots) for n in (1, 2)),
            new("A", 3, BUY, 10**15, 10**14),
            new("A", 4, BUY, 10**14, 2**53 - 1),
        ]
        assert (await raw.decide(1, *commands))[:2] == [b"ok", 4]
        _, _, data, _ = await raw.decide(2, new("B", 2**64 - 1, SELL, 10**15, 1))
        entry = decode_entry(data)
        last = seq + 8 + 4
        assert (entry.batch, entry.first, entry.last) == (10**15, seq + 9, last)
        bids, _, orders, levels, _ = raw.keys.of(["WOOD"])
        scores = raw.sync.eval(f"return redis.call({READ[b'zset']})", 1, bids)
        assert scores == [
            *(b"%016d A 1" % (seq + 2), b"-9007199254740991"),
            *(b"%016d A 2" % (seq + 4), b"-9007199254740991"),
            *(b"%016d A 3" % (seq + 6), b"-1000000000000000"),
            *(b"%016d A 4" % (seq + 8), b"-100000000000000"),
        ]
        assert raw.sync.hgetall(levels) == {
            b"-9007199254740991": b"1999999999999",
            b"-1000000000000000": b"100000000000000",
            b"-100000000000000": b"9007199254740991",
        }
        unpacker = msgpack.Unpacker()
        unpacker.feed(raw.sync.hget(orders, "A 3"))
        assert list(unpacker) == [10**14, -(10**15), seq + 6, seq + 6, False]
        assert [name for name, _ in raw.sync.xrange(raw.keys.journal)] == [
            f"{seq + 8}-{10**15 - 1}".encode(),
            f"{last}-{10**15}".encode(),
        ]
        assert (await raw.decide(2))[2] == f"{last}-{10**15}".encode()
        meta = raw.sync.hgetall(raw.keys.meta)
        assert (meta[b"seq"], meta[b"batch"]) == (str(last).encode(), b"1000000000000000")
        assert meta[b"rows"] == str(last).encode()
        assert not [text for text in raw.texts() if b"e+" in text]

        # A node reads it all back, and goes on from there.
        exchange = raw.node()
        events = await run(exchange, [new("B", 1, SELL, price, lots + 1)])
        assert events[1:] == [
            Trade(last + 2, "WOOD", price, lots - 1, SELL, "A", 1, 0, "B", 1, 2),
            Trade(last + 4, "WOOD", price, 2, SELL, "A", 2, lots - 2, "B", 1, 0),
            LevelChanged(last + 6, "WOOD", BUY, price, lots - 2),
        ]
        snapshot = await exchange.snapshot()
        assert snapshot.seq == last + 6
        assert snapshot.books["WOOD"].bids == [
            (price, lots - 2),
            (10**15, 10**14),
            (10**14, 2**53 - 1),
        ]
        assert [batch.last async for batch in exchange.events(seq)] == [seq + 8, last, last + 6]
        await exchange.close()
        stored_books(raw.sync, prefix, INSTRUMENTS, summed=False)

    raw_test(redis_url, prefix, test)
