"""The public feed and its subscribers, who may be slow, late, or both."""

import json
import random

import pytest

from tests.engines import INSTRUMENTS
from wood.model.events import Batch, BookSnapshot, Event, LevelChanged, Levels, Snapshot, Trade
from wood.model.orders import BUY, SELL, Side
from wood.node import subscriber as module
from wood.node.feed import Feed
from wood.node.subscriber import Subscriber

Key = tuple[str, tuple[str, ...]] | tuple[str, tuple[str, ...], int | None]

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

    def trades(self) -> list[object]:
        """The quantities of the trades told so far."""
        return [line["quantity"] for line in self.lines if line["type"] == "trade"]

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
        self.epoch = 1
        levels = [(price, 5) for price in range(bids, 0, -1)]
        books = {"WOOD": BookSnapshot(levels, []), "PEAR": BookSnapshot([], [])}
        self.feed.reset(Snapshot("main", 1, 0, 0, books))

    def join(self, client: Client, key: Key = BASIC) -> Client:
        self.feed.join(client.subscriber, *key)
        return client

    def happen(self, *events: Event) -> None:
        first, self.seq = self.seq + 1, self.seq + 10
        self.feed.apply(Batch("main", self.epoch, "w", 1, first, self.seq, 1_500_000, list(events)))

    def level(self, side: Side, price: int, total: int, symbol: str = "WOOD") -> LevelChanged:
        return LevelChanged(self.seq + 5, symbol, side, price, total)

    def trade(self, price: int, quantity: int) -> Trade:
        return Trade(self.seq + 1, "WOOD", price, quantity, BUY, "A", 1, 0, "B", 2, 0)

    def fork(self, bids: Levels, asks: Levels) -> None:
        """Redis lost something: these are the books now."""
        self.epoch += 1
        books = {"WOOD": BookSnapshot(bids, asks), "PEAR": BookSnapshot([], [])}
        self.feed.reset(Snapshot("main", self.epoch, self.seq, 0, books))

    def totals(self, depth: int = 10**6) -> dict[tuple[object, object], int]:
        """The best levels of WOOD, by side and price as clients are told them."""
        found: dict[tuple[object, object], int] = {}
        for name, side in (("bid", BUY), ("ask", SELL)):
            for price, total in self.feed.book.totals["WOOD", side].after(None, depth):
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
    for register in (market.feed._trades, market.feed._levels, market.feed._views):
        assert register == {"WOOD": {}, "PEAR": {}}


def test_a_long_book_gives_others_their_turn() -> None:
    market = Market(bids=module.CHUNK * module.BURST + 1)
    client = market.join(Client())
    assert len(client.lines) == module.CHUNK * module.BURST
    assert client.turns == 1
    client.subscriber.catch_up()
    assert len(client.lines) == module.CHUNK * module.BURST + 1
    assert client.subscriber.is_live


@pytest.mark.parametrize("forks", [0, 0.02], ids=["one history", "forks"])
@pytest.mark.parametrize("seed", range(30))
def test_a_late_and_slow_one_ends_with_the_true_book(
    seed: int, forks: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The market moves while the book is still being sent, in chunks, to one who reads by fits."""
    monkeypatch.setattr(module, "CHUNK", 7)
    draw = random.Random(seed)
    market = Market(bids=100)
    client = Client(limit=10**6)
    client.room = draw.randrange(1, 3000)
    market.join(client)
    trades: list[object] = []
    for number in range(400):
        if draw.random() < forks:
            bids = sorted(draw.sample(range(1, 120), 50), reverse=True)
            market.fork([(price, 1) for price in bids], [(draw.randrange(1, 120), 2)])
            trades = client.trades()  # what was kept goes with the lost history
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
    assert client.trades() == trades, "every trade once, in order"


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


@pytest.mark.parametrize("key", [BASIC, ("json", ("WOOD",)), ("json", ("WOOD",), 10)])
def test_after_a_fork_everybody_gets_the_book_anew(key: Key) -> None:
    """Also the levels that are no more: only a total of 0 can say so."""
    market = Market(bids=3)
    live, slow = market.join(Client(), key), market.join(Client(), key)
    slow.room = 0
    market.happen(market.level(SELL, 500, 1), market.trade(7, 7))
    market.happen(market.level(SELL, 600, 1), market.trade(8, 8))
    market.seq = 100
    market.fork([(2, 9), (1, 5)], [])
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


@pytest.mark.parametrize("depth", [None, 10])
def test_after_a_fork_a_level_is_gone_that_went_while_the_client_did_not_read(
    depth: int | None,
) -> None:
    market = Market(bids=3)
    client = market.join(Client(), ("json", ("WOOD",), depth))
    client.room = 1
    market.happen(market.level(BUY, 1, 6))
    market.happen(market.level(BUY, 3, 0))
    market.fork([(2, 5)], [])
    client.read_on(10**6)
    assert client.book() == {("bid", 0.02): 5}


def test_a_subscriber_with_a_depth_sees_the_best_levels() -> None:
    market = Market(bids=5)
    client = market.join(Client(), ("json", ("WOOD",), 2))
    assert client.take() == ["bid 0.05: 5", "bid 0.04: 5", "snapshot"]
    market.happen(market.level(BUY, 3, 9))
    assert client.take() == []
    market.happen(market.level(BUY, 4, 9))
    assert client.take() == ["bid 0.04: 9"]
    market.happen(market.level(BUY, 6, 1))
    assert client.take() == ["bid 0.04: 0", "bid 0.06: 1"], "one is pushed out"
    market.happen(market.trade(6, 1), market.level(BUY, 6, 0), market.level(BUY, 5, 0))
    assert client.take() == [
        "trade 0.06: 1",
        *("bid 0.06: 0", "bid 0.05: 0"),
        *("bid 0.04: 9", "bid 0.03: 9"),
    ]
    market.happen(market.level(SELL, 8, 1), market.level(SELL, 8, 2), market.level(BUY, 4, 0))
    assert client.take() == ["ask 0.08: 2", "bid 0.04: 0", "bid 0.02: 5"], "the net change"
    market.happen(market.level(SELL, 7, 2), market.level(SELL, 7, 0))
    assert client.take() == []


def test_the_number_of_a_net_change_is_that_of_its_batch() -> None:
    market = Market(bids=3)
    client = market.join(Client(), ("json", ("WOOD",), 2))
    market.happen(market.level(BUY, 3, 0), market.trade(3, 5))
    assert [line["seq"] for line in client.lines] == [0, 0, 0, 1, 10, 10]


def test_only_subscribers_with_the_same_depth_share_their_lines() -> None:
    market = Market(bids=5)
    clients = [market.join(Client(), ("json", ("WOOD",), d)) for d in (None, 1, 1, 2)]
    assert len(market.feed._channels) == 3
    for client in clients:
        client.take()
    market.happen(market.level(BUY, 4, 9))
    assert [client.take() for client in clients] == [["bid 0.04: 9"], [], [], ["bid 0.04: 9"]]
    for client in clients:
        market.feed.leave(client.subscriber)
    assert market.feed._channels == {}
    assert market.feed._viewers == 0
    for register in (market.feed._trades, market.feed._levels, market.feed._views):
        assert register == {"WOOD": {}, "PEAR": {}}


class Critic(Client):
    """A client with a depth that checks each line as it is told."""

    def __init__(self, market: Market, depth: int) -> None:
        super().__init__(limit=10**6)
        self.market = market
        self.depth = depth
        self.known: dict[tuple[object, object], object] = {}

    def write(self, data: bytes) -> None:
        told = len(self.lines)
        super().write(data)
        view = self.market.totals(self.depth)
        for line in self.lines[told:]:
            if line["type"] == "orderbook":
                level, total = (line["side"], line["price"]), line["quantity"]
                assert total == view.get(level, 0), "outside the view, or stale"
                # After a fork a level may be taken back that was still to be told.
                forked = self.market.epoch > 1
                assert total or level in self.known or forked, "gone, and was never there"
                self.known[level] = total
                if not total:
                    del self.known[level]


@pytest.mark.parametrize("forks", [0, 0.01], ids=["one history", "forks"])
@pytest.mark.parametrize("slow", [False, True], ids=["quick", "slow"])
@pytest.mark.parametrize("seed", range(30))
def test_who_folds_the_lines_has_exactly_the_best_levels(
    seed: int, slow: bool, forks: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the client has read all: however slowly it reads, and after forks too."""
    monkeypatch.setattr(module, "CHUNK", 5)
    draw = random.Random(seed)
    market = Market(bids=30)
    client = Critic(market, draw.randrange(1, 20))
    client.room = draw.randrange(1, 1000) if slow else 10**9
    market.join(client, ("json", ("WOOD",), client.depth))
    trades: list[object] = []
    caught_up = 0
    for number in range(1, 500):
        market.happen(
            market.trade(1, number),
            *(
                market.level(draw.choice([BUY, SELL]), draw.randrange(1, 40), draw.randrange(3))
                for _ in range(draw.randrange(4))
            ),
        )
        trades.append(number)
        if draw.random() < forks:
            bids = sorted(draw.sample(range(1, 40), 9), reverse=True)
            market.fork([(price, 1) for price in bids], [(draw.randrange(1, 40), 2)])
            trades = client.trades()  # what was kept goes with the lost history
        if slow and draw.random() < 0.3:
            client.read_on(draw.randrange(1, 1500))
        if client.subscriber.is_live:
            caught_up += 1
            assert client.known == client.book() == market.totals(client.depth)
    assert caught_up > 10
    while not client.subscriber.is_live:
        client.read_on(100)
    assert client.book() == market.totals(client.depth)
    assert client.trades() == trades


def test_what_is_kept_for_a_slow_one_is_never_more_than_the_difference() -> None:
    market = Market()
    client = market.join(Client(limit=20), ("json", ("WOOD",), 5))
    client.room = 0
    for price in range(1, 1000):
        market.happen(market.level(BUY, price, 1))
        market.happen(market.level(SELL, 2000, 1), market.level(SELL, 2000, 0))
    assert not client.closed
    client.read_on(10**6)
    assert client.take()[-6:] == [
        "bid 0.01: 0",
        *(f"bid {price / 100}: 1" for price in (995, 996, 997, 998, 999)),
    ]
