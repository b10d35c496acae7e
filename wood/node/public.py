"""A public client's connection: market data out, `subscribe` in."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing

from wood.model.errors import ErrorCode, JournalTrimmed, Refusal
from wood.model.instruments import Instruments
from wood.model.log_events import LogEvent, told
from wood.node.connection import Connection, Owner, Pause
from wood.node.limits_hit import limits_hit
from wood.node.market import Market
from wood.node.subscriber import Channel, Subscriber
from wood.node.throttle import Allowance
from wood.wire.checks import by_partition
from wood.wire.json_lines import public_json
from wood.wire.market_data import ENCODINGS, error, subscribed
from wood.wire.messages import Subscribe, Unreadable

log = logging.getLogger("wood.node")

MAX_DEPTH = 10_000
"""Levels of each side that a subscriber may ask for; past that it may as well ask for all."""

ANSWERS = 4
"""Messages that are answered in one turn: a book may be given for each."""

HIGH_WATER = 1 << 20
"""Bytes that may wait in the output of a public client before it counts as behind."""


class PublicConnection(Connection):
    """The socket of a client, which is a `Subscriber` of each partition that it wants.

    What the client says is understood one message at a time, each only when the client has
    caught up with the answer to the one before: asking for books again and again cannot make
    the output grow.
    """

    kind = "subscriber"

    def __init__(
        self,
        name: str,
        owner: Owner,
        markets: Mapping[str, Market],
        instruments: Instruments,
        *,
        line_limit: int,
        backlog_limit: int,
        allowance: Allowance | None = None,
        start: Callable[[Coroutine[None, None, None]], "asyncio.Task[None]"] = asyncio.create_task,
    ) -> None:
        super().__init__(name, owner)
        self._markets = markets
        self._instruments = instruments
        self._backlog_limit = backlog_limit
        self._subscribers: dict[str, Subscriber] = {}
        """By partition."""
        self._start = start
        self._decoder = public_json(line_limit)
        self.allowance = allowance
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
        default = self._instruments.default
        self._join(default.partition, "basic", (default.symbol,))

    def received(self, data: bytes) -> None:
        """Understand what is said, in order."""
        said = self._decoder.feed(data)
        self.could_not_be_read(sum(type(message) is Unreadable for message in said))
        self._said.extend(said)
        self._understand()

    def flooded(self, text: str) -> None:
        """Say why, and close."""
        self.write(error(ErrorCode.RATE, text, self._encoding))
        self._end(text)

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
        self._leave_markets()
        if self._resuming is not None:
            self._resuming.cancel()
            self._resuming = None

    def _leave_markets(self) -> None:
        for partition, subscriber in self._subscribers.items():
            self._markets[partition].feed.leave(subscriber)
        self._subscribers.clear()

    def _catch_up(self) -> None:
        for subscriber in list(self._subscribers.values()):
            subscriber.catch_up()

    def room(self) -> None:
        """Catch up, then understand what is still to be answered."""
        self._read_on.set()
        self._catch_up()
        self._understand()

    # Sink

    def writable(self) -> bool:
        """Whether the output buffer is below its bound."""
        return not self.finishing and Pause.OUTPUT not in self.pauses

    def later(self) -> None:
        """Catch up further in the next turn of the event loop."""
        asyncio.get_running_loop().call_soon(self._catch_up)

    def live(self) -> None:
        """Caught up in a partition: the next message may be understood, if in all."""
        self._understand()

    def overflow(self) -> None:
        """Close a client that is too slow."""
        self._leave_markets()
        self.too_slow("too many trades and levels wait for it")

    def _understand(self) -> None:
        # The answer to `subscribe` may bring us back here, through `live`, before it is finished.
        if self._understanding:
            return
        self._understanding = True
        answered = 0
        while self._said and self._all_answered() and self.writable():
            if answered == ANSWERS:
                asyncio.get_running_loop().call_soon(self._understand)
                break
            answered += 1
            said = self._said.popleft()
            try:
                self._answer(said)
            except Refusal as refusal:
                why = refusal.code, refusal.text, self._encoding
                self.write(error(*why, refusal.limit, refusal.retry_after))
                if refusal.limit is not None:
                    limits_hit.note(refusal.limit, "", self.source.client, None)
                if refusal.code is ErrorCode.RATE:
                    self.slow_down(refusal.retry_after or 0)
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
        caught_up = all(subscriber.is_live for subscriber in self._subscribers.values())
        return self._resuming is None and caught_up

    def _answer(self, said: Subscribe | Unreadable) -> None:
        if said.seq is not None:
            if said.seq != self._next_seq:
                raise Refusal(ErrorCode.SEQUENCE, f"seq {self._next_seq} was expected")
            self._next_seq += 1
        if self.allowance is not None:
            self.allowance.check()
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
        depth = message.depth
        if depth is not None and not 1 <= depth <= MAX_DEPTH:
            raise Refusal(ErrorCode.INVALID, f"depth must be from 1 to {MAX_DEPTH}")
        partitions = tuple(self._instruments.partitions)
        wanted: dict[str, tuple[str, ...]] = {}
        for symbol in symbols:
            partition = self._instruments[symbol].partition
            wanted[partition] = (*wanted.get(partition, ()), symbol)
        seen = by_partition("lastSeq", message.last_seq, partitions)
        epochs = by_partition("epoch", message.epoch, partitions)
        seen = {partition: seq for partition, seq in seen.items() if partition in wanted}
        if message.last_seq is None:
            self._begin(message, wanted)
        else:
            self._resuming = self._start(self._resume(message, wanted, seen, epochs))

    def _begin(
        self,
        message: Subscribe,
        wanted: Mapping[str, tuple[str, ...]],
        recovered: Mapping[str, bool] | None = None,
    ) -> dict[str, Channel]:
        """Answer, and begin anew; what was missed comes before the books."""
        self._leave_markets()
        encoding, depth = message.encoding, message.depth
        several = len(self._markets) > 1
        symbols = tuple(dict.fromkeys(message.symbols))
        told = recovered if several or recovered is None else all(recovered.values())
        self.write(
            subscribed(symbols, encoding, self._encoding, depth, told, wanted if several else None)
        )
        self._encoding = encoding
        held = recovered or {}
        return {
            partition: self._join(
                partition, encoding, listed, depth, held=held.get(partition, False)
            )
            for partition, listed in wanted.items()
        }

    def _join(
        self,
        partition: str,
        encoding: str,
        symbols: tuple[str, ...],
        depth: int | None = None,
        *,
        held: bool = False,
    ) -> Channel:
        subscriber = self._subscribers[partition] = Subscriber(self, self._backlog_limit)
        return self._markets[partition].feed.join(subscriber, encoding, symbols, depth, held=held)

    async def _resume(
        self,
        message: Subscribe,
        wanted: Mapping[str, tuple[str, ...]],
        seen: Mapping[str, int],
        epochs: Mapping[str, int],
    ) -> None:
        """Answer one who says what it saw last; until the answer it sees what it saw before."""
        try:
            # Of a partition that the client says nothing of, nothing can be proven.
            recovered = dict.fromkeys(wanted, False) | await self._proven(seen, epochs)
            if self.finishing:
                return  # the cancellation got lost
            channels = self._begin(message, wanted, recovered)
            # Up to the books as they stand now: what comes after them is kept.
            missed = {
                partition: self._markets[partition].recovery.trades(channels[partition], seq)
                for partition, seq in seen.items()
                if recovered[partition]
            }
            for partition in missed:
                epoch = self._markets[partition].feed.book.epoch
                if epochs.get(partition, epoch) != epoch:
                    # If the replay breaks off, its numbers are of this epoch.
                    self.write(channels[partition].epoch_began(epoch, seen[partition]))
            for partition, pages in missed.items():
                await self._replay(partition, pages)
        except JournalTrimmed as trimmed:
            self._give_up(f"what it missed cannot be told: {trimmed}")
        except Exception:
            failed = told(LogEvent.ERROR)
            log.exception(
                "%s %s: what it missed cannot be read", self.kind, self.name, extra=failed
            )
            self._give_up("what it missed cannot be read")
        else:
            self._resuming = None
            self._understand()

    async def _proven(self, seen: Mapping[str, int], epochs: Mapping[str, int]) -> dict[str, bool]:
        """For each partition whether the book follows from what was seen, all at one moment."""
        recoveries = {partition: self._markets[partition].recovery for partition in seen}
        while True:
            resets = {partition: each.resets for partition, each in recoveries.items()}
            proven = {
                partition: await each.proves(epochs.get(partition), seen[partition])
                for partition, each in recoveries.items()
            }
            if resets == {partition: each.resets for partition, each in recoveries.items()}:
                return proven

    async def _replay(self, partition: str, missed: AsyncGenerator[bytes, None]) -> None:
        async with aclosing(missed) as pages:
            async for page in pages:
                while not self.writable():
                    if self.finishing:
                        return
                    self._read_on.clear()
                    await self._read_on.wait()
                self.write(page)
        if not self.finishing:
            self._subscribers[partition].release()

    def _give_up(self, reason: str) -> None:
        """The client was promised what it cannot be told: let it come again."""
        self._resuming = None
        text = "trades may be missing; connect again"
        self.write(error(ErrorCode.UNAVAILABLE, text, self._encoding))
        self._end(reason)
