"""The script of the cluster alone, without a node: what deciding in Redis costs."""

import asyncio
import signal
from collections.abc import Sequence

import uvloop
from msgspec import Struct

from wood.model.errors import WoodError
from wood.tools.bench.book import drawn, fills_per_order
from wood.tools.bench.conditions import Conditions, conditions
from wood.tools.bench.deep import Depth, measure_depths
from wood.tools.bench.partition import Cost, Partition, SizedBatch, batches
from wood.tools.bench.run import WARM_UP
from wood.tools.bench.settings import Settings
from wood.tools.bench.spread import Spread, spread
from wood.tools.bench.store import Kind, Store, opened, own_prefix


class ScriptReport(Struct, frozen=True, kw_only=True):
    """`commands_per_second` is by the clock of who sends the batches, one after the other.

    `script_commands_per_second` and `script_us_per_command` are by what the server says that it
    spent in the script: what a node cannot be faster than. `resting` is empty unless asked for.
    """

    conditions: Conditions
    settings: Settings
    redis: Kind
    rounds: int
    commands_per_second: Spread
    script_commands_per_second: Spread
    script_us_per_command: Spread
    fills_per_order: float
    resting: list[Depth]


def run_script(settings: Settings, resting: Sequence[int]) -> ScriptReport:
    """Have the flow of `settings` decided `pairs` times; then measure books of `resting` orders.

    Raises `WoodError`.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(settings, resting))


async def _run(settings: Settings, resting: Sequence[int]) -> ScriptReport:
    task = asyncio.current_task()
    assert task is not None
    # Ctrl-C cancels the task too; either way nothing is left in Redis.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await _measured(settings, resting)
    except asyncio.CancelledError:
        raise WoodError("interrupted before the last round was over") from None


async def _measured(settings: Settings, resting: Sequence[int]) -> ScriptReport:
    before = conditions()
    requests = drawn(settings)
    encoded = batches(requests, settings.batch)
    async with opened(settings) as store:
        await _round(store, encoded[: max(1, round(len(encoded) * WARM_UP))])
        costs = [await _round(store, encoded) for _ in range(settings.pairs)]
        depths = await measure_depths(store, settings, resting) if resting else []
    return ScriptReport(
        conditions=before,
        settings=settings.for_all(),
        redis=store.kind,
        rounds=len(costs),
        commands_per_second=spread((each.commands / each.seconds for each in costs), 0),
        script_commands_per_second=spread(
            (each.commands / each.script_seconds for each in costs), 0
        ),
        script_us_per_command=spread(
            (each.script_seconds * 1e6 / each.commands for each in costs), 3
        ),
        fills_per_order=fills_per_order(requests),
        resting=depths,
    )


async def _round(store: Store, encoded: Sequence[SizedBatch]) -> Cost:
    """Play everything into a book that is empty."""
    async with own_prefix(store.client) as prefix:
        partition = Partition(store.client, prefix)
        await partition.join()
        return await partition.play(encoded)
