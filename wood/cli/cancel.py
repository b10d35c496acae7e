"""`wood cancel`: an operator cancels orders of others."""

import asyncio
import re
from typing import Any

import click

from wood.cli.operator import chosen_operator, operator_options
from wood.tools.operator import cancel_anonymous, cancel_participant, orders

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType[int]):
    """A whole number and a unit, such as 15m, as seconds."""

    name = "duration"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """`value` in seconds. Fails as click's own types do."""
        match = re.fullmatch(r"([0-9]{1,6})([smhd])", value, re.ASCII)
        if not match:
            self.fail(f"{value!r} is none: write such as 90s, 15m, 2h or 3d.", param, ctx)
        return int(match[1]) * _SECONDS[match[2]]


@click.command()
@click.option("--participant", metavar="NAME", show_envvar=True, help="Cancel this one's orders.")
@click.option(
    "--anonymous-older-than",
    type=Duration(),
    show_envvar=True,
    help="Cancel the orders of those without a login who connected longer ago than this, such as "
    "90s, 15m, 2h or 3d; they may still be connected.",
)
@operator_options
def cancel(
    participant: str | None,
    anonymous_older_than: int | None,
    **who: Any,
) -> None:
    """Cancel the orders of one participant, or those that anonymous ones left behind.

    \b
        export WOOD_OPERATOR=root WOOD_TOKEN=...
        wood cancel --participant bob
        wood cancel --anonymous-older-than 2h

    In a cluster any node will do.
    """
    if participant is not None and anonymous_older_than is None:
        work = cancel_participant(chosen_operator(who), participant)
    elif anonymous_older_than is not None and participant is None:
        work = cancel_anonymous(chosen_operator(who), anonymous_older_than)
    else:
        raise click.UsageError("choose one of --participant and --anonymous-older-than")
    click.echo(f"cancelled {orders(asyncio.run(work))}")
