"""Halts as a client hears of them, and an operator's own; what a refusal says of its limit."""

import asyncio
import json
from typing import Any, Literal

import pytest

from tests.client_plays import ENCODINGS, alice, run
from tests.fake_exchange import FakeExchange
from tests.session_wire import LOGIN_TO_TWO, create, line, logged_in
from tests.test_client_feed import SUBSCRIBED, Message, begun, level, lines, snapshot, trade
from tests.test_client_market import Scripted
from wood.client import (
    PublicClient,
    QueryRefused,
    Reason,
    Refused,
    Resynchronised,
    State,
    StateChanged,
)
from wood.client import addresses as addresses_module
from wood.client.feed import Feed
from wood.client.requests import CancelAll, Halt, Resume
from wood.client.session import Answer


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses_module, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(addresses_module, "LONGEST_DELAY", 0.01)


def state(word: str, seq: int, **more: object) -> Message:
    return {"type": "state", "symbol": "WOOD", "state": word, "seq": seq, **more}


# The public port


def test_the_books_come_with_their_states() -> None:
    feed = Feed(["WOOD", "PEAR"], None, "json")
    feed.connected()
    both = SUBSCRIBED | {"symbols": ["WOOD", "PEAR"]}
    (update,) = feed.receive(lines(both, state("halted", 10), snapshot(10)))
    assert isinstance(update, Resynchronised)
    states = {symbol: book.state for symbol, book in update.books.items()}
    assert states == {"WOOD": State.HALTED, "PEAR": State.OPEN}


def test_then_a_change_is_told_in_its_place_and_counts() -> None:
    feed = Feed(["WOOD"], None, "json")
    begun(feed)
    told = feed.receive(lines(trade(11), state("halted", 13, reason="collar"), trade(14)))
    assert told[1] == StateChanged("WOOD", State.HALTED, 13, Reason.COLLAR)
    assert len(told) == 3
    feed.receive(lines(state("open", 16, reason="operator")))
    said: Any = json.loads(feed.connected()[0])
    assert said["lastSeq"] == 16


def test_books_that_come_anew_tell_states_without_a_reason() -> None:
    feed = Feed(["WOOD"], None, "json")
    begun(feed)
    told = feed.receive(lines(level("bid", 1, 1, 5), state("open", 5), snapshot(5, 8)))
    assert told[1] == StateChanged("WOOD", State.OPEN, 5)
    assert isinstance(told[2], Resynchronised)


def test_a_book_knows_its_state_as_of_the_update_that_was_read() -> None:
    again = SUBSCRIBED | {"recovered": True}

    async def play() -> None:
        scripted = Scripted(
            lines(SUBSCRIBED, state("halted", 10), snapshot(10), state("open", 11)),
            lines(again, snapshot(20), state("halted", 21, reason="operator")),
        )
        async with scripted as address, PublicClient([address], ["WOOD"]) as market:
            seen = [market.book().state]
            for _ in range(4):  # the change, the break, the books and the next change
                await anext(market)
                seen.append(market.book().state)
            assert seen == ["halted", "open", "open", "open", "halted"]

    asyncio.run(play(), debug=True)


# The private port


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_operator_halts_and_resumes(encoding: Literal["json", "msgpack"]) -> None:
    async def play() -> None:
        async with FakeExchange() as exchange, alice(exchange, encoding=encoding) as client:
            assert await client.halt("WOOD") is State.HALTED
            assert await client.resume("WOOD") is State.OPEN

    run(play())


def test_one_who_is_none_is_told_so() -> None:
    async def play() -> None:
        async with FakeExchange() as exchange, alice(exchange) as client:
            exchange.mute = True
            asking = asyncio.create_task(client.halt("WOOD"))
            while not client._session.under_way:
                await asyncio.sleep(0)
            assert not client.under_way, "it is no command whose fate must be told"
            exchange.say({"message": "error", "error": "no", "code": "forbidden"})
            with pytest.raises(QueryRefused, match="no") as caught:
                await asking
            assert caught.value.code == "forbidden"

    run(play())


def test_answers_of_two_partitions_come_in_any_order() -> None:
    session = logged_in(LOGIN_TO_TWO)
    wood, gold, default = Halt(symbol="WOOD"), Halt(symbol="GOLD"), Resume()
    for request in (default, wood, gold):
        session.send(request)
    halted = [line({"message": "halt", "symbol": s, "state": "halted"}) for s in ("GOLD", "WOOD")]
    assert session.receive(halted[0]) == [Answer(gold, State.HALTED)]
    assert session.receive(halted[1]) == [Answer(wood, State.HALTED)]
    resumed = line({"message": "resume", "symbol": "WOOD", "state": "open"})
    assert session.receive(resumed) == [Answer(default, State.OPEN)]


def test_a_refusal_finds_the_halt_of_its_partition() -> None:
    session = logged_in(LOGIN_TO_TWO)
    default, gold = Halt(), Halt(symbol="GOLD")
    session.send(default)
    session.send(gold)
    error = {"message": "error", "error": "no", "code": "rate", "limit": "participantRate"}
    (answer,) = session.receive(line(error | {"retryAfter": 0.25, "symbol": "GOLD"}))
    assert isinstance(answer, Answer)
    assert answer.query is gold
    assert isinstance(answer.result, QueryRefused)
    assert (answer.result.limit, answer.result.retry_after) == ("participantRate", 0.25)
    (answer,) = session.receive(line(error))
    assert isinstance(answer, Answer)
    assert answer.query is default


def test_a_refusal_names_its_limit_and_when_to_try_again() -> None:
    session = logged_in()
    session.send(create(7))
    session.send(CancelAll())
    error = {"message": "error", "error": "no", "code": "rate", "orderId": 7}
    (refused,) = session.receive(line(error | {"limit": "addressRate", "retryAfter": 2}))
    assert isinstance(refused, Refused)
    assert (refused.limit, refused.retry_after) == ("addressRate", 2.0)
    (refused,) = session.receive(line({"message": "error", "error": "no", "code": "limit"}))
    assert isinstance(refused, Refused)
    assert (refused.limit, refused.retry_after) == (None, None)
