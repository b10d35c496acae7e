"""What is not well, of all that is shown, and why. No I/O and no clock.

Here is what can be seen at one moment; what takes longer to see is for `wood alert`.
"""

from collections.abc import Iterator, Sequence

from wood.monitor.summary import (
    NodeStatus,
    PartitionStatus,
    ReaderStatus,
    RedisStatus,
    Trouble,
)

LATE = 2.0
"""Seconds that a node may be behind the journal: more than from one report to the next."""

STANDS = 0.5
"""Seconds by which an event loop may be late. Clients notice less than that."""

STALLED = 5.0
"""Seconds that something may wait to be decided: as long as Redis has for an answer."""

READER_AGE = 30.0
"""Seconds in which a reader that is behind has to get further."""

NEARLY_FULL = 0.9
"""Share of the memory that Redis may have."""


def of_nodes(nodes: Sequence[NodeStatus]) -> Iterator[Trouble]:
    """One that drains is not in trouble: somebody has told it to stop."""
    if not any(node.state in ("ready", "draining") for node in nodes):
        yield Trouble("no-node", "", "no node takes new connections")
    for node in nodes:
        if node.state in ("lost", "silent", "unready"):
            yield Trouble(f"node-{node.state}", node.name, node.reason or "")
        elif node.lag is not None and node.lag > LATE:
            yield Trouble("node-behind", node.name, f"{node.lag:.1f} s behind the journal")
        elif node.loop_lag is not None and node.loop_lag > STANDS:
            yield Trouble("node-slow", node.name, f"its event loop was {node.loop_lag:.1f} s late")


def of_partitions(partitions: Sequence[PartitionStatus]) -> Iterator[Trouble]:
    """A journal that stands still while nobody waits is a market that sleeps."""
    for each in partitions:
        if each.waited > STALLED:
            text = f"{each.waiting} commands wait, for {each.waited:.0f} s without any answer"
            yield Trouble("journal-stalled", each.name, text)


def of_readers(readers: Sequence[ReaderStatus]) -> Iterator[Trouble]:
    """One that is behind and gets no further. That of a server tells no times: alerts see it."""
    for each in readers:
        if each.behind and each.age is not None and each.age > READER_AGE:
            where = f"{each.name} in {each.partition}"
            text = f"{each.behind:,} events behind, and no further for {each.age:.0f} s"
            yield Trouble("reader-behind", where, text)


def of_redis(servers: Sequence[RedisStatus]) -> Iterator[Trouble]:
    """What keeps it from writing, or will."""
    for each in servers:
        where = ", ".join(each.partitions)
        if each.role != "master":
            yield Trouble("redis-not-writing", where, f"it is a {each.role}, no master")
        if each.failing:
            text = f"it could not write to disk: {', '.join(each.failing)}; its own log says why"
            yield Trouble("redis-not-writing", where, text)
        if each.max_memory and each.memory > NEARLY_FULL * each.max_memory:
            share = each.memory / each.max_memory
            yield Trouble("redis-memory", where, f"{share:.0%} of maxmemory is used")
