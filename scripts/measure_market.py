"""How fast the market is told to Graylog, and what that costs the process that reads the journal.

    python scripts/measure_market.py                   # a single server, and a receiver over TCP
    PYTHONPATH=. python scripts/measure_market.py -m   # wood graylog, and a Redis of its own
    python scripts/measure_market.py --graylog tls://graylog.example.com?ca=ca.pem --orders

The trades stand in the journal before it begins, so that nothing else is measured. The receiver
reads and forgets, so that the sender is what is slow.
"""

import asyncio
import multiprocessing
import resource
import socket
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import click
import uvloop

from wood.exchange.cluster.exchange import ClusterExchange
from wood.exchange.cluster.stored_tail import StoredTail
from wood.exchange.exchange import Partition
from wood.exchange.memory import MemoryExchange
from wood.exchange.memory_tail import MemoryTail
from wood.exchange.tail import Tail
from wood.graylog.address import Address
from wood.graylog.courier import Courier
from wood.graylog.market import Which
from wood.graylog.market_reader import MarketReader
from wood.model.commands import NewOrder
from wood.model.instruments import Instrument, Instruments
from wood.model.orders import BUY, SELL

BATCH = 64
"""Orders that are decided together."""

INSTRUMENTS = Instruments([Instrument("WOOD")])


def receive(listener: socket.socket) -> None:
    """Read each connection to its end, and close it."""
    while True:
        connection, _ = listener.accept()
        while connection.recv(1 << 20):
            pass
        connection.close()


async def fill(exchange: Partition, trades: int) -> None:
    """Have so many trades in the journal."""
    await exchange.start()
    ids = count(1)
    for _ in range(0, 2 * trades, BATCH):
        sides = (SELL, BUY) * (BATCH // 2)
        exchange.submit(
            [NewOrder(side, side, 0, "WOOD", next(ids), side, 14500, 10) for side in sides]
        )
        await exchange.drain()
    await exchange.close()


@asynccontextmanager
async def journal(trades: int, member: bool) -> AsyncGenerator[Tail, None]:
    """One that has so many trades."""
    if not member:
        memory = MemoryExchange(INSTRUMENTS, kept=10**9)
        there = MemoryTail(memory)
        await fill(memory, trades)
        yield there
        return
    from tests.redis_server import RedisServer

    with tempfile.TemporaryDirectory() as folder:
        redis = RedisServer(Path(folder))
        try:
            await fill(ClusterExchange(INSTRUMENTS, redis.url, "wood", kept=10**9), trades)
            async with StoredTail(redis.url, "wood", "main", None, "graylog") as tail:
                yield tail
        finally:
            redis.close()


async def measure(address: Address, trades: int, which: Which, member: bool) -> None:
    """Tell so many trades, and say how long that took."""

    async def courier() -> Courier:
        return Courier(address, "measured", INSTRUMENTS, which, lambda up, reason: None)

    async with journal(trades, member) as tail:
        reader = MarketReader("main", tail, courier, "measured", which)
        began, used = time.monotonic(), time.process_time()
        before = children()
        running = asyncio.create_task(reader.run())
        await reader.caught_up()
        seconds, used = time.monotonic() - began, time.process_time() - used
        reader.stop()
        await running
        here, there = (each / reader.told * 1e6 for each in (used, children() - before))
        click.echo(
            f"{reader.told} records in {seconds:.2f} s: {reader.told / seconds:,.0f} a second; "
            f"each costs {here:.1f} us in the process that reads and {there:.1f} us in the other"
        )


def children() -> float:
    """Seconds of processors that processes took which have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@click.command(help=__doc__)
@click.option("-n", "--trades", default=50_000, show_default=True, help="How many trades.")
@click.option("-m", "--member", is_flag=True, help="Read them from Redis, as wood graylog does.")
@click.option("--orders", is_flag=True, help="Tell what becomes of orders too.")
@click.option("--graylog", metavar="URL", help="Who is told. [a receiver on this machine]")
def main(trades: int, member: bool, orders: bool, graylog: str | None) -> None:
    if graylog is None:
        listener = socket.create_server(("127.0.0.1", 0))
        graylog = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        multiprocessing.Process(target=receive, args=(listener,), daemon=True).start()
    which = Which.ORDERS if orders else Which.TRADES
    uvloop.run(measure(Address.parse(graylog), trades, which, member))


if __name__ == "__main__":
    main()
