"""Following a server's public port until a signal, or until the server goes away."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from signal import SIGINT, SIGTERM, SIGWINCH

from rich.console import Console

from wood.model.errors import WoodError
from wood.tools.connection import ConnectionFailed, lost, open_connection
from wood.tools.watch.display import Display, LiveScreen, PlainLines
from wood.tools.watch.feed import Feed
from wood.tools.watch.screen import Screen

READ_SIZE = 1 << 18


async def watch(host: str, port: int, symbol: str | None, levels: int, trades: int) -> None:
    """Show the feed of `host`:`port`: live in a terminal, else as plain lines on standard output.

    `symbol` None is the default instrument. Returns after SIGINT or SIGTERM. Raises
    `ConnectionFailed`, `FeedError` and, from plain lines, `BrokenPipeError`.
    """
    reader, writer = await open_connection(host, port)
    failure: Exception | None = None
    try:
        with ExitStack() as stack:
            stack.callback(writer.close)
            stop = stack.enter_context(_stop_signal())
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
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(SIGWINCH, display.redraw)
    stack.callback(loop.remove_signal_handler, SIGWINCH)
    return display


@contextmanager
def _stop_signal() -> Iterator[asyncio.Event]:
    """An event that SIGINT or SIGTERM sets."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal in (SIGINT, SIGTERM):
        loop.add_signal_handler(signal, stop.set)
    try:
        yield stop
    finally:
        for signal in (SIGINT, SIGTERM):
            loop.remove_signal_handler(signal)
