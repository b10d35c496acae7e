"""What the tests of every engine share."""

import asyncio
import warnings
from collections.abc import Awaitable, Callable

import uvloop

from wood.exchange.exchange import Exchange
from wood.model.commands import Command
from wood.model.events import Batch, CommandRefused, Event, Snapshot, Trade
from wood.model.instruments import Instrument, Instruments

INSTRUMENTS = Instruments([Instrument("WOOD"), Instrument("PEAR", "0.5", "10")])


class Recorder:
    """A reader that keeps everything, and checks that the numbers have no gap."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self.batches: list[Batch] = []

    def reset(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)

    def apply(self, batch: Batch) -> None:
        last = self.batches[-1].last if self.batches else self.snapshots[-1].seq
        assert batch.first == last + 1
        seq = last
        for event in batch.events:
            number = getattr(event, "seq", None)
            if number is not None:
                assert number == seq + 1
                seq += 2 if isinstance(event, Trade) else 1
        assert batch.last == seq
        self.batches.append(batch)

    @property
    def events(self) -> list[Event]:
        return [event for batch in self.batches for event in batch.events]


async def run(exchange: Exchange, commands: list[Command]) -> list[Event]:
    """Submit commands at once and return the events that answer them."""
    recorder = Recorder()
    exchange.attach(recorder)
    await exchange.start()
    exchange.submit(commands)
    await exchange.drain()
    assert not any(isinstance(e, CommandRefused) and not e.text for e in recorder.events)
    return recorder.events


def with_loop(test: Callable[[], Awaitable[None]]) -> None:
    """Run an asynchronous test on the event loop that the server uses."""

    async def main() -> None:
        async with asyncio.timeout(30):
            await test()

    with warnings.catch_warnings():
        # When a test fails, its open sockets warn as the loop is closed; as an error that would
        # make uvloop try again for ever, and hide what failed.
        warnings.simplefilter("ignore", ResourceWarning)
        uvloop.run(main())
