"""`wood participant`: who may trade by name, and with what token."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import update_wrapper
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from wood.cli.partition import PREFIX_OPTION, REDIS_OPTION
from wood.exchange.cluster.participants import ClusterParticipants
from wood.exchange.participants import ParticipantFile, ParticipantStore
from wood.model.participants import Participant

T = TypeVar("T")

_FILE_OPTION = click.option(
    "--participants",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="WOOD_PARTICIPANTS",
    show_envvar=True,
    help="The file of a single server, instead of a cluster's Redis.",
)


@click.group()
def participant() -> None:
    """Say who may trade by name: each has a token, which proves that it is they.

    \b
        TOKEN=$(wood participant add alice)

    A cluster keeps participants in Redis, a single server in a file (--participants FILE, for the
    server and for these commands). What is kept of a token is its SHA-256. A running server learns
    of every change by itself.
    """


def _of_a_store(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` the options that say where participants are kept, and hand it that store."""

    @click.pass_context
    def run(
        context: click.Context,
        /,
        redis: str,
        prefix: str,
        participants: Path | None,
        **arguments: Any,
    ) -> None:
        command(_store(context, redis, prefix, participants), **arguments)

    for option in (_FILE_OPTION, PREFIX_OPTION, REDIS_OPTION):
        run = option(run)
    return update_wrapper(run, command)


def _store(
    context: click.Context, redis: str, prefix: str, file: Path | None
) -> Callable[[], ParticipantStore]:
    """What makes the store that is asked for; the command line says more than the environment."""
    for source in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
        given = {
            name
            for name in ("redis", "prefix", "participants")
            if context.get_parameter_source(name) is source
        }
        if "participants" in given and len(given) > 1:
            where = "" if source is ParameterSource.COMMANDLINE else " (the environment has both)"
            raise click.UsageError(
                "--participants is for a single server, --redis and --prefix are for a cluster: "
                f"choose one{where}"
            )
        if given:
            break
    if file is not None and "participants" in given:
        return lambda: ParticipantFile(file)
    return lambda: ClusterParticipants(redis, prefix)


def _do(
    open_store: Callable[[], ParticipantStore], action: Callable[[ParticipantStore], Awaitable[T]]
) -> T:
    async def run() -> T:
        store = open_store()
        try:
            return await action(store)
        finally:
            await store.close()

    return asyncio.run(run())


_Store = Callable[[], ParticipantStore]


@participant.command()
@click.argument("name")
@click.option(
    "--operator",
    is_flag=True,
    show_envvar=True,
    help="It may act on orders of others: wood cancel.",
)
@_of_a_store
def add(store: _Store, name: str, operator: bool) -> None:
    """Add the participant NAME, and print its token, which is never shown again.

    \b
        TOKEN=$(wood participant add alice)

    Standard output has the token and nothing else.
    """
    click.echo(_do(store, lambda s: s.add(name, operator=operator)))
    click.echo(f"{name} may log in with this token, which is not shown again: keep it", err=True)


@participant.command()
@click.argument("name")
@_of_a_store
def rotate(store: _Store, name: str) -> None:
    """Give the participant NAME another token, and print that; the former one is void.

    \b
        TOKEN=$(wood participant rotate alice)

    Connections that are logged in stay; to cut them off, disable the participant. One that is
    disabled stays so.
    """
    click.echo(_do(store, lambda s: s.rotate(name)))
    click.echo(f"{name} logs in with this token from now on: keep it", err=True)


@participant.command()
@click.argument("name")
@_of_a_store
def disable(store: _Store, name: str) -> None:
    """Cut off the participant NAME, cancel its orders, and let it in no more.

    \b
        wood participant disable alice

    Its connections are closed, in a cluster on every node.
    """
    _do(store, lambda s: s.disable(name))
    click.echo(f"{name} is disabled", err=True)


@participant.command()
@click.argument("name")
@_of_a_store
def enable(store: _Store, name: str) -> None:
    """Let the participant NAME in again, with the token that it had.

    \b
        wood participant enable alice
    """
    _do(store, lambda s: s.enable(name))
    click.echo(f"{name} is enabled", err=True)


@participant.command("list")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    envvar="WOOD_PARTICIPANT_LIST_JSON",
    show_envvar=True,
    help="A JSON list; times are in seconds.",
)
@_of_a_store
def list_(store: _Store, as_json: bool) -> None:
    """Show the participants, by name.

    \b
        wood participant list --json
    """
    found = _do(store, lambda s: s.list())
    click.echo(_json(found) if as_json else _table(found))


def _json(participants: Mapping[str, Participant]) -> str:
    return json.dumps(
        [
            {"name": name, "added": who.added, "operator": who.operator, "disabled": who.disabled}
            for name, who in sorted(participants.items())
        ]
    )


def _table(participants: Mapping[str, Participant]) -> str:
    rows = [("name", "added", "operator", "disabled")] + [
        (
            name,
            datetime.fromtimestamp(who.added, UTC).date().isoformat(),
            _word(who.operator),
            _word(who.disabled),
        )
        for name, who in sorted(participants.items())
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _word(flag: bool) -> str:
    return "yes" if flag else "no"
