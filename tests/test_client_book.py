"""A local order book."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from wood.client import BUY, SELL, Book

CHANGES = st.lists(st.tuples(st.sampled_from([BUY, SELL]), st.integers(1, 9), st.integers(0, 3)))


@given(changes=CHANGES)
def test_the_last_total_of_each_price_best_first(changes: list[tuple[str, int, int]]) -> None:
    book = Book()
    totals: dict[tuple[str, Decimal], Decimal] = {}
    for side, price, quantity in changes:
        book.change(BUY if side == BUY else SELL, Decimal(price), Decimal(quantity))
        totals[side, Decimal(price)] = Decimal(quantity)
    kept = {key: total for key, total in totals.items() if total}
    bids = [(price, total) for (side, price), total in kept.items() if side == BUY]
    asks = [(price, total) for (side, price), total in kept.items() if side == SELL]
    assert book.bids == sorted(bids, reverse=True)
    assert book.asks == sorted(asks)
    assert book.best(BUY) == (book.bids[0] if bids else None)
    assert book.best(SELL) == (book.asks[0] if asks else None)
