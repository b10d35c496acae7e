"""Sessions on Redis are those in memory: logins, resumes, ends and sweeps in any order."""

from collections import Counter
from random import Random

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engines import by, with_loop
from tests.test_cluster_differential import LOOK, PARTICIPANTS, Server, Twins, real_server
from wood.exchange.cluster.keys import Keys
from wood.model.commands import (
    SWEEP,
    CancelAll,
    CancelAnonymous,
    CancelOrder,
    CloseSession,
    Command,
    Heartbeat,
    ListOrders,
    NewOrder,
    OpenSession,
    Refuse,
)
from wood.model.errors import ErrorCode
from wood.model.events import LoginRefused, OrderCanceled, ParticipantDisabled, SessionOpened
from wood.model.orders import BUY, SELL
from wood.model.participants import Participant

__all__ = ["real_server"]  # a fixture

LONG = 10.0**6
TOKENS = {"D": "d" * 64, "E": "e" * 64}
ANONYMOUS = tuple(f"~{since:08x}{since:012x}" for since in range(5))
"""The names of their sessions are their own."""


class Flow:
    """Makes up what is said next from what was answered before."""

    def __init__(self, random: Random, twins: Twins) -> None:
        self._random = random
        self._twins = twins
        self._opened: list[SessionOpened] = []
        self._known = {name: Participant(token, 1) for name, token in TOKENS.items()}
        self.seen: Counter[str] = Counter()

    async def go_on(self) -> None:
        """One batch, and perhaps a change of the participants before it."""
        random = self._random
        if random.random() < 0.3:
            self._change(random.choice(list(TOKENS)))
        commands = [self._command() for _ in range(random.randint(1, 25))]
        for event in await self._twins.run(commands):
            if isinstance(event, SessionOpened):
                self._opened.append(event)
                self.seen[f"recovered {event.recovered}"] += 1
            elif isinstance(event, LoginRefused):
                self.seen[event.code] += 1
            elif isinstance(event, ParticipantDisabled | OrderCanceled):
                self.seen[type(event).__name__] += 1

    def _change(self, name: str) -> None:
        """Disable or enable one who has a token, as an operator does."""
        twins = self._twins
        known = Participant(
            TOKENS[name], 1, self._random.random() < 0.5, not self._known[name].disabled
        )
        self._known = {**self._known, name: known}
        twins.memory._sessions.take(self._known)
        keys = Keys(twins.prefix)
        for each, value in self._known.items():
            values = value.digest, value.added, value.operator, value.disabled
            twins.client.hset(keys.participants, each, b"".join(map(msgpack.packb, values)))
        if known.disabled:
            twins.client.zadd(keys.leaving, {name: 0})

    def begin(self) -> None:
        """Both know who has a token."""
        for name in TOKENS:
            self._change(name)
            self._change(name)
        self._twins.memory._sessions._leaving.clear()
        self._twins.client.delete(Keys(self._twins.prefix).leaving)

    def _command(self) -> Command:
        random = self._random
        kind = random.random()
        if kind < 0.25:
            return self._login()
        if kind < 0.35:
            who = random.choice(ANONYMOUS)
            return OpenSession(who, who, 0, who, cancel_orders=random.random() < 0.7)
        if kind < 0.5:
            return CloseSession(*self._who(), random.random() < 0.5)
        if kind < 0.6:
            return SWEEP
        if kind < 0.63:
            return CancelAnonymous("op", "op", 0, random.randint(0, 6))
        if kind < 0.66:
            whose = random.choice([*PARTICIPANTS, *ANONYMOUS])
            return CancelAll("op", "op", 0, random.choice([None, "WOOD"]), whose)
        if kind < 0.7:
            return Heartbeat("op", "op", 0)
        if kind < 0.73:
            return Refuse(*self._who(), ErrorCode.INVALID, "bad")
        if kind < 0.76:
            return ListOrders(*self._who(), None)
        symbol, number = random.choice(["WOOD", "PEAR"]), random.randint(1, 6)
        if kind < 0.8:
            return CancelOrder(*self._who(), symbol, number)
        side = random.choice([BUY, SELL])
        price = random.randint(95, 101) if side is BUY else random.randint(100, 105)
        return NewOrder(*self._who(), symbol, number, side, price, random.randint(1, 5))

    def _who(self) -> tuple[str, str, int]:
        random = self._random
        if random.random() < 0.3 or not self._opened:
            who = random.choice(ANONYMOUS)
            return who, who, 0
        participant, session, generation = by(
            random.choice(self._opened[-6:] if random.random() < 0.8 else self._opened)
        )
        if session in ANONYMOUS:
            return participant, session, 0
        if random.random() < 0.05:
            generation += random.choice([-1, 1])
        return participant, session, max(1, generation)

    def _login(self) -> OpenSession:
        random, epoch, seq = self._random, self._twins.memory._epoch, self._twins.memory._seq
        name = random.choice(PARTICIPANTS)
        token = TOKENS.get(name, "")
        if random.random() < 0.1:
            token = random.choice(["", *TOKENS.values()])
        resumes = last_seq = said_epoch = None
        if random.random() < 0.6 and self._opened:
            resumes = random.choice(self._opened[-8:]).session
            if random.random() < 0.2:
                resumes = f"{epoch + random.choice([0, 0, 0, 1])}-{random.randint(0, seq + 9)}"
        if random.random() < 0.7:
            last_seq = random.randint(0, seq + 5)
        if random.random() < 0.5:
            said_epoch = epoch + random.choice([0, 0, 0, 0, -1, 1])
        asker = random.choice(ANONYMOUS)
        cancels = random.random() < 0.6
        return OpenSession(*(asker, asker, 0, name, token, resumes, last_seq, said_epoch, cancels))


def test_whoever_comes_and_goes(real_server: Server, full: bool) -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=1000 if full else 25, **LOOK)
    @given(st.integers(0, 2**32), st.integers(1, 12), st.sampled_from([0.0, 0.0, LONG]))
    def look(seed: int, batches: int, grace: float) -> None:
        async def test() -> None:
            async with real_server.twins(grace=grace) as twins:
                flow = Flow(Random(seed), twins)
                flow.begin()
                for _ in range(batches):
                    await flow.go_on()
                seen.update(flow.seen)

        with_loop(test)

    look()
    assert seen.keys() >= {
        "recovered None",
        "recovered True",
        "recovered False",
        "unauthorized",
        "disabled",
        "ParticipantDisabled",
        "OrderCanceled",
    }
