"""A Redis Cluster of the tests' own, on the loopback, and what an operator does to it."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from redis.crc import key_slot

from tests.redis_server import RedisServer, free_port
from tests.support import eventually

SLOTS = 16384

NODE_TIMEOUT = "1000"
"""Milliseconds of silence after which the others take a node for dead."""


class RedisCluster:
    """Masters that share the slots evenly, each with some replicas."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        masters: int = 3,
        replicas: int = 0,
        binary: str | None = None,
    ) -> None:
        self.servers: list[RedisServer] = []
        try:
            for _ in range(masters * (1 + replicas)):
                self.servers.append(_start(folder, options, binary))
            self._form(masters)
        except BaseException:
            self.close()
            raise

    def _form(self, masters: int) -> None:
        first, *others = self.servers
        bounds = [SLOTS * number // masters for number in range(masters + 1)]
        for server, (begin, end) in zip(self.servers, pairwise(bounds), strict=False):
            with server.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", begin, end - 1)
        for number, server in enumerate(self.servers, 1):
            with server.client() as client:
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number)
        with first.client() as client:
            for server in others:
                bus = int(server.options[server.options.index("--cluster-port") + 1])
                client.execute_command("CLUSTER", "MEET", server.host, server.port, bus)
        for server in self.servers:
            eventually(lambda server=server: self._knows_all(server), "a Redis Cluster")  # type: ignore[misc]
        for number, server in enumerate(self.servers[masters:]):
            with server.client() as client:
                master = self.id_of(self.servers[number % masters])
                client.execute_command("CLUSTER", "REPLICATE", master)
        for server in self.servers[masters:]:
            eventually(lambda server=server: _follows(server), "a replica")  # type: ignore[misc]
        for server in self.servers:
            eventually(lambda server=server: self._lists_replicas(server, masters), "all replicas")  # type: ignore[misc]

    def _knows_all(self, server: RedisServer) -> bool:
        with server.client() as client:
            info = client.execute_command("CLUSTER", "INFO").decode()
        return "cluster_state:ok" in info and f"known_nodes:{len(self.servers)}\r" in info

    def _lists_replicas(self, server: RedisServer, masters: int) -> bool:
        return sum("slave" in row[2] for row in _nodes(server)) == len(self.servers) - masters

    @property
    def url(self) -> str:
        """What `--redis` takes: all of them."""
        return "cluster://" + ",".join(f"{each.host}:{each.port}" for each in self.servers)

    def id_of(self, server: RedisServer) -> str:
        """What the cluster calls it."""
        with server.client() as client:
            name: bytes = client.execute_command("CLUSTER", "MYID")
        return name.decode()

    def master_of(self, key: str) -> RedisServer:
        """The server that has the slot of a key, by its own word."""
        slot = key_slot(key.encode())
        (owner,) = [each for each in self._up() if slot in _own_slots(each)]
        return owner

    def replica_of(self, master: RedisServer) -> RedisServer:
        """One that follows a master."""
        name = self.id_of(master)
        rows = [row for row in _nodes(master) if row[3] == name]
        ports = {int(row[1].partition("@")[0].rpartition(":")[2]) for row in rows}
        return next(each for each in self._up() if each.port in ports)

    def others(self, server: RedisServer) -> list[RedisServer]:
        """The other masters that have slots."""
        return [each for each in self._up() if each is not server and _own_slots(each)]

    def _up(self) -> list[RedisServer]:
        return [each for each in self.servers if each.process.poll() is None]

    def migrate(self, slot: int, source: RedisServer, target: RedisServer) -> Iterator[int]:
        """Move a slot as `redis-cli --cluster reshard` does, key by key.

        Yields how many keys have moved, before the first and after each one.
        """
        from_id, to_id = self.id_of(source), self.id_of(target)
        moved = 0
        with source.client() as here, target.client() as there:
            there.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", from_id)
            here.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", to_id)
            yield moved
            while keys := here.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1):
                to = (target.host, target.port)
                here.execute_command("MIGRATE", *to, "", 0, 5000, "KEYS", *keys)
                moved += 1
                yield moved
            for client in (there, here):
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", to_id)
        for server in self.others(source):
            with server.client() as client:
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", to_id)

    def migrate_at_once(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """Move a slot as Valkey 9 does by itself."""
        to_id = self.id_of(target)
        with source.client() as here:
            ask = ("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", to_id)
            here.execute_command(*ask)
        eventually(lambda: slot in _own_slots(target), "a migrated slot")

    def close(self) -> None:
        """End all servers."""
        for server in self.servers:
            server.close()


def _start(folder: Path, options: tuple[str, ...], binary: str | None) -> RedisServer:
    own = ["--cluster-enabled", "yes", "--cluster-node-timeout", NODE_TIMEOUT]
    own += ["--cluster-port", str(free_port()), "--repl-diskless-sync-delay", "0"]
    return RedisServer(folder, *own, *options, binary=binary)


def _nodes(server: RedisServer) -> list[list[str]]:
    """What a server knows of all: id, address, flags, master, ..., slots."""
    with server.client() as client:
        raw: Any = client.execute_command("CLUSTER", "NODES")
    return [line.split(" ") for line in raw.decode().splitlines()]


def _own_slots(server: RedisServer) -> set[int]:
    (row,) = [row for row in _nodes(server) if "myself" in row[2]]
    if "slave" in row[2]:
        return set()
    slots: set[int] = set()
    for part in row[8:]:
        if not part.startswith("["):
            first, _, last = part.partition("-")
            slots.update(range(int(first), int(last or first) + 1))
    return slots


def _follows(server: RedisServer) -> bool:
    with server.client() as client:
        return bool(client.info("replication").get("master_link_status") == "up")
