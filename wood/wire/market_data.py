"""What the public port says: trades and levels, and the replies to `subscribe`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import msgpack
import msgspec

from wood.model.errors import ErrorCode, Limit
from wood.model.events import Trade
from wood.model.instruments import Instruments
from wood.model.orders import BUY, Reason, Side, State
from wood.wire.numbers import duration, packed, seconds


class MarketData(ABC):
    """Encodes for one kind of subscriber. Prices are ticks, quantities lots of the `symbol`."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments

    @abstractmethod
    def trade(self, event: Trade, time: int) -> bytes:
        """A trade at `time`, microseconds since the epoch."""

    @abstractmethod
    def level(self, symbol: str, side: Side, price: int, quantity: int, seq: int) -> bytes:
        """The total now resting at a price, 0 if the level is gone."""

    @abstractmethod
    def state(self, symbol: str, state: State, seq: int, reason: Reason | None = None) -> bytes:
        """The state of an instrument: changed for a `reason`, or told with its book.

        Empty where clients are not told.
        """


class BasicJson(MarketData):
    """The two lines that a client sees who asked for nothing."""

    def __init__(self, instruments: Instruments) -> None:
        super().__init__(instruments)
        self._texts = {
            symbol: (instrument.price.text, instrument.quantity.text)
            for symbol, instrument in instruments.items()
        }
        self._time = 0
        self._seconds = seconds(0)

    def trade(self, event: Trade, time: int) -> bytes:
        """A line."""
        prices, quantities = self._texts[event.symbol]
        if time != self._time:  # all trades of a batch have the same
            self._time, self._seconds = time, seconds(time)
        return b'{"type":"trade","time":%b,"price":%b,"quantity":%b}\n' % (
            self._seconds,
            prices[event.price],
            quantities[event.quantity],
        )

    def level(self, symbol: str, side: Side, price: int, quantity: int, seq: int) -> bytes:
        """A line."""
        prices, quantities = self._texts[symbol]
        return b'{"type":"orderbook","side":"%b","price":%b,"quantity":%b}\n' % (
            b"bid" if side is BUY else b"ask",
            prices[price],
            quantities[quantity] if quantity else b"0",
        )

    def state(self, symbol: str, state: State, seq: int, reason: Reason | None = None) -> bytes:
        """Nothing: the base has no such line."""
        return b""


class SubscribedJson(BasicJson):
    """The same lines with `symbol` and `seq` at their end; a trade has its id there too."""

    def trade(self, event: Trade, time: int) -> bytes:
        """A line."""
        return b'%b,"symbol":"%b","seq":%d,"trade":%d}\n' % (
            super().trade(event, time)[:-2],
            event.symbol.encode(),
            event.seq,
            event.seq,
        )

    def level(self, symbol: str, side: Side, price: int, quantity: int, seq: int) -> bytes:
        """A line."""
        return b'%b,"symbol":"%b","seq":%d}\n' % (
            super().level(symbol, side, price, quantity, seq)[:-2],
            symbol.encode(),
            seq,
        )

    def state(self, symbol: str, state: State, seq: int, reason: Reason | None = None) -> bytes:
        """A line."""
        return encode(_state(symbol, state, seq, reason), "json")


class SubscribedPacked(MarketData):
    """MessagePack maps with the keys of `SubscribedJson`; `time` is a float of seconds."""

    def trade(self, event: Trade, time: int) -> bytes:
        """A map."""
        instrument = self._instruments[event.symbol]
        return _pack(
            {
                "type": "trade",
                "time": time / 1_000_000,
                "price": packed(instrument.price.text[event.price]),
                "quantity": packed(instrument.quantity.text[event.quantity]),
                "symbol": event.symbol,
                "seq": event.seq,
                "trade": event.seq,
            }
        )

    def level(self, symbol: str, side: Side, price: int, quantity: int, seq: int) -> bytes:
        """A map."""
        instrument = self._instruments[symbol]
        return _pack(
            {
                "type": "orderbook",
                "side": "bid" if side is BUY else "ask",
                "price": packed(instrument.price.text[price]),
                "quantity": packed(instrument.quantity.text[quantity]) if quantity else 0,
                "symbol": symbol,
                "seq": seq,
            }
        )

    def state(self, symbol: str, state: State, seq: int, reason: Reason | None = None) -> bytes:
        """A map."""
        return encode(_state(symbol, state, seq, reason), "msgpack")


def _state(symbol: str, state: State, seq: int, reason: Reason | None) -> dict[str, object]:
    fields: dict[str, object] = {"type": "state", "symbol": symbol, "state": state.value}
    if reason is not None:
        fields["reason"] = reason.value
    return fields | {"seq": seq}


def subscribed(
    symbols: Sequence[str],
    encoding: str,
    old: str,
    depth: int | None = None,
    recovered: bool | Mapping[str, bool] | None = None,
    partitions: Mapping[str, Sequence[str]] | None = None,
) -> bytes:
    """The reply to `subscribe`, in the `old` encoding; `depth` and `recovered` only if asked for.

    The symbols by partition, and `recovered` for each, are said where there are several.
    """
    fields: dict[str, object] = {
        "type": "subscribed",
        "symbols": list(symbols),
        "encoding": encoding,
    }
    if depth is not None:
        fields["depth"] = depth
    if recovered is not None:
        fields["recovered"] = recovered
    if partitions is not None:
        fields["partitions"] = partitions
    return encode(fields, old)


def snapshot_end(seq: int, epoch: int, encoding: str, partition: str | None = None) -> bytes:
    """After the lines of a fresh book: what follows is live, with numbers above `seq`.

    The `partition` is said where there are several.
    """
    return encode(_of({"type": "snapshot", "seq": seq, "epoch": epoch}, partition), encoding)


def epoch_began(epoch: int, seq: int, encoding: str, partition: str | None = None) -> bytes:
    """The history that was told goes on under another epoch, after the number `seq`."""
    return encode(_of({"type": "epoch", "epoch": epoch, "seq": seq}, partition), encoding)


def _of(fields: dict[str, object], partition: str | None) -> dict[str, object]:
    return fields if partition is None else fields | {"partition": partition}


def error(
    code: ErrorCode,
    text: str,
    encoding: str,
    limit: Limit | None = None,
    retry_after: int | None = None,
) -> bytes:
    """What a subscriber said was refused, by a `limit` perhaps; `retry_after` in microseconds."""
    fields: dict[str, object] = {"type": "error", "error": text, "code": code.value}
    if limit is not None:
        fields["limit"] = limit.value
    if retry_after is not None:
        packed_up = encoding == "msgpack"
        fields["retryAfter"] = (
            retry_after / 1_000_000 if packed_up else msgspec.Raw(duration(retry_after))
        )
    return encode(fields, encoding)


def encode(fields: dict[str, object], encoding: str) -> bytes:
    """One message in `json` or `msgpack`."""
    return _pack(fields) if encoding == "msgpack" else msgspec.json.encode(fields) + b"\n"


ENCODINGS = ("json", "msgpack")


def _pack(fields: dict[str, object]) -> bytes:
    data: bytes = msgpack.packb(fields)
    return data
