"""The `Book` alone, without sockets: what matching costs, before anything is said to anybody."""

from time import perf_counter

from msgspec import Struct

from wood.book.book import Book
from wood.model.commands import NewOrder
from wood.model.events import Event, Trade
from wood.model.instruments import Instrument
from wood.tools.bench.conditions import Conditions, conditions
from wood.tools.bench.flow import SYMBOL, Flow, Request
from wood.tools.bench.resting import Resting, measure_resting
from wood.tools.bench.settings import Settings
from wood.tools.bench.spread import Spread, spread

BATCH = 256
"""Commands after which events are thrown away, as an engine does when it has passed them on."""


class BookReport(Struct, frozen=True, kw_only=True):
    """`orders_per_second` counts new orders and cancels; `resting` is None unless asked for."""

    conditions: Conditions
    settings: Settings
    rounds: int
    orders_per_second: Spread
    fills_per_order: float
    resting: Resting | None


def run_book(settings: Settings, resting: int) -> BookReport:
    """Play the flow of `settings` through new books, `pairs` times; then fill one to `resting`."""
    before = conditions()
    # First what is measured in memory: later it could hide in what the rest has freed.
    full = measure_resting(resting, settings.seed) if resting else None
    requests = drawn(settings)
    seconds = [_seconds(requests) for _ in range(settings.pairs)]
    return BookReport(
        conditions=before,
        settings=settings.for_all(),
        rounds=settings.pairs,
        orders_per_second=spread((len(requests) / each for each in seconds), 0),
        fills_per_order=fills_per_order(requests),
        resting=full,
    )


def drawn(settings: Settings) -> list[Request]:
    """The requests of one round."""
    drawn = settings.connections, settings.cancel_share, settings.spread, settings.seed
    flow = Flow(*drawn, apart=settings.apart)
    return flow.take(settings.orders)


def _seconds(requests: list[Request]) -> float:
    """The time that a new book takes for all requests."""
    execute = Book(Instrument(SYMBOL)).execute
    batches = [requests[at : at + BATCH] for at in range(0, len(requests), BATCH)]
    seq = 0
    began = perf_counter()
    for batch in batches:
        events: list[Event] = []
        for request in batch:
            seq = execute(request, seq, events)
    return perf_counter() - began


def fills_per_order(requests: list[Request]) -> float:
    """How many trades an order takes part in."""
    book, events = Book(Instrument(SYMBOL)), list[Event]()
    for request in requests:
        book.execute(request, 0, events)
    trades = sum(type(event) is Trade for event in events)
    orders = sum(type(request) is NewOrder for request in requests)
    return round(2 * trades / orders, 4)
