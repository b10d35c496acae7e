"""The order of the journal at a node: entries arrive by several ways, each is passed on once."""

from collections.abc import Iterator

from wood.exchange.cluster.formats import Entry

Offer = tuple[Entry, bytes | None]
"""An entry, and the answers to its queries if they are known."""

MAX_WAITING = 1000
"""How far ahead an entry may be to wait for those before it; the stream has what is dropped."""


class Sequence:
    """Keeps what came too early, drops what was seen. No I/O.

    Entries are counted by `Entry.batch` without gaps. Only those of a trusted epoch are passed on,
    up to its end: another one means that the server was changed, and somebody has to look where
    the new epoch began before its entries can be taken for the continuation of what was seen. An
    epoch is a greater number than those before it.
    """

    def __init__(self) -> None:
        self.batch = 0
        """The last entry passed on."""
        self.seq = 0
        """The last number passed on."""
        self.time = 0
        self.epoch = 0
        self.trusted: dict[int, int | None] = {}
        """Epoch -> its last entry, None for the present one."""
        self.held: set[tuple[str, int]] = set()
        """(writer, number) of batches whose answers to queries are still to come: they wait."""
        self._waiting: dict[int, Offer] = {}

    @property
    def position(self) -> str:
        """The id of the last entry passed on."""
        return f"{self.seq}-{self.batch}"

    def reset(self, epoch: int, batch: int, seq: int, time: int) -> None:
        """Begin after the entry `batch`, in `epoch` alone."""
        self.batch, self.seq, self.time, self.epoch = batch, seq, time, epoch
        self._waiting.clear()
        self.trust({epoch: None})

    def trust(self, epochs: dict[int, int | None]) -> None:
        """Take entries of these epochs; forget what waits and is of a lost history.

        What is not is kept: only the node's own copy of an entry has the answers to its queries.
        """
        self.trusted = epochs
        self._waiting = {b: offer for b, offer in self._waiting.items() if self._is_true(offer[0])}

    def offer(self, entry: Entry, answers: bytes | None = None) -> None:
        """Take an entry, from wherever; the answers to its queries come with one of its copies."""
        if entry.batch <= self.batch or entry.epoch < self.epoch:
            return
        known = self._waiting.get(entry.batch)
        if known is not None and (
            entry.epoch < known[0].epoch or (entry.epoch == known[0].epoch and answers is None)
        ):
            return
        if answers is not None or entry.batch <= self.batch + MAX_WAITING:
            self._waiting[entry.batch] = entry, answers

    def ready(self) -> Iterator[Offer]:
        """The entries that are next, each once."""
        while (offer := self._waiting.get(self.batch + 1)) is not None:
            entry = offer[0]
            if not self._continues(entry) or (entry.writer, entry.number) in self.held:
                return
            del self._waiting[entry.batch]
            self.batch, self.seq, self.time = entry.batch, entry.last, entry.time
            self.epoch = entry.epoch
            yield offer

    @property
    def incomplete(self) -> bool:
        """Whether something is missing, or of an unknown epoch, before what waits."""
        offer = self._waiting.get(self.batch + 1)
        if offer is None:
            return bool(self._waiting)
        return not self._continues(offer[0])

    def _continues(self, entry: Entry) -> bool:
        """Whether it is of a history that is known to go on from what was passed on."""
        return entry.epoch >= self.epoch and self._is_true(entry)

    def _is_true(self, entry: Entry) -> bool:
        """Whether its epoch is trusted as far as that."""
        if entry.epoch not in self.trusted:
            return False
        end = self.trusted[entry.epoch]
        return end is None or entry.batch <= end
