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


class Connected(NamedTuple):
    """Who is connected, and who has left and will have its orders cancelled."""

    sessions: dict[str, tuple[str, int, bool]]
    """Name -> participant, generation, whether it cancels."""
    leaving: list[tuple[str, bool]]
    """(participant, whether it is due whatever the grace), who is gone longest first."""


class _Order(NamedTuple):
    left: int
    key: int
    arrival: int
    taken: int
    post_only: bool


def stored_books(
    client: Any, prefix: str, symbols: Iterable[str], *, summed: bool = True
) -> dict[str, Queues]:
    """Every book that lies under `prefix`, after checking that its parts agree with each other.

    Not `summed` if some have had more open in a book than Lua can add up, which is 2^53 lots.
    """
    keys = Keys(prefix)
    meta = {name.decode(): value.decode() for name, value in client.hgetall(keys.meta).items()}
    count: Counter[str] = Counter()
    owned: set[str] = set()
    books: dict[str, Queues] = {}
    for symbol in symbols:
        bids, asks, orders_key, levels, positions = keys.of([symbol])
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
        _check_positions(client.hgetall(positions), orders, summed)
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


def stored_accounts(
    client: Any, prefix: str, symbols: Iterable[str]
) -> dict[str, dict[str, tuple[int, int, int]]]:
    """By instrument and participant: how long, how short, and how many open orders."""
    found: dict[str, dict[str, tuple[int, int, int]]] = {}
    for symbol in symbols:
        *_, key = Keys(prefix).of([symbol])
        found[symbol] = {}
        for name, value in client.hgetall(key).items():
            position, buys, sells, orders = _values(value)
            found[symbol][name.decode()] = position + buys, sells - position, orders
    return found


def stored_prices(client: Any, prefix: str) -> dict[str, int]:
    """The price of the last trade in each instrument that had one."""
    fields = client.hgetall(Keys(prefix).state)
    return {
        name.decode().removeprefix("last:"): int(value)
        for name, value in fields.items()
        if name.startswith(b"last:")
    }


def _check_positions(stored: dict[bytes, bytes], orders: dict[str, _Order], summed: bool) -> None:
    """What is open of each participant is the sum of its orders; nothing is kept of nobody."""
    lots: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for name, order in orders.items():
        mine = lots[name.split(" ")[0]]
        mine[order.key > 0] += order.left
        mine[2] += 1
    found = {name.decode(): _values(value) for name, value in stored.items()}
    open_now = {name: values[1:] for name, values in found.items() if values[3]}
    if summed:
        assert open_now == lots
    assert {name: count for name, (*_, count) in open_now.items()} == {
        name: count for name, (*_, count) in lots.items()
    }
    for name, (position, buys, sells, count) in found.items():
        assert count or (position and not name.startswith("~") and (buys, sells) == (0, 0))


def stored_sessions(client: Any, prefix: str) -> Connected:
    """The sessions that lie under `prefix`, after checking that they are indexed as they are."""
    sessions_key, present, placed, leaving = Keys(prefix).fixed[8:12]
    sessions: dict[str, tuple[str, int, bool]] = {}
    by_participant, by_writer = set(), set()
    for name, value in client.hgetall(sessions_key).items():
        session = name.decode()
        participant, generation, writer, cancels = _values(value)
        assert type(generation) is int
        assert type(cancels) is bool
        sessions[session] = participant, generation, cancels
        by_participant.add((f"{participant} {session}", 0))
        by_writer.add((f"{writer} {session}", 0))
    assert {(m.decode(), s) for m, s in _scores(client, present)} == by_participant
    assert {(m.decode(), s) for m, s in _scores(client, placed)} == by_writer
    gone = [(name.decode(), since == 0) for name, since in _scores(client, leaving)]
    guarded = {participant for participant, _, cancels in sessions.values() if cancels}
    assert not guarded & {name for name, at_once in gone if not at_once}
    return Connected(sessions, gone)


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
