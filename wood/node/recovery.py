"""What subscribers missed: trades that are read from the journal again, for those who resume.

Nothing is said to be recovered that is not proven: the client's last event, the journal that is
read and the book that follows must be of one history, though history may fork at any moment.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from wood.exchange.exchange import Partition
from wood.model.errors import JournalTrimmed
from wood.model.events import Batch, Snapshot, Trade
from wood.node.public_book import PublicBook
from wood.node.subscriber import Channel

PAGE = 2000
"""Lines after which a page of trades ends."""

TURN = 1000
"""Events after which the event loop gets its turn."""


class Recovery:
    """Reads for subscribers. A reader of the journal itself, attached after the feed of `book`."""

    def __init__(self, exchange: Partition, book: PublicBook) -> None:
        self._exchange = exchange
        self._book = book
        self._epoch = 0
        self._seq = -1
        self._since = 0  # numbers from here on can only be of the present epoch, as far as is known
        self.resets = 0
        """How often the thread was lost: what was proven before may not be so any more."""
        self._moved = asyncio.Event()

    # Reader

    def reset(self, snapshot: Snapshot) -> None:
        """The thread is lost: perhaps numbers that were told stand for other events now."""
        if snapshot.epoch != self._epoch or snapshot.seq < self._seq:
            self._since = max(self._seq + 1, snapshot.seq)
        self._epoch, self._seq = snapshot.epoch, snapshot.seq
        self.resets += 1
        self._moved.set()

    def apply(self, batch: Batch) -> None:
        """The book has moved on."""
        if batch.epoch != self._epoch:
            self._epoch, self._since = batch.epoch, batch.first - 1
        self._seq = batch.last
        self._moved.set()

    # Reading

    async def proves(self, epoch: int | None, seq: int) -> bool:
        """Whether the present book is known to follow from event `seq` of `epoch`.

        Without an epoch the number is taken for one of the present epoch, unless the node knows
        that it may be of an older one. Waits while the journal cannot be reached, and while the
        book is not as far as `seq`.
        """
        if epoch is None:
            if seq < self._since:
                return False
            epoch = self._epoch
        while True:
            # Looked at before the question: so the answer is about what the book holds already.
            reached, resets = self._book.seq >= seq, self.resets
            if not await self._exchange.continues(epoch, seq):
                return False
            if reached and resets == self.resets:
                return True
            if self._book.seq < seq:
                self._moved.clear()
                await self._moved.wait()

    def trades(self, channel: Channel, after: int) -> AsyncGenerator[bytes, None]:
        """The lines of the trades after that number, up to the present book, in pages.

        Nothing is held while a page is being sent, so that a slow client costs no more than one.
        Raises `JournalTrimmed` if something is kept no longer, or history forked meanwhile; then
        what was given may be wrong.
        """
        return self._pages(channel, after, self._book.epoch, self._book.seq, self.resets)

    async def _pages(
        self, channel: Channel, after: int, epoch: int, until: int, resets: int
    ) -> AsyncGenerator[bytes, None]:
        while after < until:
            lines, after = await self._page(channel, after, until)
            if lines:
                yield b"".join(lines)
        # The book is of the history that was read, or has been taken back.
        if not await self._exchange.continues(epoch, until) or resets != self.resets:
            raise JournalTrimmed("history forked while it was read")

    async def _page(self, channel: Channel, after: int, until: int) -> tuple[list[bytes], int]:
        """Some lines, and the number up to which they go."""
        lines: list[bytes] = []
        symbols, trade = frozenset(channel.symbols), channel.encoder.trade
        reached, seen, turn = after, 0, TURN
        async with aclosing(self._exchange.events(after)) as batches:
            async for batch in batches:
                lines += [
                    trade(event, batch.time)
                    for event in batch.events
                    if type(event) is Trade and event.seq > after and event.symbol in symbols
                ]
                reached = batch.last
                seen += len(batch.events)
                if reached >= until or len(lines) >= PAGE:
                    break
                if seen >= turn:
                    turn = seen + TURN
                    await asyncio.sleep(0)
        if reached == after:
            raise JournalTrimmed(f"the journal ends with number {after}")
        return lines, reached
