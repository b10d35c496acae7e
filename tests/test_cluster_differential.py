"""The engine on Redis decides as the one in memory does: hypothesis looks for what it does not."""

from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engines import INSTRUMENTS, Recorder, with_loop
from tests.fake_redis import Fake
from tests.redis_books import (
    Connected,
    Queue,
    Queues,
    stored_accounts,
    stored_books,
    stored_prices,
    stored_sessions,
)
from tests.test_exchange import asking, new
from wood.book.book import Book
from wood.book.levels import BookSide
from wood.book.matching import MAX_MET
from wood.exchange.cluster.client import connect
from wood.exchange.cluster.exchange import ClusterExchange, Connect
from wood.exchange.cluster.keys import Keys
from wood.exchange.memory import MemoryExchange
from wood.model.commands import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    CloseSession,
    Command,
    ListInstruments,
    ListOrders,
    NewOrder,
    Refuse,
)
from wood.model.errors import ErrorCode
from wood.model.events import AllCanceled, Event, LevelChanged, OrderCanceled, Trade
from wood.model.instruments import MAX_LOTS, MAX_TICKS, Instruments
from wood.model.orders import BUY, FOK, GTC, IOC, SELL, Side, TimeInForce

PARTICIPANTS = ("A", "B", "C", "D", "E")
MAX_OPEN, MAX_RESTING = 8, 25  # so that both limits are met

WHO = st.sampled_from(PARTICIPANTS)
SESSION = (WHO, st.sampled_from(["s", "t"]), st.just(0))
SYMBOL = st.sampled_from(["WOOD", "WOOD", "WOOD", "PEAR"])
EITHER = st.none() | SYMBOL
PRICE = st.integers(97, 104) | st.sampled_from([100, 101, 1, MAX_TICKS])
QUANTITY = st.integers(1, 9) | st.sampled_from([1, 2, 30, MAX_LOTS, 2**53 - MAX_LOTS])
ORDER_ID = st.integers(1, 14) | st.just(2**64 - 1)
SIDE = st.sampled_from([BUY, SELL])

ORDER = (*SESSION, SYMBOL, ORDER_ID)
# These hardly ever trade, so that the books grow.
BID = st.builds(NewOrder, *ORDER, st.just(BUY), st.integers(96, 99), QUANTITY)
ASK = st.builds(NewOrder, *ORDER, st.just(SELL), st.integers(100, 103), QUANTITY)
LIMIT = st.builds(NewOrder, *ORDER, SIDE, PRICE, QUANTITY, st.just(GTC), st.booleans())
AT_ONCE = st.builds(
    NewOrder, *ORDER, SIDE, st.none() | PRICE, QUANTITY, st.sampled_from([IOC, FOK]), st.booleans()
)
CANCEL = st.builds(CancelOrder, *ORDER)
AMEND = st.builds(AmendOrder, *ORDER, st.none() | PRICE, st.none() | QUANTITY)
OTHER = st.one_of(
    st.builds(CancelAll, *SESSION, EITHER),
    st.builds(ListOrders, *SESSION, EITHER),
    st.builds(ListInstruments, *SESSION),
    st.builds(
        Refuse,
        *SESSION,
        st.sampled_from(ErrorCode),
        st.text(max_size=3),
        st.none() | ORDER_ID,
        st.none() | st.sampled_from(["WOOD", "NONE"]),
    ),
    st.builds(CloseSession, *SESSION, st.booleans()),
)
OPENING = st.lists(BID | ASK, min_size=5, max_size=40)
COMMANDS = st.lists(
    st.one_of(BID, ASK, LIMIT, LIMIT, AT_ONCE, AT_ONCE, CANCEL, AMEND, AMEND, OTHER),
    min_size=5,
    max_size=30,
)
BATCHES = st.builds(lambda first, more: [first, *more], OPENING, st.lists(COMMANDS, max_size=4))


LOOK: Any = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}


class Twins:
    """Both engines with the same limits; `run` tells both the same and compares all they say."""

    def __init__(
        self,
        client: Any,
        clients: Connect,
        prefix: str,
        max_open: int = MAX_OPEN,
        max_resting: int = MAX_RESTING,
        grace: float = 0,
        instruments: Instruments = INSTRUMENTS,
        max_rate: int = 0,
        summed: bool = False,
    ) -> None:
        self.client = client
        self.summed = summed
        """Whether nobody has more open in a book than Lua can add up, which is 2^53 lots."""
        self.prefix = prefix
        self.instruments = instruments
        ticks = count(10**15)
        self.memory = MemoryExchange(
            instruments,
            max_open,
            max_resting,
            clock=lambda: next(ticks),
            grace=grace,
            max_rate=max_rate,
        )
        self.cluster = ClusterExchange(
            instruments,
            "",
            prefix,
            max_open_orders=max_open,
            max_resting_orders=max_resting,
            grace=grace,
            max_rate=max_rate,
            clients=clients,
        )
        # When they sweep is up to the test: the engines have not the same time.
        self.memory._plan_sweep = lambda: None  # type: ignore[method-assign]
        self.cluster._sweep = lambda: None  # type: ignore[method-assign]
        self.said, self.said_in_memory = Recorder(), Recorder()

    async def __aenter__(self) -> "Twins":
        self.memory.attach(self.said_in_memory)
        self.cluster.attach(self.said)
        await self.cluster.start()
        # Names of sessions tell the epoch.
        self.memory._epoch = self.said.snapshots[0].epoch
        await self.memory.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cluster.close()
        keys = Keys(self.prefix)
        self.client.unlink(*keys.fixed, keys.beats, keys.nodes, *keys.of(self.instruments))

    async def run(self, commands: list[Command]) -> list[Event]:
        """Returns what both answered."""
        lists = [ListOrders(who, "s", 0) for who in PARTICIPANTS]
        before, before_in_memory = len(self.said.batches), len(self.said_in_memory.batches)
        for exchange in (self.memory, self.cluster):
            for each in (commands, lists):
                exchange.submit(each)
                await exchange.drain()
        expected = _events(self.said_in_memory, before_in_memory)
        assert _events(self.said, before) == expected
        assert len(self.said.snapshots) == 1, "the thread was never lost"
        stored, memory = await self.cluster.snapshot(), await self.memory.snapshot()
        assert (stored.seq, stored.books) == (memory.seq, memory.books)
        assert stored.halted == memory.halted
        books = stored_books(self.client, self.prefix, self.instruments, summed=self.summed)
        assert books == {symbol: queues(book) for symbol, book in self.memory.books.items()}
        if self.summed:
            accounts = stored_accounts(self.client, self.prefix, self.instruments)
            assert accounts == {symbol: held(book) for symbol, book in self.memory.books.items()}
        prices = stored_prices(self.client, self.prefix)
        for symbol, book in self.memory.books.items():
            reference = self.instruments[symbol].rules.reference
            assert prices.get(symbol, reference) == book.rules.last
        assert stored_sessions(self.client, self.prefix) == connected(self.memory)
        return expected


def _events(recorder: Recorder, before: int) -> list[Event]:
    return [event for batch in recorder.batches[before:] for event in batch.events]


def queues(book: Book) -> Queues:
    return Queues(_queue(book.bids), _queue(book.asks))


def held(book: Book) -> dict[str, tuple[int, int, int]]:
    return {
        name: (account.long, account.short, len(account.orders))
        for name, account in book.accounts.items()
    }


def connected(memory: MemoryExchange) -> Connected:
    held = memory._sessions
    sessions = {
        name: (session.participant, session.generation, session.cancels)
        for name, session in held._open.items()
    }
    by_participant: dict[str, set[str]] = {}
    for name, session in held._open.items():
        by_participant.setdefault(session.participant, set()).add(name)
    assert by_participant == held._of
    gone = sorted((since, name) for name, since in held._leaving.items())
    return Connected(sessions, [(name, since == 0) for since, name in gone])


def _queue(side: BookSide) -> Queue:
    sign = -1 if side.side is BUY else 1
    return [
        (level.price * sign, order.participant, order.order_id, order.left, order.post_only)
        for level in side.in_order()
        for order in level.orders()
    ]


def busy(random: Random, memory: MemoryExchange) -> list[Command]:
    """What keeps the books full: most of it is for orders that are open, and the limits are met."""
    commands: list[Command] = []
    for _ in range(random.randint(1, 60)):
        who, symbol = random.choice(PARTICIPANTS), random.choice(["WOOD", "WOOD", "PEAR"])
        order_id = random.randint(1, 99)
        price = random.choice([*range(97, 104), *range(99, 102), 1, MAX_TICKS])
        quantity = random.choice([*range(1, 9), 30, MAX_LOTS, 2**53 - MAX_LOTS])
        side, kind = random.choice([BUY, SELL]), random.random()
        order: NewOrder | AmendOrder | CancelOrder
        if kind < 0.7:
            if random.random() < 0.6:
                price = random.randint(95, 99) if side is BUY else random.randint(101, 105)
            lasts = random.choice([GTC, GTC, GTC, GTC, IOC, FOK])
            market = lasts is not GTC and random.random() < 0.5
            order = NewOrder(
                *(who, "s", 0, symbol, order_id, side, None if market else price, quantity),
                *(lasts, random.random() < 0.1),
            )
        else:
            order_id = random.choice(list(memory.books[symbol].orders.get(who, [order_id])))
            if kind < 0.9:
                changes = random.choice([(price, None), (None, quantity), (price, quantity)])
                order = AmendOrder(who, "s", 0, symbol, order_id, *changes)
            else:
                order = CancelOrder(who, "s", 0, symbol, order_id)
        commands.append(order)
        if random.random() < 0.05:
            other = random.choice([CancelAll, ListOrders, ListOrders])
            commands.append(other(who, "s", 0, random.choice([None, symbol])))
        if random.random() < 0.02:
            commands.append(CloseSession(who, "s", 0, random.random() < 0.5))
    return commands


class Server:
    """A real or a fake one."""

    def __init__(self, client: Any, clients: Connect, prefix: str) -> None:
        self.client = client
        self.clients = clients
        self._prefixes = (f"{prefix}:{n}" for n in count())

    def twins(
        self,
        max_open: int = MAX_OPEN,
        max_resting: int = MAX_RESTING,
        grace: float = 0,
        **more: Any,
    ) -> "Twins":
        prefix = next(self._prefixes)
        return Twins(self.client, self.clients, prefix, max_open, max_resting, grace, **more)


@pytest.fixture(params=["real", "fake"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "fake":
        fake = Fake()
        with fake.client() as client:
            yield Server(client, fake.connect, "wood")
            assert client.keys() == []
    else:
        yield request.getfixturevalue("real_server")


@pytest.fixture
def real_server(redis_url: str, prefix: str) -> Iterator[Server]:
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        yield Server(client, lambda single: connect(redis_url, "key", single=single), prefix)
        assert list(client.scan_iter(f"{prefix}*", count=1000)) == []


def test_whatever_is_said(server: Server, full: bool) -> None:
    @settings(max_examples=500 if full else 60, **LOOK)
    @given(BATCHES)
    def look(batches: list[list[Command]]) -> None:
        async def test() -> None:
            async with server.twins() as twins:
                for commands in batches:
                    await twins.run(commands)

        with_loop(test)

    look()


def test_a_busy_market(server: Server, full: bool) -> None:
    @settings(max_examples=600 if full else 80, **LOOK)
    @given(st.integers(0, 2**32), st.integers(1, 12))
    def look(seed: int, batches: int) -> None:
        async def test() -> None:
            random = Random(seed)
            async with server.twins() as twins:
                for _ in range(batches):
                    await twins.run(busy(random, twins.memory))

        with_loop(test)

    look()


def test_sweeps_of_every_length_up_to_where_more_is_loaded(server: Server) -> None:
    """The script loads the opposite side in steps: 4 orders, 16, 64, ..."""

    async def test() -> None:
        async with server.twins(1000, 1000) as twins:
            for length in (1, 3, 4, 5, 19, 20, 21, 83, 84, 85, 340, 341):
                await twins.run([new("A", n, BUY, 100 + n % 7, 1) for n in range(length)])
                events = await twins.run([new("B", 1, SELL, 100, length)])
                assert sum(isinstance(event, Trade) for event in events) == length

    with_loop(test)


def test_more_than_one_call_of_redis_can_take(real_server: Server) -> None:
    """More values than Lua can unpack at once, more orders than one command may meet."""

    async def test() -> None:
        async with real_server.twins(100_000, 100_000) as twins:

            def resting(orders: int, side: Side, first: int = 1) -> list[Command]:
                """Of all participants and on many levels, so that order matters."""
                return [
                    new(PARTICIPANTS[n % 5], n, side, 1000 + n * 7 % 13, 1 + n % 3)
                    for n in range(first, first + orders)
                ]

            def at_once(
                side: Side, price: int | None, quantity: int, lasts: TimeInForce
            ) -> Command:
                return NewOrder("E", "s", 0, "WOOD", 2**64 - 1, side, price, quantity, lasts)

            async def trades(command: Command) -> list[Trade]:
                return [e for e in await twins.run([command]) if isinstance(e, Trade)]

            await twins.run([new("A", n, BUY, 100 + n * 7 % 1501, 1) for n in range(1, 2501)])
            events = await twins.run([asking(CancelAll, "A", None)])
            assert AllCanceled("A", "A-session", None, 2500) in events
            assert sum(isinstance(event, LevelChanged) for event in events) == 1501

            await twins.run(resting(2500, BUY))
            assert len(await trades(at_once(SELL, 1, 10**9, IOC))) == 2500

            await twins.run(resting(12_000, SELL))
            lots = [
                o.left
                for level in twins.memory.books["WOOD"].asks.in_order()
                for o in level.orders()
            ]
            reach = sum(lots[:MAX_MET])
            assert await trades(at_once(BUY, None, reach + 1, FOK)) == []
            # An order that may rest, but crosses when it has met all that it may, is cancelled.
            # With that the entry is full, so that what was sent with it is sent again.
            sweep = [new("E", 10**6, BUY, 2000, 10**9), new("E", 10**6, BUY, 1, 1)]
            batches = len(twins.said.batches)
            events = await twins.run([*sweep, asking(CancelAll, "E", None), sweep[1]])
            assert sum(isinstance(event, Trade) for event in events) == MAX_MET
            assert len(twins.said.batches) >= batches + 3
            await twins.run([asking(CancelOrder, "E", "WOOD", 10**6)])
            assert twins.memory.books["WOOD"].bids.best is None
            await twins.run(resting(10_000, SELL, 20_000))
            assert len(await trades(at_once(BUY, None, sum(lots[:50]), FOK))) > 0

            # An amendment meets as many, and no more; then the rest goes.
            await twins.run([new("D", 2**60, BUY, 1, 1)])
            amended = await trades(asking(AmendOrder, "D", "WOOD", 2**60, 3000, 10**9))
            assert len(amended) == MAX_MET
            events = await twins.run([asking(CloseSession, who, True) for who in PARTICIPANTS])
            assert sum(isinstance(event, OrderCanceled) for event in events) > 1000
            assert twins.memory.books["WOOD"].asks.best is None

    with_loop(test)
