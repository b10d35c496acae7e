import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wood.book import prices as module
from wood.book.prices import SortedPrices


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 4)


@pytest.mark.parametrize("seed", range(20))
def test_like_a_sorted_set(seed: int) -> None:
    draw = random.Random(seed)
    prices, model = SortedPrices(), set[int]()
    for _ in range(600):
        key = draw.randrange(-100, 100)
        if key in model:
            prices.remove(key)
            model.remove(key)
        else:
            prices.add(key)
            model.add(key)
        ordered = sorted(model, reverse=True)
        assert list(prices.descending()) == ordered
        assert prices.best() == (ordered[0] if ordered else None)
        assert prices.worst() == (ordered[-1] if ordered else None)
        assert len(prices) == len(model)
        start, count = draw.choice([None, draw.randrange(-110, 110)]), draw.randrange(1, 30)
        below = [k for k in ordered if start is None or k < start][:count]
        assert prices.below(start, count) == below


@given(st.sets(st.integers()), st.integers(1, 9))
def test_below_walks_through_everything(keys: set[int], count: int) -> None:
    prices = SortedPrices()
    for key in keys:
        prices.add(key)
    found: list[int] = []
    while chunk := prices.below(found[-1] if found else None, count):
        found += chunk
    assert found == sorted(keys, reverse=True)
