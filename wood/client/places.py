"""How far all was told, in each partition: instruments of different ones have numbers of their own.

Where there is one partition it has no name, and what is said of it is a bare number.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from wood.client.errors import ProtocolError

T = TypeVar("T")

Partition = str | None
"""The name of one; None for the only one."""

Numbers = int | dict[str, int]
"""A number, or one for each partition."""


class Places:
    """The last number that was told in each partition, and its epoch."""

    def __init__(self) -> None:
        self._seqs: dict[Partition, int] = {}
        self._epochs: dict[Partition, int] = {}
        self._of: dict[str, str] = {}  # the partition of each symbol, if there are several
        self._home: Partition = None  # that of the default instrument

    @property
    def seq(self) -> Numbers | None:
        """The last numbers, as they are said on the wire."""
        return _said(self._seqs)

    @property
    def epoch(self) -> Numbers | None:
        """The epochs of these."""
        return _said(self._epochs)

    def know(self, partitions: Mapping[str, Sequence[str]]) -> None:
        """Learn the symbols of each partition, that of the default instrument first.

        There are none if there is only one; what was told of others than these is forgotten.
        """
        self._of = {symbol: name for name, symbols in partitions.items() for symbol in symbols}
        self._home = next(iter(partitions), None)
        names: set[Partition] = {*partitions} or {None}
        self._seqs = {name: seq for name, seq in self._seqs.items() if name in names}
        self._epochs = {name: epoch for name, epoch in self._epochs.items() if name in names}

    def of(self, symbol: str | None) -> Partition:
        """The partition that a symbol leads to; without one, or if it is unknown, the first."""
        return self._home if symbol is None else self._of.get(symbol, self._home)

    def __len__(self) -> int:
        return len(self._seqs)

    def symbols(self, partitions: set[Partition]) -> tuple[str, ...]:
        """The instruments of these, where there are several."""
        return tuple(symbol for symbol, name in self._of.items() if name in partitions)

    def goes_on(self, partition: Partition, seq: int) -> bool:
        """Go on to `seq`; False if all up to there was told before."""
        if seq <= self._seqs.get(partition, 0):
            return False
        self._seqs[partition] = seq
        return True

    def reached(self, partition: Partition, seq: int, epoch: int) -> None:
        """All up to `seq`, which is of `epoch`, was told; perhaps more."""
        self.begin(partition, max(seq, self._seqs.get(partition, 0)), epoch)

    def begin(self, partition: Partition, seq: int, epoch: int) -> None:
        """What follows are greater numbers than `seq`, whatever was told before."""
        self._seqs[partition], self._epochs[partition] = seq, epoch


def by_partition(value: T | Mapping[str, T]) -> dict[Partition, T]:
    """What stands on the wire, bare if there is one partition."""
    if not isinstance(value, Mapping):
        return {None: value}
    found: dict[Partition, T] = {}
    found.update(value)
    return found


def places_in(seq: Numbers, epoch: Numbers) -> dict[Partition, tuple[int, int]]:
    """The number and the epoch of each partition. Raises `ProtocolError`."""
    seqs, epochs = by_partition(seq), by_partition(epoch)
    if seqs.keys() != epochs.keys():
        raise ProtocolError("the server names a seq and an epoch of different partitions")
    return {partition: (seqs[partition], epochs[partition]) for partition in seqs}


def _said(numbers: Mapping[Partition, int]) -> Numbers | None:
    if None in numbers:
        return numbers[None]
    return {name: number for name, number in numbers.items() if name is not None} or None
