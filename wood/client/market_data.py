"""What the public port says, as it stands on the wire."""

from decimal import Decimal
from typing import Literal

import msgspec
from msgspec import Struct

from wood.client.errors import ProtocolError
from wood.client.places import Numbers
from wood.model.orders import Reason, State


class Line(Struct, frozen=True, tag_field="type"):
    """The base of all. Only subscribers are told `symbol`, `seq` and `trade`."""


class LevelLine(Line, frozen=True, tag="orderbook"):
    """The total quantity now resting at a price; 0 removes the level."""

    side: Literal["bid", "ask"]
    price: Decimal
    quantity: Decimal
    symbol: str | None = None
    seq: int | None = None


class TradeLine(Line, frozen=True, tag="trade"):
    """A trade."""

    time: float
    price: Decimal
    quantity: Decimal
    symbol: str | None = None
    seq: int | None = None
    trade: int | None = None


class StateLine(Line, frozen=True, tag="state"):
    """Trading was halted or goes on; without a `reason` it is told with the books."""

    symbol: str
    state: State
    seq: int
    reason: Reason | None = None


class SubscribedLine(Line, frozen=True, tag="subscribed"):
    """The subscription holds; `recovered` tells one who asked whether trades were lost.

    `partitions`, the symbols asked for of each, is there if the server has several.
    """

    symbols: list[str]
    encoding: str
    recovered: bool | dict[str, bool] | None = None
    partitions: dict[str, list[str]] = {}


class SnapshotLine(Line, frozen=True, tag="snapshot"):
    """The books of a partition are complete; what follows is live, with numbers above `seq`."""

    seq: int
    epoch: int
    partition: str | None = None


class EpochLine(Line, frozen=True, tag="epoch"):
    """What was told goes on in another epoch, after the number `seq`; nothing was lost."""

    seq: int
    epoch: int
    partition: str | None = None


class ErrorLine(Line, frozen=True, tag="error"):
    """What was said is refused."""

    error: str
    code: str = ""


class Subscribe(
    Struct, frozen=True, tag_field="message", tag="subscribe", rename="camel", omit_defaults=True
):
    """Follow chosen instruments; with `last_seq` the trades since then are told first."""

    symbols: list[str]
    encoding: str = "json"
    depth: int | None = None
    last_seq: Numbers | None = None
    epoch: Numbers | None = None


Public = LevelLine | TradeLine | StateLine | SubscribedLine | SnapshotLine | EpochLine | ErrorLine

_decoders: dict[str, msgspec.json.Decoder[Public] | msgspec.msgpack.Decoder[Public]] = {
    "json": msgspec.json.Decoder(Public),
    "msgpack": msgspec.msgpack.Decoder(Public),
}


def decode(frame: bytes, encoding: str) -> Public:
    """What a message says. Raises `ProtocolError`."""
    try:
        return _decoders[encoding].decode(frame)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ProtocolError(f"the server's market data cannot be read: {error}") from None
