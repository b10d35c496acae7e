"""A writer of the cluster without a node, and what it finds in Redis."""

from collections.abc import Awaitable, Callable
from typing import Any

import redis

from tests.engines import INSTRUMENTS, with_loop
from tests.redis_books import contents
from wood.exchange.cluster.client import Client, connect
from wood.exchange.cluster.exchange import ClusterExchange
from wood.exchange.cluster.formats import decode_entry, decode_events, encode_batch
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.membership import Membership
from wood.exchange.cluster.scripts import DECIDE
from wood.exchange.cluster.trading import TradingTexts
from wood.exchange.sessions import GRACE
from wood.model.commands import Command
from wood.model.events import Event
from wood.model.instruments import Instrument, Instruments

LIMITS = (100, 1000, 200)
LEASE = 60.0
NO_TOKENS = encode_batch([], []).tokens


class Raw:
    """A writer without a node: what it sends is up to the test."""

    def __init__(
        self,
        url: str,
        prefix: str,
        *,
        limits: tuple[int, int, int] = LIMITS,
        grace: float = GRACE,
        client: Client | None = None,
    ) -> None:
        self.url = url
        self.prefix = prefix
        self.keys = Keys(prefix)
        self.client = connect(url, "key") if client is None else client
        self.sync: Any = redis.Redis.from_url(url, protocol=2)
        self.grace = grace
        self._limits = limits
        self.membership = Membership(
            self.client,
            self.keys,
            instruments=INSTRUMENTS,
            limits=limits,
            persist=True,  # else the next node would clear the book when its lease has run out
            lease=LEASE,
            grace=grace,
        )

    async def __aenter__(self) -> "Raw":
        await self.membership.join(starting=True)
        self.writer = self.membership.writer
        self.number = 0
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        self.sync.close()

    async def decide(
        self,
        number: int,
        *commands: Command,
        writer: str | None = None,
        client: Client | None = None,
    ) -> Any:
        batch = encode_batch(commands, tuple(INSTRUMENTS))
        tokens = batch.tokens
        return await self.send(number, batch.data, batch.symbols, writer, client, tokens)

    async def say(self, *commands: Command) -> list[Event]:
        """Decide the next batch; what it is answered."""
        self.number += 1
        word, taken, data, answers = await self.decide(self.number, *commands)
        assert (word, taken) == (b"ok", len(commands))
        return decode_events(decode_entry(data), answers, tuple(INSTRUMENTS))

    def another(self) -> "Raw":
        """One more writer of the same partition, on the same connection."""
        limits, grace = self._limits, self.grace
        return Raw(self.url, self.prefix, limits=limits, grace=grace, client=self.client)

    async def is_due(self) -> bool:
        """Beat; whether a sweep has something to do."""
        state = await self.membership.beat()
        assert state is not None
        return state.due

    def silent_for(self, seconds: float, *writers: str) -> None:
        """Let it be so long ago that these were heard."""
        for writer in writers:
            self.sync.zincrby(self.keys.beats, -seconds * 1e6, writer)

    def leaving(self) -> dict[str, float]:
        """Who has left, and how many seconds ago; those who are due anyway since the beginning."""
        seconds, microseconds = self.sync.time()
        now = seconds + microseconds / 1e6
        found = self.sync.zrange(self.keys.leaving, 0, -1, withscores=True)
        return {name.decode(): now - since / 1e6 for name, since in found}

    async def send(
        self,
        number: int,
        data: bytes,
        symbols: tuple[str, ...],
        writer: str | None = None,
        client: Client | None = None,
        tokens: bytes = NO_TOKENS,
    ) -> Any:
        odd = [_named(symbol) for symbol in symbols if symbol not in INSTRUMENTS]
        listed = Instruments([*INSTRUMENTS.values(), *odd])
        return await DECIDE.run(
            client or self.client,
            [*self.keys.fixed, *self.keys.of(symbols)],
            writer or self.writer,
            number,
            data,
            self.keys.channels(),
            tokens,
            TradingTexts(listed).of(symbols),
        )

    def node(self) -> ClusterExchange:
        """One that may join."""
        return ClusterExchange(
            INSTRUMENTS,
            self.url,
            self.prefix,
            persist=True,
            max_open_orders=self._limits[0],
            max_resting_orders=self._limits[1],
            kept=self._limits[2],
            lease=LEASE,
            grace=self.grace,
        )

    def dump(self, match: str | None = None) -> dict[bytes, object]:
        """All that lies under the prefix."""
        return contents(self.sync, match or f"{self.prefix}*")

    def texts(self) -> list[bytes]:
        """Every member, field, value and score, in the very bytes in which a script sees them."""
        found: list[bytes] = []
        for key in self.dump():
            read = READ[self.sync.type(key)]
            found += _flat(self.sync.eval(f"return redis.call({read})", 1, key))
        return found


def _named(symbol: str) -> Instrument:
    """One with a symbol that no instrument can have."""
    instrument = Instrument("X")
    instrument.symbol = symbol
    return instrument


READ = {
    b"hash": "'HGETALL', KEYS[1]",
    b"zset": "'ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'",
    b"list": "'LRANGE', KEYS[1], 0, -1",
    b"stream": "'XRANGE', KEYS[1], '-', '+'",
}


def _flat(values: Any) -> list[bytes]:
    if isinstance(values, list):
        return [text for value in values for text in _flat(value)]
    return [values]


def raw_test(url: str, prefix: str, test: Callable[[Raw], Awaitable[None]], **rules: Any) -> None:
    """Run a test that has a writer."""

    async def main() -> None:
        async with Raw(url, prefix, **rules) as raw:
            await test(raw)

    with_loop(main)
