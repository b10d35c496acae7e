"""A public client's connection: market data out, `subscribe` in."""

import asyncio
from collections import deque

from wood.model.errors import ErrorCode, Refusal
from wood.model.instruments import Instruments
from wood.node.connection import Connection, Owner, Pause
from wood.node.feed import Feed
from wood.node.subscriber import Subscriber
from wood.node.throttle import Throttle
from wood.wire.json_lines import public_json
from wood.wire.market_data import ENCODINGS, error, subscribed
from wood.wire.messages import Subscribe, Unreadable

HIGH_WATER = 1 << 20
"""Bytes that may wait in the output of a public client before it counts as behind."""


class PublicConnection(Connection):
    """The socket of one `Subscriber`.

    What the client says is understood one message at a time, each only when the client has
    caught up with the answer to the one before: asking for books again and again cannot make
    the output grow.
    """

    kind = "subscriber"

    def __init__(
        self,
        name: str,
        owner: Owner,
        feed: Feed,
        instruments: Instruments,
        *,
        line_limit: int,
        backlog_limit: int,
        throttle: Throttle | None = None,
    ) -> None:
        super().__init__(name, owner)
        self._feed = feed
        self._instruments = instruments
        self._subscriber = Subscriber(self, backlog_limit)
        self._decoder = public_json(line_limit)
        self._throttle = throttle
        self._encoding = "json"
        self._said: deque[Subscribe | Unreadable] = deque()
        self._next_seq = 1
        self._understanding = False

    # Connection

    def opened(self) -> None:
        """Give the book of the default instrument, then live."""
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        self._feed.join(self._subscriber, "basic", (self._instruments.default.symbol,))

    def received(self, data: bytes) -> None:
        """Understand what is said, in order."""
        self._said.extend(self._decoder.feed(data))
        self._understand()

    def ended(self) -> None:
        """The client closed, or closed its half, which cannot be told apart until it is written to.

        It gets the answers to what it said and the book that it is owed, and no more: who only
        seems to listen would hold a descriptor for as long as the market is silent.
        """
        self._said.extend(self._decoder.end())
        self._understand()

    def stop(self) -> None:
        """Say no more than what was said."""
        self._end("the server stops")

    def _end(self, reason: str) -> None:
        self._said.clear()
        self._feed.leave(self._subscriber)
        self.finish(reason)

    def lost(self) -> None:
        """Tell the feed."""
        self._feed.leave(self._subscriber)

    def room(self) -> None:
        """Catch up, then understand what is still to be answered."""
        self._subscriber.catch_up()
        self._understand()

    # Sink

    def writable(self) -> bool:
        """Whether the output buffer is below its bound."""
        return not self.finishing and Pause.OUTPUT not in self.pauses

    def later(self) -> None:
        """Catch up further in the next turn of the event loop."""
        asyncio.get_running_loop().call_soon(self._subscriber.catch_up)

    def live(self) -> None:
        """Caught up: the next message may be understood."""
        self._understand()

    def overflow(self) -> None:
        """Close a client that is too slow."""
        self._feed.leave(self._subscriber)
        self.abort("too slow: too many trades and levels wait for it")

    def _understand(self) -> None:
        # The answer to `subscribe` may bring us back here, through `live`, before it is finished.
        if self._understanding:
            return
        self._understanding = True
        while self._said and self._subscriber.is_live and self.writable():
            said = self._said.popleft()
            try:
                self._answer(said)
            except Refusal as refusal:
                self.write(error(refusal.code, refusal.text, self._encoding))
            if isinstance(said, Unreadable) and said.fatal:
                self._end("a message that cannot be read to its end")
        self._understanding = False
        if self._eof and not self._said and self._subscriber.is_live:
            self._end("closed by the client")
        if self._said:
            self.pause(Pause.ANSWER)
        elif Pause.ANSWER in self.pauses:
            self.resume(Pause.ANSWER)

    def _answer(self, said: Subscribe | Unreadable) -> None:
        if said.seq is not None:
            if said.seq != self._next_seq:
                raise Refusal(ErrorCode.SEQUENCE, f"seq {self._next_seq} was expected")
            self._next_seq += 1
        if self._throttle is not None and not self._throttle.allow():
            raise Refusal(ErrorCode.RATE, "too many messages per second")
        if isinstance(said, Unreadable):
            raise Refusal(said.code, said.text)
        self._subscribe(said)

    def _subscribe(self, message: Subscribe) -> None:
        symbols = tuple(dict.fromkeys(message.symbols))
        if not symbols:
            raise Refusal(ErrorCode.INVALID, "symbols must name at least one instrument")
        if any(symbol not in self._instruments for symbol in symbols):
            raise Refusal(ErrorCode.UNKNOWN_SYMBOL, "no instrument has one of these symbols")
        if message.encoding not in ENCODINGS:
            raise Refusal(ErrorCode.INVALID, f"encoding must be one of {', '.join(ENCODINGS)}")
        self._feed.leave(self._subscriber)
        self.write(subscribed(symbols, message.encoding, self._encoding))
        self._encoding = message.encoding
        self._feed.join(self._subscriber, message.encoding, symbols)
