"""What lies in Redis of states, positions, limits and rates, and what the script is told."""

from random import Random
from typing import Any

import msgpack
import pytest

from tests.engines import INSTRUMENTS, ClusterEngine, run, with_loop, write_participants
from tests.raw_writer import Raw, raw_test
from tests.redis_books import stored_books
from tests.test_exchange import asking, new
from tests.trading_rules import amend, cancel, change, collared, known, listed, market, order
from wood.exchange.cluster.admin import Partition
from wood.exchange.cluster.exchange import ClusterExchange
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.trading import TradingTexts
from wood.model.commands import CancelAll, Command, NewOrder
from wood.model.events import CommandRefused, OrderAccepted
from wood.model.instruments import Instrument, Instruments
from wood.model.limits import NO_LIMITS, NONE, Limits, bounds
from wood.model.orders import BUY, SELL, Beyond, SelfTrade, State
from wood.model.participants import Participant
from wood.model.trading import TradingRules

RECORD = Participant("d" * 64, 1)

MANY = 2000
"""Twice as many as the script hands to one call."""


def positions(raw: Any, keys: Keys, symbol: str = "WOOD") -> dict[str, list[int]]:
    """By participant: bought less sold, open buys, open sells, open orders."""
    found = {}
    for name, value in raw.hgetall(keys.of([symbol])[4]).items():
        unpacker = msgpack.Unpacker()
        unpacker.feed(value)
        found[name.decode()] = list(unpacker)
    return found


def test_what_the_script_is_told() -> None:
    strict = TradingRules(
        SelfTrade.CANCEL_BOTH, 250, Beyond.HALT, 7, Limits(None, 3, 0.3, 1e6, NONE)
    )
    texts = TradingTexts(
        Instruments(
            [Instrument("WOOD", "0.01", "0.1", rules=strict), Instrument("PEAR", "5", "10")]
        )
    )
    pear = [None, None, False, None, 5.0, 10.0, None, None, None, None]
    wood = ["cancel-both", 250, True, 7, 0.01, 0.1, 3.0, 3.0, 1e9, None]
    assert msgpack.unpackb(texts.of(["PEAR", "WOOD"])) == [pear, wood]
    assert msgpack.unpackb(texts.of([])) == []


def test_positions_are_kept_while_there_is_anything_to_keep(redis_url: str, prefix: str) -> None:
    steps: list[tuple[list[Command], dict[str, list[int]]]] = [
        ([order("A", 1, BUY, 100, 5)], {"A": [0, 5, 0, 1]}),
        ([order("A", 2, SELL, 110, 3)], {"A": [0, 5, 3, 2]}),
        ([market("B", 1, SELL, 2)], {"A": [2, 3, 3, 2], "B": [-2, 0, 0, 0]}),
        ([amend("A", 1, None, 1)], {"A": [2, 1, 3, 2], "B": [-2, 0, 0, 0]}),
        ([amend("A", 1, 101, 4)], {"A": [2, 4, 3, 2], "B": [-2, 0, 0, 0]}),
        (
            [market("B", 1, BUY, 3), market("B", 1, SELL, 4)],
            {"A": [3, 0, 0, 0], "B": [-3, 0, 0, 0]},
        ),
        (
            [order("~00000001", 1, SELL, 100, 2), market("B", 2, BUY, 1)],
            {"A": [3, 0, 0, 0], "B": [-2, 0, 0, 0], "~00000001": [-1, 0, 1, 1]},
        ),
        ([order("A", 3, SELL, 100, 3)], {}),
        ([market("B", 2, BUY, 2)], {"A": [2, 0, 2, 1]}),
        ([cancel("A", 3), market("B", 2, BUY, 1)], {"A": [2, 0, 0, 0]}),
    ]

    async def test(raw: Raw) -> None:
        write_participants(raw.sync, raw.keys, dict.fromkeys("ABC", RECORD))
        for commands, wanted in steps:
            await raw.say(*commands)
            if wanted:
                assert positions(raw.sync, raw.keys) == wanted
            stored_books(raw.sync, prefix, INSTRUMENTS)
        await raw.say(
            asking(CancelAll, "A", None), order("C", 1, BUY, 9, 2), market("A", 4, SELL, 2)
        )
        assert positions(raw.sync, raw.keys) == {"C": [2, 0, 0, 0]}
        assert positions(raw.sync, raw.keys, "PEAR") == {}

    raw_test(redis_url, prefix, test)


def test_of_strangers_nothing_stays(redis_url: str, prefix: str) -> None:
    """However many names come, trade and go."""

    async def test(raw: Raw) -> None:
        write_participants(raw.sync, raw.keys, {"A": RECORD})
        await raw.say(order("A", 1, BUY, 100, 100))
        for number in range(10):
            await raw.say(market(f"one-{number}", 1, SELL, 1))
            resting = order(f"two-{number}", 1, SELL, 200, 1)
            await raw.say(resting, market(f"two-{number}", 2, SELL, 1))
        assert positions(raw.sync, raw.keys).keys() == {"A", *(f"two-{n}" for n in range(10))}
        # As takers, and as makers who say nothing any more.
        await raw.say(*(cancel(f"two-{number}", 1) for number in range(5)))
        await raw.say(market("A", 2, BUY, 5))
        assert positions(raw.sync, raw.keys) == {"A": [25, 80, 0, 1]}

    raw_test(redis_url, prefix, test)


def test_thousands_in_one_batch(redis_url: str, prefix: str) -> None:
    """Each with a rate, a position and a limit of its own, and all read, written and forgotten."""

    async def test(raw: Raw) -> None:
        names = [f"p{number}" for number in range(MANY)]
        write_participants(raw.sync, raw.keys, dict.fromkeys([*names, "B"], RECORD))
        packed = msgpack.packb({"WOOD": {"position": 2.0}, "*": {"rate": 5.0}})
        for name in names:
            raw.sync.hset(raw.keys.limits, name, packed)
        answer = await raw.decide(1, *(order(name, 1, SELL, 100, 1) for name in names))
        assert answer[:2] == [b"ok", MANY]
        assert raw.sync.zcard(raw.keys.rates) == MANY
        assert positions(raw.sync, raw.keys) == {name: [0, 0, 1, 1] for name in names}
        assert (await raw.decide(2, market("B", 1, BUY, MANY)))[0] == b"ok"
        wanted = {name: [-1, 0, 0, 0] for name in names}
        assert positions(raw.sync, raw.keys) == {"B": [MANY, 0, 0, 0], **wanted}
        again: list[NewOrder] = [order(name, 2, SELL, 100, 2) for name in names[:7]]
        raw.number = 2
        events = await raw.say(*again)
        assert [type(event) for event in events] == [CommandRefused] * 7
        await raw.say(*(order(name, 2, BUY, 90, 1) for name in names), market("B", 1, SELL, MANY))
        assert positions(raw.sync, raw.keys) == {}

    raw_test(redis_url, prefix, test, limits=(9, 10**6, 10**6), max_rate=3)


def test_a_clock_that_went_back_makes_nobody_wait_for_it(redis_url: str, prefix: str) -> None:
    async def test() -> None:
        async with ClusterEngine(redis_url, prefix, max_rate=10) as engine:
            await engine.say(order("A", 1, BUY, 1, 1))
            engine.redis.zincrby(engine.keys.rates, 3600e6, "A")
            engine.redis.hincrby(engine.keys.meta, "time", round(3600e6))
            [event] = await engine.say(order("A", 2, BUY, 1, 1))
            assert isinstance(event, CommandRefused)
            assert event.retry_after == 100_000
            await engine.later(3600 + 1)
            [event, *_] = await engine.say(order("A", 2, BUY, 1, 1))
            assert isinstance(event, OrderAccepted)

    with_loop(test)


def test_buckets_that_are_full_again_are_forgotten(redis_url: str, prefix: str) -> None:
    async def test() -> None:
        async with ClusterEngine(redis_url, prefix, max_rate=10) as engine:
            await engine.say(order("A", 1, BUY, 1, 1), order("B", 1, BUY, 1, 1))
            assert set(engine.redis.zrange(engine.keys.rates, 0, -1)) == {b"A", b"B"}
            for number in range(20):
                await engine.later(10)
                await engine.say(order("C", number, BUY, 1, 1))
            assert engine.redis.zrange(engine.keys.rates, 0, -1) == [b"C"]

    with_loop(test)


@pytest.mark.parametrize("clear", ["persist", "start", "reset"])
def test_what_outlives_the_nodes(redis_url: str, prefix: str, clear: str) -> None:
    """With --persist all of it does; else only what the operator wrote of participants."""
    instruments = listed(collared(500, reference=None))

    async def test() -> None:
        async with ClusterEngine(
            redis_url, prefix, instruments=instruments, persist=True, max_rate=100
        ) as engine:
            write_participants(engine.redis, engine.keys, known(WOOD=Limits(order_quantity=3)))
            await engine.say(
                order("A", 1, BUY, 200, 1), market("B", 1, SELL, 1), change(State.HALTED)
            )
            kept = engine.redis.hgetall(engine.keys.state)
            assert kept == {b"halted:WOOD": b"operator", b"last:WOOD": b"200"}
        if clear == "reset":
            partition = Partition(redis_url, prefix)
            await partition.clear()
            await partition.close()
        exchange = ClusterExchange(
            instruments, redis_url, prefix, persist=clear == "persist", max_rate=100
        )
        answers = await run(exchange, [change(State.OPEN), order("own", 1, BUY, 300, 1)])
        answers += await run_more(exchange, order("own", 2, BUY, 200, 4))
        codes = [event.code for event in answers if isinstance(event, CommandRefused)]
        assert codes == (["collar", "limit"] if clear == "persist" else ["limit"])
        snapshot = await exchange.snapshot()
        assert snapshot.halted == frozenset()
        await exchange.close()

    async def run_more(exchange: ClusterExchange, command: Command) -> list[Any]:
        reader = exchange._readers[0]
        before = len(reader.events)  # type: ignore[attr-defined]
        exchange.submit([command])
        await exchange.drain()
        return reader.events[before:]  # type: ignore[attr-defined, no-any-return]

    with_loop(test)


def test_a_snapshot_has_the_states_of_its_number(redis_url: str, prefix: str) -> None:
    """What is read may be older than the last entry: the rest comes from the journal."""

    async def test() -> None:
        async with ClusterEngine(redis_url, prefix) as engine:
            journal = engine.cluster._journal
            state = await engine.cluster.state()
            await engine.say(change(State.HALTED, "PEAR"), change(State.HALTED), change(State.OPEN))

            async def before() -> dict[str, bool]:
                return {"WOOD": True, "PEAR": False}

            assert (await engine.exchange.snapshot()).halted == {"PEAR"}
            journal._halted = before  # type: ignore[method-assign]
            stored = await journal.snapshot(state)
            assert stored is not None
            assert stored.snapshot.seq == 3
            assert stored.snapshot.halted == {"PEAR"}

    with_loop(test)


@pytest.mark.parametrize("seed", range(3))
def test_lua_makes_the_same_bounds_of_limits(redis_url: str, prefix: str, seed: int) -> None:
    """To the last lot, whatever the lot is: so much is taken, and no lot more."""
    random = Random(seed)
    lot = random.choice(["0.1", "0.3", "0.00001", "7", "1"])
    instruments = Instruments([Instrument("WOOD", "0.01", lot)])

    async def test() -> None:
        async with ClusterEngine(redis_url, prefix, instruments=instruments) as engine:
            for number in range(60):
                lots = random.randint(1, 10 ** random.randint(1, 9))
                limit = round(lots * float(lot) * random.choice([1, 1, 1, 0.999]), 6)
                name = random.choice(["order_quantity", "position"])
                own = {"WOOD": Limits(**{name: limit or 1.0})}
                most = bounds(0.01, float(lot), NO_LIMITS, own, "WOOD")
                bound = int(most.quantity if name == "order_quantity" else most.position)
                await engine.have(known(**own))
                fits = [order("own", number, BUY, 1, bound)] * (bound > 0)
                events = await engine.say(
                    *fits, *[cancel("own", number)] * (bound > 0), new("own", 0, BUY, 1, bound + 1)
                )
                assert [type(e) for e in (events[0], events[-1])] == [
                    OrderAccepted if bound else CommandRefused,
                    CommandRefused,
                ], (limit, lot, bound)

    with_loop(test)
