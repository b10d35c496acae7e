"""The public feed and its subscribers, who may be slow, late, or both."""

import json
import random

import pytest

from tests.engines import INSTRUMENTS
from wood.model.events import Batch, BookSnapshot, Event, LevelChanged, Snapshot, Trade
from wood.model.orders import BUY, SELL, Side
from wood.node import subscriber as module
from wood.node.feed import Feed
from wood.node.subscriber import Subscriber

BASIC = ("basic", ("WOOD",))


class Client:
    """A sink that takes bytes while it has room, and folds what it was told into a book."""

    def __init__(self, limit: int = 1000) -> None:
        self.room = 10**9
        self.subscriber = Subscriber(self, limit)
        self.lines: list[dict[str, object]] = []
        self.closed = False
        self.turns = 0

    def write(self, data: bytes) -> None:
        assert data
        self.room -= len(data)
        self.lines += map(json.loads, data.splitlines())

    def writable(self) -> bool:
        return self.room > 0

    def later(self) -> None:
        self.turns += 1

    def live(self) -> None:
        pass

    def overflow(self) -> None:
        self.closed = True

    def read_on(self, room: int) -> None:
        """Make room, as a client does that reads."""
        self.room = room
        self.subscriber.catch_up()

    def take(self) -> list[str]:
        """What was told since the last time, in a few words."""
        lines, self.lines = self.lines, []
        return [words(line) for line in lines]

    def book(self) -> dict[tuple[object, object], object]:
        """The book that the lines told so far add up to."""
        levels: dict[tuple[object, object], object] = {}
        for line in self.lines:
            if line["type"] == "orderbook":
                levels[line["side"], line["price"]] = line["quantity"]
        return {key: total for key, total in levels.items() if total}


def words(line: dict[str, object]) -> str:
    match line["type"]:
        case "orderbook":
            return f"{line['side']} {line['price']}: {line['quantity']}"
        case "trade":
            return f"trade {line['price']}: {line['quantity']}"
    return str(line["type"])


class Market:
    """A feed, and events for it."""

    def __init__(self, bids: int = 0) -> None:
        self.feed = Feed(INSTRUMENTS)
        self.seq = 0
        levels = [(price, 5) for price in range(bids, 0, -1)]
        books = {"WOOD": BookSnapshot(levels, []), "PEAR": BookSnapshot([], [])}
        self.feed.reset(Snapshot("main", 1, 0, 0, books))

    def join(self, client: Client, key: tuple[str, tuple[str, ...]] = BASIC) -> Client:
        self.feed.join(client.subscriber, *key)
        return client

    def happen(self, *events: Event) -> None:
        first, self.seq = self.seq + 1, self.seq + 10
        self.feed.apply(Batch("main", 1, "w", 1, first, self.seq, 1_500_000, list(events)))

    def level(self, side: Side, price: int, total: int, symbol: str = "WOOD") -> LevelChanged:
        return LevelChanged(self.seq + 5, symbol, side, price, total)

    def trade(self, price: int, quantity: int) -> Trade:
        return Trade(self.seq + 1, "WOOD", price, quantity, BUY, "A", 1, 0, "B", 2, 0)

    def totals(self) -> dict[tuple[str, object], int]:
        found: dict[tuple[str, object], int] = {}
        for name, side in (("bid", BUY), ("ask", SELL)):
            for price, total in self.feed.book.totals["WOOD", side].after(None, 10**6):
                found[name, float(price) / 100] = total
        return found


def test_a_late_one_gets_the_book_then_what_comes_after() -> None:
    market = Market()
    market.happen(market.level(BUY, 14400, 7), market.level(SELL, 14600, 2))
    market.happen(market.level(BUY, 14500, 3), market.level(SELL, 14550, 1))
    client = market.join(Client())
    assert client.take() == ["bid 145: 3", "bid 144: 7", "ask 145.5: 1", "ask 146: 2"]
    market.happen(market.trade(14500, 3), market.level(BUY, 14500, 0))
    assert client.take() == ["trade 145: 3", "bid 145: 0"]


def test_only_the_default_instrument_is_told_to_who_asked_for_nothing() -> None:
    market = Market()
    client = market.join(Client())
    market.happen(market.level(BUY, 40, 5, "PEAR"))
    assert client.lines == []


def test_subscribed_lines_carry_symbol_and_seq() -> None:
    market = Market()
    market.happen(market.level(BUY, 14500, 3), market.level(BUY, 41, 5, "PEAR"))
    client = market.join(Client(), ("json", ("PEAR", "WOOD")))
    market.happen(market.trade(14500, 3))
    assert [(line.get("symbol"), line["seq"]) for line in client.lines] == [
        ("PEAR", 10),
        ("WOOD", 10),
        (None, 10),
        ("WOOD", 11),
    ]
    assert client.lines[0]["price"] == 20.5
    assert client.lines[0]["quantity"] == 50
    assert client.lines[2] == {"type": "snapshot", "seq": 10, "epoch": 1}


def test_who_reads_too_slowly_gets_trades_and_the_latest_totals() -> None:
    market = Market()
    client = market.join(Client())
    client.room = 1
    market.happen(market.level(BUY, 14500, 3))
    assert client.take() == ["bid 145: 3"], "a batch is handed over whole"
    for total in (4, 5, 6):
        market.happen(market.trade(14500, total), market.level(BUY, 14500, total))
        market.happen(market.level(BUY, 14400, 1), market.level(BUY, 14400, 0))
    assert client.take() == []
    client.read_on(10**6)
    assert client.take() == [
        "trade 145: 4",
        "trade 145: 5",
        "trade 145: 6",
        "bid 145: 6",
        "bid 144: 0",
    ]
    market.happen(market.level(SELL, 14600, 1))
    assert client.take() == ["ask 146: 1"], "and is live again"


def test_others_do_not_notice() -> None:
    market = Market()
    slow, quick = market.join(Client()), market.join(Client())
    slow.room = 0
    for total in range(1, 50):
        market.happen(market.level(BUY, 14500, total))
        assert quick.take() == [f"bid 145: {total}"]
    assert len(slow.lines) == 1


@pytest.mark.parametrize("what", ["trades", "levels"])
def test_more_than_the_limit_closes(what: str) -> None:
    market = Market()
    client = market.join(Client(limit=100))
    client.room = 0
    market.happen(market.level(BUY, 1, 1))
    for number in range(100):
        assert not client.closed
        event = market.trade(1, 1) if what == "trades" else market.level(BUY, number + 2, 1)
        market.happen(event)
    closed = [client.closed]
    market.happen(market.trade(1, 1))
    closed.append(client.closed)
    assert closed == [False, True]
    market.feed.leave(client.subscriber)
    market.happen(market.trade(1, 1))
    assert len(client.lines) == 1


def test_a_level_that_changes_again_and_again_takes_no_room() -> None:
    market = Market()
    client = market.join(Client(limit=3))
    client.room = 0
    for total in range(1, 1000):
        market.happen(market.level(BUY, 1, total), market.level(BUY, 2, total))
    assert not client.closed


def test_who_left_is_told_nothing_and_channels_go_with_the_last() -> None:
    market = Market()
    first, second = market.join(Client()), market.join(Client())
    market.feed.leave(first.subscriber)
    market.happen(market.level(BUY, 1, 1))
    assert first.lines == []
    assert second.take() == ["bid 0.01: 1"]
    market.feed.leave(second.subscriber)
    market.feed.leave(second.subscriber)
    assert market.feed._channels == {}
    assert market.feed._by_symbol == {"WOOD": {}, "PEAR": {}}


def test_a_long_book_gives_others_their_turn() -> None:
    market = Market(bids=module.CHUNK * module.BURST + 1)
    client = market.join(Client())
    assert len(client.lines) == module.CHUNK * module.BURST
    assert client.turns == 1
    client.subscriber.catch_up()
    assert len(client.lines) == module.CHUNK * module.BURST + 1
    assert client.subscriber.is_live


@pytest.mark.parametrize("seed", range(30))
def test_a_late_and_slow_one_ends_with_the_true_book(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The market moves while the book is still being sent, in chunks, to one who reads by fits."""
    monkeypatch.setattr(module, "CHUNK", 7)
    draw = random.Random(seed)
    market = Market(bids=100)
    client = Client(limit=10**6)
    client.room = draw.randrange(1, 3000)
    market.join(client)
    trades = []
    for number in range(400):
        market.happen(
            market.level(draw.choice([BUY, SELL]), draw.randrange(1, 120), draw.randrange(0, 3)),
            market.trade(1, number + 1),
        )
        trades.append(number + 1)
        if draw.random() < 0.2:
            client.read_on(draw.randrange(1, 3000))
    while not client.subscriber.is_live:
        client.read_on(500)
    assert client.book() == market.totals()
    told = [line["quantity"] for line in client.lines if line["type"] == "trade"]
    assert told == trades, "every trade once, in order"


def test_while_the_book_is_sent_no_level_is_told_twice_that_did_not_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CHUNK", 10)
    monkeypatch.setattr(module, "BURST", 100)
    market = Market(bids=100)
    client = Client()
    client.room = 1
    market.join(client)
    assert len(client.lines) == 10
    market.happen(market.level(BUY, 95, 9), market.level(BUY, 50, 9), market.level(BUY, 101, 1))
    client.read_on(10**6)
    told = [line["price"] for line in client.lines if line["type"] == "orderbook"]
    assert told.count(0.5) == 1, "it was still to come when it changed"
    assert told[-2:] == [0.95, 1.01], "these had been passed"
    assert len(told) == 102


@pytest.mark.parametrize("key", [BASIC, ("json", ("WOOD",))])
def test_after_a_fork_everybody_gets_the_book_anew(key: tuple[str, tuple[str, ...]]) -> None:
    """Also the levels that are no more: only a total of 0 can say so."""
    market = Market(bids=3)
    live, slow = market.join(Client(), key), market.join(Client(), key)
    slow.room = 0
    market.happen(market.level(SELL, 500, 1), market.trade(7, 7))
    market.happen(market.level(SELL, 600, 1), market.trade(8, 8))
    books = {"WOOD": BookSnapshot([(2, 9), (1, 5)], []), "PEAR": BookSnapshot([], [])}
    market.feed.reset(Snapshot("main", 2, 100, 0, books))
    market.seq = 100
    slow.read_on(10**6)
    for client in (live, slow):
        assert client.book() == {("bid", 0.02): 9, ("bid", 0.01): 5} == market.totals()
    market.happen(market.level(BUY, 1, 0))
    assert live.take()[-1] == slow.take()[-1] == "bid 0.01: 0"


def test_the_order_of_symbols_is_the_subscribers_own_the_lines_are_shared() -> None:
    market = Market()
    market.happen(market.level(BUY, 14500, 3), market.level(BUY, 41, 5, "PEAR"))
    first = market.join(Client(), ("json", ("PEAR", "WOOD")))
    second = market.join(Client(), ("json", ("WOOD", "PEAR")))
    assert [line.get("symbol") for line in first.lines] == ["PEAR", "WOOD", None]
    assert [line.get("symbol") for line in second.lines] == ["WOOD", "PEAR", None]
    assert len(market.feed._channels) == 1
