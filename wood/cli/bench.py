"""`wood bench`: how fast a server is, and how near to the fastest there can be."""

from functools import partial
from typing import Any

import click
from msgspec import json
from rich.console import Console, RenderableType

from wood.cli.numbers import FiniteRange
from wood.tools.bench.book import run_book
from wood.tools.bench.report import Report
from wood.tools.bench.resting import FEW
from wood.tools.bench.run import run
from wood.tools.bench.settings import Settings
from wood.tools.bench.table import book_table, report_table
from wood.tools.requests import NothingTaken

INTERRUPTED = 130
"""The exit code of a program that Ctrl-C ended, as shells have it."""

MAX_SPREAD = 1_000_000

_DEFAULT = Settings()
_PORT = click.IntRange(1, 65535)

_option = partial(click.option, show_envvar=True)


@click.command()
@_option("--host", default=_DEFAULT.host, help="The server's host.")
@_option("--port", "-p", type=_PORT, default=_DEFAULT.port, help="The server's private port.")
@_option("--public", type=_PORT, help="The server's public port, for subscribers.")
@_option(
    "--subscribers",
    type=click.IntRange(min=0),
    help="Listeners on the public port. [default: 1 with --public or --serve]",
)
@_option("--serve", is_flag=True, help="Start a server of its own for the run, on free ports.")
@_option(
    "--connections",
    "-c",
    type=click.IntRange(min=1),
    default=_DEFAULT.connections,
    help="Connections that send, each a participant of its own.",
)
@_option(
    "--in-flight",
    "-w",
    type=click.IntRange(min=1),
    default=_DEFAULT.in_flight,
    help="Orders that wait for an answer on each connection.",
)
@_option(
    "--orders",
    "-n",
    type=click.IntRange(min=1),
    default=_DEFAULT.orders,
    help="Orders and cancels in a round, over all connections.",
)
@_option(
    "--cancel-share",
    type=FiniteRange(0, 1),
    default=_DEFAULT.cancel_share,
    help="The share of cancels among them; more once 8,000 orders of a connection are open.",
)
@_option(
    "--spread",
    type=FiniteRange(0, MAX_SPREAD),
    default=_DEFAULT.spread,
    help="The standard deviation of the prices, round 1000.",
)
@_option("--seed", default=_DEFAULT.seed, help="The same seed draws the same orders.")
@_option("--ceiling", is_flag=True, help="Compare with a server that only acknowledges.")
@_option(
    "--pairs",
    type=click.IntRange(min=1),
    default=_DEFAULT.pairs,
    help="Rounds of which the median counts, with --ceiling (in turns) and --book.",
)
@_option(
    "--timeout",
    type=FiniteRange(min=0, min_open=True),
    default=_DEFAULT.timeout,
    help="Seconds without any answer after which the server is given up.",
)
@_option("--book", "book", is_flag=True, help="Measure the order book alone, without a server.")
@_option("--resting", type=click.IntRange(min=FEW), help="With --book: also fill it with so many.")
@_option(
    "--json",
    "as_json",
    is_flag=True,
    envvar="WOOD_BENCH_JSON",
    help="Print JSON instead of a table.",
)
def bench(book: bool, resting: int | None, as_json: bool, **options: Any) -> None:
    """Measure a server: messages per second and latency under orders that trade.

    \b
        wood bench --serve --ceiling
        wood bench --host 10.0.0.7 --public 7002 -c 8 -w 64
        wood bench --book --resting 1000000

    Each connection keeps `-w` orders in flight and sends the next when one is answered; an error
    is an answer too, and is counted. A latency is from the write of an order to the read of its
    answer. At the end, all orders that were sent are cancelled. Any server of the base protocol can
    be measured; one that takes no order at all is an error.
    """
    if resting is not None and not book:
        raise click.UsageError("--resting needs --book")
    settings = Settings(**options | {"subscribers": _subscribers(**options)})
    if book:
        result = run_book(settings, resting or 0)
        _print(as_json, result, book_table(result))
    else:
        _measure(settings, as_json)


def _measure(settings: Settings, as_json: bool) -> None:
    result: Report = run(settings)
    _print(as_json, result, report_table(result))
    if result.interrupted:
        raise SystemExit(INTERRUPTED)
    if result.refusal is not None:
        raise NothingTaken(result.refusal)


def _subscribers(subscribers: int | None, public: int | None, serve: bool, **_: Any) -> int:
    listening = serve or public is not None
    if subscribers and not listening:
        raise click.UsageError("--subscribers needs --public or --serve")
    return int(listening) if subscribers is None else subscribers


def _print(as_json: bool, result: object, table: RenderableType) -> None:
    if as_json:
        click.echo(json.format(json.encode(result), indent=2).decode())
    else:
        Console().print(table)
