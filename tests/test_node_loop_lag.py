"""How late the event loop is."""

import asyncio
import time

import pytest

from tests.engines import with_loop
from wood.node import loop_lag
from wood.node.loop_lag import LoopLag


def test_a_turn_that_takes_long_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lag, "INTERVAL", 0.01)

    async def test() -> None:
        lag = LoopLag()
        assert lag.worst() == 0
        lag.start()
        while lag.histogram.count < 3:
            await asyncio.sleep(0)
        lag.worst()
        before = lag.histogram.count
        time.sleep(0.2)  # noqa: ASYNC251 - nobody else has a turn
        while lag.histogram.count == before:
            await asyncio.sleep(0)
        lag.stop()
        late = lag.worst()
        assert 0.15 < late < 5
        assert lag.histogram.sum >= late
        assert lag.worst() == 0, "asked again, it is since then"
        count = lag.histogram.count
        await asyncio.sleep(0.05)
        assert lag.histogram.count == count, "it was stopped"
        lag.stop()

    with_loop(test)
