"""Whole recordings replayed against the real book, through the real wire format, in one process."""

import runpy
from collections.abc import Iterable
from pathlib import Path

import pytest

from wood.book.book import Book
from wood.client.requests import encode
from wood.model.commands import AmendOrder, CancelOrder, NewOrder, OrderCommand
from wood.model.events import (
    CommandRefused,
    Event,
    Levels,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    Trade,
)
from wood.model.instruments import Instrument, Instruments
from wood.tools.replay.lobster import BookRow, Kind, Message, read_book, read_messages
from wood.tools.replay.messages import decode_lines
from wood.tools.replay.translate import Translator
from wood.wire import messages as wire
from wood.wire.json_lines import private_json
from wood.wire.reports import JsonReports

ROOT = Path(__file__).resolve().parent.parent
FLOW = ROOT / "examples" / "flow-messages.csv"
FLOW_BOOK = ROOT / "examples" / "flow-orderbook.csv"
DATA = ROOT.parent / "shared" / "data"
AAPL = DATA / "aapl-2012-06-21-messages.csv"
AAPL_BOOK = DATA / "aapl-2012-06-21-orderbook.csv"

needs_data = pytest.mark.skipif(
    not (AAPL.exists() and AAPL_BOOK.exists()), reason="../shared/data/aapl-2012-06-21-*.csv absent"
)

UNITS = 100
"""Units of a recording, 1/10000 dollar, in a tick of a cent."""


class Desk:
    """A book behind the wire format, for one client."""

    def __init__(self) -> None:
        self.instrument = Instrument("DAY")
        self.book = Book(Instrument("DAY"))
        self.trades: list[Trade] = []
        self._reports = JsonReports(Instruments([self.instrument]))

    def answer(self, line: bytes) -> bytes:
        (message,) = private_json().feed(line)
        assert not isinstance(message, wire.Unreadable), message
        events: list[Event] = []
        self.book.execute(self._command(message), 0, events)
        return b"".join(map(self._report, events))

    def _command(self, message: wire.Private) -> OrderCommand:
        price, quantity = self.instrument.price.units, self.instrument.quantity.units
        match message:
            case wire.CreateOrder(order_id=order_id, side=side, time_in_force=lasts):
                numbers = price[bytes(message.price)], quantity[bytes(message.quantity)]
                return NewOrder("me", "me", 0, "DAY", order_id, side, *numbers, lasts)
            case wire.AmendOrder(order_id=order_id):
                left = quantity[bytes(message.quantity)]
                return AmendOrder("me", "me", 0, "DAY", order_id, None, left)
            case wire.CancelOrder(order_id=int(order_id)):
                return CancelOrder("me", "me", 0, "DAY", order_id)
            case _:
                raise AssertionError(message)

    def _report(self, event: Event) -> bytes:
        say = self._reports
        match event:
            case OrderAccepted():
                return say.new(event, 0)
            case OrderAmended():
                return say.amended(event, 0)
            case OrderCanceled():
                return say.canceled(event, 0)
            case CommandRefused():
                return say.error(event.code, event.text, event.order_id)
            case Trade():
                self.trades.append(event)
                return say.maker_fill(event, 0) + say.taker_fill(event, 0)
            case _:
                return b""


class Replayed:
    """A recording replayed to its end, and how far it was like the original.

    What was hit is judged by the book's own trades here, so that it also checks the tally's.
    """

    def __init__(
        self, messages: Iterable[Message], rows: Iterable[BookRow], seeded: bool = True
    ) -> None:
        self.desk = Desk()
        self.translator = Translator()
        self.tally = self.translator.tally
        self.hits = self.strays = 0
        self.same_prices = self.same_sizes = self.same_books = 0
        for message, row in zip(messages, rows, strict=True):
            if seeded:
                self._seed(row, message)
                seeded = False
            else:
                self._replay(message)
            self._compare(row)

    def _seed(self, row: BookRow, first: Message) -> None:
        for request in self.translator.seed(row, first):
            self._tell(self.desk.answer(encode(request)))

    def _replay(self, message: Message) -> None:
        self.desk.trades.clear()
        for request in self.translator.translate(message):
            self._tell(self.desk.answer(encode(request)))
        if message.kind is Kind.EXECUTION:
            self._judge(message)

    def _judge(self, message: Message) -> None:
        hit = [(t.maker_order_id, t.price * UNITS, t.quantity) for t in self.desk.trades]
        self.hits += hit == [(message.order_id, message.price, message.size)]
        self.strays += any(order_id != message.order_id for order_id, _, _ in hit)

    def _tell(self, lines: bytes) -> None:
        for reply in decode_lines(lines):
            self.translator.told(reply)

    def _compare(self, row: BookRow) -> None:
        snapshot = self.desk.book.snapshot()
        asks, bids = _in_units(snapshot.asks), _in_units(snapshot.bids)
        best, wanted = (asks[:1], bids[:1]), (row.asks[:1], row.bids[:1])
        self.same_sizes += best == wanted
        self.same_prices += _prices(best) == _prices(wanted)
        self.same_books += (asks[:10], bids[:10]) == (row.asks, row.bids)


def _in_units(levels: Levels) -> Levels:
    return [(price * UNITS, size) for price, size in levels]


def _prices(best: tuple[Levels, Levels]) -> list[list[int]]:
    return [[price for price, _ in levels] for levels in best]


@needs_data
def test_the_recorded_morning_of_aapl_hits_the_orders_that_it_names() -> None:
    day = Replayed(read_messages(AAPL), read_book(AAPL_BOOK))
    assert day.tally.sent[Kind.EXECUTION] == 98
    assert day.hits == day.tally.hit_named == 94
    assert day.strays == 0
    assert day.same_prices >= 954
    assert not day.tally.refused


@needs_data
def test_the_other_executions_of_aapl_are_of_orders_that_the_file_never_introduced() -> None:
    messages = list(read_messages(AAPL))
    known = {message.order_id for message in messages if message.kind is Kind.NEW}
    executed = [message.order_id for message in messages if message.kind is Kind.EXECUTION]
    assert sum(order_id in known for order_id in executed) == 94


@pytest.mark.parametrize("seeded", [True, False])
def test_the_flow_in_the_examples_is_reproduced_row_by_row(seeded: bool) -> None:
    day = Replayed(read_messages(FLOW), read_book(FLOW_BOOK), seeded)
    rows = len(FLOW.read_text().splitlines())
    assert rows >= 500
    assert day.same_prices == day.same_sizes == day.same_books == rows
    assert day.hits == day.tally.hit_named == day.tally.sent[Kind.EXECUTION] > 50
    assert all(day.tally.sent[kind] > 10 for kind in (Kind.NEW, Kind.PARTIAL_CANCEL, Kind.DELETE))
    assert not day.tally.refused


@pytest.mark.parametrize("start", [60, 100, 150, 250, 400, 499])
def test_the_flow_is_reproduced_from_any_row_on(start: int) -> None:
    messages = list(read_messages(FLOW))[start:]
    day = Replayed(messages, list(read_book(FLOW_BOOK))[start:])
    assert day.same_prices == day.same_sizes == day.same_books == len(messages)
    executions = day.tally.sent[Kind.EXECUTION]
    assert day.tally.hit_named + day.tally.hit_seeded == executions
    known = {message.order_id for message in messages if message.kind is Kind.NEW}
    named = [m for m in messages[1:] if m.kind is Kind.EXECUTION and m.order_id in known]
    assert day.hits == day.tally.hit_named == len(named)


def test_the_script_makes_the_flow_in_the_examples_again(tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "make_flow.py"))
    script["write"](tmp_path)
    for path in (FLOW, FLOW_BOOK):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
