"""Following a server's public port until a signal, or until the server goes away."""

import asyncio
import os
import ssl
from contextlib import ExitStack
from signal import SIGWINCH

from rich.console import Console

from wood.model.errors import WoodError
from wood.tools.connection import ConnectionFailed, lost, open_connection
from wood.tools.signals import stop_signal
from wood.tools.watch.display import Display, LiveScreen, PlainLines
from wood.tools.watch.feed import Feed
from wood.tools.watch.screen import Screen

READ_SIZE = 1 << 18


async def watch(
    host: str,
    port: int,
    symbol: str | None,
    levels: int,
    trades: int,
    *,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Show the feed of `host`:`port`: live in a terminal, else as plain lines on standard output.

    `symbol` None is the default instrument. Returns after SIGINT or SIGTERM. Raises
    `ConnectionFailed`, `FeedError` and, from plain lines, `BrokenPipeError`.
    """
    reader, writer = await open_connection(host, port, tls=tls)
    failure: Exception | None = None
    try:
        with ExitStack() as stack:
            stack.callback(writer.close)
            stop = stack.enter_context(stop_signal())
            display = _open_display(stack, Screen(f"{host}:{port}", symbol, levels, trades))
            feed = Feed(symbol)
            writer.write(feed.request())
            async with asyncio.TaskGroup() as group:
                following = group.create_task(_follow(reader, feed, display, lost(host, port)))
                drawing = group.create_task(display.run())
                await stop.wait()
                following.cancel()
                drawing.cancel()
    except* (WoodError, OSError) as failures:
        failure = failures.exceptions[0]
    if failure:
        raise failure


async def _follow(
    reader: asyncio.StreamReader, feed: Feed, display: Display, gone: ConnectionFailed
) -> None:
    """Show what the server says, until it has `gone`."""
    while True:
        try:
            piece = await reader.read(READ_SIZE)
        except OSError:
            piece = b""
        if not piece:
            raise gone
        display.show(feed.receive(piece))


def _open_display(stack: ExitStack, screen: Screen) -> Display:
    console = Console()
    if not (console.is_terminal and console.file.isatty()) or console.is_dumb_terminal:
        return PlainLines()
    display = stack.enter_context(LiveScreen(console, screen))

    def fit() -> None:
        _measure(console)
        display.redraw()

    fit()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(SIGWINCH, fit)
    stack.callback(loop.remove_signal_handler, SIGWINCH)
    return display


def _measure(console: Console) -> None:
    """Take the terminal's own size: COLUMNS and LINES, if exported, do not follow a resize."""
    columns, lines = os.get_terminal_size(console.file.fileno())
    if columns and lines:  # some terminals do not know; then the console has a default
        console.size = columns, lines
