"""The exchange at a glance, as `wood status --json` writes it: docs/status.md has each key.

Times that lie back are seconds until now. What nobody knows is None.
"""

from msgspec import Struct


class Trouble(Struct, frozen=True):
    """Something that is not well. `what` is a stable word, where it can be that of an alert."""

    what: str
    where: str
    """The node, the partition or the reader concerned."""
    text: str


class Rates(Struct, frozen=True):
    """A second, over the last ten or so, of the whole exchange."""

    commands: float
    events: float
    trades: float
    refusals: float


class NodeStatus(Struct, frozen=True):
    """A node. What it says of itself is None if it has not said anything."""

    name: str
    state: str
    """`ready`, `draining`, `unready`, `silent` (does not answer), `unknown` or `lost`."""
    reason: str | None
    """Why it is not ready."""
    age: float | None
    """Since it said all this."""
    up: float | None = None
    version: str | None = None
    mode: str | None = None
    host: str | None = None
    private: int | None = None
    public: int | None = None
    health: int | None = None
    sessions: int | None = None
    named: int | None = None
    subscribers: int | None = None
    command_rate: float | None = None
    submit_p50: float | None = None
    submit_p99: float | None = None
    feed_lag_p99: float | None = None
    loop_lag: float | None = None
    lag: float | None = None
    """By how much its journal is behind at least, of the partition in which that is the most."""
    errors: int | None = None
    slow: int | None = None


class PartitionStatus(Struct, frozen=True):
    """A partition and its journal."""

    name: str
    epoch: int
    seq: int
    """The number of the last event."""
    age: float | None
    """Since the last batch; None: there was none."""
    waiting: int
    """Commands that wait to be decided, of all nodes."""
    waited: float
    """How long one of them has waited without any answer, at most."""
    forks: int
    """Of its history, as far as nodes that live have seen one."""
    resting: int | None
    """Open orders; a node does not tell."""


class InstrumentStatus(Struct, frozen=True):
    """Whether an instrument is traded: `open` or `halted`."""

    symbol: str
    partition: str
    state: str


class ReaderStatus(Struct, frozen=True):
    """One who reads the journal to its end and keeps its position."""

    name: str
    partition: str
    behind: int
    age: float | None
    """Since it kept a position."""


class RedisStatus(Struct, frozen=True):
    """A server, as it says of itself. Sizes are bytes."""

    partitions: list[str]
    """That lie on it."""
    version: str
    role: str
    replicas: int
    memory: int
    max_memory: int
    """0: without a limit."""
    append_only: bool
    append_only_size: int
    failing: list[str]
    """What it last could not write to disk: `append-only file`, `rewrite of it` or `snapshot`."""
    latency: float


class Summary(Struct, frozen=True):
    """All of it, at one moment."""

    time: float
    """Seconds since the epoch of clocks."""
    well: bool
    troubles: list[Trouble]
    rates: Rates
    nodes: list[NodeStatus]
    partitions: list[PartitionStatus]
    instruments: list[InstrumentStatus]
    readers: list[ReaderStatus]
    redis: list[RedisStatus]
