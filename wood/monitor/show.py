"""Where a summary is shown: in a terminal, as text for people, or as JSON for programs."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import msgspec
from rich.console import Console
from rich.live import Live

from wood.monitor.ask import Asker
from wood.monitor.summary import Summary
from wood.monitor.table import render

INTERVAL = 1.0
"""Seconds from one summary to the next."""

WIDTH = 140
"""Columns in a pipe or a file: nothing is cut off there."""


class Display(Protocol):
    """Shows one summary after the other."""

    def show(self, summary: Summary) -> None:
        """Show it. Raises `BrokenPipeError` when nobody reads it any more."""


class Json:
    """A line for each."""

    def show(self, summary: Summary) -> None:
        """Print it."""
        print(msgspec.json.encode(summary).decode(), flush=True)


class Blocks:
    """One below the other."""

    def __init__(self) -> None:
        self._console = console()

    def show(self, summary: Summary) -> None:
        """Print it, and an empty line."""
        self._console.print(render(summary), "")
        self._console.file.flush()


class Screen:
    """Each in the place of the one before."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, summary: Summary) -> None:
        """Draw it, for the size that the terminal has now."""
        self._live.update(render(summary), refresh=True)


def console() -> Console:
    """Of standard output; as wide as it has to be where that is no terminal."""
    found = Console(highlight=False)
    if not found.is_terminal:
        found.width = WIDTH
    return found


def display(*, json: bool, watch: bool) -> AbstractContextManager[Display]:
    """Entered and left as a context, so that the terminal is always given back."""
    if json:
        return nullcontext(Json())
    there = console()
    if watch and there.is_terminal and not there.is_dumb_terminal:
        return _Live(there)
    return nullcontext(Blocks())


class _Live(AbstractContextManager[Display]):
    def __init__(self, there: Console) -> None:
        self._live = Live(console=there, screen=True, auto_refresh=False)

    def __enter__(self) -> Display:
        self._live.__enter__()
        return Screen(self._live)

    def __exit__(self, *reason: object) -> None:
        self._live.stop()


async def watch(asker: Asker, shown: Display, stop: asyncio.Event) -> None:
    """Show how it is each second, until `stop`."""
    stopping = asyncio.create_task(stop.wait())
    following = asyncio.create_task(_follow(asker, shown.show))
    try:
        await asyncio.wait([stopping, following], return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            following.result()
    finally:
        for task in (stopping, following):
            task.cancel()
        await asyncio.gather(stopping, following, return_exceptions=True)


async def _follow(asker: Asker, show: Callable[[Summary], None]) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        show(await asker.ask())
        due = max(due + INTERVAL, loop.time())
        await asyncio.sleep(due - loop.time())
