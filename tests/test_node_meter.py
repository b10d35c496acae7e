"""What a node counts of the journal."""

from tests.engines import INSTRUMENTS
from wood.model.errors import ErrorCode
from wood.model.events import (
    Batch,
    BookSnapshot,
    CommandRefused,
    Event,
    HeartbeatAnswered,
    LevelChanged,
    LoginRefused,
    Snapshot,
    StateChanged,
    Trade,
)
from wood.model.orders import BUY, SELL, Reason, State
from wood.node.feed import Feed
from wood.node.meter import Meter

NOW = 1_700_000_000_000_000


class Read:
    """A meter behind a feed, as a node has them."""

    def __init__(self) -> None:
        self.feed = Feed(INSTRUMENTS)
        self.meter = Meter(INSTRUMENTS, self.feed, clock=lambda: NOW)
        self.number = self.seq = 0
        books = {symbol: BookSnapshot([], []) for symbol in INSTRUMENTS}
        self.reset(Snapshot("main", 1, 0, 5, books, frozenset({"PEAR"})))

    def reset(self, snapshot: Snapshot) -> None:
        for reader in (self.feed, self.meter):
            reader.reset(snapshot)

    def apply(self, *events: Event, time: int = NOW, numbered: int = 0, own: bool = False) -> None:
        self.number += 1
        number = 0 if own else self.number
        first, self.seq = self.seq + 1, self.seq + numbered
        batch = Batch("main", 1, "", number, first, self.seq, time, list(events))
        for reader in (self.feed, self.meter):
            reader.apply(batch)


def trade(symbol: str, price: int, quantity: int) -> Trade:
    return Trade(1, symbol, price, quantity, BUY, "m", 1, 0, "t", 2, 0)


def refused(code: ErrorCode) -> CommandRefused:
    return CommandRefused("a", "s", code, "no", 1, None)


def traded(meter: Meter, symbol: str) -> tuple[int, int, int, int | None]:
    of = meter.traded[symbol]
    return of.count, of.lots, of.value, of.last


def test_trades_are_counted_by_instrument() -> None:
    read = Read()
    assert traded(read.meter, "WOOD") == (0, 0, 0, None)
    level = LevelChanged(3, "WOOD", SELL, 101, 4)
    read.apply(trade("WOOD", 100, 2), level, trade("PEAR", 7, 10), numbered=5)
    read.apply(trade("WOOD", 101, 3), trade("WOOD", 99, 1), numbered=4)
    read.apply(level, numbered=1)
    assert traded(read.meter, "WOOD") == (3, 6, 200 + 303 + 99, 99)
    assert traded(read.meter, "PEAR") == (1, 10, 70, 7)
    assert (read.meter.trades, read.meter.events, read.meter.batches) == (4, 10, 3)


def test_refusals_are_counted_by_code() -> None:
    """Also beside trades, which have two numbers, in batches of all kinds."""
    read = Read()
    read.apply(refused(ErrorCode.LIMIT))
    read.apply(trade("WOOD", 1, 1), refused(ErrorCode.LIMIT), numbered=2)
    read.apply(HeartbeatAnswered("a", "s"), LoginRefused("a", "s", ErrorCode.UNAUTHORIZED, "no"))
    read.apply(trade("WOOD", 1, 1), numbered=2)
    expected = {ErrorCode.LIMIT: 2, ErrorCode.UNAUTHORIZED: 1}
    assert read.meter.refusals == expected
    assert read.meter.unavailable == 0


def test_what_stands_in_no_journal_is_this_nodes_own() -> None:
    read = Read()
    read.apply(refused(ErrorCode.LIMIT), time=NOW - 1000)
    batches, time = read.meter.batches, read.meter.time
    read.apply(refused(ErrorCode.UNAVAILABLE), HeartbeatAnswered("a", "s"), time=NOW, own=True)
    assert read.meter.unavailable == 1
    assert read.meter.refusals.total() == 1
    assert (read.meter.batches, read.meter.time) == (batches, time)
    assert read.meter.lag.count == 1


def test_lag_is_from_the_decision_to_now() -> None:
    """A clock of Redis that is ahead makes none."""
    read = Read()
    read.apply(refused(ErrorCode.LIMIT), time=NOW - 3_000)
    read.apply(refused(ErrorCode.LIMIT), time=NOW + 3_000)
    assert read.meter.lag.sum == 0.003
    assert read.meter.time == NOW + 3_000


def test_a_snapshot_takes_nothing_back() -> None:
    read = Read()
    assert read.meter.book.halted == {"PEAR"}
    read.apply(StateChanged(1, "PEAR", State.OPEN, Reason.OPERATOR), numbered=1)
    read.apply(trade("WOOD", 1, 1), numbered=2)
    assert read.meter.book.halted == frozenset()
    books = {symbol: BookSnapshot([], []) for symbol in INSTRUMENTS}
    read.reset(Snapshot("main", 2, 90, 77, books, frozenset({"WOOD"})))
    assert (read.meter.book.epoch, read.meter.book.seq, read.meter.time) == (2, 90, 77)
    assert read.meter.book.halted == {"WOOD"}
    assert (read.meter.trades, read.meter.events) == (1, 3)
