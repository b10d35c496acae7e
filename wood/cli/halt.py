"""`wood halt` and `wood resume`: an operator stops trading in instruments, and lets it go on."""

import asyncio
from contextlib import aclosing
from typing import Any

import click

from wood.cli.operator import chosen_operator, operator_options
from wood.model.orders import State
from wood.tools.operator import Operator, change_state

_SYMBOLS = click.argument("symbols", nargs=-1, required=True, metavar="SYMBOL...")


@click.command()
@_SYMBOLS
@operator_options
def halt(symbols: tuple[str, ...], **who: Any) -> None:
    """Halt trading in each SYMBOL: what is open can be cancelled, and nothing else be done.

    \b
        export WOOD_OPERATOR=root WOOD_TOKEN=...
        wood halt WOOD

    In a cluster any node will do. It holds until it is resumed.
    """
    asyncio.run(_change(symbols, State.HALTED, chosen_operator(who)))


@click.command()
@_SYMBOLS
@operator_options
def resume(symbols: tuple[str, ...], **who: Any) -> None:
    """Let trading in each SYMBOL go on that was halted, by an operator or by its price collar.

    \b
        export WOOD_OPERATOR=root WOOD_TOKEN=...
        wood resume WOOD

    In a cluster any node will do.
    """
    asyncio.run(_change(symbols, State.OPEN, chosen_operator(who)))


async def _change(symbols: tuple[str, ...], state: State, operator: Operator) -> None:
    changes = change_state(operator, symbols, state)
    async with aclosing(changes) as changed:
        async for symbol in changed:
            click.echo(f"{symbol} is {state}")
