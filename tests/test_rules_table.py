"""The table of docs/protocol.md that says which order meets which rule, against both engines.

For each row an order breaks that rule and, as far as it can, all below it. So the answer is the
first word in its column from that row on.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
import redis
from msgspec import to_builtins

from tests.engines import Recorder, with_loop
from tests.support import ROOT
from wood.exchange.cluster.exchange import ClusterExchange
from wood.exchange.cluster.keys import Keys
from wood.exchange.exchange import Partition
from wood.exchange.memory import MemoryExchange
from wood.model.commands import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    ChangeState,
    Command,
    NewOrder,
)
from wood.model.errors import ErrorCode
from wood.model.events import AllCanceled, CommandRefused, Event
from wood.model.instruments import MAX_LEVEL_LOTS, Instrument, Instruments
from wood.model.limits import Limits
from wood.model.orders import BUY, FOK, IOC, SELL, State
from wood.model.participants import Participant
from wood.model.trading import TradingRules

(RATE, HALT, ID, QUANTITY, VALUE, COLLAR, POSITION, OWN, OWN_HERE, ALL, LEVEL) = range(1, 12)
"""The rows for what is refused."""

RULES = TradingRules(
    collar=500,
    reference=100,
    limits=Limits(order_quantity=10, order_value=1000, position=12),
)
INSTRUMENTS = Instruments([Instrument("WOOD", "1", "1", rules=RULES)])
RESTING = 4

COLUMNS = [
    *("`GTC`", "`IOC`", "`FOK`", "`postOnly`", "`marketOrder`"),
    *("`amendOrder`", "`cancelOrder`", "`cancelAll`", "`halt`, `resume`"),
]


def table() -> dict[str, list[str]]:
    """By column, the code in each of the first eleven rows, empty where there is none."""
    text = (ROOT / "docs" / "protocol.md").read_text()
    head, _, *rows = re.findall(r"^\|.*\|$", text[text.index("### Which order meets") :], re.M)
    names = [cell.strip() for cell in head.strip("|").split("|")]
    assert names[2:] == COLUMNS
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [int(row[0]) for row in cells[:LEVEL]] == [*range(1, LEVEL + 1)]
    words = [[re.match(r"`(\w+)`|-", cell) for cell in row[2:]] for row in cells[:LEVEL]]
    assert all(match for row in words for match in row)
    columns = zip(*words, strict=True)
    return {
        name: [match[1] or "" for match in column if match]
        for name, column in zip(COLUMNS, columns, strict=True)
    }


class Market:
    """An engine, and what the test does to it beside saying something."""

    exchange: Partition

    async def begin(self) -> None:
        """Two orders of A and two of B, so that the limits are near."""
        self.said = Recorder()
        self.exchange.attach(self.said)
        await self.exchange.start()
        await self.say(
            *(order("A", 1, 6), order("A", 2, 5), order("B", 1, 1, price=99)),
            NewOrder("B", "B", 0, "WOOD", 2, SELL, 106, 9),
        )

    async def say(self, *commands: Command) -> list[Event]:
        before = len(self.said.events)
        self.exchange.submit(commands)
        await self.exchange.drain()
        return self.said.events[before:]

    def limit(self, **limits: Limits) -> None:
        """A has these limits of its own."""
        raise NotImplementedError

    def fill_level(self) -> None:
        """The bids at 100 are as many as may be."""
        raise NotImplementedError


class InMemory(Market):
    def __init__(self) -> None:
        self.exchange = self.memory = MemoryExchange(INSTRUMENTS, 100, RESTING)

    def limit(self, **limits: Limits) -> None:
        known = Participant("0" * 64, 1, limits=dict(limits))
        self.memory._sessions.participants = {"A": known}
        self.memory._take_limits()

    def fill_level(self) -> None:
        level = self.memory.books["WOOD"].bids.levels[100]
        level.total = MAX_LEVEL_LOTS - 1


class OnRedis(Market):
    def __init__(self, client: Any, url: str, prefix: str) -> None:
        self.exchange = ClusterExchange(
            INSTRUMENTS, url, prefix, max_open_orders=100, max_resting_orders=RESTING
        )
        self._client, self._keys = client, Keys(prefix)

    def limit(self, **limits: Limits) -> None:
        self._client.hset(self._keys.limits, "A", msgpack.packb(to_builtins(limits)))

    def fill_level(self) -> None:
        self._client.hset(self._keys.levels("WOOD"), "-100", str(MAX_LEVEL_LOTS - 1))


def order(who: str, number: int, quantity: int, price: int = 100, **more: Any) -> NewOrder:
    return NewOrder(who, who, 0, "WOOD", number, BUY, price, quantity, **more)


def command(column: str, row: int) -> Command:
    """What breaks the rule of that row, and those below it that depend on what is said."""
    price = 100 if row > COLLAR else 106
    quantity = {QUANTITY: 11, VALUE: 10}.get(row, 11 if row < QUANTITY else 9)
    if row > POSITION:
        quantity = 1
    number = 1 if row <= ID else 7
    match column:
        case "`GTC`":
            return order("A", number, quantity, price)
        case "`IOC`":
            return order("A", number, quantity, price, time_in_force=IOC)
        case "`FOK`":
            return order("A", number, quantity, price, time_in_force=FOK)
        case "`postOnly`":
            return order("A", number, quantity, price, post_only=True)
        case "`marketOrder`":
            return NewOrder("A", "A", 0, "WOOD", number, BUY, None, quantity, IOC)
        case "`amendOrder`":
            number = 99 if row <= ID else 1
            quantity = 7 if row > POSITION else quantity
            return AmendOrder("A", "A", 0, "WOOD", number, price, quantity)
        case "`cancelOrder`":
            return CancelOrder("A", "A", 0, "WOOD", 99 if row <= ID else 1)
        case "`cancelAll`":
            return CancelAll("A", "A", 0, "WOOD")
    return ChangeState("A", "A", 0, "WOOD", State.HALTED)


async def answer(market: Market, column: str, row: int) -> str:
    """The code, empty if the command is taken."""
    await market.begin()
    own = Limits(open_orders=2 if row <= OWN else None, rate=1 if row == RATE else None)
    here = Limits(open_orders=2 if row <= OWN_HERE else None)
    if row <= HALT:
        await market.say(ChangeState("op", "op", 0, "WOOD", State.HALTED))
    if row > ALL:
        await market.say(CancelOrder("B", "B", 0, "WOOD", 1))
    market.limit(**{"*": own, "WOOD": here})
    market.fill_level()
    # With a rate of 1 a second, the first one is all.
    first = [CancelOrder("A", "A", 0, "WOOD", 98)] if row == RATE else []
    events = (await market.say(*first, command(column, row)))[len(first) :]
    if isinstance(events[0], CommandRefused):
        assert len(events) == 1
        return events[0].code
    assert not any(isinstance(event, CommandRefused) for event in events)
    assert not isinstance(events[-1], AllCanceled) or column == "`cancelAll`"
    return ""


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        yield client


@pytest.mark.parametrize("engine", ["memory", "redis"])
@pytest.mark.parametrize("column", COLUMNS)
def test_the_first_rule_that_is_broken_is_told(
    engine: str, column: str, client: Any, redis_url: str, prefix: str
) -> None:
    words = table()[column]

    async def test() -> None:
        told = []
        for row in range(1, LEVEL + 1):
            market = (
                InMemory() if engine == "memory" else OnRedis(client, redis_url, f"{prefix}:{row}")
            )
            told.append(await answer(market, column, row))
            await market.exchange.close()
        assert told == [next(filter(None, words[row:]), "") for row in range(LEVEL)]

    with_loop(test)


def test_every_code_that_an_engine_refuses_with_is_in_the_table() -> None:
    words = {word for column in table().values() for word in column if word}
    assert words == {
        *(ErrorCode.RATE, ErrorCode.HALTED, ErrorCode.DUPLICATE, ErrorCode.NOT_FOUND),
        *(ErrorCode.LIMIT, ErrorCode.COLLAR, ErrorCode.TOO_LARGE),
    }
