"""What the public sees of one partition: its feed, and what a client of it has missed."""

from wood.exchange.exchange import Partition
from wood.node.feed import Feed
from wood.node.recovery import Recovery


class Market:
    """The feed and the recovery of `partition`; `name` is None if it is the only one."""

    def __init__(self, partition: Partition, *, name: str | None = None) -> None:
        self.feed = Feed(partition.instruments, name)
        self.recovery = Recovery(partition, self.feed.book)
