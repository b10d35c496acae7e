"""The market of a whole cluster: a reader for each partition, those too that are added later."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from wood.exchange.cluster.client import FAILURES, Client, connect
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.layout import Layout
from wood.exchange.cluster.rules import instruments_in
from wood.exchange.tail import Tail
from wood.graylog.market import Which
from wood.graylog.market_reader import Courier, MarketReader
from wood.model.errors import ConfigError
from wood.model.instruments import Instruments
from wood.model.log_events import LogEvent, told

log = logging.getLogger("wood.graylog")

LOOK = 1.0
"""Seconds between two looks for partitions that are new."""

MEASURE = 10.0
"""Seconds between two words about how far each is, while there is something new."""

AGAIN = 0.1
"""Seconds after which Redis is asked once more."""

LAST = 5.0
"""Seconds in which what is under way may be confirmed, when it is time to end."""

MakeTail = Callable[[str, str], Tail]
"""The tail of a partition, by its name and tag."""

MakeCourier = Callable[[Instruments], Awaitable[Courier]]


class _Partition:
    """One that is told: what reads it, and what that reads from."""

    def __init__(self, client: Client, keys: Keys, tail: Tail) -> None:
        self.client = client
        self.keys = keys
        self.tail = tail
        self.reader: MarketReader
        self.task: asyncio.Task[None]
        self.measured = -1  # how many records had been told when it was last said

    async def instruments(self) -> Instruments:
        """Those that are traded there now; waits until that can be known."""
        while True:
            with suppress(*FAILURES):
                rules = await self.client.hget(self.keys.meta, "rules")
                if rules is not None:
                    return instruments_in(rules.decode())
            await asyncio.sleep(AGAIN)

    async def close(self) -> None:
        await self.tail.close()
        await self.client.aclose()


class MarketStream:
    """Tells Graylog what happens in the exchange under `prefix` in the Redis at `url`."""

    def __init__(
        self,
        url: str,
        prefix: str,
        node: str,
        which: Which,
        make_tail: MakeTail,
        make_courier: MakeCourier,
    ) -> None:
        self._url = url
        self._prefix = prefix
        self._node = node
        self._which = which
        self._make_tail = make_tail
        self._make_courier = make_courier
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
        stopping = asyncio.create_task(stop.wait())
        measured = loop.time()
        while not stop.is_set():
            tasks = [each.task for each in self._told.values()]
            await asyncio.wait(
                [stopping, *tasks], timeout=LOOK, return_when=asyncio.FIRST_COMPLETED
            )
            for task in tasks:
                if task.done():
                    task.result()  # a reader that ends by itself has failed
            with suppress(*FAILURES):
                await self._look()
            if loop.time() - measured >= MEASURE:
                measured = loop.time()
                await self._measure()
        await stopping

    async def _look(self) -> None:
        """Begin to tell partitions that are new, and have a book by now."""
        for name, tag in (await self._layout.look()).items():
            if name in self._told:
                continue
            keys = Keys(self._prefix, tag)
            client = connect(self._url, keys.meta)
            try:
                there = await client.hexists(keys.meta, "rules")
            except BaseException:
                await client.aclose()
                raise
            if not there:
                await client.aclose()
                continue
            self._begin(name, _Partition(client, keys, self._make_tail(name, tag)))

    def _begin(self, name: str, partition: _Partition) -> None:
        async def make() -> Courier:
            return await self._make_courier(await partition.instruments())

        partition.reader = MarketReader(name, partition.tail, make, self._node, self._which)
        partition.task = asyncio.create_task(partition.reader.run())
        self._told[name] = partition
        log.info("telling Graylog the market of partition %s", name)

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
        """Let what is under way be confirmed; then let go of everything."""
        everything = list(self._told.values())
        tasks = [each.task for each in everything]
        for each in everything:
            each.reader.stop()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=LAST)
            for task in late:
                task.cancel()
            await asyncio.wait(tasks)
            if late:
                log.warning(
                    "what was under way is not confirmed; it is sent again after the next start"
                )
        for each in everything:
            await each.close()
        await self._layout.close()
