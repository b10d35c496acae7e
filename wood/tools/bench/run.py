"""One run over TCP: warm up, then play the rounds, in turns with the ceiling if there is one."""

import asyncio
import gc
import signal
from collections.abc import Iterable, Sequence
from itertools import islice

import uvloop

from wood.model.errors import WoodError
from wood.tools.bench.conditions import conditions
from wood.tools.bench.encode import Encoder, Load
from wood.tools.bench.flow import Flow, Request
from wood.tools.bench.report import Report, report
from wood.tools.bench.server import Measured, Server
from wood.tools.bench.settings import Settings
from wood.tools.bench.sides import Sides, connected

WARM_UP = 0.1
"""The share of a round that is played before the first one and not counted."""

SLICE = 2_000
"""Requests that are drawn at a time, some 20 ms: in between, Ctrl-C is heard."""

CANCELED_AT_ONCE = 200_000
"""Requests of one load in the cancelling at the end, which bounds its memory."""

Pair = dict[Server, Measured]


def run(settings: Settings) -> Report:
    """Measure as `settings` say. Raises `WoodError` when there is nothing to report.

    Interrupted, it reports the rounds that were over by then.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(settings))


async def _run(settings: Settings) -> Report:
    task = asyncio.current_task()
    assert task is not None
    # Ctrl-C cancels the task too; either way the servers that were started are ended in order.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    target: list[Measured] = []
    ceiling: list[Measured] = []
    before, redis, interrupted = conditions(), None, False
    try:
        async with connected(settings) as sides:
            redis = sides.redis
            await _rounds(settings, sides, target, ceiling)
    except asyncio.CancelledError:
        interrupted = True
    if not target:
        raise WoodError("interrupted before the first round was over")
    return report(before, settings, redis, target, ceiling, interrupted)


async def _rounds(
    settings: Settings, sides: Sides, target: list[Measured], ceiling: list[Measured]
) -> None:
    """Play all rounds; add what they show to the lists as soon as a pair is complete."""
    drawn = settings.connections, settings.cancel_share, settings.spread, settings.seed
    flow = Flow(*drawn, apart=settings.apart)
    await _play(sides.in_turn(0), await draw(flow, max(1, round(settings.orders * WARM_UP))))
    for number in range(settings.rounds):
        pair = await _play(sides.in_turn(number), await draw(flow, settings.orders))
        target.append(pair[sides.target])
        if sides.ceiling is not None:
            ceiling.append(pair[sides.ceiling])
    if not settings.serve:
        await _cancel_all(flow, sides.target)


async def _play(servers: Sequence[Server], loads: Sequence[Load]) -> Pair:
    """Give the same round to all servers, one after the other."""
    # The generator's own collections would show as pauses of the server.
    gc.collect()
    gc.disable()
    try:
        return {server: await server.play(loads) for server in servers}
    finally:
        gc.enable()


async def _cancel_all(flow: Flow, server: Server) -> None:
    """Leave nothing of ours on `server`; that most orders are long gone there is no matter."""
    requests = flow.cancel_all()
    while any(map(len, loads := await _encode(flow, islice(requests, CANCELED_AT_ONCE)))):
        await server.play(loads)


async def draw(flow: Flow, count: int) -> list[Load]:
    """The next `count` requests of `flow`, encoded. May be cancelled."""
    sizes = (min(SLICE, count - at) for at in range(0, count, SLICE))
    return await _encode(flow, (request for size in sizes for request in flow.take(size)))


async def _encode(flow: Flow, requests: Iterable[Request]) -> list[Load]:
    """Encode `requests`, some at a time, so that this can be cancelled."""
    encoder, requests = Encoder(flow.participants), iter(requests)
    while some := list(islice(requests, SLICE)):
        encoder.add(some)
        await asyncio.sleep(0)
    return encoder.loads()
