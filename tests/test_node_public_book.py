import random

import pytest

from wood.model.orders import BUY, SELL, Side
from wood.node.public_book import Totals, View


@pytest.mark.parametrize(("side", "best_first"), [(BUY, [3, 2, 1]), (SELL, [1, 2, 3])])
def test_totals(side: Side, best_first: list[int]) -> None:
    totals = Totals(side, [(1, 10), (2, 20)])
    totals.set(3, 30)
    totals.set(3, 35)
    totals.set(9, 0)
    assert [price for price, _ in totals.after(None, 9)] == best_first
    assert totals[3] == 35
    assert totals[9] == 0
    assert len(totals) == 3
    first, second, third = best_first
    assert totals.worst() == third
    assert Totals(side, []).worst() is None
    assert totals.after(first, 1) == [(second, 20)]
    assert totals.better(first, second)
    assert totals.better(second, second)
    assert not totals.better(third, second)
    totals.set(second, 0)
    assert [price for price, _ in totals.after(first, 9)] == [third]


@pytest.mark.parametrize("side", [BUY, SELL])
@pytest.mark.parametrize("seed", range(20))
def test_a_view_has_the_best_levels_and_says_what_is_new(side: Side, seed: int) -> None:
    draw = random.Random(seed)
    depth = draw.randrange(1, 8)
    totals = Totals(side, [])
    view = View(totals, side, depth)
    sign = 1 if side is BUY else -1
    for _ in range(300):
        before = dict(view.after(None, 100))
        prices = [draw.randrange(1, 25) for _ in range(draw.randrange(1, 6))]
        for price in prices:
            totals.set(price, draw.choice([0, 0, 1, 2]))
        changes = view.follow(dict.fromkeys(prices))
        now = totals.after(None, depth)
        assert view.after(None, 100) == now
        told = {
            price: (before.get(price, 0), dict(now).get(price, 0)) for price in before | dict(now)
        }
        expected = [(p, *both) for p, both in told.items() if both[0] != both[1]]
        assert changes == sorted(expected, key=lambda c: (c[2] > 0, -c[0] * sign))


def test_a_view_costs_what_changed_not_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the size of the book nor the depth, unless so many levels come into the view."""
    totals = Totals(BUY, [(price, 1) for price in range(1, 50_001)])
    view = View(totals, BUY, 10_000)
    touched: list[int] = []
    get, put = Totals.__getitem__, Totals.set

    def counted_get(totals: Totals, price: int) -> int:
        touched.append(price)
        return get(totals, price)

    def counted_set(totals: Totals, price: int, total: int) -> None:
        touched.append(price)
        put(totals, price, total)

    monkeypatch.setattr(Totals, "__getitem__", counted_get)
    monkeypatch.setattr(Totals, "set", counted_set)
    for price, total in ((50_000, 0), (49_999, 7), (50_001, 1), (3, 5)):
        totals.set(price, total)
        view.follow([price])
    assert len(touched) < 40
    assert len(view) == 10_000
