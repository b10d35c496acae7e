"""The public port without sockets: books and trades over connections that come and go."""

import json
from decimal import Decimal
from typing import Any

import msgpack
import pytest

from wood.client import BUY, SELL, LevelChanged, ProtocolError, Resynchronised, SubscriptionRefused
from wood.client.book import Levels
from wood.client.feed import Feed
from wood.client.updates import Trade, Update

Message = dict[str, Any]

SUBSCRIBED: Message = {"type": "subscribed", "symbols": ["WOOD"], "encoding": "json"}


def lines(*messages: Message) -> bytes:
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


def level(side: str, price: object, quantity: int, seq: int, symbol: str = "WOOD") -> Message:
    about = {"type": "orderbook", "side": side, "price": price, "quantity": quantity}
    return about | {"symbol": symbol, "seq": seq}


def trade(seq: int, symbol: str = "WOOD") -> Message:
    about = {"type": "trade", "time": 1.5, "price": 145.25, "quantity": 10, "symbol": symbol}
    return about | {"seq": seq, "trade": seq}


def snapshot(seq: int, epoch: int = 7) -> Message:
    return {"type": "snapshot", "seq": seq, "epoch": epoch}


def traded(seq: int) -> Trade:
    return Trade(Decimal("145.25"), Decimal(10), 1.5, "WOOD", seq, seq)


def asked(feed: Feed) -> Message:
    request, updates = feed.connected()
    assert updates == []
    said: Message = json.loads(request)
    return said


def begun(feed: Feed) -> list[Update]:
    """The feed has its first book, at number 10."""
    asked(feed)
    before = {"type": "orderbook", "side": "bid", "price": 1, "quantity": 1}
    book = [level("bid", 145.25, 100, 10), level("bid", 144, 20, 10), level("ask", 146, 5, 10)]
    return feed.receive(lines(before, SUBSCRIBED, *book, snapshot(10)))


def shown(levels: Levels) -> list[tuple[float, int]]:
    return [(float(price), int(quantity)) for price, quantity in levels]


def numbers(updates: list[Update]) -> list[int | None]:
    return [update.seq for update in updates if isinstance(update, Trade)]


def test_the_book_comes_whole() -> None:
    feed = Feed(["WOOD"], 5, "json")
    assert asked(feed) == {"message": "subscribe", "symbols": ["WOOD"], "depth": 5}
    (update,) = begun(feed)
    assert isinstance(update, Resynchronised)
    assert shown(update.books["WOOD"].bids) == [(145.25, 100), (144, 20)]
    assert shown(update.books["WOOD"].asks) == [(146, 5)]


def test_then_what_changes() -> None:
    feed = Feed(["WOOD"], None, "json")
    begun(feed)
    updates = feed.receive(lines(trade(11), level("bid", 145.25, 90, 13), level("ask", 146, 0, 14)))
    assert updates == [
        traded(11),
        LevelChanged(BUY, Decimal("145.25"), Decimal(90), "WOOD", 13),
        LevelChanged(SELL, Decimal(146), Decimal(0), "WOOD", 14),
    ]


def test_trades_are_told_once_and_the_last_number_is_asked_from() -> None:
    feed = Feed(["WOOD"], None, "json")
    begun(feed)
    feed.receive(lines(trade(11), trade(13)))
    assert asked(feed) == {
        "message": "subscribe",
        "symbols": ["WOOD"],
        "lastSeq": 13,
        "epoch": 7,
    }
    missed = lines(SUBSCRIBED | {"recovered": True}, trade(13), trade(15), trade(17))
    assert numbers(feed.receive(missed)) == [15, 17]
    updates = feed.receive(lines(level("bid", 1, 2, 20), snapshot(20), trade(19), trade(21)))
    assert isinstance(updates[0], Resynchronised)
    assert not updates[0].trades_lost
    assert shown(updates[0].books["WOOD"].bids) == [(1, 2)]
    assert numbers(updates) == [21]


def test_levels_count_as_well_once_the_book_is_complete() -> None:
    feed = Feed(["WOOD"], None, "json")
    begun(feed)
    feed.receive(lines(level("bid", 1, 2, 30)))
    assert asked(feed)["lastSeq"] == 30
    feed.receive(lines(SUBSCRIBED | {"recovered": False}, level("bid", 1, 2, 40)))
    assert asked(feed)["lastSeq"] == 30


def test_lost_trades_are_said_to_be_lost_until_a_book_is_complete() -> None:
    feed = Feed(["WOOD"], None, "json")
    begun(feed)
    asked(feed)
    feed.receive(lines(SUBSCRIBED | {"recovered": False}, level("bid", 1, 2, 5)))
    asked(feed)
    (update,) = feed.receive(lines(SUBSCRIBED | {"recovered": False}, snapshot(5, epoch=8)))
    assert update == Resynchronised(True, update.books)  # type: ignore[union-attr]
    assert numbers(feed.receive(lines(trade(6)))) == [6]
    assert asked(feed)["epoch"] == 8


def test_a_server_that_begins_anew_by_itself() -> None:
    feed = Feed(["WOOD"], None, "json")
    begun(feed)
    updates = feed.receive(lines(level("bid", 1, 2, 3), snapshot(3, epoch=8), trade(4)))
    assert updates == [
        LevelChanged(BUY, Decimal(1), Decimal(2), "WOOD", 3),
        Resynchronised(True, {}),
        traded(4),
    ]


def test_what_was_recovered_once_is_not_recovered_the_next_time() -> None:
    feed = Feed(["WOOD"], None, "json")
    begun(feed)
    asked(feed)
    updates = feed.receive(lines(SUBSCRIBED | {"recovered": True}, snapshot(20), snapshot(5, 8)))
    assert [u.trades_lost for u in updates if isinstance(u, Resynchronised)] == [False, True]


def test_message_pack_begins_after_the_reply_wherever_the_pieces_end() -> None:
    reply = lines(SUBSCRIBED | {"encoding": "msgpack"})
    book = [level("bid", "145.25", 100, 10), snapshot(10), trade(11)]
    data = reply + b"".join(msgpack.packb(message) for message in book)
    for cut in range(len(data)):
        feed = Feed(["WOOD"], None, "msgpack")
        assert asked(feed)["encoding"] == "msgpack"
        updates = feed.receive(data[:cut]) + feed.receive(data[cut:])
        assert [type(update) for update in updates] == [Resynchronised, Trade]
        assert isinstance(updates[0], Resynchronised)
        assert shown(updates[0].books["WOOD"].bids) == [(145.25, 100)]
        asked(feed)
        assert feed.receive(lines(SUBSCRIBED)) == []


def test_without_symbols_every_connection_begins_anew() -> None:
    feed = Feed([], None, "json")
    base = {"type": "orderbook", "side": "ask", "price": 1, "quantity": 2}
    for _ in range(2):
        request, updates = feed.connected()
        assert request == b""
        assert isinstance(updates[0], Resynchronised)
        assert updates[0].trades_lost
        assert feed.receive(lines(base)) == [LevelChanged(SELL, Decimal(1), Decimal(2))]
        same = {"type": "trade", "time": 1, "price": 1, "quantity": 2}
        assert len(feed.receive(lines(same, same))) == 2


@pytest.mark.parametrize(("code", "lost"), [("unknown_symbol", False), ("limit", True)])
def test_refusals(code: str, lost: bool) -> None:
    feed = Feed(["WOOD"], None, "json")
    asked(feed)
    feed.receive(lines({"type": "error", "error": "no", "code": code}, SUBSCRIBED))
    assert (feed.lost is not None) is lost
    assert isinstance(feed.over, SubscriptionRefused) is not lost


@pytest.mark.parametrize("said", [b"x\n", b'{"type":"what"}\n', lines(SUBSCRIBED)])
def test_another_protocol(said: bytes) -> None:
    feed = Feed(["WOOD"], None, "json")
    begun(feed)
    assert numbers(feed.receive(lines(trade(11)) + said)) == [11]
    assert isinstance(feed.over, ProtocolError)


def test_an_epoch_that_lost_nothing_is_resumed_from() -> None:
    feed = Feed(["WOOD"], None, "json")
    begun(feed)
    assert feed.receive(lines({"type": "epoch", "epoch": 8, "seq": 12})) == []
    assert (asked(feed)["lastSeq"], asked(feed)["epoch"]) == (12, 8)


# Several partitions

TWO: Message = {"main": ["WOOD"], "metals": ["GOLD"]}
SUBSCRIBED_TO_TWO = SUBSCRIBED | {"symbols": ["WOOD", "GOLD"], "partitions": TWO}


def of(partition: str, message: Message) -> Message:
    return message | {"partition": partition}


def begun_with_two() -> Feed:
    """The feed is at number 10 of one partition, at 5 of the other."""
    feed = Feed(["WOOD", "GOLD"], None, "json")
    asked(feed)
    ends = of("main", snapshot(10)), of("metals", snapshot(5, epoch=17))
    assert len(feed.receive(lines(SUBSCRIBED_TO_TWO, *ends))) == 1
    return feed


def test_the_books_are_told_when_those_of_all_partitions_are_complete() -> None:
    feed = Feed(["WOOD", "GOLD"], None, "json")
    asked(feed)
    gold = level("bid", 1900, 7, 5, "GOLD")
    begin = lines(SUBSCRIBED_TO_TWO, level("bid", 145, 20, 10), gold)
    assert feed.receive(begin + lines(of("main", snapshot(10)))) == []
    # One partition is live already: what changes there goes into its book.
    assert numbers(feed.receive(lines(trade(11), level("bid", 145, 10, 13)))) == [11]
    (update,) = feed.receive(lines(of("metals", snapshot(5, epoch=17))))
    assert isinstance(update, Resynchronised)
    assert shown(update.books["WOOD"].bids) == [(145, 10)]
    assert shown(update.books["GOLD"].bids) == [(1900, 7)]
    assert len(feed.receive(lines(level("bid", 145, 0, 15)))) == 1
    said = asked(feed)
    assert said["lastSeq"] == {"main": 15, "metals": 5}
    assert said["epoch"] == {"main": 7, "metals": 17}


def test_each_partition_counts_its_trades_by_itself() -> None:
    feed = begun_with_two()
    told = [trade(11), trade(6, "GOLD"), trade(6, "GOLD"), trade(13), trade(8, "GOLD")]
    assert numbers(feed.receive(lines(*told))) == [11, 6, 13, 8]
    feed.receive(lines(of("metals", {"type": "epoch", "epoch": 18, "seq": 9})))
    said = asked(feed)
    assert said["lastSeq"] == {"main": 13, "metals": 9}
    assert said["epoch"] == {"main": 7, "metals": 18}


@pytest.mark.parametrize("whole", [{"main"}, {"main", "metals"}, set()])
def test_trades_are_lost_if_they_are_in_any_partition(whole: set[str]) -> None:
    feed = begun_with_two()
    asked(feed)
    recovered = {name: name in whole for name in TWO}
    reply = SUBSCRIBED_TO_TWO | {"recovered": recovered}
    updates = feed.receive(
        lines(reply, of("main", snapshot(12)), of("metals", snapshot(3, epoch=18)))
    )
    assert [u.trades_lost for u in updates if isinstance(u, Resynchronised)] == [len(whole) < 2]


def test_lost_trades_are_told_even_if_the_connection_breaks_between_two_partitions() -> None:
    feed = begun_with_two()
    asked(feed)
    lost = SUBSCRIBED_TO_TWO | {"recovered": {"main": False, "metals": True}}
    assert feed.receive(lines(lost, of("main", snapshot(3, epoch=8)))) == []
    assert asked(feed)["lastSeq"] == {"main": 3, "metals": 5}
    whole = SUBSCRIBED_TO_TWO | {"recovered": {"main": True, "metals": True}}
    ends = of("main", snapshot(3, epoch=8)), of("metals", snapshot(5, epoch=17))
    (update,) = feed.receive(lines(whole, *ends))
    assert isinstance(update, Resynchronised)
    assert update.trades_lost


def test_one_partition_of_a_server_begins_anew_by_itself() -> None:
    feed = begun_with_two()
    anew = lines(level("bid", 1900, 2, 3, "GOLD"), of("metals", snapshot(3, epoch=18)))
    updates = feed.receive(anew + lines(trade(11), trade(4, "GOLD")))
    assert [type(update) for update in updates] == [LevelChanged, Resynchronised, Trade, Trade]
    assert updates[1] == Resynchronised(True, {})
    assert asked(feed)["lastSeq"] == {"main": 11, "metals": 4}
