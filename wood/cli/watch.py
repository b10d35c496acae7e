"""`wood watch`: the market in the terminal."""

import asyncio
from contextlib import suppress
from typing import Any

import click

from wood.cli.tls import chosen_tls, tls_options
from wood.tools.watch import watch as run

_PORT = click.IntRange(1, 65535)


@click.command()
@click.option("--host", default="127.0.0.1", show_envvar=True, help="The server's host.")
@click.option(
    "--public", "-p", type=_PORT, default=7002, show_envvar=True, help="The server's public port."
)
@click.option(
    "--symbol",
    show_envvar=True,
    help="Show this instrument, not the default one. Only so are halts shown.",
)
@click.option(
    "--levels",
    type=click.IntRange(min=1),
    default=10,
    show_envvar=True,
    help="Best price levels to show on each side, as far as they fit.",
)
@click.option(
    "--trades",
    type=click.IntRange(min=1),
    default=20,
    show_envvar=True,
    help="Last trades to show, as far as they fit.",
)
@tls_options
def watch(host: str, public: int, symbol: str | None, levels: int, trades: int, **tls: Any) -> None:
    """Show the live order book and the trade tape of a running server, until Ctrl-C.

    \b
        wood watch --levels 15
        wood watch | grep trade

    When standard output is not a terminal, each level and each trade is a plain line.
    """
    # Once connected, `run` sees to Ctrl-C itself; before that there is nothing to end.
    with suppress(KeyboardInterrupt):
        asyncio.run(run(host, public, symbol, levels, trades, tls=chosen_tls(tls)))
