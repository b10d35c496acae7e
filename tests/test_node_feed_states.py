"""Halts on the public feed: each in its place, for the live, for the slow and for the late."""

import pytest

from tests.test_node_feed import Client, Market
from wood.model.events import BookSnapshot, Snapshot, StateChanged
from wood.model.orders import BUY, Reason, State

WOOD = ("json", ("WOOD",))
BOTH = ("json", ("PEAR", "WOOD"))


def changed(market: Market, state: str, symbol: str = "WOOD") -> StateChanged:
    return StateChanged(market.seq + 7, symbol, State(state), Reason.OPERATOR)


def states(client: Client) -> list[tuple[object, ...]]:
    """What was told of states since the last time: symbol, state, reason and number."""
    lines, client.lines = client.lines, []
    keys = ("symbol", "state", "reason", "seq")
    return [tuple(map(line.get, keys)) for line in lines if line["type"] == "state"]


def kinds(client: Client) -> list[object]:
    lines, client.lines = client.lines, []
    return [line["type"] for line in lines]


def anew(market: Market, *halted: str) -> None:
    """The thread is lost: the books come anew, with these symbols halted."""
    books = {"WOOD": BookSnapshot([], []), "PEAR": BookSnapshot([], [])}
    snapshot = Snapshot("main", market.epoch, market.seq, 0, books, frozenset(halted))
    market.feed.reset(snapshot)


def test_a_halt_has_its_place_among_the_lines() -> None:
    market = Market()
    live, plain, other = Client(), Client(), Client()
    market.join(live, WOOD)
    market.join(plain)
    market.join(other, ("json", ("PEAR",)))
    for client in (live, plain, other):
        client.lines.clear()
    market.happen(
        market.trade(14500, 3),
        market.level(BUY, 14500, 1),
        changed(market, "halted"),
        market.trade(14500, 1),
    )
    assert kinds(live) == ["trade", "orderbook", "state", "trade"]
    assert kinds(plain) == ["trade", "orderbook", "trade"], "the base has no such line"
    assert kinds(other) == []


def test_a_halt_says_why() -> None:
    market = Market()
    client = market.join(Client(), BOTH)
    market.happen(changed(market, "halted", "PEAR"))
    assert states(client) == [("PEAR", "halted", "operator", 7)]
    market.happen(StateChanged(17, "PEAR", State.OPEN, Reason.COLLAR))
    assert states(client) == [("PEAR", "open", "collar", 17)]


def test_with_a_depth_the_levels_come_after_it() -> None:
    market = Market()
    client = market.join(Client(), ("json", ("WOOD",), 5))
    client.lines.clear()
    market.happen(market.level(BUY, 14500, 1), market.trade(14500, 3), changed(market, "halted"))
    assert kinds(client) == ["trade", "state", "orderbook"]


def test_who_joins_is_told_of_halts_before_the_line_that_ends_the_books() -> None:
    market = Market(bids=2)
    market.happen(changed(market, "halted"), changed(market, "halted", "PEAR"))
    market.happen(changed(market, "open", "PEAR"))
    client = market.join(Client(), BOTH)
    assert [line["type"] for line in client.lines][-3:] == ["orderbook", "state", "snapshot"]
    assert states(client) == [("WOOD", "halted", None, 20)]
    plain = market.join(Client())
    assert states(plain) == []


def test_who_is_slow_gets_it_in_order() -> None:
    market = Market()
    client = market.join(Client(), WOOD)
    client.room = 0
    market.happen(market.trade(14500, 1))  # after which it takes no more
    client.lines.clear()
    market.happen(market.level(BUY, 14500, 1), changed(market, "halted"), market.trade(14500, 2))
    market.happen(market.level(BUY, 14500, 2), changed(market, "open"))
    assert client.lines == []
    client.read_on(10**9)
    assert kinds(client) == ["state", "trade", "state", "orderbook"]
    market.happen(changed(market, "halted"))
    assert kinds(client) == ["state"], "and it is live again"


def test_who_is_too_slow_is_closed_for_them_too() -> None:
    market = Market()
    client = market.join(Client(limit=10), WOOD)
    client.room = 0
    for _ in range(6):
        market.happen(changed(market, "halted"))
        market.happen(changed(market, "open"))
    assert client.closed


def test_a_halt_while_the_books_are_told_comes_after_them() -> None:
    market = Market(bids=2000)
    client = Client()
    client.room = 1
    market.join(client, WOOD)
    market.happen(changed(market, "halted"))
    client.read_on(10**9)
    assert kinds(client)[-2:] == ["snapshot", "state"]


@pytest.mark.parametrize("slow", [False, True])
def test_books_that_come_anew_tell_what_has_changed(*, slow: bool) -> None:
    market = Market()
    client = market.join(Client(), BOTH)
    market.happen(changed(market, "halted"))
    if slow:
        client.room = 0
        market.happen(market.trade(14500, 1))
    client.lines.clear()
    anew(market, "PEAR")
    client.read_on(10**9)
    assert states(client) == [
        ("PEAR", "halted", None, market.seq),
        ("WOOD", "open", None, market.seq),
    ]
    anew(market, "PEAR")
    assert states(client) == [("PEAR", "halted", None, market.seq)], (
        "it knows that the other is open"
    )
    late = market.join(Client(), BOTH)
    assert states(late) == [("PEAR", "halted", None, market.seq)]


def test_what_was_kept_for_one_who_is_slow_is_told_by_the_books() -> None:
    """It knows of a halt, and the line that would end it is thrown away with what was kept."""
    market = Market()
    client = market.join(Client(), WOOD)
    market.happen(changed(market, "halted"))
    client.room = 0
    market.happen(market.trade(14500, 1))
    market.happen(changed(market, "open"))
    client.lines.clear()
    anew(market)
    client.read_on(10**9)
    assert states(client) == [("WOOD", "open", None, market.seq)]


def test_books_that_come_anew_twice_before_they_are_read() -> None:
    market = Market()
    client = market.join(Client(), WOOD)
    market.happen(changed(market, "halted"))
    client.room = 0
    client.lines.clear()
    anew(market, "WOOD")
    anew(market)
    client.read_on(10**9)
    assert states(client) == [("WOOD", "open", None, market.seq)]


def test_of_one_who_resumes_the_states_come_with_the_books() -> None:
    """What happens while its trades are read again is told before the books, and by them."""
    market = Market(bids=1)
    client = Client()
    market.feed.join(client.subscriber, *WOOD, held=True)
    market.happen(market.trade(14500, 1), changed(market, "halted"))
    assert client.lines == []
    client.subscriber.release()
    assert [line["type"] for line in client.lines] == [
        *("trade", "state", "orderbook", "state", "snapshot"),
    ]
    assert states(client) == [("WOOD", "halted", "operator", 7), ("WOOD", "halted", None, 10)]


def test_what_one_was_told_who_has_not_caught_up_is_taken_back() -> None:
    """Of a halt that came while it was behind, and of one that came with the books."""
    market = Market()
    slow = market.join(Client(), WOOD)
    slow.room = 0
    market.happen(market.trade(14500, 1))
    market.happen(changed(market, "halted"))
    slow.read_on(1)
    late = Client()
    late.room = 1
    market.join(late, WOOD)
    for client in (slow, late):
        assert [line[1] for line in states(client)] == ["halted"]
        assert not client.subscriber.is_live
    anew(market)
    for client in (slow, late):
        client.read_on(10**9)
        assert states(client) == [("WOOD", "open", None, market.seq)]
