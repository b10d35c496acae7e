from decimal import Decimal

import pytest

from wood.client.requests import AmendOrder, CancelOrder, CreateOrder, Request, encode
from wood.model.orders import BUY, IOC, SELL, Side
from wood.tools.errors import UnexpectedReply
from wood.tools.replay.lobster import MAX_ORDER_ID, BookRow, Kind, Message
from wood.tools.replay.messages import decode_lines
from wood.tools.replay.tally import Tally
from wood.tools.replay.translate import Translator

PRICE = 1_000_000
"""100 dollars in the unit of a recording."""


class Replayed:
    """A translator, and a server that says what the test wants."""

    def __init__(self, symbol: str | None = None) -> None:
        self.translator = Translator(symbol)

    @property
    def tally(self) -> Tally:
        return self.translator.tally

    def send(
        self, kind: Kind, order_id: int, size: int = 100, price: int = PRICE, side: Side = BUY
    ) -> Request | None:
        requests = self.translator.translate(Message(0, kind, order_id, size, price, side))
        assert len(requests) <= 1
        return requests[0] if requests else None

    def rest(
        self, order_id: int, size: int = 100, price: int = 1_000_000, side: Side = BUY
    ) -> None:
        """A new order that the server takes."""
        self.send(Kind.NEW, order_id, size, price, side)
        self.report(order_id, "NEW")

    def execute(self, order_id: int, size: int = 100) -> int:
        """An execution whose order the server takes; the id of that order."""
        request = self.send(Kind.EXECUTION, order_id, size)
        assert isinstance(request, CreateOrder)
        self.report(request.order_id, "NEW")
        return request.order_id

    def report(self, order_id: int, report: str, numbers: str = "") -> None:
        self.hear(
            f'{{"message":"executionReport","orderId":{order_id},"report":"{report}"{numbers}}}'
        )

    def fill(self, order_id: int, quantity: int, price: str = "100") -> None:
        self.report(order_id, "FILL", f',"price":{price},"quantity":{quantity}')

    def refuse(self, code: str) -> None:
        self.hear(f'{{"message":"error","error":"no","code":"{code}","orderId":1}}')

    def hear(self, line: str) -> None:
        for reply in decode_lines(line.encode()):
            self.translator.told(reply)

    def seed(self, row: BookRow, first: Message) -> list[Request]:
        requests = self.translator.seed(row, first)
        for request in requests:
            self.report(request.order_id, "NEW")
        return requests


@pytest.fixture
def replayed() -> Replayed:
    return Replayed()


ROW = BookRow(asks=[(1_010_000, 300)], bids=[(1_000_000, 500)])
FIRST = Message(0, Kind.NEW, 7, 200, PRICE, BUY)


def test_a_new_order_keeps_its_id_and_its_exact_price(replayed: Replayed) -> None:
    request = replayed.send(Kind.NEW, 16113575, 18, 5853300, SELL)
    assert request is not None
    assert encode(request) == (
        b'{"message":"createOrder","orderId":16113575,"side":"SELL","price":585.33,"quantity":18}\n'
    )


def test_every_request_names_the_symbol() -> None:
    replayed = Replayed("AAPL")
    requests = [*replayed.seed(ROW, FIRST), replayed.translator.fence()]
    requests += filter(None, [replayed.send(kind, 7, 50) for kind in Kind])
    assert len(requests) == 8
    assert all(b'"symbol":"AAPL"' in encode(request) for request in requests)


def test_an_execution_becomes_an_opposite_order_that_does_not_rest(replayed: Replayed) -> None:
    replayed.rest(5)
    request = replayed.send(Kind.EXECUTION, 5, 40, PRICE, BUY)
    assert request == CreateOrder(
        order_id=MAX_ORDER_ID + 1, side=SELL, price=Decimal(100), quantity=40, time_in_force=IOC
    )
    assert b'"timeInForce":"IOC"' in encode(request)


def test_a_delete_becomes_a_cancel_without_waiting_for_anything(replayed: Replayed) -> None:
    replayed.send(Kind.NEW, 5)
    assert not replayed.translator.depends(Message(0, Kind.DELETE, 5, 100, PRICE, BUY))
    assert replayed.send(Kind.DELETE, 5) == CancelOrder(order_id=5)


def test_a_partial_cancel_leaves_what_the_server_says_less_the_size(replayed: Replayed) -> None:
    replayed.rest(5)
    replayed.fill(5, 30)
    assert replayed.translator.depends(Message(0, Kind.PARTIAL_CANCEL, 5, 20, PRICE, BUY))
    assert replayed.send(Kind.PARTIAL_CANCEL, 5, 20) == AmendOrder(order_id=5, quantity=Decimal(50))
    replayed.report(5, "AMENDED", ',"price":100,"quantity":50')
    assert replayed.send(Kind.PARTIAL_CANCEL, 5, 10) == AmendOrder(order_id=5, quantity=Decimal(40))


@pytest.mark.parametrize("size", [100, 101])
def test_a_partial_cancel_of_all_that_is_left_is_a_cancel(replayed: Replayed, size: int) -> None:
    replayed.rest(5)
    assert replayed.send(Kind.PARTIAL_CANCEL, 5, size) == CancelOrder(order_id=5)


@pytest.mark.parametrize("kind", [Kind.HIDDEN_EXECUTION, Kind.CROSS, Kind.HALT])
def test_what_leaves_no_trace_in_the_book_is_passed_over(replayed: Replayed, kind: Kind) -> None:
    assert replayed.send(kind, 0) is None
    assert replayed.tally.passed_over == {kind: 1}
    assert not replayed.tally.sent


def test_the_seed_is_the_row_with_the_first_order_last_in_its_level(replayed: Replayed) -> None:
    requests = replayed.seed(ROW, FIRST)
    assert requests == [
        CreateOrder(order_id=MAX_ORDER_ID + 1, side=BUY, price=Decimal(100), quantity=300),
        CreateOrder(order_id=MAX_ORDER_ID + 2, side=SELL, price=Decimal(101), quantity=300),
        CreateOrder(order_id=7, side=BUY, price=Decimal(100), quantity=200),
    ]
    assert replayed.tally.seeds == 2
    assert replayed.tally.sent == {Kind.NEW: 1}


def test_a_first_order_alone_in_its_level_needs_no_seed_there(replayed: Replayed) -> None:
    requests = replayed.seed(ROW, FIRST._replace(size=500))
    assert [request.order_id for request in requests] == [MAX_ORDER_ID + 1, 7]


@pytest.mark.parametrize(
    "first",
    [
        FIRST._replace(kind=Kind.DELETE),
        FIRST._replace(price=990_000),
        FIRST._replace(side=SELL),
        FIRST._replace(size=501),
    ],
)
def test_a_first_message_that_does_not_stand_in_the_row_is_passed_over(
    replayed: Replayed, first: Message
) -> None:
    requests = replayed.seed(ROW, first)
    assert [request.order_id for request in requests] == [MAX_ORDER_ID + 1, MAX_ORDER_ID + 2]
    assert replayed.tally.passed_over == {first.kind: 1}


@pytest.mark.parametrize("kind", [Kind.DELETE, Kind.PARTIAL_CANCEL])
def test_a_cancel_of_an_order_from_before_takes_from_the_seed(
    replayed: Replayed, kind: Kind
) -> None:
    replayed.seed(ROW, FIRST)
    assert replayed.translator.depends(Message(0, kind, 99, 50, PRICE, BUY))
    seed = MAX_ORDER_ID + 1
    replayed.fill(seed, 100)
    assert replayed.send(kind, 99, 50) == AmendOrder(order_id=seed, quantity=Decimal(150))
    replayed.report(seed, "AMENDED", ',"price":100,"quantity":150')
    assert replayed.send(kind, 98, 200) == CancelOrder(order_id=seed)
    replayed.report(seed, "CANCELED")
    assert replayed.send(kind, 97, 50) is None
    assert replayed.tally.passed_over == {kind: 1}


@pytest.mark.parametrize("kind", [Kind.DELETE, Kind.PARTIAL_CANCEL])
def test_a_cancel_where_nothing_was_seeded_is_passed_over(replayed: Replayed, kind: Kind) -> None:
    replayed.seed(ROW, FIRST)
    message = Message(0, kind, 99, 50, 1_000_000, SELL)
    assert not replayed.translator.depends(message)
    assert replayed.translator.translate(message) == []


def test_an_execution_that_hits_the_order_named_is_counted(replayed: Replayed) -> None:
    replayed.rest(5)
    taker = replayed.execute(5)
    replayed.fill(5, 100)
    replayed.fill(taker, 100)
    assert (replayed.tally.hit_named, replayed.tally.hit_seeded) == (1, 0)
    assert replayed.tally.trades == 1
    assert replayed.tally.quantity == 100
    assert replayed.tally.value == 10_000


def test_an_execution_that_hits_another_order_is_not_counted(replayed: Replayed) -> None:
    replayed.rest(4)
    replayed.rest(5)
    taker = replayed.execute(5)
    replayed.fill(4, 100)
    replayed.fill(taker, 100)
    assert replayed.tally.hit_named == 0
    assert replayed.tally.trades == 1


def test_an_execution_must_hit_the_order_named_in_full(replayed: Replayed) -> None:
    replayed.rest(4, 60)
    replayed.rest(5, 60)
    taker = replayed.execute(5)
    for maker, quantity in ((4, 60), (5, 40)):
        replayed.fill(maker, quantity)
        replayed.fill(taker, quantity)
    taker = replayed.execute(5, 30)
    replayed.fill(5, 20)
    replayed.fill(taker, 20)
    replayed.report(taker, "CANCELED")
    assert replayed.tally.hit_named == 0
    assert replayed.tally.trades == 3


def test_an_execution_against_somebody_else_is_not_counted(replayed: Replayed) -> None:
    replayed.rest(5)
    for order_id in (5, 99):
        replayed.fill(replayed.execute(order_id), 100)
    assert (replayed.tally.hit_named, replayed.tally.hit_seeded) == (0, 0)
    assert replayed.tally.trades == 2


def test_an_execution_of_an_order_from_before_may_hit_the_seed(replayed: Replayed) -> None:
    replayed.seed(ROW, FIRST)
    taker = replayed.execute(99)
    replayed.fill(MAX_ORDER_ID + 1, 100)
    replayed.fill(taker, 100)
    assert (replayed.tally.hit_named, replayed.tally.hit_seeded) == (0, 1)


def test_the_end_of_an_execution_is_no_answer_to_a_cancel(replayed: Replayed) -> None:
    replayed.rest(5)
    taker = replayed.send(Kind.EXECUTION, 99)
    replayed.send(Kind.DELETE, 5)
    assert taker is not None
    replayed.report(taker.order_id, "NEW")
    replayed.report(taker.order_id, "CANCELED")
    assert list(replayed.translator.orders.unanswered) == [CancelOrder(order_id=5)]
    replayed.report(5, "CANCELED")
    assert not replayed.translator.orders.unanswered


def test_trades_of_others_with_resting_orders_are_counted_one_by_one(replayed: Replayed) -> None:
    replayed.rest(4, price=990_000)
    replayed.rest(5, price=1_010_000, side=SELL)
    replayed.rest(6, price=1_000_000)
    replayed.fill(6, 10)
    replayed.fill(4, 10, "99")
    replayed.fill(6, 10)
    replayed.fill(5, 10, "101")
    replayed.fill(6, 10)
    replayed.fill(5, 10, "101")
    replayed.rest(7)
    assert replayed.tally.trades == 6
    assert replayed.tally.value == 10 * (100 * 3 + 99 + 101 * 2)


def test_others_may_trade_with_two_resting_orders_of_one_level(replayed: Replayed) -> None:
    replayed.rest(5)
    replayed.rest(6)
    replayed.fill(5, 100)
    replayed.fill(6, 100)
    assert replayed.tally.trades == 2


def test_values_are_exact(replayed: Replayed) -> None:
    replayed.rest(5, 3, 1001)
    replayed.fill(5, 1, "0.1001")
    replayed.fill(5, 1, "0.1001")
    replayed.fill(5, 1, "0.1001")
    assert replayed.tally.value == Decimal("0.3003")


def test_refusals_are_counted_by_code_but_not_that_of_the_fence(replayed: Replayed) -> None:
    replayed.send(Kind.NEW, 1)
    replayed.send(Kind.NEW, 1)
    fence = replayed.translator.fence()
    assert isinstance(fence, CancelOrder)
    replayed.report(1, "NEW")
    replayed.refuse("duplicate")
    assert list(replayed.translator.orders.unanswered) == [fence]
    replayed.refuse("not_found")
    assert not replayed.translator.orders.unanswered
    assert replayed.tally.refused == {"duplicate": 1}
    assert replayed.tally.accepted == 1


def test_a_fill_of_an_order_that_is_not_open_is_the_servers_fault(replayed: Replayed) -> None:
    with pytest.raises(UnexpectedReply, match="order 5, which is not open"):
        replayed.fill(5, 10)


def test_messages_of_other_kinds_are_ignored(replayed: Replayed) -> None:
    replayed.send(Kind.NEW, 1)
    replayed.hear('{"message":"heartbeat"}')
    assert len(replayed.translator.orders.unanswered) == 1


def test_the_summary_says_it_all() -> None:
    tally = Tally()
    tally.sent.update({Kind.NEW: 1200, Kind.EXECUTION: 98})
    tally.passed_over[Kind.HALT] = 2
    tally.seeds, tally.accepted, tally.elapsed = 20, 1316, 0.5
    tally.refused.update({"not_found": 3, "duplicate": 1})
    tally.hit_named, tally.hit_seeded = 94, 1
    tally.traded(Decimal("585.33"), Decimal(1000))
    assert tally.summary().splitlines() == [
        "1,318 messages sent in 0.50 s, 2,636 a second",
        "                          sent  passed over",
        "  new order              1,200            0",
        "  execution                 98            0",
        "  halt                       0            2",
        "  seeded order              20",
        "orders accepted 1,316, messages refused 4 (1 duplicate, 3 not_found)",
        "executions 98, of which 94 hit the order named, 1 a seeded order in its place",
        "trades 1, quantity 1,000, value 585,330.00",
    ]


def test_the_summary_of_nothing_divides_by_nothing() -> None:
    assert "0 messages sent in 0.00 s, 0 a second" in Tally().summary()
