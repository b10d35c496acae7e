"""Where the messages are shown: a live screen in a terminal, plain lines anywhere else."""

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live

from wood.tools.watch.feed import Message
from wood.tools.watch.market import Market
from wood.tools.watch.plain import plain_line
from wood.tools.watch.screen import Screen

REDRAW_SECONDS = 0.1
"""The least time between two redraws, however many messages come in between."""


class Display(Protocol):
    """`show` takes in messages at once; `run` draws for as long as there is something to do."""

    def show(self, messages: Iterable[Message]) -> None:
        """Take in `messages`."""

    async def run(self) -> None:
        """Draw. May be cancelled at any time."""


class PlainLines:
    """A line for each level, trade and state."""

    def show(self, messages: Iterable[Message]) -> None:
        """Print `messages`. Raises `BrokenPipeError` when nobody reads them any more."""
        if lines := [line for line in map(plain_line, messages) if line]:
            print("\n".join(lines), flush=True)

    async def run(self) -> None:
        """Nothing is left to do."""


class LiveScreen:
    """The screen, entered and left as a context, so that the terminal is always given back."""

    def __init__(self, console: Console, screen: Screen) -> None:
        self._screen = screen
        self._market = Market(screen.trades)
        self._changed = asyncio.Event()
        self._live = Live(
            console=console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.__enter__()
        self.redraw()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, traceback)

    def show(self, messages: Iterable[Message]) -> None:
        """Fold `messages` into the market; they are drawn with the next redraw."""
        self._market.apply(messages)
        self.redraw()

    def redraw(self) -> None:
        """Ask for a redraw: something changed, the size of the terminal perhaps."""
        self._changed.set()

    async def run(self) -> None:
        """Redraw after changes, for ever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            width, height = self._live.console.size
            self._live.update(self._screen.render(self._market, width, height), refresh=True)
            await asyncio.sleep(REDRAW_SECONDS)
