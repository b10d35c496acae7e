"""What the tests of every engine share."""

import asyncio
import warnings
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any, Self, cast

import msgpack
import pytest
import redis
import uvloop
from msgspec import to_builtins

from wood.exchange import memory
from wood.exchange.cluster.exchange import KEPT, ClusterExchange
from wood.exchange.cluster.keys import Keys
from wood.exchange.exchange import Partition
from wood.exchange.memory import MemoryExchange, microseconds
from wood.exchange.participants import ParticipantFile
from wood.exchange.sessions import GRACE, Auth
from wood.model.commands import SWEEP, Command, OpenSession
from wood.model.events import Batch, CommandRefused, Event, SessionOpened, Snapshot, Trade
from wood.model.instruments import Instrument, Instruments
from wood.model.participants import Participant

INSTRUMENTS = Instruments([Instrument("WOOD"), Instrument("PEAR", "0.5", "10")])


class Recorder:
    """A reader that keeps everything, and checks that the numbers have no gap."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self.batches: list[Batch] = []

    def reset(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)

    def apply(self, batch: Batch) -> None:
        last = self.batches[-1].last if self.batches else self.snapshots[-1].seq
        assert batch.first == last + 1
        seq = last
        for event in batch.events:
            number = getattr(event, "seq", None)
            if number is not None:
                assert number == seq + 1
                seq += 2 if isinstance(event, Trade) else 1
        assert batch.last == seq
        self.batches.append(batch)

    @property
    def events(self) -> list[Event]:
        return [event for batch in self.batches for event in batch.events]


async def run(exchange: Partition, commands: list[Command]) -> list[Event]:
    """Submit commands at once and return the events that answer them."""
    recorder = Recorder()
    exchange.attach(recorder)
    await exchange.start()
    exchange.submit(commands)
    await exchange.drain()
    assert not any(isinstance(e, CommandRefused) and not e.text for e in recorder.events)
    return recorder.events


def with_loop(test: Callable[[], Awaitable[None]]) -> None:
    """Run an asynchronous test on the event loop that the server uses."""

    async def main() -> None:
        async with asyncio.timeout(30):
            await test()

    with warnings.catch_warnings():
        # When a test fails, its open sockets warn as the loop is closed; as an error that would
        # make uvloop try again for ever, and hide what failed.
        warnings.simplefilter("ignore", ResourceWarning)
        uvloop.run(main())


async def until(condition: Callable[[], bool]) -> None:
    """Let others go on until `condition` holds; `with_loop` ends a test in which it never does."""
    while not condition():
        await asyncio.sleep(0)


def log_in(name: str, asker: str = "~1", **more: Any) -> OpenSession:
    """A login through the anonymous connection `asker`."""
    return OpenSession(asker, asker, 0, name, **more)


def by(opened: Event) -> tuple[str, str, int]:
    """What the commands of a session begin with."""
    assert isinstance(opened, SessionOpened), opened
    return opened.participant, opened.session, opened.generation


class Participants:
    """A file of participants that is in no folder."""

    path = "participants of a test"

    def __init__(self) -> None:
        self.content: Mapping[str, Participant] = {}
        self._is_new = False

    def write(self, content: Mapping[str, Participant]) -> None:
        self.content, self._is_new = content, True

    def load(self) -> Mapping[str, Participant]:
        self._is_new = False
        return self.content

    def missing(self) -> bool:
        return False

    def changed(self) -> bool:
        return self._is_new


class Engine(ABC):
    """An engine whose sweeps, and whose time as far as they go by it, are up to the test."""

    exchange: Partition

    def __init__(self) -> None:
        self.said = Recorder()

    async def __aenter__(self) -> Self:
        self.exchange.attach(self.said)
        await self.exchange.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.exchange.close()

    @property
    def epoch(self) -> int:
        return self.said.snapshots[-1].epoch

    @property
    def seq(self) -> int:
        """The last number."""
        return self.said.batches[-1].last if self.said.batches else 0

    async def say(self, *commands: Command) -> list[Event]:
        """Submit commands at once; what they are answered."""
        before = len(self.said.batches)
        self.exchange.submit(commands)
        await self.exchange.drain()
        return [event for batch in self.said.batches[before:] for event in batch.events]

    async def sweep(self, seconds: float = 0.0) -> list[Event]:
        """What a sweep does, so many seconds later."""
        await self.later(seconds)
        return await self.say(SWEEP)

    @abstractmethod
    async def have(self, participants: Mapping[str, Participant]) -> None:
        """These have tokens from now on."""

    @abstractmethod
    async def later(self, seconds: float) -> None:
        """Who has left did so that much longer ago, and so it is with commands that count."""


class MemoryEngine(Engine):
    """One in memory."""

    def __init__(
        self,
        *,
        auth: Auth = Auth.OPEN,
        grace: float = GRACE,
        kept: int = KEPT,
        max_open_orders: int = 10_000,
        instruments: Instruments = INSTRUMENTS,
        sweeps: bool = False,
        **more: Any,
    ) -> None:
        super().__init__()
        self._participants, self._offset = Participants(), 0
        self.exchange = self.memory = MemoryExchange(
            instruments,
            max_open_orders,
            kept=kept,
            clock=lambda: microseconds() + self._offset,
            auth=auth,
            grace=grace,
            participants=cast(ParticipantFile, self._participants),
            **more,
        )
        if not sweeps:
            self.memory._plan_sweep = lambda: None  # type: ignore[method-assign]

    async def have(self, participants: Mapping[str, Participant]) -> None:
        self._participants.write(participants)
        await until(lambda: self.memory._sessions.participants is participants)

    async def later(self, seconds: float) -> None:
        self._offset += round(seconds * 1e6)


class ClusterEngine(Engine):
    """One on Redis."""

    def __init__(
        self,
        url: str,
        prefix: str,
        *,
        auth: Auth = Auth.OPEN,
        grace: float = GRACE,
        kept: int = KEPT,
        max_open_orders: int = 10_000,
        instruments: Instruments = INSTRUMENTS,
        sweeps: bool = False,
        **more: Any,
    ) -> None:
        super().__init__()
        self.keys = Keys(prefix)
        self.redis: Any = redis.Redis.from_url(url, protocol=2)
        self.cluster = ClusterExchange(
            instruments,
            url,
            prefix,
            max_open_orders=max_open_orders,
            kept=kept,
            auth=auth,
            grace=grace,
            **more,
        )
        self.exchange = self.cluster
        if not sweeps:
            self.cluster._sweep = lambda: None  # type: ignore[method-assign]

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        self.redis.close()

    async def have(self, participants: Mapping[str, Participant]) -> None:
        """As `wood participant` writes them."""
        write_participants(self.redis, self.keys, participants)
        self.cluster.beat_soon()

    async def later(self, seconds: float) -> None:
        for who, since in self.redis.zrange(self.keys.leaving, 0, -1, withscores=True):
            if since:
                self.redis.zadd(self.keys.leaving, {who: since - seconds * 1e6})
        for who, full_at in self.redis.zrange(self.keys.rates, 0, -1, withscores=True):
            self.redis.zadd(self.keys.rates, {who: full_at - seconds * 1e6})


def write_participants(client: Any, keys: Keys, participants: Mapping[str, Participant]) -> None:
    """Put them into Redis; who was not disabled and now is shall be swept."""
    client.delete(keys.participants, keys.limits)
    for name, known in participants.items():
        values = known.digest, known.added, known.operator, known.disabled
        client.hset(keys.participants, name, b"".join(map(msgpack.packb, values)))
        if known.limits:
            client.hset(keys.limits, name, msgpack.packb(to_builtins(known.limits)))
        if known.disabled:
            client.zadd(keys.leaving, {name: 0})


class EngineTests(ABC):
    """Tests that every engine has to pass."""

    @abstractmethod
    def engine(self, **rules: Any) -> Engine:
        """A fresh one with the instruments WOOD and PEAR."""


class InMemory(EngineTests):
    """Those of the engine in memory."""

    @pytest.fixture(autouse=True)
    def _quickly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "WATCH", 0.005)

    def engine(self, **rules: Any) -> MemoryEngine:
        return MemoryEngine(**rules)


class OnRedis(EngineTests):
    """Those of the engine on Redis, a real one."""

    @pytest.fixture(autouse=True)
    def _server(self, redis_url: str, prefix: str) -> None:
        self.url = redis_url
        self._prefixes = (f"{prefix}:{n}" for n in count())

    def engine(self, **rules: Any) -> ClusterEngine:
        return ClusterEngine(self.url, next(self._prefixes), **rules)
