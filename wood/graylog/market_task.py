"""The market of a single server, told by a task of its process.

Its journal is in memory and bounded: while Graylog is away or too slow, what falls out of it is
told as `market.skipped`. Nothing outlives the process.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from wood.exchange.memory import MemoryExchange
from wood.exchange.memory_tail import MemoryTail
from wood.exchange.tail import Tail
from wood.graylog.address import Address
from wood.graylog.courier import Courier
from wood.graylog.market import Which
from wood.graylog.market_outages import Outages
from wood.graylog.market_reader import MakeCourier, MarketReader

log = logging.getLogger("wood.graylog")

TICK = 1.0
"""Seconds between two looks at how far it is."""

AGAIN = 5.0
"""Seconds after which a reader that failed begins again."""

LAST = 4.0
"""Seconds in which what was not told yet may be told at the end. With one for a process that does
not end, and one for the log, a server stops well within the ten that `docker stop` gives it.
"""


def market_task(
    exchange: MemoryExchange,
    address: Address,
    node: str,
    which: Which,
    on_behind: Callable[[int], None] = lambda events: None,
) -> "MarketTask":
    """What tells Graylog at `address` the market of `exchange`, which has not started yet.

    `on_behind` is told once a second how many events it is behind. Raises `ConfigError` if the
    files of TLS are of no use.
    """
    outages = Outages(address)

    def courier() -> Courier:
        return Courier(address, node, exchange.instruments, which, outages.on_state)

    courier()  # what is wrong with its files is to be said now

    async def make() -> Courier:
        return courier()

    tail = MemoryTail(exchange)
    return MarketTask(exchange.name, tail, make, node, which, on_behind, lambda: outages.away)


class MarketTask:
    """Runs from `start` to `close`; nothing that fails here stops the exchange."""

    def __init__(
        self,
        partition: str,
        tail: Tail,
        make_courier: MakeCourier,
        node: str,
        which: Which,
        on_behind: Callable[[int], None],
        away: Callable[[], bool] = lambda: False,
    ) -> None:
        self._tail = tail
        self._reader = MarketReader(partition, tail, make_courier, node, which)
        self._on_behind = on_behind
        self._away = away
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False

    def start(self) -> None:
        """Begin, once the exchange has started."""
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._watch())]

    @property
    def records(self) -> int:
        """How many records were told, and confirmed."""
        return self._reader.told

    async def told(self) -> None:
        """Wait until all that was decided is told."""
        await self._reader.caught_up()

    async def close(self) -> None:
        """Tell what was decided until now, for some seconds at most; if Graylog is known to be
        away, for none. Safe to call twice.
        """
        if self._tasks:
            run, watch = self._tasks
            watch.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(0 if self._away() else LAST):
                    await self.told()
            self._closing = True
            self._reader.stop()
            if behind := await self._tail.behind():
                log.warning("the last %d events were not told to Graylog", behind)
                run.cancel()
            await asyncio.wait(self._tasks)
            self._tasks = []
        await self._tail.close()

    async def _run(self) -> None:
        while not self._closing:
            try:
                await self._reader.run()
            except Exception:
                # Graylog is told less than it should be; but the market goes on.
                log.exception("the market is not told to Graylog; that begins again")
                await asyncio.sleep(AGAIN)

    async def _watch(self) -> None:
        while True:
            self._on_behind(await self._tail.behind())
            await asyncio.sleep(TICK)
