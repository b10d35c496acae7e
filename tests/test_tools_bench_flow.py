"""What `wood bench` sends: a flow drawn from a seed, and its bytes."""

import json

import pytest

from wood.book.book import Book
from wood.book.invariants import check_invariants
from wood.model.commands import CancelOrder, NewOrder
from wood.model.events import CommandRefused, Event, Trade
from wood.model.instruments import Instrument
from wood.model.orders import SELL
from wood.tools.bench import flow as flow_module
from wood.tools.bench.encode import Encoder, Load
from wood.tools.bench.flow import SYMBOL, Flow, Request, unused_id


def make(
    participants: int = 8, cancel_share: float = 0.15, spread: float = 10, seed: int = 1
) -> Flow:
    return Flow(participants, cancel_share, spread, seed, first_id=1000)


def encode(requests: list[Request], participants: list[str]) -> list[Load]:
    """Their loads, encoded in two parts."""
    encoder = Encoder(participants)
    encoder.add(requests[:7])
    encoder.add(requests[7:])
    return encoder.loads()


def play(requests: list[Request], book: Book) -> list[Event]:
    events: list[Event] = []
    for request in requests:
        book.execute(request, 0, events)
    check_invariants(book)
    return events


def test_a_seed_and_a_first_id_make_the_flow() -> None:
    assert make(seed=5).take(1000) == make(seed=5).take(1000)
    assert make(seed=5).take(1000) != make(seed=6).take(1000)


def test_taking_in_parts_is_taking_at_once() -> None:
    parts = make()
    assert parts.take(3) + parts.take(500) + parts.take(0) + parts.take(97) == make().take(600)


def test_participants_take_turns() -> None:
    names = [request.participant for request in make(participants=3).take(7)]
    assert names == ["bench-0", "bench-1", "bench-2"] * 2 + ["bench-0"]


def test_an_id_is_used_once() -> None:
    ids = [r.order_id for r in make().take(5000) if isinstance(r, NewOrder)]
    assert len(set(ids)) == len(ids)


def test_ids_of_two_runs_do_not_meet() -> None:
    first, second = unused_id(), unused_id()
    assert abs(first - second) > 10**9
    assert all(len(str(each)) == 19 and each + 10**9 < 2**64 for each in (first, second))


def test_in_one_order_of_arrival_nothing_is_refused() -> None:
    events = play(make().take(20_000), Book(Instrument(SYMBOL)))
    assert not [event for event in events if isinstance(event, CommandRefused)]


def test_by_default_an_order_has_one_and_a_half_fills() -> None:
    requests = make().take(50_000)
    trades = sum(isinstance(event, Trade) for event in play(requests, Book(Instrument(SYMBOL))))
    orders = [request for request in requests if isinstance(request, NewOrder)]
    assert 1.4 < 2 * trades / len(orders) < 1.6
    assert 0.14 < 1 - len(orders) / len(requests) < 0.16


@pytest.mark.parametrize("cancel_share", [0.0, 0.05])
def test_open_orders_are_bounded(cancel_share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_module, "MAX_OPEN", 20)
    flow, book = make(participants=4, cancel_share=cancel_share), Book(Instrument(SYMBOL))
    most = 0
    for _ in range(100):
        play(flow.take(100), book)
        most = max(most, *(len(mine) for mine in book.orders.values()))
    assert most == 20


def test_prices_are_at_least_1() -> None:
    orders = [r for r in make(spread=5000).take(500) if isinstance(r, NewOrder)]
    assert min(order.price or 0 for order in orders) == 1


def test_every_order_is_cancelled_at_the_end() -> None:
    flow, book = make(), Book(Instrument(SYMBOL))
    requests = flow.take(5000)
    play(sorted(requests, key=lambda request: request.participant), book)  # as connections may race
    assert sum(map(len, book.orders.values())) > 100
    play(list(flow.cancel_all()), book)
    assert not book.orders
    created = {(r.participant, r.order_id) for r in requests if isinstance(r, NewOrder)}
    assert {(r.participant, r.order_id) for r in flow.cancel_all()} == created


def test_encoded_requests_are_lines_of_the_protocol() -> None:
    create = NewOrder("b", "", 0, SYMBOL, 2**63, SELL, 1001, 3)
    cancel = CancelOrder("a", "", 0, SYMBOL, 7)
    a, b = encode([create, cancel], ["a", "b"])
    assert a.data.tobytes() == b'{"message":"cancelOrder","orderId":7}\n'
    assert json.loads(b.data.tobytes()) == {
        "message": "createOrder",
        "orderId": 2**63,
        "side": "SELL",
        "price": 1001,
        "quantity": 3,
    }


def test_any_stretch_of_a_load_is_whole_lines_in_order() -> None:
    flow = make(participants=2)
    requests = flow.take(101)
    load, other = encode(requests, flow.participants)
    assert (len(load), len(other)) == (51, 50)
    mine = [request.order_id for request in requests[::2]]
    for first, last in ((0, 51), (0, 0), (7, 8), (20, 51)):
        lines = load.data[load.ends[first] : load.ends[last]].tobytes().splitlines()
        assert [json.loads(line)["orderId"] for line in lines] == mine[first:last]


def test_apart_nobody_meets_its_own_orders() -> None:
    events = play(Flow(4, 0.15, 10.0, 1, apart=True).take(5000), Book(Instrument(SYMBOL)))
    trades = [event for event in events if isinstance(event, Trade)]
    assert len(trades) > 1000
    assert not any(trade.maker == trade.taker for trade in trades)
