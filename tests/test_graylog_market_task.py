"""The market of a single server, told by a task beside its engine."""

import asyncio
from collections.abc import Callable

import pytest

from tests.engines import INSTRUMENTS, Recorder, until, with_loop
from tests.gelf_receiver import HOST, GelfReceiver, needs_gelf
from tests.market_told import told_in
from tests.support import PATIENCE, free_port
from tests.test_exchange import new
from tests.test_graylog_market_reader import FakeCourier, FakeTail, a_trade
from wood.exchange.memory import MemoryExchange
from wood.exchange.tail import Page
from wood.graylog import market_task as module
from wood.graylog.address import Address
from wood.graylog.market import Which
from wood.graylog.market_task import MarketTask, market_task
from wood.model.events import Trade
from wood.model.orders import BUY, SELL

StartGelf = Callable[..., GelfReceiver]


class Server:
    """An engine in memory, and what tells its market."""

    def __init__(self, receiver: GelfReceiver, kept: int = 100_000) -> None:
        self.exchange = MemoryExchange(INSTRUMENTS, kept=kept)
        self.said = Recorder()
        self.exchange.attach(self.said)
        self.behind: list[int] = []
        address = receiver.address()
        self.task = market_task(self.exchange, address, "n", Which.TRADES, self.behind.append)
        self._next = 1

    async def __aenter__(self) -> "Server":
        await self.exchange.start()
        self.task.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.task.close()
        await self.exchange.close()

    @property
    def trades(self) -> set[int]:
        """The number of each trade."""
        return {event.seq for event in self.said.events if isinstance(event, Trade)}

    async def trade(self, count: int) -> None:
        """So many trades, one in each batch."""
        for _ in range(count):
            self._next += 1
            self.exchange.submit(
                [new("A", self._next, SELL, 100, 1), new("B", self._next, BUY, 100, 1)]
            )
            await self.exchange.drain()


@needs_gelf
def test_every_trade_is_told_also_the_last_ones(start_gelf: StartGelf) -> None:
    """What was decided before the end is told before the end."""
    receiver = start_gelf()

    async def test() -> None:
        async with Server(receiver) as server:
            await server.trade(1)
            await asyncio.to_thread(receiver.until, 1)
            await server.trade(500)
        assert len(told_in(receiver.messages())) == 501

    with_loop(test)
    [first, *_] = receiver.messages()
    assert (first["_node"], first["_log"], first["_partition"]) == ("n", "market", "main")


@needs_gelf
def test_a_graylog_that_is_away_too_long_is_told_what_it_missed(
    start_gelf: StartGelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept in memory is bounded; the exchange waits for nobody."""
    monkeypatch.setattr(module, "TICK", 0.01)
    receiver = start_gelf()
    receiver.kill()

    async def test() -> None:
        async with Server(receiver, kept=200) as server:
            await server.trade(1)
            await until(lambda: max(server.behind) > 0)  # it is under way, and cannot arrive
            await server.trade(1000)
            await until(lambda: server.behind[-1] > 4000)
            await asyncio.to_thread(receiver.start)
            await until(lambda: server.behind[-1] == 0)
        messages = receiver.messages()
        [skipped] = [m for m in messages if m["_event"] == "market.skipped"]
        hole = set(range(skipped["_seq"] + 1, skipped["_seq"] + 1 + skipped["_count"]))
        told = {seq for _, _, seq in told_in(messages)}
        assert (skipped["_reason"], skipped["level"]) == ("trimmed", 4)
        assert told == server.trades - hole
        assert hole & server.trades

    with_loop(test)


def test_who_cannot_tell_all_in_time_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LAST", 0.05)

    async def test() -> None:
        tail, courier = FakeTail(), FakeCourier(confirms=False)
        task = MarketTask("main", tail, courier.make, "n", Which.TRADES, lambda behind: None)
        task.start()
        tail.add(a_trade(1))
        await until(lambda: courier.seqs == [[1]])
        await task.close()
        await task.close()
        assert courier.closings == 1

    with_loop(test)
    assert "the last 1 events were not told to Graylog" in caplog.text


def test_the_end_does_not_wait_for_a_graylog_that_is_known_to_be_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LAST", 10 * PATIENCE)

    async def test() -> None:
        exchange = MemoryExchange(INSTRUMENTS)
        task = market_task(exchange, Address("tcp", HOST, free_port()), "n", Which.TRADES)
        await exchange.start()
        task.start()
        exchange.submit([new("A", 1, SELL, 100, 1), new("B", 2, BUY, 100, 1)])
        await until(lambda: "is away" in caplog.text)
        async with asyncio.timeout(PATIENCE):
            await task.close()
        await exchange.close()

    with_loop(test)
    assert "events were not told to Graylog" in caplog.text


def test_what_fails_is_told_in_the_log_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.01)

    class Failing(FakeTail):
        async def read(self) -> Page:
            if not caplog.text:
                raise RuntimeError("it broke")
            return await super().read()

    async def test() -> None:
        tail, courier = Failing(), FakeCourier()
        task = MarketTask("main", tail, courier.make, "n", Which.TRADES, lambda behind: None)
        task.start()
        last = tail.add(a_trade(1))
        await until(lambda: tail.kept == [last])
        await task.close()

    with_loop(test)
    assert "the market is not told to Graylog; that begins again" in caplog.text
    assert "it broke" in caplog.text
