"""`wood replay`: send a recorded day to a running server."""

import asyncio
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from wood.cli.numbers import FiniteRange
from wood.tools.replay.lobster import count_messages, first_book_row, read_messages
from wood.tools.replay.run import replay as run
from wood.tools.replay.translate import Translator

INTERRUPTED = 130
"""The exit code of a program that Ctrl-C ended, as shells have it."""

_PORT = click.IntRange(1, 65535)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=_FILE)
@click.option(
    "--book",
    type=_FILE,
    show_envvar=True,
    help="Seed the server's book with the first row of this book file, the state after the first "
    "message, and replay the rest.",
)
@click.option(
    "--speed",
    type=FiniteRange(min=0, min_open=True),
    metavar="X",
    show_envvar=True,
    help="1 is as recorded, 10 is ten times faster. [default: as fast as possible]",
)
@click.option("--symbol", show_envvar=True, help="Trade this instrument, not the default one.")
@click.option("--host", default="127.0.0.1", show_envvar=True, help="The server's host.")
@click.option(
    "--port", "-p", type=_PORT, default=7001, show_envvar=True, help="The server's private port."
)
def replay(
    file: Path, book: Path | None, speed: float | None, symbol: str | None, host: str, port: int
) -> None:
    """Send a recorded day, FILE in the LOBSTER message format, to a running server.

    \b
        wood replay examples/flow-messages.csv --book examples/flow-orderbook.csv

    A recorded execution becomes an immediate-or-cancel order against the order that it names. A
    delete or partial cancel of an order from before the recording takes from the seeded order at
    its price. Hidden executions, crosses and halts are passed over. FILE is checked as a whole
    before anything is sent. A server that takes no order at all is an error.
    """
    row = first_book_row(book) if book else None
    count = count_messages(file)
    translator = Translator(symbol)
    with _progress_bar() as bar:
        task = bar.add_task("replay", total=count)
        work = run(
            host,
            port,
            translator,
            read_messages(file),
            book=row,
            speed=speed,
            progress=lambda done: bar.update(task, completed=done),
        )
        try:
            asyncio.run(work)
        except KeyboardInterrupt:
            interrupted = True
        else:
            interrupted = False
            bar.update(task, completed=count)
    click.echo(translator.tally.summary())
    if interrupted:
        raise SystemExit(INTERRUPTED)
    translator.tally.check_taken()


def _progress_bar() -> Progress:
    """A bar on standard error, so that standard output has the summary alone; none in a file."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
