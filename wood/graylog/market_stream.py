"""The market of a whole cluster: a reader for each partition, those too that are added later."""

import asyncio
import logging
from contextlib import suppress

from wood.exchange.cluster.client import FAILURES, connect
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.layout import Layout
from wood.exchange.cluster.stored_tail import StoredTail
from wood.graylog.address import Address
from wood.graylog.courier import Courier
from wood.graylog.market import Which
from wood.graylog.market_outages import Outages, RedisOutages
from wood.graylog.market_reader import MarketReader
from wood.model.errors import ConfigError
from wood.model.log_events import LogEvent, told

log = logging.getLogger("wood.graylog")

LOOK = 1.0
"""Seconds between two looks for partitions that are new."""

MEASURE = 10.0
"""Seconds between two words about how far each is, while there is something new."""

LAST = 5.0
"""Seconds in which what is under way may be confirmed, when it is time to end."""


class _Partition:
    """One that is told."""

    def __init__(self, tail: StoredTail, reader: MarketReader) -> None:
        self.tail = tail
        self.reader = reader
        self.task = asyncio.create_task(reader.run())
        self.measured = -1  # how many records had been told when it was last said


class MarketStream:
    """Tells Graylog at `address`, in the name of `node`, what happens in the exchange under
    `prefix` in the Redis at `url`; how far it is stands there under the name `reader`.
    """

    def __init__(
        self, url: str, prefix: str, reader: str, address: Address, node: str, which: Which
    ) -> None:
        self._url = url
        self._prefix = prefix
        self._reader = reader
        self._address = address
        self._node = node
        self._which = which
        self._outages = Outages(address)
        self._layout = Layout(url, prefix)
        self._told: dict[str, _Partition] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Tell until `stop` is set. Raises `ConfigError` if there is no such exchange."""
        try:
            await self._layout.check_server()
            await self._look()
            if not self._told:
                raise ConfigError(
                    f"there is no exchange under the prefix {self._prefix!r}: start a node first, "
                    "or name the right --redis and --prefix"
                )
            await self._until(stop)
        finally:
            await self._end()

    async def _until(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        measured = loop.time()
        while not stop.is_set():
            await self._wait(stop)
            with suppress(*FAILURES):
                await self._look()
            if loop.time() - measured >= MEASURE:
                measured = loop.time()
                await self._measure()

    async def _wait(self, stop: asyncio.Event) -> None:
        """Until it is time to stop, or to look again; or a reader fails, and then so does this."""
        stopping = asyncio.create_task(stop.wait())
        tasks = [each.task for each in self._told.values()]
        await asyncio.wait([stopping, *tasks], timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        for task in tasks:
            if task.done():
                task.result()

    async def _look(self) -> None:
        """Begin to tell partitions that are new, and have a book by now."""
        for name, tag in (await self._layout.look()).items():
            if name not in self._told and await self._is_there(tag):
                self._told[name] = self._begin(name, tag)
                log.info("telling Graylog at %s the market of %s", self._address, name)

    async def _is_there(self, tag: str) -> bool:
        keys = Keys(self._prefix, tag)
        client = connect(self._url, keys.meta)
        try:
            return bool(await client.hexists(keys.meta, "rules"))
        finally:
            await client.aclose()

    def _begin(self, name: str, tag: str) -> _Partition:
        redis = RedisOutages(name)
        tail = StoredTail(
            *(self._url, self._prefix, tag, None, self._reader),
            partition=name,
            when_away=redis.when_away,
        )

        async def make() -> Courier:
            assert tail.instruments is not None, "there is something to tell, so it was read"
            states = self._outages.on_state
            return Courier(self._address, self._node, tail.instruments, self._which, states)

        return _Partition(tail, MarketReader(name, tail, make, self._node, self._which))

    async def _measure(self) -> None:
        """Say how far each partition is, if there is anything new to say."""
        for name, partition in self._told.items():
            reader = partition.reader
            try:
                async with asyncio.timeout(LOOK):
                    behind = await reader.behind()
            except TimeoutError:
                continue  # it waits for Redis, and has said so
            if reader.position is None or (reader.told == partition.measured and not behind):
                continue
            partition.measured = reader.told
            log.info(
                "%s: %d records told, up to number %d; %d events behind",
                name,
                reader.told,
                reader.position.seq,
                behind,
                extra=told(
                    LogEvent.READER_MEASURED,
                    partition=name,
                    epoch=reader.position.epoch,
                    seq=reader.position.seq,
                    records=reader.told,
                    behind=behind,
                ),
            )

    async def _end(self) -> None:
        """Let what is under way be confirmed, if Graylog is there; then let go of everything."""
        everything = list(self._told.values())
        tasks = [each.task for each in everything]
        for each in everything:
            each.reader.stop()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=0 if self._outages.away else LAST)
            for task in late:
                task.cancel()
            await asyncio.wait(tasks)
            if late:
                log.warning(
                    "what was under way is not confirmed; it is sent again after the next start"
                )
        for each in everything:
            await each.tail.close()
        await self._layout.close()
