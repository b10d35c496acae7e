"""The client of the public port, on sockets: a real server, and one that breaks."""

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any, Literal

import pytest

from tests.support import Server, create
from tests.test_client_feed import SUBSCRIBED, Message, level, lines, shown, snapshot, trade
from wood.client import (
    ConnectionLost,
    Disconnected,
    LevelChanged,
    PublicClient,
    Resynchronised,
    SubscriptionRefused,
    Trade,
)
from wood.client import addresses as addresses_module
from wood.client import market as market_module


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses_module, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(addresses_module, "LONGEST_DELAY", 0.01)


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_the_book_follows_the_market(
    start_server: Callable[..., Server], encoding: Literal["json", "msgpack"]
) -> None:
    server = start_server("--instrument", "WOOD", "--instrument", "TEA:0.05")

    async def play() -> None:
        with server.trader() as trader:
            trader.ask(create(1, "BUY", 145.25, 100))
            trader.ask(create(2, "SELL", 146, 50))
            address = f"127.0.0.1:{server.public}"
            async with PublicClient([address], ["WOOD", "TEA"], encoding=encoding) as market:
                assert shown(market.book().bids) == [(145.25, 100)]
                assert shown(market.book("WOOD").asks) == [(146, 50)]
                assert market.book("TEA").bids == []
                trader.send(
                    create(3, "SELL", 145.25, 40), create(4, "BUY", 20, 7) | {"symbol": "TEA"}
                )
                update = await anext(market)
                assert isinstance(update, Trade)
                assert shown([(update.price, update.quantity)]) == [(145.25, 40)]
                assert update.seq is not None
                assert shown(market.book().bids) == [(145.25, 100)]
                assert isinstance(await anext(market), LevelChanged)
                assert shown(market.book().bids) == [(145.25, 60)]
                await anext(market)
                assert shown(market.book("TEA").bids) == [(20, 7)]
                with pytest.raises(KeyError):
                    market.book("NOPE")

    asyncio.run(play(), debug=True)


def test_the_base_feed(server: Server) -> None:
    async def play() -> None:
        with server.trader() as trader:
            trader.ask(create(1, "BUY", 145.25, 100))
            async with PublicClient([f"127.0.0.1:{server.public}"]) as market:
                await anext(market)
                assert shown(market.book().bids) == [(145.25, 100)]

    asyncio.run(play(), debug=True)


def test_an_unknown_symbol_and_nobody(server: Server) -> None:
    async def play() -> None:
        with pytest.raises(SubscriptionRefused, match="no instrument"):
            async with PublicClient([f"127.0.0.1:{server.public}"], ["NOPE"]):
                raise AssertionError
        server.stop()
        with pytest.raises(ConnectionLost, match="no server at"):
            async with PublicClient([f"127.0.0.1:{server.public}"], give_up_after=0.05):
                raise AssertionError

    asyncio.run(play(), debug=True)


class Scripted:
    """A public port that says what it is given, a part for each connection, and then closes."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = list(parts)
        self.heard: list[bytes] = []

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard.append(await reader.readline())
        if not self.parts:
            writer.close()
            return
        writer.write(self.parts.pop(0))
        if self.parts:
            writer.close()
        else:
            await reader.read()
            writer.close()


def test_a_break_is_told_and_made_good() -> None:
    again: Message = SUBSCRIBED | {"recovered": True}

    async def play() -> None:
        scripted = Scripted(
            lines(SUBSCRIBED, level("bid", 1, 5, 10), snapshot(10), trade(11)),
            lines(again, trade(11), trade(13), level("bid", 2, 6, 20)),
            lines(again, trade(15), level("bid", 3, 7, 20), snapshot(20), level("bid", 3, 8, 21)),
        )
        async with scripted as address, PublicClient([address], ["WOOD"]) as market:
            told = [await anext(market) for _ in range(4)]
            assert [type(update) for update in told] == [Trade, Disconnected, Trade, Trade]
            assert [update.seq for update in told if isinstance(update, Trade)] == [11, 13, 15]
            assert shown(market.book().bids) == [(1, 5)]
            update = await anext(market)
            assert isinstance(update, Resynchronised)
            assert not update.trades_lost
            assert shown(market.book().bids) == [(3, 7)]
            await anext(market)
            assert shown(market.book().bids) == [(3, 8)]
        asked = [json.loads(heard).get("lastSeq") for heard in scripted.heard]
        assert asked == [None, 11, 13]

    asyncio.run(play(), debug=True)


def test_cut_at_every_byte_no_trade_is_told_twice_or_missed() -> None:
    first = lines(SUBSCRIBED, level("bid", 1, 5, 10), snapshot(10), trade(11), trade(13))
    books = [level("bid", 2, 6, 20), snapshot(20)]

    again = [SUBSCRIBED | {"recovered": True}, trade(11), trade(13), trade(15), *books, trade(21)]
    begun = first.index(b"\n", first.index(b"snapshot"))

    async def cut_at(cut: int) -> None:
        scripted = Scripted(first[:cut], lines(*again))
        async with scripted as address, PublicClient([address], ["WOOD"]) as market:
            numbers: list[int | None] = []
            while numbers[-1:] != [21]:
                update = await anext(market)
                if isinstance(update, Trade):
                    numbers.append(update.seq)
        # Who had no book yet had missed nothing.
        assert numbers == ([11, 13, 15, 21] if cut > begun else [21])

    async def play() -> None:
        for cut in range(1, len(first) + 1):
            await cut_at(cut)

    asyncio.run(play())


def test_a_market_in_which_nothing_happens_is_not_taken_for_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(market_module, "SNAPSHOT_SECONDS", 0.05)

    async def play() -> None:
        scripted = Scripted(b"", lines(SUBSCRIBED, snapshot(10)))
        async with scripted as address, PublicClient([address], ["WOOD"]) as market:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await anext(market)

    asyncio.run(play())


def test_who_is_gone_without_a_word_is_found_out_by_the_system() -> None:
    async def play() -> None:
        scripted = Scripted(lines(SUBSCRIBED, snapshot(10)))
        async with scripted as address, PublicClient([address], ["WOOD"]) as market:
            assert market._line is not None
            connection = market._line._writer.get_extra_info("socket")
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    asyncio.run(play())


def test_arguments() -> None:
    wrongs: list[Any] = [{"symbols": "WOOD"}, {"encoding": "xml"}, {"depth": 5}]
    for wrong in wrongs:
        with pytest.raises((TypeError, ValueError)):
            PublicClient(["localhost:1"], **wrong)
