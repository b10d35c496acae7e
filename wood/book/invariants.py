"""What is true of every book between two commands; tests check it after each one."""

from itertools import pairwise

from wood.book.book import Book
from wood.book.levels import BookSide


def check_invariants(book: Book) -> None:
    """Raise `AssertionError` if the book contradicts itself."""
    resting = _check_side(book, book.bids) + _check_side(book, book.asks)
    listed = sum(len(mine) for mine in book.orders.values())
    assert resting == listed, f"{resting} orders rest, {listed} are listed"
    assert not any(account.is_idle for account in book.accounts.values()), "an idle one is kept"
    for account in book.accounts.values():
        held = [0, 0]
        for order in account.orders.values():
            held[order.level.side is book.asks] += order.left
        assert account.long + account.short == sum(held), f"what {account.participant} has open"
    if book.bids.best is not None and book.asks.best is not None:
        assert book.bids.best.price < book.asks.best.price, "the book is crossed"


def _check_side(book: Book, side: BookSide) -> int:
    keys = list(side.prices.descending())
    assert keys == sorted(side.levels, reverse=True), (
        "the sorted prices are not the levels in order"
    )
    assert len(side.prices) == len(keys)
    assert side.best is (side.levels[keys[0]] if keys else None), "the best level is not the best"
    count = 0
    for level in side.in_order():
        assert level.price * side.sign == level.key
        orders = list(level.orders())
        assert orders, f"the level at {level.price} is empty"
        assert level.last is orders[-1]
        assert orders[0].previous is None
        assert all(b.previous is a for a, b in pairwise(orders))
        assert level.total == sum(order.left for order in orders), f"total at {level.price}"
        for order in orders:
            assert order.left > 0
            assert order.level is level
            assert book.orders[order.participant][order.order_id] is order
        count += len(orders)
    return count
