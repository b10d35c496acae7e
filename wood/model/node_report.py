"""What a node says of itself: on its page `/status`, and in a cluster with its beats in Redis."""

from msgspec import Struct


class PartitionReport(Struct, frozen=True):
    """How far a node is in the journal of a partition. Times are seconds."""

    epoch: int
    seq: int
    time: int
    """Of the last batch, in microseconds since the epoch of clocks; 0: there was none."""
    waiting: int
    """Commands that wait to be decided."""
    waited: float
    """How long something has waited without any answer; 0 if nothing waits."""
    gaps: int = 0
    resyncs: int = 0
    forks: int = 0
    outages: int = 0
    writer: str = ""
    """Its id as a writer; empty in a single server."""


class NodeReport(Struct, frozen=True):
    """One node. Counts are since it started; rates are a second, over the last ten or so."""

    name: str
    version: str
    mode: str
    """`memory` or `redis`."""
    host: str
    private: int
    public: int
    health: int
    started: int
    """Microseconds since the epoch of clocks; so is `time`, of this report."""
    time: int
    ready: str | None
    """None if it is; else why not."""
    sessions: int
    """Private connections."""
    named: int
    """Of these, those that have logged in."""
    subscribers: int
    commands: int
    refusals: int
    """Of commands, by any node of the cluster, as the journal has them."""
    unavailable: int
    """Of refusals, those because Redis could not be written to; this node's own."""
    events: int
    trades: int
    errors: int
    """Records of its log that were errors or worse."""
    slow: int
    """Clients that were closed since they did not read."""
    command_rate: float
    event_rate: float
    trade_rate: float
    refusal_rate: float
    loop_lag: float
    """Seconds by which the event loop was late, at most, over the last ten or so."""
    submit_p50: float | None
    submit_p99: float | None
    """Seconds, over the last ten or so; None without any command."""
    partitions: dict[str, PartitionReport]
    states: dict[str, str]
    """`open` or `halted`, of each instrument. Beats leave it out: Redis knows the states itself."""
    readers: dict[str, int] = {}
    """Of readers that are part of this process: how many events they are behind."""
    feed_lag_p99: float | None = None
    """Seconds from a decision until its events were handed to clients, over the last ten or so."""
