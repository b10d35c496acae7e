"""Several partitions behind the one interface that a node knows: nobody waits for two of them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from wood.exchange.exchange import Exchange, Partition
from wood.exchange.gathering import Gathering
from wood.model.commands import Command
from wood.model.events import Batch, Snapshot
from wood.model.instruments import Instruments


class PartitionedExchange(Exchange):
    """An engine for each partition of `instruments`, made by `make` of its name and instruments.

    Its readers see the batches of all of them, each partition's in order, with the answers to what
    was asked of all partitions once and as one. Who needs the journal attaches to a partition.
    """

    def __init__(
        self, instruments: Instruments, make: Callable[[str, Instruments], Partition]
    ) -> None:
        super().__init__(instruments)
        self._parts = {name: make(name, instruments.of(name)) for name in instruments.partitions}
        self._gathering = Gathering(instruments)
        for name, part in self._parts.items():
            part.attach(_Ear(name, self._reset, self._apply))

    @property
    def partitions(self) -> Mapping[str, Partition]:
        """The engines."""
        return self._parts

    def when_room(self, call: Callable[[str], None]) -> None:
        """As of each partition."""
        for part in self._parts.values():
            part.when_room(call)

    def when_failed(self, call: Callable[[Exception], None]) -> None:
        """As of each partition: if one is broken, the node is."""
        for part in self._parts.values():
            part.when_failed(call)

    def report_by(self, call: Callable[[], bytes]) -> None:
        """As of each partition, any of which may be asked."""
        for part in self._parts.values():
            part.report_by(call)

    async def start(self) -> None:
        """Start one after the other. Raises `ConfigError` if one cannot."""
        for part in self._parts.values():
            await part.start()

    def submit(self, commands: Sequence[Command]) -> str | None:
        """Queue commands for the partitions that they concern."""
        full = None
        for name, told in self._gathering.spread(commands).items():
            full = self._parts[name].submit(told) or full
        return full

    def abandon(self, session: str) -> bool:
        """Wait for no partition that is away."""
        found = self._gathering.abandon(session)
        self._tell_what_is_due()
        return found

    async def drain(self) -> None:
        """Wait for all."""
        await asyncio.gather(*(part.drain() for part in self._parts.values()))

    async def close(self) -> None:
        """Close all, whatever happens to one of them."""
        closings = (part.close() for part in self._parts.values())
        for result in await asyncio.gather(*closings, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    def _reset(self, partition: str, snapshot: Snapshot) -> None:
        self._gathering.lost(partition, snapshot.seq)
        for reader in self._readers:
            reader.reset(snapshot)
        self._tell_what_is_due()

    def _apply(self, batch: Batch) -> None:
        batch = self._gathering.gather(batch)
        for reader in self._readers:
            reader.apply(batch)
        self._tell_what_is_due()

    def _tell_what_is_due(self) -> None:
        due, self._gathering.due = self._gathering.due, []
        for partition, command in due:
            self._parts[partition].submit([command])


class _Ear:
    """A reader of one partition."""

    def __init__(
        self,
        partition: str,
        reset: Callable[[str, Snapshot], None],
        apply: Callable[[Batch], None],
    ) -> None:
        self.reset = partial(reset, partition)
        self.apply = apply
