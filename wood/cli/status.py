"""`wood status`: the exchange at a glance."""

import asyncio
from collections.abc import Sequence

import click
from click.core import ParameterSource

from wood.cli.partition import PREFIX_OPTION, REDIS_OPTION
from wood.client.addresses import parse
from wood.model.errors import ConfigError
from wood.model.text import printable
from wood.monitor.ask import Asker, Store
from wood.monitor.show import display
from wood.monitor.show import watch as follow
from wood.monitor.summarize import Address
from wood.monitor.summary import Summary
from wood.tools.signals import stop_signal

WELL, NOT_WELL, UNKNOWN = range(3)
"""Exit codes. The last one is that of a wrong option, too: nothing could be asked."""


def _addresses(
    context: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> tuple[Address, ...]:
    try:
        return tuple(map(parse, values))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@REDIS_OPTION
@PREFIX_OPTION
@click.option(
    "--health",
    "nodes",
    multiple=True,
    metavar="HOST:PORT",
    callback=_addresses,
    envvar="WOOD_STATUS_HEALTH",
    show_envvar=True,
    help="Ask this node itself, by its port for health checks; repeatable. Redis is then asked "
    "only if --redis, or its variable, is given too.",
)
@click.option("--json", is_flag=True, show_envvar=True, help="Write JSON, on one line.")
@click.option("--watch", is_flag=True, show_envvar=True, help="Once a second, until Ctrl-C.")
@click.pass_context
def status(
    context: click.Context,
    redis: str,
    prefix: str,
    nodes: tuple[Address, ...],
    *,
    json: bool,
    watch: bool,
) -> None:
    """Show how the exchange is: its nodes, instruments, journal, readers and Redis.

    \b
        wood status --watch                      # a cluster, by what is in its Redis
        wood status --health 127.0.0.1:7011      # a single server
        wood status --json | jq .troubles

    Exit code 0: all is well; 1: something is not, and the first lines say what; 2: nobody could be
    asked.
    """
    given = context.get_parameter_source("redis") is not ParameterSource.DEFAULT
    try:
        asker = Asker(Store(redis, prefix) if given or not nodes else None, nodes)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    context.exit(asyncio.run(_status(asker, json=json, watch=watch)))


async def _status(asker: Asker, *, json: bool, watch: bool) -> int:
    try:
        if watch:
            with stop_signal() as stop, display(json=json, watch=True) as shown:
                await follow(asker, shown, stop)
            return WELL
        summary = await asker.once()
        reasons = _silences(summary)
        if json or not reasons:
            with display(json=json, watch=False) as shown:
                shown.show(summary)
        if reasons:
            click.echo(f"wood: {printable('; '.join(reasons))}", err=True)
            return UNKNOWN
        return WELL if summary.well else NOT_WELL
    finally:
        await asker.close()


def _silences(summary: Summary) -> Sequence[str]:
    """Why nothing is known: nobody has answered. Nothing, if somebody has."""
    if summary.partitions or any(node.version is not None for node in summary.nodes):
        return ()
    return [each.text for each in summary.troubles if each.what != "no-node"]
