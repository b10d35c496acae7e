"""What a person may set of `wood cluster`."""

from pathlib import Path

from msgspec import Struct


class Settings(Struct, frozen=True):
    """The shape of a cluster on one machine."""

    nodes: int
    traders: int
    host: str
    private: int
    public: int
    redis: str | None
    """The URL of the Redis to use; None: one is started."""
    prefix: str
    data: Path | None
    """Where the Redis that is started keeps the book; None: in its memory only."""
    append: str
    """How soon it writes to disk, a value of its `appendfsync`."""
    haproxy: bool | None
    """Whether HAProxy stands in front; None: if it is installed."""
    options: tuple[str, ...]
    """What else each node is told, in the words of `wood -s -m`."""
    drain: float = 0.0
    """How long each node, by that, goes on serving when it is told to stop; seconds."""
