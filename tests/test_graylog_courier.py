import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from tests.gelf_receiver import HOST, GelfReceiver, certified, needs_gelf
from tests.support import PATIENCE, free_port
from tests.tls import Office
from wood.graylog.address import Address
from wood.graylog.courier import Courier
from wood.graylog.market import Which
from wood.graylog.record import Record
from wood.model.events import Batch, LevelChanged, Trade
from wood.model.instruments import Instrument, Instruments
from wood.model.orders import Side

Start = Callable[..., GelfReceiver]


def batch(number: int, trades: int = 10) -> Batch:
    """The trades of batch n have the numbers from n * 2 * trades on."""
    first = 2 * trades * number
    events = [
        Trade(first + 2 * each, "ACME", 1_000, 5, Side.BUY, "m", 1, 0, "t", 2, 0)
        for each in range(trades)
    ]
    level = LevelChanged(first, "ACME", Side.SELL, 1_000, 0)
    time = 1_700_000_000_000_000 + number
    return Batch("main", 1, "w", number, first, first + 2 * trades - 1, time, [*events, level])


def numbers(receiver: GelfReceiver) -> list[int]:
    """Those of the trades that have come."""
    return [message["_seq"] for message in receiver.messages()]


class Told:
    """What a courier says of Graylog that is new."""

    def __init__(self) -> None:
        self.states: list[bool] = []
        self.reasons: list[str] = []
        self.away = asyncio.Event()

    def __call__(self, up: bool, reason: str) -> None:
        if up == (self.states[-1] if self.states else True):
            return
        self.states.append(up)
        self.reasons.append(reason)
        if not up:
            self.away.set()


def run(
    address: Address, play: Callable[[Courier, Told], Awaitable[None]], which: Which = Which.TRADES
) -> Told:
    """Have a courier, and let a test play with it."""

    async def all_of_it() -> Told:
        told = Told()
        courier = Courier(address, "node-1", Instruments([Instrument("ACME")]), which, told)
        await courier.start()
        try:
            async with asyncio.timeout(5 * PATIENCE):
                await play(courier, told)
        finally:
            await courier.close()
        return told

    return uvloop.run(all_of_it())


@needs_gelf
@pytest.mark.parametrize("scheme", ["udp", "tcp", "tls"])
def test_what_is_delivered_has_arrived(start_gelf: Start, tmp_path: Path, scheme: str) -> None:
    certificates, options = certified(scheme, Office(tmp_path))
    receiver = start_gelf(scheme, *certificates)

    async def play(courier: Courier, _: Told) -> None:
        for number in range(3):
            await courier.deliver([batch(number)])
            if scheme != "udp":
                assert receiver.count() == 10 * (number + 1)

    assert run(receiver.address(**options), play).states == []
    receiver.until(30)
    assert numbers(receiver) == list(range(0, 60, 2))
    trade = receiver.messages()[0]
    assert (trade["host"], trade["_log"], trade["_event"]) == ("node-1", "market", "trade.executed")
    assert trade["timestamp"] == 1_700_000_000
    assert (trade["_symbol"], trade["_price"], trade["_quantity"]) == ("ACME", 10, 5)


@needs_gelf
def test_what_nobody_wants_to_know_is_not_sent(start_gelf: Start) -> None:
    receiver = start_gelf()
    receiver.kill()

    async def play(courier: Courier, _: Told) -> None:
        level = batch(1).events[-1:]
        await courier.deliver([Batch("main", 1, "w", 1, 1, 1, 1, level)])
        await courier.deliver([])

    run(receiver.address(), play)


@needs_gelf
def test_records_of_another_kind_come_before_the_batches(start_gelf: Start) -> None:
    receiver = start_gelf()
    skipped = Record(1.5, 30, "node-1", "market", "skipped", {"event": "market.skipped", "seq": 7})

    async def play(courier: Courier, _: Told) -> None:
        await courier.deliver([batch(10, 1)], [skipped])
        await courier.deliver([], [skipped])

    run(receiver.address(), play)
    assert numbers(receiver) == [7, 20, 7]


@needs_gelf
@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_a_receiver_that_is_killed_at_any_moment_misses_nothing(
    start_gelf: Start, tmp_path: Path, scheme: str, full: bool
) -> None:
    certificates, options = certified(scheme, Office(tmp_path))
    receiver = start_gelf(scheme, *certificates)
    kills = 25 if full else 8
    missing: list[int] = []

    async def play(courier: Courier, _: Told) -> None:
        chance = random.Random()
        for number in range(kills):
            delivery = asyncio.create_task(courier.deliver([batch(number, 1_000)]))
            # Any moment: not one that a condition would choose.
            await asyncio.wait([delivery], timeout=chance.uniform(0, 0.2))
            receiver.kill()
            wanted = set(range(2_000 * number, 2_000 * (number + 1), 2))
            if delivery.done():
                missing.extend(wanted - set(numbers(receiver)))
            receiver.start()
            await delivery
            missing.extend(wanted - set(numbers(receiver)))

    run(receiver.address(**options), play)
    assert missing == []
    assert set(numbers(receiver)) == set(range(0, 2_000 * kills, 2))


@needs_gelf
def test_it_is_told_when_the_receiver_is_away_and_when_it_is_back(start_gelf: Start) -> None:
    receiver = start_gelf()
    receiver.kill()

    async def play(courier: Courier, told: Told) -> None:
        delivery = asyncio.create_task(courier.deliver([batch(0)]))
        await told.away.wait()
        assert not delivery.done()
        receiver.start()
        await delivery
        await courier.deliver([batch(1)])

    told = run(receiver.address(), play)
    assert told.states == [False, True]
    assert "refused" in told.reasons[0]
    assert numbers(receiver) == list(range(0, 40, 2))


@needs_gelf
def test_a_process_that_is_killed_is_started_again(
    start_gelf: Start, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = start_gelf()

    async def play(courier: Courier, told: Told) -> None:
        await courier.deliver([batch(0)])
        first = courier.process
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await courier.deliver([batch(1)])
        receiver.kill()
        delivery = asyncio.create_task(courier.deliver([batch(2)]))
        await told.away.wait()
        second = courier.process
        assert second not in (None, first)
        os.kill(second or 0, signal.SIGKILL)  # in the midst of a delivery
        receiver.start()
        await delivery

    told = run(receiver.address(), play)
    assert told.states == [False, True], "back, though the last process never saw it away"
    assert set(numbers(receiver)) == set(range(0, 60, 2))
    assert "what sends the market ended (exit code -9) and begins again" in caplog.text


@needs_gelf
def test_a_delivery_that_is_given_up_is_not_taken_for_the_next(start_gelf: Start) -> None:
    receiver = start_gelf()
    receiver.kill()

    async def play(courier: Courier, told: Told) -> None:
        delivery = asyncio.create_task(courier.deliver([batch(0)]))
        await told.away.wait()
        delivery.cancel()
        await asyncio.wait([delivery])
        receiver.start()
        await courier.deliver([batch(1)])
        assert set(range(20, 40, 2)) <= set(numbers(receiver))

    run(receiver.address(), play)


def test_the_end_does_not_wait_for_a_receiver_that_is_away() -> None:
    async def play(courier: Courier, told: Told) -> None:
        delivery = asyncio.create_task(courier.deliver([batch(0)]))
        await told.away.wait()
        delivery.cancel()
        await asyncio.wait([delivery])
        child = courier.process
        assert child is not None
        async with asyncio.timeout(PATIENCE / 2):
            await courier.close()
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)

    run(Address("tcp", HOST, free_port()), play)
