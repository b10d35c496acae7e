"""The books in Redis read whole, and whether all that is kept of them says the same."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgpack

from wood.exchange.cluster.keys import Keys

Queue = list[tuple[int, str, int, int, bool]]
"""(key, participant, order id, left, post only), who trades first stands first."""


class Queues(NamedTuple):
    """The open orders of an instrument."""

    bids: Queue
    asks: Queue


class _Order(NamedTuple):
    left: int
    key: int
    arrival: int
    taken: int
    post_only: bool


def stored_books(client: Any, prefix: str, symbols: Iterable[str]) -> dict[str, Queues]:
    """Every book that lies under `prefix`, after checking that its parts agree with each other."""
    keys = Keys(prefix)
    meta = {name.decode(): value.decode() for name, value in client.hgetall(keys.meta).items()}
    count: Counter[str] = Counter()
    owned: set[str] = set()
    books: dict[str, Queues] = {}
    for symbol in symbols:
        bids, asks, orders_key, levels = keys.of([symbol])
        orders = {
            name.decode(): _Order(*_values(value))
            for name, value in client.hgetall(orders_key).items()
        }
        totals: dict[int, int] = defaultdict(int)
        for name, order in orders.items():
            participant, order_id = name.split(" ")
            count[participant] += 1
            owned.add(f"{participant} {symbol} {order_id}")
            totals[order.key] += order.left
            assert order.left > 0
            assert 0 < order.taken <= order.arrival <= int(meta["seq"])
            assert type(order.post_only) is bool
        stored = {int(key): int(total) for key, total in client.hgetall(levels).items()}
        assert stored == totals, "the levels are the sums of the orders"
        books[symbol] = Queues(_queue(client, bids, orders, -1), _queue(client, asks, orders, 1))
        assert len(books[symbol].bids) + len(books[symbol].asks) == len(orders)
    open_key, owned_key = keys.fixed[5:7]
    assert {name.decode(): int(n) for name, n in client.hgetall(open_key).items()} == count
    assert {(m.decode(), s) for m, s in _scores(client, owned_key)} == {(m, 0) for m in owned}
    assert int(meta["resting"]) == count.total()
    last = client.xrevrange(keys.journal, count=1)
    assert [name for name, _ in last] in ([], [f"{meta['seq']}-{meta['batch']}".encode()])
    assert bool(last) is (meta["batch"] != "0")
    return books


def _queue(client: Any, key: str, orders: dict[str, _Order], sign: int) -> Queue:
    found = []
    for member, score in _scores(client, key):
        arrival, name = member[:16], member[17:].decode()
        order = orders[name]
        assert member == b"%016d %s" % (order.arrival, name.encode())
        assert score == order.key
        assert score * sign > 0
        participant, order_id = name.split(" ")
        found.append((order.key, participant, int(order_id), order.left, order.post_only))
        assert len(arrival) == 16
    return found


def _scores(client: Any, key: str) -> list[tuple[bytes, int]]:
    return [(member, int(score)) for member, score in client.zrange(key, 0, -1, withscores=True)]


def _values(data: bytes) -> list[Any]:
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    return list(unpacker)


def contents(client: Any, pattern: str = "*") -> dict[bytes, object]:
    """Everything that these keys hold, to be compared; a hash has no order that stays."""
    return {
        key: client.hgetall(key) if client.type(key) == b"hash" else client.dump(key)
        for key in client.scan_iter(pattern, count=1000)
    }
