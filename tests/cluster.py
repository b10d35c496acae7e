"""A cluster of real node processes on a real Redis, and what can be known of it from outside."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgpack
import redis

from tests.support import Peer, Server, eventually
from wood.exchange.cluster.addresses import seeds
from wood.exchange.cluster.admin import Partition
from wood.exchange.cluster.keys import Keys
from wood.model.events import Batch
from wood.model.instruments import PARTITION

Start = Callable[..., Server]
"""The fixture `start_server`."""


class Cluster:
    """Nodes with the same options. Each is started on ports of its own."""

    def __init__(self, start: Start, url: str, prefix: str, *options: str, nodes: int = 3) -> None:
        self.url = url
        self.prefix = prefix
        self.keys = Keys(prefix)
        self._start = start
        self._tags = {PARTITION: PARTITION}
        self._options = ("-m", "--redis", url, "--prefix", prefix, *options)
        self.nodes = [self.start() for _ in range(nodes)]

    def start(self, *options: str) -> Server:
        """One more node, that is in no list."""
        return self._start(*self._options, *options)

    @property
    def private(self) -> list[tuple[str, int]]:
        """The addresses for participants."""
        return [(node.host, node.private) for node in self.nodes]

    def redis(self) -> Any:
        """A client of the same Redis."""
        return client_of(self.url)

    def of(self, name: str) -> Keys:
        """The keys of a partition."""
        return Keys(self.prefix, self.tag(name))

    def tag(self, name: str) -> str:
        """What the keys of a partition are hashed by; once it is chosen, it stays."""
        if name not in self._tags:
            with self.redis() as client:
                found = client.hget(self.keys.partitions, name)
            self._tags[name] = name if found is None else found.decode()
        return self._tags[name]

    def journal(self, name: str = PARTITION) -> list[Batch]:
        """All that the journal of a partition has, as `wood export` reads it."""

        tag = self.tag(name)

        async def read() -> list[Batch]:
            partition = Partition(self.url, self.prefix, tag)
            try:
                return [batch async for batch in partition.journal()]
            finally:
                await partition.close()

        return asyncio.run(read())

    def levels(self, symbol: str = "WOOD", partition: str = PARTITION) -> dict[int, int]:
        """The totals in Redis, by price, bids negative."""
        with self.redis() as client:
            return {
                int(key): int(total)
                for key, total in client.hgetall(self.of(partition).levels(symbol)).items()
            }

    def orders(
        self, symbol: str = "WOOD", partition: str = PARTITION
    ) -> dict[tuple[str, int], int]:
        """What is left of the open orders in Redis, by participant and id."""
        with self.redis() as client:
            found = client.hgetall(self.of(partition).of([symbol])[2])
        orders = {}
        for name, value in found.items():
            participant, _, order_id = name.decode().partition(" ")
            unpacker = msgpack.Unpacker()
            unpacker.feed(value)
            orders[participant, int(order_id)] = unpacker.unpack()
        return orders

    def writers(self) -> set[bytes]:
        """The nodes that are alive, as far as Redis knows."""
        with self.redis() as client:
            return set(client.hkeys(self.keys.writers))

    def logged(self, text: str, nodes: Iterable[Server] | None = None) -> None:
        """Wait until each node has said so in its log."""
        for node in self.nodes if nodes is None else nodes:
            eventually(lambda node=node: text in node.text(), f"{text!r} in a log")  # type: ignore[misc]


def client_of(url: str) -> Any:
    """A client of whatever such a URL may name, by the library's own means."""
    there = seeds(url)
    if there is None:
        return redis.Redis.from_url(url, protocol=2)
    library: Any = redis  # whose functions have no types
    if there.name:
        sentinels = library.sentinel.Sentinel(there.hosts, socket_timeout=1)
        return sentinels.master_for(there.name, protocol=2)
    nodes = [library.cluster.ClusterNode(*host) for host in there.hosts]
    return library.RedisCluster(startup_nodes=nodes, protocol=2)


def until_read(node: Server, client: Peer) -> None:
    """Wait until a node has read what a client sent: nothing of it is in the kernel any more."""
    port = client.socket.getsockname()[1]

    def read() -> bool:
        for line in Path("/proc/net/tcp").read_text().splitlines():
            fields = line.split()
            if fields[2].endswith(f":{port:04X}") and fields[1].endswith(f":{node.private:04X}"):
                return fields[4].endswith(":00000000")
        return False

    eventually(read, "the node has read all")
