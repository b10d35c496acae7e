"""What Redis tells of the exchange, and whether it takes writes from one who may write."""

import asyncio

from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as Silent

from wood.alerts.look import Asked, NodeSeen, PartitionSeen, ReaderSeen
from wood.alerts.sources import Clock, Source, end
from wood.exchange.cluster.client import Client, connect
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.overview import SECOND, Overview, PartitionView, ReaderView, View
from wood.model.text import printable


class WriteProbe:
    """Deletes what is not there: that changes nothing, and yet Redis refuses it, or lets it wait,
    as it does any other write.
    """

    def __init__(self, url: str, prefix: str, tag: str, clock: Clock) -> None:
        keys = Keys(prefix, tag)
        self._key = keys.meta.removesuffix("meta") + "nothing"
        self._client: Client = connect(url, keys.meta)
        self._clock = clock
        self._asked: float | None = None
        """Since when an answer is waited for."""
        self.refusal: str | None = None
        self.answered = asyncio.Event()
        """Set when there was an answer, whatever it was, for the first time."""

    def waits(self, answers_since: float | None) -> float:
        """Seconds for which Redis has not answered, while it has answered others since then."""
        if self._asked is None or answers_since is None:
            return 0.0
        return max(0.0, self._clock() - max(self._asked, answers_since))

    async def run(self, interval: float) -> None:
        """Try for ever."""
        while True:
            if self._asked is None:
                self._asked = self._clock()
            try:
                await self._client.unlink(self._key)
            except (Silent, TimeoutError):
                pass  # what was asked is still not answered
            except ResponseError as error:
                self._answer(printable(str(error)))
            except Exception:  # it is away, which is seen by who asks for the rest
                self._asked = None
            else:
                self._answer(None)
            await asyncio.sleep(interval)

    def _answer(self, refusal: str | None) -> None:
        self._asked, self.refusal = None, refusal
        self.answered.set()

    async def close(self) -> None:
        """Let go of the connection."""
        await self._client.aclose()


class RedisWatch:
    """Asks Redis for everything, and tries to write in each partition that it finds."""

    def __init__(self, url: str, prefix: str, interval: float, clock: Clock, fresh: float) -> None:
        """Raises `ConfigError` for a URL that cannot be one."""
        self._url, self._prefix = url, prefix
        self._interval, self._clock = interval, clock
        self._overview = Overview(url, prefix)
        self._probes: dict[str, WriteProbe] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.source: Source[View] = Source(self._ask, interval, clock, fresh)

    async def _ask(self) -> View:
        view = await self._overview.ask()
        for partition in view.partitions.values():
            if partition.tag not in self._probes:
                probe = WriteProbe(self._url, self._prefix, partition.tag, self._clock)
                self._probes[partition.tag] = probe
                run = probe.run(self._interval)
                self._tasks[partition.tag] = asyncio.create_task(run)
        return view

    async def tried(self, patience: float) -> None:
        """Wait until it has answered all questions once, or has not for so long."""
        await self.source.tried.wait()
        waiting = [asyncio.create_task(probe.answered.wait()) for probe in self._probes.values()]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=patience)
            for task in late:
                task.cancel()

    def state(self) -> Asked[list[PartitionSeen]]:
        """All partitions as they are now."""
        asked = self.source.state()
        if asked.answer is None:
            return Asked(None, asked.since, asked.reason)
        found = [self._seen(partition) for partition in asked.answer.partitions.values()]
        return Asked(found, asked.since)

    def _seen(self, view: PartitionView) -> PartitionSeen:
        probe = self._probes[view.tag]
        server = view.redis
        return PartitionSeen(
            view.name,
            view.journal,
            view.epoch,
            view.seq,
            view.batch,
            view.lease,
            view.epochs,
            _nodes(view),
            {name: _reader(view, reader) for name, reader in view.readers.items()},
            refuses=probe.refusal,
            stalls=probe.waits(self.source.answers_since),
            aof_enabled=server.aof_enabled,
            aof_size=server.aof_current_size,
            write_status=server.aof_last_write_status,
            rewrite_status=server.aof_last_bgrewrite_status,
            memory=server.used_memory,
            max_memory=server.maxmemory,
        )

    async def close(self) -> None:
        """Let go of the connections."""
        await end(self._tasks.values())
        for probe in self._probes.values():
            await probe.close()
        await self._overview.close()


def _nodes(view: PartitionView) -> list[NodeSeen]:
    found = []
    for writer, node in view.nodes.items():
        heard = max(0.0, (view.now - node.time) / SECOND) if node.time else 0.0
        silent = view.writers.get(writer, heard)
        found.append(NodeSeen(node.name or writer, node.lost, silent, node.report, writer))
    return found


def _reader(view: PartitionView, reader: ReaderView) -> ReaderSeen:
    kept = max(0.0, (view.now - reader.kept_at) / SECOND)
    return ReaderSeen(reader.position, reader.behind, kept)
