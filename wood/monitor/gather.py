"""From what nodes say of themselves to what is shown of them. No I/O and no clock."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from wood.model.instruments import PARTITION
from wood.model.node_report import NodeReport, PartitionReport
from wood.monitor.summary import (
    InstrumentStatus,
    NodeStatus,
    PartitionStatus,
    Rates,
    ReaderStatus,
)

SECOND = 1_000_000
"""In microseconds, as reports and journals have times."""


class Head(NamedTuple):
    """How far a journal is. Ordered: a later epoch is further."""

    epoch: int
    seq: int
    time: int
    """Of the last batch; 0: there was none."""


class Heard(Struct, frozen=True):
    """What is known of a node, whichever way it came."""

    name: str
    report: NodeReport | None
    """The last one; None if it never said anything that we understand."""
    time: int
    """When it was last heard of, in microseconds; 0: never."""
    lost: bool = False
    """Whether others have declared it dead."""
    silent: str | None = None
    """Why it could not be asked, if it could not be."""


def ago(time: int, now: int) -> float | None:
    """Seconds since `time`; None if that never was. Clocks differ: what is to come is now."""
    return max(now - time, 0) / SECOND if time else None


def living(nodes: Iterable[Heard]) -> list[NodeReport]:
    """The reports of the nodes that are there."""
    return [each.report for each in nodes if each.report and not each.lost and not each.silent]


def furthest(reports: Iterable[NodeReport]) -> dict[str, Head]:
    """How far each partition is, as far as nodes know."""
    heads: dict[str, Head] = {}
    for report in reports:
        for name, part in report.partitions.items():
            heads[name] = max(heads.get(name, _head(part)), _head(part))
    return heads


def _head(part: PartitionReport) -> Head:
    return Head(part.epoch, part.seq, part.time)


def node_status(heard: Heard, heads: Mapping[str, Head], now: int) -> NodeStatus:
    """What is shown of a node."""
    report = heard.report
    if report is None:
        return NodeStatus(heard.name, *_state(heard), ago(heard.time, now))
    return NodeStatus(
        heard.name,
        *_state(heard),
        ago(heard.time, now),
        up=ago(report.started, now),
        version=report.version,
        mode=report.mode,
        host=report.host,
        private=report.private,
        public=report.public,
        health=report.health,
        sessions=report.sessions,
        named=report.named,
        subscribers=report.subscribers,
        command_rate=report.command_rate,
        submit_p50=report.submit_p50,
        submit_p99=report.submit_p99,
        feed_lag_p99=report.feed_lag_p99,
        loop_lag=report.loop_lag,
        lag=max((_lag(report, name, head) for name, head in heads.items()), default=0.0),
        errors=report.errors,
        slow=report.slow,
    )


def _state(heard: Heard) -> tuple[str, str | None]:
    """The word for its state, and why it is not ready."""
    if heard.lost:
        return "lost", "silent for a lease: declared dead"
    if heard.silent is not None:
        return "silent", heard.silent
    if heard.report is None:
        return "unknown", "it has not said anything yet that this version understands"
    ready = heard.report.ready
    if ready is None:
        return "ready", None
    return ("draining", None) if ready == "draining" else ("unready", ready)


def _lag(report: NodeReport, name: str, head: Head) -> float:
    """Seconds by which it was behind when it said so, at most.

    When the first batch was that it lacks, nobody has noted. It came after the last one that the
    node has: if the market slept before it, that was long ago. So who finds a node behind looks
    again, after its next report.
    """
    part = report.partitions.get(name)
    if part is None or _head(part)[:2] >= head[:2] or not part.time:
        return 0.0
    return max(min(head.time, report.time) - part.time, 0) / SECOND


def rates(reports: Sequence[NodeReport]) -> Rates:
    """Each node tells of its own commands, and of the journal of all."""
    return Rates(
        sum(each.command_rate for each in reports),
        max((each.event_rate for each in reports), default=0.0),
        max((each.trade_rate for each in reports), default=0.0),
        max((each.refusal_rate for each in reports), default=0.0),
    )


def partition_status(
    name: str, head: Head, reports: Iterable[NodeReport], now: int, resting: int | None
) -> PartitionStatus:
    """What is shown of a partition."""
    parts = [each.partitions[name] for each in reports if name in each.partitions]
    return PartitionStatus(
        name,
        head.epoch,
        head.seq,
        ago(head.time, now),
        sum(part.waiting for part in parts),
        max((part.waited for part in parts), default=0.0),
        max((part.forks for part in parts), default=0),
        resting,
    )


def instruments_of(reports: Sequence[NodeReport]) -> list[InstrumentStatus]:
    """As the node tells that was heard last. A single server has one partition."""
    latest = max(reports, key=lambda each: each.time, default=None)
    states = {} if latest is None else latest.states
    return [InstrumentStatus(symbol, PARTITION, state) for symbol, state in states.items()]


def readers_within(reports: Iterable[NodeReport]) -> list[ReaderStatus]:
    """The readers that are part of a server: they tell no times."""
    return [
        ReaderStatus(name, PARTITION, behind, None)
        for report in reports
        for name, behind in report.readers.items()
    ]
