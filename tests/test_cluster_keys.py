"""The catalogue of keys is complete, and all of it is under the prefix and in one slot."""

import re

import msgpack
import pytest
import redis

from tests.engines import INSTRUMENTS, by, log_in, run, until, with_loop, write_participants
from tests.test_exchange import asking, new
from wood.exchange.cluster.exchange import ClusterExchange
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.keys import __doc__ as keys_page
from wood.exchange.cluster.scripts import KEEP
from wood.model.commands import CancelOrder, ChangeState, CloseSession, Command
from wood.model.orders import BUY, SELL, State
from wood.model.participants import Participant

SYMBOLS = tuple(INSTRUMENTS)
HASHES = ("orders", "levels", "positions")


def catalogue(keys: Keys) -> list[str]:
    return [*keys.fixed, keys.beats, keys.nodes, *keys.of(SYMBOLS)]


@pytest.mark.parametrize("prefix", ["wood", "a:b", "\u00e9", "x{y}"])
def test_every_name_begins_with_the_prefix_and_has_the_hash_tag(prefix: str) -> None:
    keys = Keys(prefix)
    names = [*catalogue(keys), keys.channels(), keys.channel("id"), keys.levels("WOOD")]
    assert all(name.startswith(f"{prefix}:{{main}}:") for name in names)


def test_no_name_stands_for_two_things() -> None:
    keys = Keys("wood")
    names = catalogue(keys)
    assert len(set(names)) == len(names) == 28
    # Symbols have no colon, so none can make the key of another kind or instrument.
    assert keys.levels("WOOD") == keys.of(["WOOD"])[3] == "wood:{main}:levels:WOOD"
    assert keys.channel("id") == keys.channels() + "id"


def test_the_page_has_all_of_them_in_one_list() -> None:
    """Its first word of each line that is not indented further is a name."""
    [page] = [part for part in (keys_page or "").split("\n\n") if part.startswith("    meta ")]
    told = re.findall(r"^ {4}(\S+) ", page, re.M)
    names = {name.split(":")[2] for name in catalogue(Keys("wood"))}
    by_instrument = {name.split(":")[2] for name in Keys("wood").of(["X"])}
    keys = Keys("wood")
    wanted = names | {key.rpartition(":")[2] for key in (keys.partitions, keys.listed)}
    assert sorted(told) == sorted(name + ":<symbol>" * (name in by_instrument) for name in wanted)


def test_the_keys_have_the_order_in_which_the_scripts_take_them() -> None:
    keys = Keys("p")
    kinds = ["meta", "writers", "epochs", "journal", "marks", "open", "owned"]
    kinds += ["participants", "sessions", "present", "placed", "leaving"]
    kinds += ["state", "limits", "rates", "readers"]
    assert keys.fixed == ["p:{main}:" + kind for kind in kinds]
    kept = ("p:{main}:participants", "p:{main}:limits", "p:{main}:readers")
    assert keys.cleared == [key for key in keys.fixed[3:] if key not in kept]
    assert [keys.participants, keys.sessions] == keys.fixed[7:9]
    assert [keys.placed, keys.leaving] == keys.fixed[10:12]
    assert [keys.state, keys.limits, keys.rates, keys.readers] == keys.fixed[12:]
    assert [keys.meta, keys.writers, keys.epochs, keys.journal] == keys.fixed[:4]
    assert keys.of(["A", "B"]) == [
        f"p:{{main}}:{kind}:{symbol}"
        for symbol in ("A", "B")
        for kind in ("bids", "asks", "orders", "levels", "positions")
    ]


def test_a_run_writes_these_keys_and_no_others(redis_url: str, prefix: str) -> None:
    """With orders on both sides of both instruments, a journal so short that it is cut, one who is
    connected, one who has left and one who has a token and limits; a trade and a halt; a durable
    reader, and a node that reports.
    """

    async def test() -> None:
        exchange = ClusterExchange(INSTRUMENTS, redis_url, prefix, kept=1, max_rate=1000)
        orders: list[Command] = [
            new("A", n, side, 100 + n, 2, symbol)
            for symbol in SYMBOLS
            for n, side in enumerate((BUY, SELL))
        ]
        exchange._sweep = lambda: None  # type: ignore[method-assign]
        logins = [log_in(name, cancel_orders=True) for name in ("alice", "bob")]
        [_, bob] = (await run(exchange, [*orders, *logins]))[-2:]
        with redis.Redis.from_url(redis_url, protocol=2) as client:
            write_participants(client, Keys(prefix), {"carol": Participant("c" * 64, 1)})
            client.hset(Keys(prefix).limits, "carol", msgpack.packb({"*": {"rate": 5.0}}))
            exchange.submit([CloseSession(*by(bob)), new("B", 1, SELL, 100, 1)])
            exchange.submit([asking(ChangeState, "A", "PEAR", State.HALTED)])
            await exchange.drain()
            position = b"".join(map(msgpack.packb, ("another journal", 1, 1, 1, 1)))
            await KEEP.run(exchange._client, [Keys(prefix).readers], "graylog", position)
            exchange.report_by(lambda: msgpack.packb({"name": "node"}))
            exchange.beat_soon()
            await until(lambda: client.exists(Keys(prefix).nodes))
            written = {key.decode() for key in client.scan_iter(f"{prefix}*", count=1000)}
            assert written == set(catalogue(Keys(prefix)))
            kinds = {key.rpartition("}:")[2]: client.type(key).decode() for key in written}
            for batch in range(5):
                cancel = asking(CancelOrder, "B", "PEAR", batch)
                exchange.submit(
                    [cancel, new("B", 7, BUY, 1, 1), asking(CancelOrder, "B", "WOOD", 7)]
                )
                await exchange.drain()
            assert written == {key.decode() for key in client.scan_iter(f"{prefix}*", count=1000)}
        await exchange.close()
        assert kinds == {
            "meta": "hash",
            "writers": "hash",
            "beats": "zset",
            "epochs": "list",
            "journal": "stream",
            "marks": "list",
            "open": "hash",
            "owned": "zset",
            "participants": "hash",
            "sessions": "hash",
            "present": "zset",
            "placed": "zset",
            "leaving": "zset",
            "state": "hash",
            "limits": "hash",
            "rates": "zset",
            "readers": "hash",
            "nodes": "hash",
            **{f"{name}:{symbol}": "zset" for name in ("bids", "asks") for symbol in SYMBOLS},
            **{f"{name}:{symbol}": "hash" for name in HASHES for symbol in SYMBOLS},
        }

    with_loop(test)
