"""Many random traders against one server, until a signal or until the server goes away."""

import asyncio
import ssl
from contextlib import AsyncExitStack, suppress
from random import Random

from wood.model.errors import WoodError
from wood.tools.signals import stop_signal
from wood.tools.traders.grid import ask_grid
from wood.tools.traders.session import Session
from wood.tools.traders.summary import summary
from wood.tools.traders.trader import Trader

LEAVE_SECONDS = 3.0
"""How long the traders wait for their last answers."""


async def run_traders(
    host: str,
    port: int,
    number: int,
    rate: float,
    seed: int | None,
    symbol: str | None = None,
    *,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Let `number` traders send `rate` messages per second each; print all of it, then a summary.

    Returns after SIGINT or SIGTERM: the traders then cancel their open orders, so that the summary
    is final and nothing of theirs stays in the book. Equal seeds draw equal orders; None is a new
    seed each time. `rate` is greater than 0. Raises `ConnectionLost`, `UnexpectedReply` and what
    else `ask_grid` does, after the summary if trading had begun.
    """
    grid = await ask_grid(host, port, symbol, tls=tls)
    async with AsyncExitStack() as connections:
        sessions: list[Session] = []
        for place in range(1, number + 1):
            trader = Trader(_generator(seed, place), symbol, grid)
            session = Session(f"trader {place}", trader, host, port, tls=tls)
            sessions.append(await connections.enter_async_context(session))
        failure = await _trade(sessions, rate)
    print(_report([session.trader for session in sessions]), flush=True)
    if failure:
        raise failure


def _generator(seed: int | None, place: int) -> Random:
    """Each trader's own source of chance, so that how they take turns changes nothing."""
    return Random() if seed is None else Random(f"{seed}/{place}")


async def _trade(sessions: list[Session], rate: float) -> Exception | None:
    """Trade until a signal, then leave. Returns what ended it, None if it was the signal."""
    failure: Exception | None = None
    try:
        with stop_signal() as stop:
            async with asyncio.TaskGroup() as group:
                listening = [group.create_task(session.listen()) for session in sessions]
                trading = [group.create_task(session.trade(rate)) for session in sessions]
                await stop.wait()
                for task in trading:
                    task.cancel()
                await _leave(sessions)
                for task in listening:
                    task.cancel()
    except* (WoodError, OSError) as failures:
        failure = failures.exceptions[0]
    return failure


async def _leave(sessions: list[Session]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(LEAVE_SECONDS):
            await asyncio.gather(*(session.leave() for session in sessions))


def _report(traders: list[Trader]) -> str:
    text = "\n" + summary([trader.tally for trader in traders])
    if left := sum(len(trader.open_orders) for trader in traders):
        text += f"\n\norders still open, so that the summary is not final: {left}"
    return text
