"""The prices that have a level, in order, cheap at a hundred of them and at a million."""

from bisect import bisect_left, insort
from collections.abc import Iterator

CHUNK = 512
"""Keys after which a chunk has grown to twice its size and is split.

One flat list would move megabytes for an insertion in the middle of a million prices.
"""


class SortedPrices:
    """Distinct integer keys, kept sorted; the greatest is the best.

    A side that prefers low prices hands in negated ones (see `BookSide`). Adding and removing near
    the best key, where a market lives, touches only the last chunk.
    """

    __slots__ = ("_chunks", "_lasts", "_size")

    def __init__(self) -> None:
        self._chunks: list[list[int]] = [[]]
        self._lasts: list[int] = []  # the greatest key of each chunk but the last one
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def best(self) -> int | None:
        """The greatest key, None if there is none."""
        last = self._chunks[-1]
        return last[-1] if last else None

    def worst(self) -> int | None:
        """The least key, None if there is none."""
        first = self._chunks[0]
        return first[0] if first else None

    def add(self, key: int) -> None:
        """Add a key that is not there."""
        lasts = self._lasts
        index = bisect_left(lasts, key) if lasts else 0
        chunk = self._chunks[index]
        insort(chunk, key)
        self._size += 1
        if len(chunk) >= 2 * CHUNK:
            self._chunks.insert(index, chunk[:CHUNK])
            lasts.insert(index, chunk[CHUNK - 1])
            del chunk[:CHUNK]

    def remove(self, key: int) -> None:
        """Remove a key that is there."""
        lasts = self._lasts
        index = bisect_left(lasts, key) if lasts else 0
        chunk = self._chunks[index]
        del chunk[bisect_left(chunk, key)]
        self._size -= 1
        if not chunk and lasts:
            del self._chunks[index]
            del lasts[index if index < len(lasts) else -1]
        # The bound of a chunk whose greatest key went stays: it still divides it from the next.

    def descending(self) -> Iterator[int]:
        """All keys, best first. They must not change meanwhile."""
        for chunk in reversed(self._chunks):
            yield from reversed(chunk)

    def below(self, key: int | None, count: int) -> list[int]:
        """Up to `count` keys, best first, that are less than `key` (None: from the best on)."""
        index = len(self._chunks) - 1 if key is None else bisect_left(self._lasts, key)
        end = len(self._chunks[index]) if key is None else bisect_left(self._chunks[index], key)
        keys: list[int] = []
        while len(keys) < count and index >= 0:
            keys += self._chunks[index][max(0, end - count + len(keys)) : end][::-1]
            index -= 1
            end = len(self._chunks[index]) if index >= 0 else 0
        return keys
