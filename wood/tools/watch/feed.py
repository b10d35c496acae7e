"""The public feed: bytes in, typed messages out. No sockets, so that any piece can be tried."""

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from itertools import dropwhile
from typing import Annotated, Literal

from msgspec import DecodeError, Meta, Struct, json

from wood.model.errors import WoodError

MAX_LINE = 1 << 20
"""Bytes without a line end after which this cannot be a feed."""

_LEAST, _MOST = Decimal("1e-40"), Decimal("1e40")
"""Numbers outside are nobody's price; written out they could be longer than all memory."""


class FeedError(WoodError):
    """The server refused the subscription or does not speak this protocol; one line."""


class Level(Struct, frozen=True, gc=False, tag_field="type", tag="orderbook"):
    """The total quantity now resting at a price; 0 removes the level."""

    side: Literal["bid", "ask"]
    price: Decimal
    quantity: Decimal


class Trade(Struct, frozen=True, gc=False, tag_field="type", tag="trade"):
    """A trade; `time` is seconds since the epoch, in the years that a calendar can show."""

    time: Annotated[float, Meta(ge=0, le=220_000_000_000)]
    price: Decimal
    quantity: Decimal


class StateTold(Struct, frozen=True, gc=False, tag_field="type", tag="state"):
    """Whether the instrument is traded. Only one who chose a symbol is told."""

    state: Literal["open", "halted"]


class Subscribed(Struct, frozen=True, gc=False, tag_field="type", tag="subscribed"):
    """From here on the feed is that of the chosen symbol; a fresh book follows."""


class SnapshotEnd(Struct, frozen=True, gc=False, tag_field="type", tag="snapshot"):
    """The fresh book is complete; live lines follow."""


class EpochBegan(Struct, frozen=True, gc=False, tag_field="type", tag="epoch"):
    """The server's Redis was started anew and lost nothing; live lines go on."""


class FeedRefusal(Struct, frozen=True, gc=False, tag_field="type", tag="error"):
    """What was asked for cannot be had."""

    error: str


Message = Level | Trade | StateTold | Subscribed | SnapshotEnd | EpochBegan

_decoder: json.Decoder[Message | FeedRefusal] = json.Decoder(Message | FeedRefusal)


class Feed:
    """Puts lines together from pieces of any size and reads them, all of a piece at once.

    With a `symbol`, everything before the subscription is confirmed is about another instrument
    and dropped.
    """

    def __init__(self, symbol: str | None = None) -> None:
        self._symbol = symbol
        self._confirmed = symbol is None
        self._tail = b""

    def request(self) -> bytes:
        """What to tell the server first; nothing for the default instrument."""
        if self._symbol is None:
            return b""
        return json.encode({"message": "subscribe", "symbols": [self._symbol]}) + b"\n"

    def receive(self, piece: bytes) -> list[Message]:
        """The messages that `piece` completes. Raises `FeedError`."""
        lines, end, self._tail = (self._tail + piece).rpartition(b"\n")
        if len(self._tail) > MAX_LINE:
            raise _foreign()
        if not end:
            return []
        messages = list(_checked(_decode(lines)))
        if not self._confirmed:
            messages = list(dropwhile(lambda m: not isinstance(m, Subscribed), messages))
            self._confirmed = bool(messages)
        return messages


def _decode(lines: bytes) -> list[Message | FeedRefusal]:
    try:
        return _decoder.decode_lines(lines)
    except DecodeError:
        raise _foreign() from None


def _checked(messages: Iterable[Message | FeedRefusal]) -> Iterable[Message]:
    for message in messages:
        if isinstance(message, FeedRefusal):
            # Its repr: no byte of it can command the terminal.
            raise FeedError(f"the server refused to show this: {message.error!r}")
        if isinstance(message, (Level, Trade)) and not _legible(message):
            raise _foreign()
        yield message


def _legible(message: Level | Trade) -> bool:
    try:
        price, quantity = message.price, message.quantity
        return _LEAST <= price < _MOST and (not quantity or _LEAST <= quantity < _MOST)
    except InvalidOperation:  # NaN compares with nothing
        return False


def _foreign() -> FeedError:
    return FeedError("the server does not talk as a public port does; give its public port with -p")
