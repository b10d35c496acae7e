"""How fast the market is told to Graylog, and what that costs the process with the exchange in it.

    python scripts/measure_market.py -n 50000            # to a receiver of its own, over TCP
    python scripts/measure_market.py --graylog tls://graylog.example.com?ca=ca.pem --orders

The trades stand in the journal before it begins, so that nothing else is measured.
"""

import multiprocessing
import resource
import socket
import time
from itertools import count

import click
import uvloop

from wood.exchange.memory import MemoryExchange
from wood.graylog.address import Address
from wood.graylog.market import Which
from wood.graylog.market_task import market_task
from wood.model.commands import NewOrder
from wood.model.instruments import Instrument, Instruments
from wood.model.orders import BUY, SELL

BATCH = 64
"""Orders that are decided together."""


def receive(listener: socket.socket) -> None:
    """Read each connection to its end, and close it: so little that the sender is what is slow."""
    while True:
        connection, _ = listener.accept()
        while connection.recv(1 << 20):
            pass
        connection.close()


async def measure(address: Address, trades: int, which: Which) -> None:
    """Make so many trades, tell them, and say how long that took."""
    exchange = MemoryExchange(Instruments([Instrument("WOOD")]), kept=10**9)
    task = market_task(exchange, address, "measured", which)
    await exchange.start()
    ids = count(1)
    for _ in range(0, 2 * trades, BATCH):
        sides = (SELL, BUY) * (BATCH // 2)
        exchange.submit(
            [NewOrder(side, side, 0, "WOOD", next(ids), side, 14500, 10) for side in sides]
        )
        await exchange.drain()
    made = next(ids) // 2
    began, used = time.monotonic(), time.process_time()
    task.start()
    await task.told()
    seconds, used = time.monotonic() - began, time.process_time() - used
    await task.close()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    there = (children.ru_utime + children.ru_stime) / task.records * 1e6
    here = used / task.records * 1e6
    print(
        f"{made} trades in {seconds:.2f} s: {task.records / seconds:,.0f} records/s; each costs "
        f"{here:.1f} us here and {there:.1f} us in the other process"
    )


@click.command()
@click.option("-n", "--trades", default=50_000, help="How many trades.")
@click.option("--orders", is_flag=True, help="Tell what becomes of orders too.")
@click.option("--graylog", metavar="URL", help="Who is told. [a receiver on this machine]")
def main(trades: int, orders: bool, graylog: str | None) -> None:
    if graylog is None:
        listener = socket.create_server(("127.0.0.1", 0))
        graylog = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        multiprocessing.Process(target=receive, args=(listener,), daemon=True).start()
    which = Which.ORDERS if orders else Which.TRADES
    uvloop.run(measure(Address.parse(graylog), trades, which))


if __name__ == "__main__":
    main()
