"""What the private port says: execution reports, replies and errors.

Keys stand in the order of the protocol, then `symbol`, which only messages about another
instrument than the default one carry. Who has logged in is told more: session_reports.py.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import msgpack
import msgspec

from wood.model.errors import ErrorCode, Limit
from wood.model.events import (
    AllCanceled,
    InstrumentsListed,
    OpenOrder,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    OrdersListed,
    Places,
    StateAnswered,
    Trade,
)
from wood.model.instruments import Instruments
from wood.model.orders import State
from wood.wire.numbers import duration, packed

ASKED = {State.HALTED: "halt", State.OPEN: "resume"}
"""The message that asks for a state."""


class Reports(ABC):
    """Encodes for one kind of client. Prices are ticks and quantities lots of the `symbol`."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._default = instruments.default.symbol

    @abstractmethod
    def new(self, event: OrderAccepted, time: int) -> bytes:
        """An order was taken at `time`, microseconds since the epoch."""

    @abstractmethod
    def maker_fill(self, event: Trade, time: int) -> bytes:
        """The resting order traded."""

    @abstractmethod
    def taker_fill(self, event: Trade, time: int) -> bytes:
        """The incoming order traded."""

    @abstractmethod
    def canceled(self, event: OrderCanceled, time: int) -> bytes:
        """What was left of an order is cancelled."""

    @abstractmethod
    def amended(self, event: OrderAmended, time: int) -> bytes:
        """An order was changed."""

    @abstractmethod
    def heartbeat(self, places: Places) -> bytes:
        """The server lives; all reports up to these places of the journal have been told."""

    @abstractmethod
    def error(
        self,
        code: ErrorCode,
        text: str,
        order_id: int | None = None,
        symbol: str | None = None,
        limit: Limit | None = None,
        retry_after: int | None = None,
    ) -> bytes:
        """A message was refused, by a `limit` perhaps; `retry_after` is in microseconds."""

    @abstractmethod
    def all_canceled(self, event: AllCanceled) -> bytes:
        """The reply to `cancelAll`."""

    @abstractmethod
    def state(self, event: StateAnswered) -> bytes:
        """The reply to `halt` and `resume`."""

    @abstractmethod
    def orders(self, event: OrdersListed) -> bytes:
        """The reply to `orders`."""

    @abstractmethod
    def instruments(self, event: InstrumentsListed) -> bytes:
        """The reply to `instruments`."""


class JsonReports(Reports):
    """JSON lines. The three reports that make up the traffic are put together by hand."""

    def __init__(self, instruments: Instruments) -> None:
        super().__init__(instruments)
        self._ends = {
            symbol: b"}\n" if symbol == self._default else b',"symbol":"%b"}\n' % symbol.encode()
            for symbol in instruments
        }
        self._texts = {
            symbol: (instrument.price.text, instrument.quantity.text, self._ends[symbol])
            for symbol, instrument in instruments.items()
        }

    def new(self, event: OrderAccepted, time: int) -> bytes:
        """A line."""
        return b'{"message":"executionReport","orderId":%d,"report":"NEW"%b' % (
            event.order_id,
            self._ends[event.symbol],
        )

    def maker_fill(self, event: Trade, time: int) -> bytes:
        """A line."""
        prices, quantities, end = self._texts[event.symbol]
        fill = event.maker_order_id, prices[event.price], quantities[event.quantity], end
        return _FILL % fill

    def taker_fill(self, event: Trade, time: int) -> bytes:
        """A line."""
        prices, quantities, end = self._texts[event.symbol]
        fill = event.taker_order_id, prices[event.price], quantities[event.quantity], end
        return _FILL % fill

    def canceled(self, event: OrderCanceled, time: int) -> bytes:
        """A line."""
        return b'{"message":"executionReport","orderId":%d,"report":"CANCELED"%b' % (
            event.order_id,
            self._ends[event.symbol],
        )

    def amended(self, event: OrderAmended, time: int) -> bytes:
        """A line."""
        prices, quantities, end = self._texts[event.symbol]
        report = b'{"message":"executionReport","orderId":%d,"report":"AMENDED"' % event.order_id
        numbers = b',"price":%b,"quantity":%b' % (prices[event.price], quantities[event.quantity])
        return report + numbers + end

    def heartbeat(self, places: Places) -> bytes:
        """A line."""
        return b'{"message":"heartbeat"}\n'

    def error(
        self,
        code: ErrorCode,
        text: str,
        order_id: int | None = None,
        symbol: str | None = None,
        limit: Limit | None = None,
        retry_after: int | None = None,
    ) -> bytes:
        """A line."""
        parts = b'{"message":"error","error":%b,"code":"%b"' % (_json(text), code.encode())
        if order_id is not None:
            parts += b',"orderId":%d' % order_id
        end = self._ends.get(symbol or self._default, b"}\n")
        if limit is None and retry_after is None:
            return parts + end
        parts += end.removesuffix(b"}\n")
        if limit is not None:
            parts += b',"limit":"%b"' % limit.encode()
        if retry_after is not None:
            parts += b',"retryAfter":%b' % duration(retry_after)
        return parts + b"}\n"

    def all_canceled(self, event: AllCanceled) -> bytes:
        """A line."""
        end = self._ends[event.symbol or self._default]
        return b'{"message":"cancelAll","canceled":%d%b' % (event.count, end)

    def state(self, event: StateAnswered) -> bytes:
        """A line."""
        words = (ASKED[event.state].encode(), event.symbol.encode(), event.state.encode())
        return b'{"message":"%b","symbol":"%b","state":"%b"}\n' % words

    def orders(self, event: OrdersListed) -> bytes:
        """A line."""
        return b'{"message":"orders","orders":%b}\n' % self._order_list(event.orders)

    def _order_list(self, orders: Sequence[OpenOrder]) -> bytes:
        rows = [
            b'{"orderId":%d,"symbol":"%b","side":"%b","price":%b,"quantity":%b}'
            % (
                order.order_id,
                order.symbol.encode(),
                order.side.encode(),
                self._texts[order.symbol][0][order.price],
                self._texts[order.symbol][1][order.quantity],
            )
            for order in orders
        ]
        return b"[%b]" % b",".join(rows)

    def instruments(self, event: InstrumentsListed) -> bytes:
        """A line."""
        rows = [
            b'{"symbol":"%b","tick":%b,"lot":%b,"state":"%b"}'
            % (
                symbol.encode(),
                self._instruments[symbol].tick.encode(),
                self._instruments[symbol].lot.encode(),
                state.encode(),
            )
            for symbol, state in event.states.items()
        ]
        return b'{"message":"instruments","instruments":[%b]}\n' % b",".join(rows)


_FILL = b'{"message":"executionReport","orderId":%d,"report":"FILL","price":%b,"quantity":%b%b'

Fields = dict[str, object]
"""A map before it is packed."""


def report(word: str, order_id: int) -> Fields:
    """What each execution report begins with."""
    return {"message": "executionReport", "orderId": order_id, "report": word}


class PackedReports(Reports):
    """MessagePack maps with the keys of the JSON lines."""

    def new(self, event: OrderAccepted, time: int) -> bytes:
        """A map."""
        return self._pack(report("NEW", event.order_id), event.symbol)

    def maker_fill(self, event: Trade, time: int) -> bytes:
        """A map."""
        return self._pack(self._fill(event.maker_order_id, event), event.symbol)

    def taker_fill(self, event: Trade, time: int) -> bytes:
        """A map."""
        return self._pack(self._fill(event.taker_order_id, event), event.symbol)

    def _fill(self, order_id: int, event: Trade) -> Fields:
        return report("FILL", order_id) | self._numbers(event.symbol, event.price, event.quantity)

    def canceled(self, event: OrderCanceled, time: int) -> bytes:
        """A map."""
        return self._pack(report("CANCELED", event.order_id), event.symbol)

    def amended(self, event: OrderAmended, time: int) -> bytes:
        """A map."""
        return self._pack(self._amended(event), event.symbol)

    def _amended(self, event: OrderAmended) -> Fields:
        numbers = self._numbers(event.symbol, event.price, event.quantity)
        return report("AMENDED", event.order_id) | numbers

    def heartbeat(self, places: Places) -> bytes:
        """A map."""
        return self._pack({"message": "heartbeat"})

    def error(
        self,
        code: ErrorCode,
        text: str,
        order_id: int | None = None,
        symbol: str | None = None,
        limit: Limit | None = None,
        retry_after: int | None = None,
    ) -> bytes:
        """A map."""
        fields: Fields = {"message": "error", "error": text, "code": code.value}
        if order_id is not None:
            fields["orderId"] = order_id
        if symbol is not None and symbol != self._default:
            fields["symbol"] = symbol
        if limit is not None:
            fields["limit"] = limit.value
        if retry_after is not None:
            fields["retryAfter"] = retry_after / 1_000_000
        return self._pack(fields)

    def all_canceled(self, event: AllCanceled) -> bytes:
        """A map."""
        return self._pack({"message": "cancelAll", "canceled": event.count}, event.symbol)

    def state(self, event: StateAnswered) -> bytes:
        """A map."""
        asked, state = ASKED[event.state], event.state.value
        return self._pack({"message": asked, "symbol": event.symbol, "state": state})

    def orders(self, event: OrdersListed) -> bytes:
        """A map."""
        return self._pack({"message": "orders", "orders": self._order_list(event.orders)})

    def _order_list(self, orders: Sequence[OpenOrder]) -> list[Fields]:
        return [
            {
                "orderId": order.order_id,
                "symbol": order.symbol,
                "side": order.side.value,
                **self._numbers(order.symbol, order.price, order.quantity),
            }
            for order in orders
        ]

    def instruments(self, event: InstrumentsListed) -> bytes:
        """A map."""
        rows = [
            {
                "symbol": symbol,
                "tick": packed(self._instruments[symbol].tick.encode()),
                "lot": packed(self._instruments[symbol].lot.encode()),
                "state": state,
            }
            for symbol, state in event.states.items()
        ]
        return self._pack({"message": "instruments", "instruments": rows})

    def _numbers(self, symbol: str, price: int, quantity: int) -> Fields:
        instrument = self._instruments[symbol]
        return {
            "price": packed(instrument.price.text[price]),
            "quantity": packed(instrument.quantity.text[quantity]),
        }

    def _pack(self, fields: Fields, symbol: str | None = None) -> bytes:
        if symbol is not None and symbol != self._default:
            fields["symbol"] = symbol
        data: bytes = msgpack.packb(fields)
        return data


_json = msgspec.json.Encoder().encode
