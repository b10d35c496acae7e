"""What every engine does: a subclass provides one, so that all engines pass the same tests."""

from abc import ABC, abstractmethod

import pytest

from tests.engines import INSTRUMENTS, Recorder, run, with_loop
from wood.exchange.exchange import Partition
from wood.exchange.memory import MAX_COMMANDS, MemoryExchange
from wood.model.commands import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    CloseSession,
    Command,
    ListInstruments,
    ListOrders,
    NewOrder,
    Refuse,
)
from wood.model.errors import ErrorCode, JournalTrimmed
from wood.model.events import (
    AllCanceled,
    CommandRefused,
    Event,
    InstrumentsListed,
    LevelChanged,
    OpenOrder,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    OrdersListed,
    SessionClosed,
    Trade,
)
from wood.model.orders import BUY, GTC, SELL, State


def new(
    who: str, order_id: int, side: object, price: int, quantity: int, symbol: str = "WOOD"
) -> NewOrder:
    return NewOrder(who, f"{who}-session", 0, symbol, order_id, side, price, quantity)  # type: ignore[arg-type]


def asking(kind: type[Command], who: str, *more: object) -> Command:
    return kind(who, f"{who}-session", 0, *more)


class ExchangeTests(ABC):
    """The suite."""

    @abstractmethod
    def exchange(self, max_open_orders: int = 100, kept: int = 100_000) -> Partition:
        """A fresh engine with the instruments WOOD and PEAR."""

    def answers(self, *commands: Command) -> list[Event]:
        found: list[Event] = []

        async def test() -> None:
            exchange = self.exchange()
            found.extend(await run(exchange, list(commands)))
            await exchange.close()
            await exchange.close()

        with_loop(test)
        return found

    def test_a_trade_and_its_numbers(self) -> None:
        events = self.answers(new("A", 1, BUY, 100, 10), new("B", 2**64 - 1, SELL, 99, 15))
        assert events == [
            OrderAccepted(1, "A", "A-session", "WOOD", 1, BUY, 100, 10, GTC, False),
            LevelChanged(2, "WOOD", BUY, 100, 10),
            OrderAccepted(3, "B", "B-session", "WOOD", 2**64 - 1, SELL, 99, 15, GTC, False),
            Trade(4, "WOOD", 100, 10, SELL, "A", 1, 0, "B", 2**64 - 1, 5),
            LevelChanged(6, "WOOD", BUY, 100, 0),
            LevelChanged(7, "WOOD", SELL, 99, 5),
        ]

    def test_refusals_stand_in_their_place_without_a_number(self) -> None:
        events = self.answers(
            new("A", 1, BUY, 100, 10),
            asking(Refuse, "A", ErrorCode.INVALID, "bad", 7, "PEAR"),
            new("A", 1, BUY, 100, 10),
            asking(CancelOrder, "B", "WOOD", 1),
            asking(CancelOrder, "A", "WOOD", 1),
        )
        assert events == [
            OrderAccepted(1, "A", "A-session", "WOOD", 1, BUY, 100, 10, GTC, False),
            LevelChanged(2, "WOOD", BUY, 100, 10),
            CommandRefused("A", "A-session", ErrorCode.INVALID, "bad", 7, "PEAR"),
            CommandRefused(
                "A", "A-session", ErrorCode.DUPLICATE, "an open order has this id", 1, "WOOD"
            ),
            CommandRefused(
                "B", "B-session", ErrorCode.NOT_FOUND, "no open order has this id", 1, "WOOD"
            ),
            OrderCanceled(3, "A", "WOOD", 1, 10),
            LevelChanged(4, "WOOD", BUY, 100, 0),
        ]

    def test_amend(self) -> None:
        events = self.answers(
            new("A", 1, BUY, 100, 10), asking(AmendOrder, "A", "WOOD", 1, 101, None)
        )
        assert events[2:] == [
            OrderAmended(3, "A", "WOOD", 1, 101, 10),
            LevelChanged(4, "WOOD", BUY, 101, 10),
            LevelChanged(5, "WOOD", BUY, 100, 0),
        ]

    def test_instruments_are_apart(self) -> None:
        events = self.answers(
            new("A", 1, BUY, 100, 10),
            new("A", 1, SELL, 100, 10, "PEAR"),
            asking(CancelOrder, "A", "PEAR", 1),
            asking(ListOrders, "A", None),
        )
        assert not any(isinstance(event, Trade) for event in events)
        assert events[-1] == OrdersListed(
            "A", "A-session", None, [OpenOrder("WOOD", 1, BUY, 100, 10)]
        )

    def test_orders_are_listed_by_instrument_and_in_the_order_taken(self) -> None:
        listed = self.answers(
            new("A", 5, SELL, 100, 1, "PEAR"),
            new("A", 9, BUY, 100, 1),
            new("B", 1, BUY, 100, 1),
            new("A", 2, BUY, 101, 1),
            asking(ListOrders, "A", None),
            asking(ListOrders, "A", "PEAR"),
            asking(ListOrders, "C", None),
        )
        assert [[(o.symbol, o.order_id) for o in e.orders] for e in listed[-3:]] == [  # type: ignore[attr-defined]
            [("WOOD", 9), ("WOOD", 2), ("PEAR", 5)],
            [("PEAR", 5)],
            [],
        ]

    def test_cancel_all(self) -> None:
        commands = [new("A", 1, BUY, 100, 1), new("A", 2, SELL, 200, 1, "PEAR")]
        commands += [new("B", 1, BUY, 100, 1)]
        cancel = asking(CancelAll, "A", None)
        events = self.answers(*commands, cancel, cancel)
        assert events[6:] == [
            OrderCanceled(7, "A", "WOOD", 1, 1),
            LevelChanged(8, "WOOD", BUY, 100, 1),
            OrderCanceled(9, "A", "PEAR", 2, 1),
            LevelChanged(10, "PEAR", SELL, 200, 0),
            AllCanceled("A", "A-session", None, 2),
            AllCanceled("A", "A-session", None, 0),
        ]
        events = self.answers(*commands, asking(CancelAll, "A", "PEAR"))
        assert events[-1] == AllCanceled("A", "A-session", "PEAR", 1)

    def test_the_limit_counts_over_all_instruments(self) -> None:
        commands = [new("A", n, BUY, 100, 1, "WOOD" if n % 2 else "PEAR") for n in range(101)]
        *_, last = self.answers(*commands)
        assert isinstance(last, CommandRefused)
        assert last.code is ErrorCode.LIMIT

    def test_instruments_are_listed(self) -> None:
        assert self.answers(asking(ListInstruments, "A")) == [
            InstrumentsListed("A", "A-session", {"WOOD": State.OPEN, "PEAR": State.OPEN})
        ]

    @pytest.mark.parametrize("cancel", [False, True])
    def test_a_closed_session_leaves_its_orders_unless_it_asked(self, cancel: bool) -> None:
        events = self.answers(
            new("A", 1, BUY, 100, 1),
            asking(CloseSession, "A", cancel),
            asking(ListOrders, "A", None),
        )
        assert SessionClosed("A", "A-session") in events
        assert len(events[-1].orders) == (0 if cancel else 1)  # type: ignore[attr-defined]

    def test_the_journal_and_the_snapshot(self) -> None:
        async def test() -> None:
            exchange, recorder = self.exchange(), Recorder()
            exchange.attach(recorder)
            await exchange.start()
            assert recorder.snapshots[0].seq == 0
            for number in range(1, 6):
                exchange.submit([new("A", number, BUY, 100, number)])
                await exchange.drain()
            assert [b async for b in exchange.events(0)] == recorder.batches
            assert [b async for b in exchange.events(4)] == recorder.batches[2:]
            assert [b async for b in exchange.events(5)] == recorder.batches[2:]
            assert [b async for b in exchange.events(10)] == []
            snapshot = await exchange.snapshot()
            assert (snapshot.seq, snapshot.books["WOOD"].bids) == (10, [(100, 15)])
            assert snapshot.epoch == recorder.batches[-1].epoch
            await exchange.close()

        with_loop(test)

    def test_the_journal_is_trimmed_and_says_so(self) -> None:
        async def test() -> None:
            exchange, recorder = self.exchange(kept=10), Recorder()
            exchange.attach(recorder)
            await exchange.start()
            for number in range(1, 21):
                exchange.submit([new("A", number, BUY, 100, 1)])
                await exchange.drain()
            with pytest.raises(JournalTrimmed):
                [b async for b in exchange.events(0)]
            kept = [b async for b in exchange.events(30)]
            assert kept == recorder.batches[-5:]
            await exchange.close()

        with_loop(test)

    def test_many_at_once_keep_their_order(self) -> None:
        count = MAX_COMMANDS * 3 + 7
        commands = [asking(Refuse, "A", ErrorCode.INVALID, str(n), n) for n in range(count)]
        events = self.answers(*commands)
        assert [event.order_id for event in events] == list(range(count))  # type: ignore[attr-defined]


class TestMemoryExchange(ExchangeTests):
    def exchange(self, max_open_orders: int = 100, kept: int = 100_000) -> MemoryExchange:
        return MemoryExchange(INSTRUMENTS, max_open_orders, kept=kept)
