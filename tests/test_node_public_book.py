import pytest

from wood.model.orders import BUY, SELL, Side
from wood.node.public_book import Totals


@pytest.mark.parametrize(("side", "best_first"), [(BUY, [3, 2, 1]), (SELL, [1, 2, 3])])
def test_totals(side: Side, best_first: list[int]) -> None:
    totals = Totals(side, [(1, 10), (2, 20)])
    totals.set(3, 30)
    totals.set(3, 35)
    totals.set(9, 0)
    assert [price for price, _ in totals.after(None, 9)] == best_first
    assert totals[3] == 35
    assert totals[9] == 0
    first, second, third = best_first
    assert totals.after(first, 1) == [(second, 20)]
    assert totals.better(first, second)
    assert totals.better(second, second)
    assert not totals.better(third, second)
    totals.set(second, 0)
    assert [price for price, _ in totals.after(first, 9)] == [third]
