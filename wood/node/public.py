"""A public client's connection: market data out, `subscribe` in."""

import asyncio
import logging
from collections import deque
from contextlib import aclosing

from wood.model.errors import ErrorCode, JournalTrimmed, Refusal
from wood.model.instruments import Instruments
from wood.node.connection import Connection, Owner, Pause
from wood.node.feed import Feed
from wood.node.recovery import Recovery
from wood.node.subscriber import Channel, Subscriber
from wood.node.throttle import Throttle
from wood.wire.json_lines import public_json
from wood.wire.market_data import ENCODINGS, epoch_began, error, subscribed
from wood.wire.messages import MAX_NUMBER, Subscribe, Unreadable

log = logging.getLogger("wood.node")

MAX_DEPTH = 10_000
"""Levels of each side that a subscriber may ask for; past that it may as well ask for all."""

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
        recovery: Recovery,
        instruments: Instruments,
        *,
        line_limit: int,
        backlog_limit: int,
        throttle: Throttle | None = None,
    ) -> None:
        super().__init__(name, owner)
        self._feed = feed
        self._recovery = recovery
        self._instruments = instruments
        self._subscriber = Subscriber(self, backlog_limit)
        self._decoder = public_json(line_limit)
        self._throttle = throttle
        self._encoding = "json"
        self._said: deque[Subscribe | Unreadable] = deque()
        self._next_seq = 1
        self._understanding = False
        self._resuming: asyncio.Task[None] | None = None
        """Answers a `subscribe` that has to ask the journal."""
        self._read_on = asyncio.Event()

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
        self._leave()
        self.finish(reason)

    def lost(self) -> None:
        """Tell the feed; miss nothing any more."""
        self._leave()

    def _leave(self) -> None:
        self._feed.leave(self._subscriber)
        if self._resuming is not None:
            self._resuming.cancel()
            self._resuming = None

    def room(self) -> None:
        """Catch up, then understand what is still to be answered."""
        self._read_on.set()
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
        while self._said and self._all_answered() and self.writable():
            said = self._said.popleft()
            try:
                self._answer(said)
            except Refusal as refusal:
                self.write(error(refusal.code, refusal.text, self._encoding))
            if isinstance(said, Unreadable) and said.fatal:
                self._end("a message that cannot be read to its end")
        self._understanding = False
        if self._eof and not self._said and self._all_answered():
            self._end("closed by the client")
        if self._said:
            self.pause(Pause.ANSWER)
        elif Pause.ANSWER in self.pauses:
            self.resume(Pause.ANSWER)

    def _all_answered(self) -> bool:
        return self._resuming is None and self._subscriber.is_live

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
        _check_numbers(message)
        if message.last_seq is None:
            self._join(message, symbols)
        else:
            work = self._resume(message, symbols, message.last_seq)
            self._resuming = self._recovery.start(work)

    def _join(
        self, message: Subscribe, symbols: tuple[str, ...], recovered: bool | None = None
    ) -> Channel:
        """Answer, and begin anew; what was missed comes before the books."""
        self._feed.leave(self._subscriber)
        encoding, depth = message.encoding, message.depth
        self.write(subscribed(symbols, encoding, self._encoding, depth, recovered))
        self._encoding = encoding
        held = recovered is True
        return self._feed.join(self._subscriber, encoding, symbols, depth, held=held)

    async def _resume(self, message: Subscribe, symbols: tuple[str, ...], last_seq: int) -> None:
        """Answer one who says what it saw last; until the answer it sees what it saw before."""
        try:
            recovered = await self._recovery.proves(message.epoch, last_seq)
            if self.finishing:
                return  # the cancellation got lost
            channel = self._join(message, symbols, recovered)
            if recovered:
                epoch = self._feed.book.epoch
                if message.epoch not in (None, epoch):
                    # If the replay breaks off, its numbers are of this epoch.
                    self.write(epoch_began(epoch, last_seq, self._encoding))
                await self._replay(channel, last_seq)
        except JournalTrimmed as trimmed:
            self._give_up(f"what it missed cannot be told: {trimmed}")
        except Exception:
            log.exception("%s %s: what it missed cannot be read", self.kind, self.name)
            self._give_up("what it missed cannot be read")
        else:
            self._resuming = None
            self._understand()

    async def _replay(self, channel: Channel, last_seq: int) -> None:
        async with aclosing(self._recovery.trades(channel, last_seq)) as pages:
            async for page in pages:
                while not self.writable():
                    if self.finishing:
                        return
                    self._read_on.clear()
                    await self._read_on.wait()
                self.write(page)
        self._subscriber.release()

    def _give_up(self, reason: str) -> None:
        """The client was promised what it cannot be told: let it come again."""
        self._resuming = None
        text = "trades may be missing; connect again"
        self.write(error(ErrorCode.UNAVAILABLE, text, self._encoding))
        self._end(reason)


def _check_numbers(message: Subscribe) -> None:
    for name, number, least, most in (
        ("depth", message.depth, 1, MAX_DEPTH),
        ("lastSeq", message.last_seq, 0, MAX_NUMBER),
        ("epoch", message.epoch, 0, MAX_NUMBER),
    ):
        if number is not None and not least <= number <= most:
            raise Refusal(ErrorCode.INVALID, f"{name} must be from {least} to {most}")
