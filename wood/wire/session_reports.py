"""What the private port says to those who have logged in: reports that can be counted.

After the keys of the base come `seq`, `symbol`, `time`, `leaves` and, on fills, `trade`: the number
of the resting order's report, which both sides and the public are told.
"""

from abc import abstractmethod

import msgspec

from wood.model.events import (
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    Places,
    SessionOpened,
    Trade,
)
from wood.model.instruments import Instruments
from wood.wire.numbers import packed, seconds
from wood.wire.reports import Fields, JsonReports, PackedReports, Reports, report


class SessionReports(Reports):
    """Encodes for a client that has logged in.

    What is said of a number is said by partition where there are several.
    """

    def __init__(self, instruments: Instruments) -> None:
        super().__init__(instruments)
        self._partitions = instruments.partitions
        self._several = len(instruments.partitions) > 1

    @abstractmethod
    def login(self, event: SessionOpened, places: Places) -> bytes:
        """The reply to `login`; what was replayed came before."""

    def _login(self, event: SessionOpened, places: Places) -> Fields:
        fields: Fields = {
            "message": "login",
            "participant": event.participant,
            "session": event.session,
        }
        if event.parts is None:
            ((epoch, _),) = places.values()
            fields |= {"epoch": epoch, "seq": event.seq}
            if event.recovered is not None:
                fields["recovered"] = event.recovered
            return fields
        parts = event.parts.items()
        fields |= {
            "epoch": {name: epoch for name, (epoch, _) in places.items()},
            # Where it was not recovered, what came after the open orders is still to be told.
            "seq": {n: part.last_seq if part.recovered is False else part.seq for n, part in parts},
            "partitions": self._partitions,
        }
        if event.recovered is not None:
            asked = {n: part.recovered for n, part in parts if part.recovered is not None}
            fields["recovered"] = asked
        return fields


class SessionJson(JsonReports, SessionReports):
    """JSON lines."""

    def __init__(self, instruments: Instruments) -> None:
        super().__init__(instruments)
        self._middles = {s: b',"symbol":"%b","time":' % s.encode() for s in instruments}
        self._time = 0
        self._seconds = seconds(0)

    def new(self, event: OrderAccepted, time: int) -> bytes:
        """A line."""
        return b'{"message":"executionReport","orderId":%d,"report":"NEW"%b' % (
            event.order_id,
            self._rest(event.symbol, event.seq, time, event.quantity),
        )

    def maker_fill(self, event: Trade, time: int) -> bytes:
        """A line."""
        rest = self._rest(event.symbol, event.seq, time, event.maker_leaves, event.seq)
        return self._traded(event.maker_order_id, event, rest)

    def taker_fill(self, event: Trade, time: int) -> bytes:
        """A line."""
        rest = self._rest(event.symbol, event.seq + 1, time, event.taker_leaves, event.seq)
        return self._traded(event.taker_order_id, event, rest)

    def _traded(self, order_id: int, event: Trade, rest: bytes) -> bytes:
        prices, quantities, _ = self._texts[event.symbol]
        return (
            b'{"message":"executionReport","orderId":%d,"report":"FILL","price":%b,"quantity":%b%b'
            % (order_id, prices[event.price], quantities[event.quantity], rest)
        )

    def canceled(self, event: OrderCanceled, time: int) -> bytes:
        """A line."""
        return b'{"message":"executionReport","orderId":%d,"report":"CANCELED"%b' % (
            event.order_id,
            self._rest(event.symbol, event.seq, time, 0),
        )

    def amended(self, event: OrderAmended, time: int) -> bytes:
        """A line."""
        prices, quantities, _ = self._texts[event.symbol]
        return (
            b'{"message":"executionReport","orderId":%d,"report":"AMENDED","price":%b,"quantity":%b%b'
            % (
                event.order_id,
                prices[event.price],
                quantities[event.quantity],
                self._rest(event.symbol, event.seq, time, event.quantity),
            )
        )

    def heartbeat(self, places: Places) -> bytes:
        """A line."""
        if self._several:
            return msgspec.json.encode(_heartbeat(places)) + b"\n"
        ((epoch, seq),) = places.values()
        return b'{"message":"heartbeat","epoch":%d,"seq":%d}\n' % (epoch, seq)

    def login(self, event: SessionOpened, places: Places) -> bytes:
        """A line."""
        line = msgspec.json.encode(self._login(event, places))[:-1]
        if event.recovered is False:
            line += b',"orders":' + self._order_list(event.orders or ())
        return line + b"}\n"

    def _rest(self, symbol: str, seq: int, time: int, leaves: int, trade: int = 0) -> bytes:
        if time != self._time:  # all events of a batch have the same
            self._time, self._seconds = time, seconds(time)
        left = self._texts[symbol][1][leaves] if leaves else b"0"
        end = b',"trade":%d}\n' % trade if trade else b"}\n"
        parts = (seq, self._middles[symbol], self._seconds, left, end)
        return b',"seq":%d%b%b,"leaves":%b%b' % parts


class SessionPacked(PackedReports, SessionReports):
    """MessagePack maps with the keys of `SessionJson`; `time` is a float of seconds."""

    def new(self, event: OrderAccepted, time: int) -> bytes:
        """A map."""
        fields = report("NEW", event.order_id)
        return self._extended(fields, event.symbol, event.seq, time, event.quantity)

    def maker_fill(self, event: Trade, time: int) -> bytes:
        """A map."""
        fields = self._fill(event.maker_order_id, event)
        place = (event.symbol, event.seq, time, event.maker_leaves)
        return self._extended(fields, *place, event.seq)

    def taker_fill(self, event: Trade, time: int) -> bytes:
        """A map."""
        fields = self._fill(event.taker_order_id, event)
        place = (event.symbol, event.seq + 1, time, event.taker_leaves)
        return self._extended(fields, *place, event.seq)

    def canceled(self, event: OrderCanceled, time: int) -> bytes:
        """A map."""
        fields = report("CANCELED", event.order_id)
        return self._extended(fields, event.symbol, event.seq, time, 0)

    def amended(self, event: OrderAmended, time: int) -> bytes:
        """A map."""
        fields = self._amended(event)
        return self._extended(fields, event.symbol, event.seq, time, event.quantity)

    def heartbeat(self, places: Places) -> bytes:
        """A map."""
        if self._several:
            return self._pack(_heartbeat(places))
        ((epoch, seq),) = places.values()
        return self._pack({"message": "heartbeat", "epoch": epoch, "seq": seq})

    def login(self, event: SessionOpened, places: Places) -> bytes:
        """A map."""
        fields = self._login(event, places)
        if event.recovered is False:
            fields["orders"] = self._order_list(event.orders or ())
        return self._pack(fields)

    def _extended(
        self, fields: Fields, symbol: str, seq: int, time: int, leaves: int, trade: int = 0
    ) -> bytes:
        left = packed(self._instruments[symbol].quantity.text[leaves]) if leaves else 0
        fields |= {"seq": seq, "symbol": symbol, "time": time / 1_000_000, "leaves": left}
        if trade:
            fields["trade"] = trade
        return self._pack(fields)


def _heartbeat(places: Places) -> Fields:
    epochs = {name: epoch for name, (epoch, _) in places.items()}
    return {"message": "heartbeat", "epoch": epochs, "seq": {n: s for n, (_, s) in places.items()}}
