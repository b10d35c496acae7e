"""The client of the public port: local order books, and what changes them."""

import ssl
from collections.abc import Sequence
from typing import Self

from wood.client.addresses import Address
from wood.client.book import Book
from wood.client.codec import CODECS, Encoding
from wood.client.feed import Feed
from wood.client.line import Line
from wood.client.reports import Disconnected
from wood.client.shell import Shell
from wood.client.updates import LevelChanged, Resynchronised, StateChanged, Update

SNAPSHOT_SECONDS = 30.0
"""How long a server may be silent before the books are complete."""


class PublicClient(Shell[Update]):
    """One who watches: ``async with PublicClient(["localhost:7002"], ["WOOD"]) as market``.

    ``async for update in market`` tells `Trade`, `LevelChanged` and `StateChanged` in order,
    none twice, and `book` is always as it stands after the update that was told last: so who wants
    the books alone goes through the updates in a task of its own. Updates wait to be read up to a
    bound (1,000); past that the server tells only each level's latest total, and in the end closes.

    When the connection breaks it goes through `addresses`, for ever or for `give_up_after` seconds:
    it tells `Disconnected`, then the trades that were missed, if the server has them, then
    `Resynchronised`, with the books anew. The trades come before the books that they led to.

    `depth` is how many of the best levels of each side are wanted, None for all. Without symbols
    it is the feed of the default instrument that servers without extensions have too; trades that
    are missed are lost then.
    """

    def __init__(
        self,
        addresses: Sequence[str | Address],
        symbols: Sequence[str] = (),
        depth: int | None = None,
        *,
        encoding: Encoding = "json",
        give_up_after: float | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(addresses, reconnects=True, give_up_after=give_up_after, tls=tls)
        if isinstance(symbols, str):
            raise TypeError("symbols must be a list of symbols")
        if encoding not in CODECS:
            raise ValueError(f"encoding must be one of {', '.join(CODECS)}")
        if not symbols and (depth is not None or encoding != "json"):
            raise ValueError("a depth or an encoding needs symbols to subscribe to")
        self._feed = Feed(symbols, depth, encoding)
        self._first: str | None = symbols[0] if symbols else None
        self._books: dict[str | None, Book] = {symbol: Book() for symbol in symbols or (None,)}

    async def __aenter__(self) -> Self:
        """Connect. Returns when the books are there; raises what ends the client before that.

        Without symbols the book fills from the first updates on: nothing says when it is complete.
        """
        await super().__aenter__()
        while not isinstance(await anext(self), Resynchronised):
            pass  # until the books of the beginning
        return self

    async def __anext__(self) -> Update:
        """The next update, with `book` after it. When cancelled, nothing is lost."""
        update = await super().__anext__()
        if isinstance(update, Resynchronised):
            self._books.update(update.books)
        elif isinstance(update, LevelChanged):
            self._books[update.symbol].change(update.side, update.price, update.quantity)
        elif isinstance(update, StateChanged):
            self._books[update.symbol].state = update.state
        return update

    def book(self, symbol: str | None = None) -> Book:
        """That of `symbol`, or of the first one. Raises `KeyError` for one not subscribed to."""
        return self._books[self._first if symbol is None else symbol]

    async def _converse(self, line: Line) -> str:
        feed = self._feed
        request, updates = feed.connected()
        line.write(request)
        line.pulse.patience = SNAPSHOT_SECONDS
        while True:
            self._inbox.put(updates)
            if any(isinstance(update, Resynchronised) for update in updates):
                line.served, line.pulse.patience = True, None
                self._ready.set()
            if feed.over is not None:
                raise feed.over
            if feed.lost is not None:
                return feed.lost
            piece, reason = await self._hear(line)
            if not piece:
                return reason
            updates = feed.receive(piece)

    def _lost(self, reason: str) -> list[Update]:
        return [Disconnected(reason)]
