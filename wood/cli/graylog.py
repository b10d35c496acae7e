"""`wood graylog`: tells Graylog the market of a cluster."""

import asyncio
import logging
import re
import socket

import click
import uvloop

from wood.cli.names import checked_name
from wood.cli.partition import PREFIX_OPTION, REDIS_OPTION
from wood.exchange.cluster.overview import Overview
from wood.graylog.address import Address
from wood.graylog.handler import start_log_sender
from wood.graylog.market import Which
from wood.graylog.market_stream import MarketStream
from wood.model.errors import ConfigError
from wood.node.log_lines import PlainText
from wood.tools.signals import stop_signal

READER = "graylog"
"""The name under which a position is kept, unless another one is given."""

RECENT = 5.0
"""Seconds: a reader that kept its position since then may still run."""

_LEVELS = click.Choice(["debug", "info", "warning", "error"])


def _reader(context: click.Context, option: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", value, re.ASCII):
        raise click.BadParameter("1 to 64 of the characters A-Z a-z 0-9 _ . -")
    return value


@click.command()
@REDIS_OPTION
@PREFIX_OPTION
@click.option(
    "--graylog",
    "address",
    envvar="WOOD_GRAYLOG",
    show_envvar=True,
    metavar="URL",
    help="Where Graylog is: udp://HOST:12201, tcp:// or tls://. Only the last two can confirm "
    "what has arrived.",
)
@click.option(
    "--orders",
    is_flag=True,
    show_envvar=True,
    help="Tell what becomes of each order too, and who is refused; not only trades and halts.",
)
@click.option(
    "--reader",
    default=READER,
    show_envvar=True,
    callback=_reader,
    help="The name under which Redis keeps how far this is; another one begins with the oldest "
    "entry that is kept.",
)
@click.option(
    "--name",
    callback=checked_name,
    show_envvar=True,
    help="What this process is called in Graylog. [the host's name and the reader's]",
)
@click.option(
    "--forget",
    is_flag=True,
    show_envvar=True,
    help="Forget how far the reader is, so that nothing waits for it.",
)
@click.option(
    "--log-level",
    default="info",
    envvar="WOOD_LOG_LEVEL",
    show_envvar=True,
    type=_LEVELS,
    help="What is logged.",
)
def graylog(
    redis: str,
    prefix: str,
    address: str | None,
    orders: bool,
    reader: str,
    name: str | None,
    forget: bool,
    log_level: str,
) -> None:
    """Tell Graylog each trade of a cluster, from its journal, until Ctrl-C or SIGTERM.

    \b
        wood graylog --graylog tcp://graylog.example.com:12201

    It goes on where it was, so that nothing is missed while it, a node, Redis or Graylog is away.
    A trade may arrive twice, with the same partition, epoch and seq.
    """
    if forget:
        asyncio.run(_forget(redis, prefix, reader))
        return
    if not address:
        raise click.UsageError("say where Graylog is: --graylog tcp://HOST:12201")
    _tell(redis, prefix, Address.parse(address), orders, reader, name, log_level)


async def _forget(url: str, prefix: str, reader: str) -> None:
    overview = Overview(url, prefix)
    try:
        age = await overview.forget_reader(reader)
        if age is None:
            raise ConfigError(f"nobody reads as {reader!r} under the prefix {prefix!r}")
    finally:
        await overview.close()
    click.echo(f"{reader} is forgotten")
    if age < RECENT:
        click.echo(
            f"but it said {age:.1f} s ago how far it is: if it still runs, it is back with the "
            "next trade; stop it first, and then forget it"
        )


def _tell(
    url: str,
    prefix: str,
    address: Address,
    orders: bool,
    reader: str,
    name: str | None,
    log_level: str,
) -> None:
    node = name or f"{socket.gethostname()}:{reader}"
    lines = logging.StreamHandler()
    lines.setFormatter(PlainText("%(asctime)s %(levelname)s %(message)s"))
    sender = start_log_sender(address, node)
    logging.basicConfig(level=log_level.upper(), handlers=[lines, sender])
    which = Which.ORDERS if orders else Which.TRADES

    async def run() -> None:
        with stop_signal() as stop:
            await MarketStream(url, prefix, reader, address, node, which).run(stop)

    try:
        uvloop.run(run())
    finally:
        sender.close()
