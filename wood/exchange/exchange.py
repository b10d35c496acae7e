"""What a node knows of an engine, whether that lives in this process or in Redis."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Protocol

from wood.exchange.vitals import Vitals
from wood.model.commands import Command
from wood.model.events import Batch, Snapshot
from wood.model.instruments import Instruments


class Reader(Protocol):
    """Something that folds the journal: a router of reports, a public feed, a candle chart."""

    def reset(self, snapshot: Snapshot) -> None:
        """Forget everything and begin from `snapshot`: at the start, or because history forked."""

    def apply(self, batch: Batch) -> None:
        """Fold the next batch. Batches arrive in order, each once, and never overlap."""


class Exchange(ABC):
    """An engine: it alone decides, in batches, and numbers what it decided.

    `submit` promises nothing but "taken, in this order". Every answer, refusals included, comes
    back to the attached readers in a `Batch`, in the order in which the commands were submitted.
    """

    def __init__(self, instruments: Instruments) -> None:
        self.instruments = instruments
        self._readers: list[Reader] = []
        self._room: Callable[[str], None] = lambda partition: None
        self._fail: Callable[[Exception], None] = lambda error: None

    def attach(self, reader: Reader) -> None:
        """Let `reader` see the journal from `start` on."""
        self._readers.append(reader)

    def when_room(self, call: Callable[[str], None]) -> None:
        """Have `call` called with the name of a partition whose queue was full and has room."""
        self._room = call

    def when_failed(self, call: Callable[[Exception], None]) -> None:
        """Have `call` called if the engine or a reader broke: nothing more will be decided.

        What was told may be incomplete then, so that to go on would be worse than to stop.
        """
        self._fail = call

    def report_by(self, call: Callable[[], bytes]) -> None:  # noqa: B027 - nobody to be told
        """Let others see what `call` returns, a `NodeReport` in MessagePack, wherever this engine
        can show it: with its beats in Redis.
        """

    @abstractmethod
    async def start(self) -> None:
        """Make ready to take commands; reset the readers. Raises `ConfigError` if it cannot."""

    @property
    @abstractmethod
    def partitions(self) -> Mapping[str, "Partition"]:
        """By name, each with a journal of its own; that of the default instrument is first."""

    @property
    def ready(self) -> str | None:
        """None if commands can be decided now; else, in a few words, why they have to wait."""
        reasons = (partition.ready for partition in self.partitions.values())
        return next(filter(None, reasons), None)

    @abstractmethod
    def submit(self, commands: Sequence[Command]) -> str | None:
        """Queue commands, in order. Never blocks and never refuses.

        Returns the name of a partition whose queue is so full now that the node must not hear who
        said these any further, until there is room in it again; None if there is no such.
        """

    def abandon(self, session: str) -> bool:
        """Who asked for a login is gone: take back what is granted, and tell nobody.

        Returns False if the answer will come soon in any case, and has to be waited for.
        """
        return False

    @abstractmethod
    async def drain(self) -> None:
        """Wait until everything submitted so far is answered, or the engine has failed."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of what the engine holds. Safe to call twice."""


class Partition(Exchange):
    """An engine whose instruments share one journal, and are decided in one atomic step."""

    def __init__(self, instruments: Instruments) -> None:
        super().__init__(instruments)
        self.vitals = Vitals()
        """What it counts and times of itself."""

    @property
    def writer(self) -> str:
        """This node's id among those who write the journal; empty if there are no others."""
        return ""

    @property
    def name(self) -> str:
        """The name of the partition."""
        return self.instruments.default.partition

    @property
    def partitions(self) -> Mapping[str, "Partition"]:
        """Itself."""
        return {self.name: self}

    @property
    def ready(self) -> str | None:
        """As of any exchange; one that never has to wait says so by None."""
        return None

    @property
    @abstractmethod
    def full(self) -> bool:
        """Whether so much is queued that the node must stop reading from its clients."""

    @abstractmethod
    def events(self, after: int, concerning: str | None = None) -> AsyncGenerator[Batch, None]:
        """The kept batches with numbers greater than `after`, oldest first, up to the present end.

        The first may begin at or before `after`, since a batch is never divided. With `concerning`
        those that do not concern that participant may be left out. Waits while the journal cannot
        be reached; raises `JournalTrimmed` when events after that number are no longer kept. Who
        leaves it early closes it.
        """

    @abstractmethod
    async def continues(self, epoch: int, seq: int) -> bool:
        """Whether event `seq` of `epoch` is in the present history, and all since then is kept.

        Waits while the journal cannot be reached.
        """

    @abstractmethod
    async def snapshot(self) -> Snapshot:
        """The books as they stand, and the number of the last event in them."""
