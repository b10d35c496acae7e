"""Reports of nodes, for tests of those who read them."""

from typing import Any

from msgspec.structs import replace

from wood.model.node_report import NodeReport, PartitionReport

NOW = 1_800_000_000_000_000
"""Microseconds: when all of this is said."""

_PARTITION = PartitionReport(
    epoch=1, seq=120, time=NOW - 2_000_000, waiting=0, waited=0.0, writer="a1"
)

_NODE = NodeReport(
    name="node1", version="0.1.0", mode="redis", host="127.0.0.1", private=7001, public=7002,
    health=7011, started=NOW - 60_000_000, time=NOW, ready=None, sessions=3, named=2,
    subscribers=1, commands=100, refusals=4, unavailable=0, events=120, trades=20, errors=0,
    slow=0, command_rate=10.0, event_rate=12.0, trade_rate=2.0, refusal_rate=0.4,
    loop_lag=0.002, submit_p50=0.001, submit_p99=0.005, partitions={"main": _PARTITION},
    states={"WOOD": "open"},
)  # fmt: skip


def partition_report(**fields: Any) -> PartitionReport:
    """One of a partition that is well, but for these fields."""
    return replace(_PARTITION, **fields)


def node_report(**fields: Any) -> NodeReport:
    """One of a node that is well, but for these fields."""
    return replace(_NODE, **fields)
