"""Books that are gone: Redis answers, and what was there is not there any more."""

from collections.abc import Iterator

from msgspec import Struct

from wood.alerts.look import Look


class Gone(Struct):
    """A partition that is gone."""

    name: str
    seq: int
    """The last number that was seen."""
    nodes: list[str]
    """The names of those that were there, and not declared dead."""
    since: float
    clearable: bool
    """Whether somebody may clear it on purpose: no node is there, and Redis has not been away."""
    told: bool = False


class GoneBooks:
    """Remembers what there was. A book that is cleared on purpose is none that is gone.

    That is one without any node when it was last seen, since `wood reset` clears no other, and from
    a Redis that has answered ever since.
    """

    def __init__(self) -> None:
        self._there: dict[str, Gone] = {}
        self._gone: dict[str, Gone] = {}

    def gone(self, look: Look) -> Iterator[Gone]:
        """Those that are gone. To be called with each look, in order."""
        if look.redis is None:
            return
        if look.redis.answer is None:
            for book in self._there.values():
                book.clearable = False
            return
        there = {}
        for partition in look.partitions:
            name = partition.name
            nodes = [node.name for node in partition.nodes if not node.lost]
            there[name] = Gone(name, partition.seq, nodes, look.now, clearable=not nodes)
        for name, book in self._there.items():
            if name not in there and not book.clearable:
                book.since = look.now
                self._gone[name] = book
        self._there = there
        for name in there:
            self._gone.pop(name, None)
        yield from self._gone.values()
