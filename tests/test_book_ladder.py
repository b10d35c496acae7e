import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wood.book import ladder as module
from wood.book.ladder import Ladder


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 4)


@pytest.mark.parametrize("seed", range(20))
def test_like_a_sorted_set(seed: int) -> None:
    draw = random.Random(seed)
    ladder, model = Ladder(), set[int]()
    for _ in range(600):
        key = draw.randrange(-100, 100)
        if key in model:
            ladder.remove(key)
            model.remove(key)
        else:
            ladder.add(key)
            model.add(key)
        ordered = sorted(model, reverse=True)
        assert list(ladder.descending()) == ordered
        assert ladder.best() == (ordered[0] if ordered else None)
        assert len(ladder) == len(model)
        start, count = draw.choice([None, draw.randrange(-110, 110)]), draw.randrange(1, 30)
        below = [k for k in ordered if start is None or k < start][:count]
        assert ladder.below(start, count) == below


@given(st.sets(st.integers()), st.integers(1, 9))
def test_below_walks_through_everything(keys: set[int], count: int) -> None:
    ladder = Ladder()
    for key in keys:
        ladder.add(key)
    found: list[int] = []
    while chunk := ladder.below(found[-1] if found else None, count):
        found += chunk
    assert found == sorted(keys, reverse=True)
