"""Rules of instruments, limits of participants: both engines apply the same, in the same order."""

from collections import Counter
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engines import with_loop, write_participants
from tests.test_cluster_differential import LOOK, Server, Twins, real_server, server
from wood.exchange.cluster.keys import Keys
from wood.model.commands import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    ChangeState,
    Command,
    ListInstruments,
    NewOrder,
)
from wood.model.events import CommandRefused, Event, StateChanged
from wood.model.instruments import Instrument, Instruments
from wood.model.limits import EVERYWHERE, NONE, Limits
from wood.model.orders import BUY, FOK, GTC, IOC, SELL, Beyond, SelfTrade, State
from wood.model.participants import Participant
from wood.model.trading import TradingRules

__all__ = ["real_server", "server"]  # fixtures

WHO = ("A", "A", "B", "C", "~a")
"""Few, so that they meet their own orders."""


def drawn_limits(random: Random, lot: float, tick: float) -> Limits:
    """Such that they are met now and then."""

    def perhaps(value: float) -> float | None:
        kind = random.random()
        return None if kind < 0.5 else NONE if kind < 0.6 else value

    return Limits(
        None,
        perhaps(random.randint(1, 9)),
        perhaps(random.choice([4, 8, 20]) * lot),
        perhaps(random.choice([300, 700]) * lot * tick),
        perhaps(random.choice([0, 7, 15, 30]) * lot),
    )


def drawn_instruments(random: Random) -> Instruments:
    """Two with rules of any kind."""
    return Instruments(
        Instrument(
            symbol,
            tick,
            lot,
            rules=TradingRules(
                random.choice(list(SelfTrade)),
                random.choice([None, 100, 250, 300, 2000]),
                random.choice(list(Beyond)),
                random.choice([None, 100]),
                drawn_limits(random, float(lot), float(tick)),
            ),
        )
        for symbol, tick, lot in (("WOOD", "0.01", "1"), ("PEAR", "0.5", "10"))
    )


class Flow:
    """Draws what is said, and changes the participants' own limits."""

    def __init__(self, random: Random, twins: Twins) -> None:
        self._random = random
        self._twins = twins
        self.seen: Counter[str] = Counter()

    async def go_on(self) -> None:
        """One batch."""
        if self._random.random() < 0.3:
            self.change_limits()
        commands = [self._command() for _ in range(self._random.randint(1, 50))]
        for event in await self._twins.run(commands):
            self.seen[_word(event)] += 1

    def change_limits(self) -> None:
        """A and B have records, and perhaps limits of their own; the others have none."""
        random, twins = self._random, self._twins
        known = {
            who: Participant(
                "0" * 64,
                1,
                limits={
                    symbol: drawn_limits(random, *scale)
                    for symbol, scale in (
                        (EVERYWHERE, (1.0, 0.01)),
                        ("WOOD", (1.0, 0.01)),
                        ("PEAR", (10.0, 0.5)),
                    )
                    if random.random() < 0.3
                },
            )
            for who in ("A", "B")
        }
        twins.memory._sessions.participants = known
        twins.memory._take_limits()
        write_participants(twins.client, Keys(twins.prefix), known)

    def _command(self) -> Command:
        random = self._random
        who, kind = random.choice(WHO), random.random()
        symbol, number = random.choice(["WOOD", "WOOD", "PEAR"]), random.randint(1, 40)
        said = who, who, 0, symbol, number
        quantity = random.choice([*range(1, 9), 25])
        price = random.choice([*range(95, 106), *range(99, 102), 80, 120])
        if kind < 0.62:
            side = random.choice([BUY, SELL])
            lasts = random.choice([GTC, GTC, GTC, IOC, FOK])
            market = lasts is IOC and random.random() < 0.5
            post_only = lasts is GTC and random.random() < 0.1
            order = None if market else price, quantity, lasts, post_only
            return NewOrder(*said, side, *order)
        halted = [s for s, book in self._twins.memory.books.items() if book.state is State.HALTED]
        if kind < 0.72 and halted:
            return ChangeState("op", "op", 0, random.choice(halted), State.OPEN)
        if kind < 0.74:
            return ChangeState("op", "op", 0, symbol, random.choice(list(State)))
        if kind < 0.75:
            return ListInstruments("op", "op", 0)
        if kind < 0.77:
            return CancelAll(who, who, 0, random.choice([None, symbol]))
        number = random.choice([*self._twins.memory.books[symbol].orders_of(who), number])
        if kind < 0.9:
            changes = random.choice([(price, None), (None, quantity), (price, quantity)])
            return AmendOrder(*said[:4], number, *changes)
        return CancelOrder(*said[:4], number)


def _word(event: Event) -> str:
    if isinstance(event, CommandRefused):
        return event.limit or event.code
    return event.reason if isinstance(event, StateChanged) else type(event).__name__


def test_whatever_the_rules_are(server: Server, full: bool) -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=1000 if full else 80, **LOOK)
    @given(st.integers(0, 2**32), st.integers(1, 12))
    def look(seed: int, batches: int) -> None:
        async def test() -> None:
            random = Random(seed)
            more: dict[str, Any] = {"instruments": drawn_instruments(random), "summed": True}
            async with server.twins(30, 60, **more) as twins:
                flow = Flow(random, twins)
                flow.change_limits()
                for _ in range(batches):
                    await flow.go_on()
                seen.update(flow.seen)

        with_loop(test)

    look()
    assert seen.keys() >= {
        "Trade",
        "OrderAmended",
        "halted",
        "collar",
        "operator",
        "orderQuantity",
        "orderValue",
        "position",
        "instrumentOpenOrders",
        "InstrumentsListed",
    }
