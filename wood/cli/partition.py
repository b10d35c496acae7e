"""What concerns the data of a cluster: where its Redis is, `wood export`, `wood reset`."""

import asyncio
import re
import sys
from collections.abc import Mapping
from typing import Any

import click
import msgspec

from wood.exchange.cluster.admin import Partition, partitions
from wood.exchange.cluster.client import URL
from wood.exchange.cluster.keys import PREFIX
from wood.exchange.cluster.layout import Layout
from wood.model.errors import ConfigError
from wood.model.events import Batch, Event


def _prefix(context: click.Context, option: click.Parameter, value: str) -> str:
    # A brace would move the part of a key that Redis Cluster hashes.
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", value, re.ASCII):
        raise click.BadParameter("1 to 64 of the characters A-Z a-z 0-9 _ . : -")
    return value


REDIS_OPTION = click.option(
    "--redis",
    default=URL,
    envvar="WOOD_REDIS",
    show_envvar=True,
    metavar="URL",
    help="-m: where Redis or Valkey is: redis://, rediss:// (TLS) or unix:// and a path; "
    "sentinel://HOST,HOST,HOST/NAME for the master that sentinels name; cluster://HOST,HOST for a "
    "Redis Cluster; both with an s more (sentinels://, clusters://) for TLS.",
)
PREFIX_OPTION = click.option(
    "--prefix",
    default=PREFIX,
    envvar="WOOD_PREFIX",
    show_envvar=True,
    callback=_prefix,
    help="-m: what all names in Redis begin with; another one is another exchange.",
)


@click.command()
@REDIS_OPTION
@PREFIX_OPTION
def export(redis: str, prefix: str) -> None:
    """Write the journal of a cluster to standard output, each event as a JSON line.

    \b
        wood export > journal.jsonl

    Numbers are whole: prices in ticks, quantities in lots, times in microseconds. Nodes may run.
    """
    asyncio.run(_export(redis, prefix))


async def _export(url: str, prefix: str) -> None:
    found = await partitions(url, prefix)
    if not found:
        raise ConfigError(f"there is no journal under the prefix {prefix!r}")
    try:
        for name, partition in found.items():
            where = {"partition": name} if len(found) > 1 else {}
            async for batch in partition.journal():
                sys.stdout.buffer.write(_lines(batch, where))
        sys.stdout.buffer.flush()
    finally:
        await _close(found)


async def _close(found: Mapping[str, Partition]) -> None:
    for partition in found.values():
        await partition.close()


def _lines(batch: Batch, where: dict[str, str]) -> bytes:
    encode = msgspec.json.encode
    place = {**where, "epoch": batch.epoch, "time": batch.time}
    return b"".join(
        encode({"event": type(event).__name__, **place, **_fields(event)}) + b"\n"
        for event in batch.events
    )


def _fields(event: Event) -> dict[str, Any]:
    fields = msgspec.structs.asdict(event)
    return {key: fields[key] for key in fields if key not in ("parts", "told")}  # of one partition


def _say_waiting() -> None:
    click.echo("waiting for a sign of life of the nodes, or the end of their leases", err=True)


@click.command()
@REDIS_OPTION
@PREFIX_OPTION
@click.option("--yes", is_flag=True, show_envvar=True, help="Do not ask.")
def reset(redis: str, prefix: str, yes: bool) -> None:
    """Clear the book and the journal of a cluster, after asking. Its nodes must be stopped.

    \b
        wood reset --prefix competition

    Participants stay, with their tokens and limits.
    """
    asyncio.run(_reset(redis, prefix, yes))


async def _reset(url: str, prefix: str, yes: bool) -> None:
    found = await partitions(url, prefix)
    try:
        if not found:
            click.echo(f"there is no book under the prefix {prefix}")
            return
        resting = sum([await partition.resting() or 0 for partition in found.values()])
        if not yes:
            click.confirm(
                f"delete the journal and {resting} open orders under the prefix {prefix}?",
                abort=True,
                err=True,
            )
        cleared = sum([await partition.clear(_say_waiting) for partition in found.values()])
        layout = Layout(url, prefix)
        try:
            await layout.forget()
        finally:
            await layout.close()
        click.echo(f"cleared: {cleared} orders were open")
    finally:
        await _close(found)
