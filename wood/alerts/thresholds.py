"""From when on something is wrong."""

from msgspec import Struct


class Thresholds(Struct, frozen=True):
    """Times are seconds."""

    redis_away: float = 5.0
    """Without an answer of Redis."""
    node_silent: float = 10.0
    """Without an answer of a node that was named, or without a beat of one that nobody declares
    dead."""
    stalled: float = 5.0
    """Orders wait, and nothing is decided."""
    behind_events: int = 100_000
    """Of a reader."""
    behind_seconds: float = 30.0
    """In which a reader that is behind does not move."""
    forked_for: float = 600.0
    """How long a fork is shown: it is over at once, what it cost is not."""
    errors: int = 1
    """In the time below."""
    errors_within: float = 60.0
    disk_full: float = 85.0
    """Per cent."""
    memory_full: float = 90.0
    """Per cent of the memory that Redis may use."""
