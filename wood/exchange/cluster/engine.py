"""The engine of a node: one partition, or several behind one interface."""

from functools import partial
from typing import Any

from wood.exchange.cluster.exchange import ClusterExchange
from wood.exchange.cluster.layout import Layout
from wood.exchange.cluster.rights import check_rights
from wood.exchange.exchange import Exchange
from wood.exchange.partitioned import PartitionedExchange
from wood.model.instruments import PARTITION, Instruments


async def cluster_engine(
    instruments: Instruments, url: str, prefix: str, **options: Any
) -> Exchange:
    """A node's hold on all partitions of `instruments`; `options` are those of `ClusterExchange`.

    Chooses where new partitions are to live. Raises `ConfigError` if there is no fit server.
    """
    make = partial(_partition, url, prefix, options)
    layout = Layout(url, prefix)
    try:
        await layout.check_server()
        await check_rights(url, prefix, PARTITION)
        tags = await layout.settle(instruments.partitions)
        for tag in {*tags.values()} - {PARTITION}:
            await check_rights(url, prefix, tag)  # another master has users of its own
        await layout.agree(instruments)
        await layout.admit(tags)
    finally:
        await layout.close()
    if len(instruments.partitions) == 1:
        return make(tags, instruments.default.partition, instruments)
    return PartitionedExchange(instruments, partial(make, tags))


def _partition(
    url: str,
    prefix: str,
    options: dict[str, Any],
    tags: dict[str, str],
    name: str,
    instruments: Instruments,
) -> ClusterExchange:
    return ClusterExchange(instruments, url, prefix, tag=tags[name], **options)
