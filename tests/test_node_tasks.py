"""Tasks that a node ends."""

import asyncio

from tests.engines import with_loop
from wood.node.tasks import Tasks


def test_a_task_that_misses_its_cancellation_is_cancelled_again() -> None:
    async def test() -> None:
        tasks = Tasks()
        missed: list[int] = []

        async def work() -> None:
            while len(missed) < 2:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    missed.append(1)
            await asyncio.Event().wait()

        task = tasks.start(work())
        await asyncio.sleep(0)
        await tasks.close()
        await tasks.close()
        assert task.cancelled()
        assert len(missed) == 2

    with_loop(test)
