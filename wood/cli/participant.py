"""`wood participant`: who may trade by name, and with what token."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import update_wrapper
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from msgspec.structs import asdict

from wood.cli.limits import FIELDS, NO_LIMIT, LimitType, OwnLimit, limit_text
from wood.cli.partition import PREFIX_OPTION, REDIS_OPTION
from wood.exchange.cluster.participants import ClusterParticipants
from wood.exchange.participants import ParticipantFile, ParticipantStore
from wood.model.errors import ConfigError
from wood.model.limits import EVERYWHERE, NONE, Limits
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
    help="It may cancel orders of others, and halt and resume trading.",
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


_LIMITS = {
    "max_rate": "Messages per second, over all connections; not by instrument.",
    "max_open_orders": "Open orders, in a partition together or in that instrument.",
    "max_order_quantity": "The quantity of one order.",
    "max_order_value": "The value of one order: its price times its quantity.",
    "max_position": "Long or short, with all open orders of the same side filled.",
}


def _limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """One for each limit, a number, `none` or `default`."""
    for word, about in reversed(_LIMITS.items()):
        name = "--" + word.replace("_", "-")
        option = click.option(name, type=LimitType(word), metavar="N", show_envvar=True, help=about)
        command = option(command)
    return command


@participant.command()
@click.argument("name")
@click.option("--symbol", show_envvar=True, help="In this instrument, not in all of them.")
@_limit_options
@_of_a_store
def limit(store: _Store, name: str, symbol: str | None, **given: OwnLimit | None) -> None:
    """Give the participant NAME limits of its own, or print them.

    \b
        wood participant limit alice --max-rate 1000 --max-order-value none
        wood participant limit alice --symbol GOLD --max-position 500
        wood participant limit alice --max-rate default
        wood participant limit alice

    Each is a number, `none` (no limit, whatever the server says) or `default` (no longer its own:
    that of the instrument or of the server counts). The others stay as they are. A running server
    goes by them at once.
    """
    changes = {FIELDS[word]: own.value for word, own in given.items() if own is not None}
    if changes:
        _do(store, lambda s: s.limit(name, changes, EVERYWHERE if symbol is None else symbol))
        click.echo(f"{name} has other limits from now on", err=True)
        return
    found = _do(store, lambda s: s.list())
    if name not in found:
        raise ConfigError(f"there is no participant {name}: 'wood participant list' shows who is")
    click.echo(_limits_table(found[name].limits, symbol))


def _limits_table(limits: Mapping[str, Limits], symbol: str | None) -> str:
    words = {field: word.replace("_", "-") for word, field in FIELDS.items()}
    rows = [
        (where, words[field], limit_text(value))
        for where in sorted(limits)
        if symbol in (None, where)
        for field, value in asdict(limits[where]).items()
        if value is not None
    ]
    return _columns([("instrument", "limit", "value"), *rows])


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
            {
                "name": name,
                "added": who.added,
                "operator": who.operator,
                "disabled": who.disabled,
                "limits": _limits_json(who.limits),
            }
            for name, who in sorted(participants.items())
        ]
    )


def _limits_json(limits: Mapping[str, Limits]) -> dict[str, dict[str, float | str]]:
    return {
        where: {
            field: NO_LIMIT if value == NONE else value
            for field, value in asdict(own).items()
            if value is not None
        }
        for where, own in sorted(limits.items())
    }


def _table(participants: Mapping[str, Participant]) -> str:
    rows = [("name", "added", "operator", "disabled", "limits")] + [
        (
            name,
            datetime.fromtimestamp(who.added, UTC).date().isoformat(),
            _word(who.operator),
            _word(who.disabled),
            "own" if who.limits else "default",
        )
        for name, who in sorted(participants.items())
    ]
    return _columns(rows)


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _word(flag: bool) -> str:
    return "yes" if flag else "no"
