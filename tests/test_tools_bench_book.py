"""`wood bench --book`: the order book without a server."""

import json

import pytest

from tests.support import run_wood
from wood.book.invariants import check_invariants
from wood.tools.bench.resting import AT_TOUCH, CHUNK, Crowd


@pytest.mark.parametrize("orders", [AT_TOUCH + 1, 1000, 2 * CHUNK + 7])
def test_the_mix_leaves_as_many_orders_as_there_were(orders: int) -> None:
    crowd = Crowd(orders, seed=3)
    for _ in range(2):
        assert sum(map(len, crowd.book.orders.values())) == orders
        check_invariants(crowd.book)
        assert crowd.mix() > 0


def test_json() -> None:
    ended = run_wood("bench", "--book", "--resting", "2000", "-n", "2000", "--pairs", "2", "--json")
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    assert set(report) == {
        "conditions",
        "settings",
        "rounds",
        "orders_per_second",
        "fills_per_order",
        "resting",
    }
    assert report["rounds"] == 2
    assert report["orders_per_second"]["min"] > 0
    assert report["resting"]["orders"] == 2000
    assert set(report["resting"]) == {
        "orders",
        "few_orders",
        "memory_mb",
        "bytes_per_order",
        "few_us_per_command",
        "full_us_per_command",
        "growth",
        "longest_pause_ms",
        "full_collection_ms",
    }


def test_a_table() -> None:
    ended = run_wood("bench", "--book", "-n", "1000", "--pairs", "1")
    assert ended.returncode == 0, ended.stderr
    assert "orders/s" in ended.stdout
    assert "resting" not in ended.stdout
