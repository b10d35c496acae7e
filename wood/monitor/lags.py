"""Whether a node is behind the journal, which takes two of its reports to see. No I/O, no clock.

When the first batch was that a node lacks, nobody has noted; the last one that it has may be long
ago only because the market slept. In its next report a node that is well has caught up.
"""

from typing import NamedTuple

from msgspec.structs import replace

from wood.monitor.summarize import judged
from wood.monitor.summary import NodeStatus, Summary
from wood.monitor.troubles import LATE


class _Seen(NamedTuple):
    said: int
    """When the report was made, in milliseconds since the epoch of clocks."""
    lag: float
    shown: float | None
    """What two reports had in common; None as long as there is one."""


class Lags:
    """What the last summaries had."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    @property
    def doubtful(self) -> bool:
        """Whether a node may be behind by much, and has not made another report since."""
        return any(each.shown is None and each.lag > LATE for each in self._seen.values())

    def settle(self, summary: Summary) -> Summary:
        """The same, in which nodes are only as far behind as their report before had them too."""
        seen = {
            node.name: self._look(summary, node, node.lag)
            for node in summary.nodes
            if node.lag is not None
        }
        self._seen = seen
        nodes = [
            replace(node, lag=seen[node.name].shown or 0.0) if node.name in seen else node
            for node in summary.nodes
        ]
        return judged(replace(summary, nodes=nodes))

    def _look(self, summary: Summary, node: NodeStatus, lag: float) -> _Seen:
        said = round((summary.time - (node.age or 0.0)) * 1000)
        before = self._seen.get(node.name)
        if before is None:
            return _Seen(said, lag, None)
        if before.said == said:
            return before
        return _Seen(said, lag, min(before.lag, lag))
