"""Records of the market: the same of both engines, with numbers as numbers, packed or not."""

import json
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from msgspec.structs import asdict

from tests.engines import INSTRUMENTS, EngineTests, InMemory, OnRedis, with_loop
from tests.test_exchange import new
from tests.trading_rules import amend, cancel, change, market
from wood.exchange.tail import Skipped
from wood.graylog.frames import LENGTH, Delivery, delivery, read, unpack
from wood.graylog.market import EVENTS, MAX_LONG, Which, records, skipped_record
from wood.graylog.record import Fields, Record
from wood.model.commands import Command
from wood.model.errors import ErrorCode
from wood.model.events import Batch, CommandRefused, Event, StateChanged, Trade
from wood.model.instruments import Instrument, Instruments
from wood.model.orders import BUY, SELL, Reason, State


def told(batches: Sequence[Batch], which: Which, *, way: bool = False) -> list[Record]:
    """The records of batches; with `way` of what is left of them on the way to who sends them."""
    if way:
        packed = delivery(1, batches, EVENTS[which], ())
        assert packed is not None
        sent = read(packed[LENGTH.size :])
        assert isinstance(sent, Delivery)
        batches = [unpack(each) for each in sent.batches]
    return [r for batch in batches for r in records(batch, INSTRUMENTS, "node-1", which)]


def without_place(fields: Fields) -> Fields:
    return {k: v for k, v in fields.items() if k not in ("epoch", "partition")}


class RecordTests(EngineTests):
    def batches(self, *commands: Command) -> list[Batch]:
        """What an engine makes of these, each said for itself."""
        found: list[Batch] = []

        async def test() -> None:
            async with self.engine() as engine:
                for command in commands:
                    await engine.say(command)
                found.extend(engine.said.batches)

        with_loop(test)
        return found

    def test_a_trade(self) -> None:
        batches = self.batches(
            new("maker", 7, SELL, 29, 50, "PEAR"), new("taker", 8, BUY, 30, 3, "PEAR")
        )
        [record] = told(batches, Which.TRADES)
        [trade] = [e for batch in batches for e in batch.events if isinstance(e, Trade)]
        assert record.fields == {
            "event": "trade.executed",
            "symbol": "PEAR",
            "price": 14.5,
            "quantity": 30.0,
            "value": 435.0,
            "side": "BUY",
            "participant": "taker",
            "order_id": 8,
            "maker": "maker",
            "maker_order_id": 7,
            "seq": trade.seq,
            "epoch": batches[-1].epoch,
            "partition": "main",
        }
        assert (record.time, record.log) == (batches[-1].time / 1e6, "market")
        assert (record.node, record.text) == ("node-1", "PEAR: 30 traded at 14.5")

    def test_what_becomes_of_orders_is_told_on_request(self) -> None:
        batches = self.batches(
            new("a", 1, BUY, 100, 5),
            amend("a", 1, 101, 4),
            market("b", 2, SELL, 6),
            new("a", 3, SELL, 200, 1),
            cancel("a", 3),
            cancel("a", 4),
        )
        names = [r.fields["event"] for r in told(batches, Which.TRADES)]
        assert names == ["trade.executed"]
        found = [without_place(r.fields) for r in told(batches, Which.ORDERS)]
        numbers = [fields.pop("seq") for fields in found if "seq" in fields]
        assert all(isinstance(n, int) for n in numbers)
        assert numbers == sorted(set(numbers), key=lambda n: float(n))
        order: Fields = {"symbol": "WOOD", "time_in_force": "GTC", "post_only": 0}
        assert found == [
            order
            | {"event": "order.accepted", "participant": "a", "order_id": 1, "side": "BUY"}
            | {"price": 1.0, "quantity": 5.0, "value": 5.0},
            {"event": "order.amended", "symbol": "WOOD", "participant": "a", "order_id": 1}
            | {"price": 1.01, "quantity": 4.0, "value": 4.04},
            order
            | {"event": "order.accepted", "participant": "b", "order_id": 2, "side": "SELL"}
            | {"quantity": 6.0, "time_in_force": "IOC"},
            {"event": "trade.executed", "symbol": "WOOD", "side": "SELL", "participant": "b"}
            | {"order_id": 2, "maker": "a", "maker_order_id": 1}
            | {"price": 1.01, "quantity": 4.0, "value": 4.04},
            {"event": "order.canceled", "symbol": "WOOD", "participant": "b", "order_id": 2}
            | {"quantity": 2.0},
            order
            | {"event": "order.accepted", "participant": "a", "order_id": 3, "side": "SELL"}
            | {"price": 2.0, "quantity": 1.0, "value": 2.0},
            {"event": "order.canceled", "symbol": "WOOD", "participant": "a", "order_id": 3}
            | {"quantity": 1.0},
            {"event": "order.refused", "symbol": "WOOD", "participant": "a", "order_id": 4}
            | {"code": "not_found"},
        ]

    def test_halts_are_told_in_any_case(self) -> None:
        batches = self.batches(change(State.HALTED), change(State.OPEN))
        for which in Which:
            found = told(batches, which)
            assert [without_place(r.fields) for r in found] == [
                {"event": "trading.halted", "symbol": "WOOD", "reason": "operator", "seq": 1},
                {"event": "trading.resumed", "symbol": "WOOD", "reason": "operator", "seq": 2},
            ]
            assert [r.level for r in found] == [30, 20]

    @pytest.mark.parametrize("which", Which)
    def test_packed_they_are_the_same(self, which: Which) -> None:
        batches = self.batches(
            new("a", 1, BUY, 100, 5),
            new("b", 1, SELL, 90, 9),
            amend("a", 1, 101, 4),
            amend("b", 1, 91, 2),
            cancel("b", 1),
            change(State.HALTED),
            new("b", 2, SELL, 90, 9),
        )
        assert told(batches, which, way=True) == told(batches, which) != []


class TestRecordsInMemory(InMemory, RecordTests):
    pass


class TestRecordsOnRedis(OnRedis, RecordTests):
    pass


def batch_of(*events: Event) -> Batch:
    return Batch("main", 3, "w", 1, 1, len(events), 1_700_000_000_250_000, list(events))


def a_trade(price: int = 1, quantity: int = 1, order_id: int = 1, maker_id: int = 2) -> Trade:
    return Trade(1, "X", price, quantity, BUY, "m", maker_id, 0, "t", order_id, 0)


def fields_of(event: Event, tick: str = "0.01", lot: str = "1") -> dict[str, Any]:
    """As they are after JSON."""
    instruments = Instruments([Instrument("X", tick, lot)])
    [record] = records(batch_of(event), instruments, "n", Which.ORDERS)
    found: dict[str, Any] = json.loads(json.dumps(record.fields))
    return found


def test_prices_and_quantities_have_a_point_even_if_they_are_whole() -> None:
    found = fields_of(a_trade(price=14500, quantity=3))
    assert (found["price"], found["quantity"], found["value"]) == (145, 3, 435)
    assert all(type(found[name]) is float for name in ("price", "quantity", "value"))
    assert all(type(found[name]) is int for name in ("seq", "epoch", "order_id"))


@pytest.mark.parametrize(
    ("tick", "lot"), [("0.01", "1"), ("0.00000001", "0.001"), ("5", "100"), ("1e3", "0.25")]
)
def test_the_value_is_the_product_to_the_last_digit(tick: str, lot: str) -> None:
    for price, quantity in ((1, 1), (3, 7), (2**53 - 1, 10**12), (123456789, 987654321)):
        found = fields_of(a_trade(price, quantity), tick, lot)
        exact = Fraction(tick) * price * Fraction(lot) * quantity
        assert found["value"] == exact.numerator / exact.denominator
        assert found["price"] == float(Fraction(tick) * price)


def test_an_id_that_no_index_holds_hides_no_trade() -> None:
    """Graylog would refuse the whole record; participants choose their ids up to 2^64 - 1."""
    found = fields_of(a_trade(order_id=MAX_LONG, maker_id=MAX_LONG + 1))
    assert found["order_id"] == MAX_LONG
    assert found["maker_order_id_text"] == str(MAX_LONG + 1)
    assert "maker_order_id" not in found


def test_the_text_of_a_refusal_is_not_told() -> None:
    """It may repeat what a client said, and that may be a token."""
    refusal = CommandRefused("p", "s", ErrorCode.INVALID, "not a message: secret", None, None)
    instruments = Instruments([Instrument("X")])
    [record] = records(batch_of(refusal), instruments, "n", Which.ORDERS)
    assert "secret" not in json.dumps(asdict(record))
    assert without_place(record.fields) == {
        "event": "order.refused",
        "participant": "p",
        "code": "invalid",
    }


def test_an_instrument_that_is_not_known_stops_nothing() -> None:
    instruments = Instruments([Instrument("Y")])
    batch = batch_of(a_trade(), StateChanged(3, "X", State.HALTED, Reason.OPERATOR))
    found = [r.fields["event"] for r in records(batch, instruments, "n", Which.TRADES)]
    assert found == ["market.skipped", "trading.halted"]


@pytest.mark.parametrize(
    ("reason", "event", "text"),
    [
        (
            "trimmed",
            "market.skipped",
            "main: 7 events after number 5 were not told: the journal no longer had them",
        ),
        (
            "forked",
            "journal.forked",
            "main: history forked after number 5: the last 7 events that were told did not happen",
        ),
        (
            "cleared",
            "market.skipped",
            "main: a new journal began; what was not told of the old one, after number 5, is gone",
        ),
    ],
)
def test_what_was_skipped(reason: str, event: str, text: str) -> None:
    record = skipped_record(Skipped(reason, 4, 5, 7), "main", "n", 12.5)
    place: Fields = {"partition": "main", "epoch": 4, "seq": 5, "count": 7, "reason": reason}
    assert record == Record(12.5, 30, "n", "market", text, {"event": event, **place})
