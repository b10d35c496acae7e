"""What Graylog is told of the market: a record for each trade, and on request for each order.

Prices, quantities and values are JSON numbers in the units of the wire, and always with a point: an
index takes the kind of a field from its first value, and one that had begun with a whole number
would cut off the rest. Numbers of events and ids of orders are whole.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum
from logging import INFO, WARNING

from wood.exchange.tail import Skipped
from wood.graylog.record import Fields, Record
from wood.model.decimals import parse_decimal
from wood.model.events import (
    Batch,
    CommandRefused,
    Event,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    StateChanged,
    Trade,
)
from wood.model.instruments import Instrument, Instruments
from wood.model.log_events import LogEvent
from wood.model.orders import State

LOG = "market"
"""The stream that these records belong to."""

MAX_LONG = 2**63 - 1
"""The largest whole number that an index of Graylog takes. A record with a larger one is refused
there, and whoever gives an order its id could so hide a trade.
"""


class Which(StrEnum):
    """What is told beside halts: trades, or all that becomes of orders too."""

    TRADES = "trades"
    ORDERS = "orders"


EVENTS: dict[Which, frozenset[type[Event]]] = {
    Which.TRADES: frozenset({Trade, StateChanged}),
    Which.ORDERS: frozenset(
        {Trade, StateChanged, OrderAccepted, OrderAmended, OrderCanceled, CommandRefused}
    ),
}
"""The events of which there are records."""


def records(batch: Batch, instruments: Instruments, node: str, which: Which) -> Iterator[Record]:
    """A record for each event of `batch` that is told, in order. Their time is that of the batch.

    The same batch gives the same records: who gets one twice knows it by `partition`, `epoch` and
    `seq`. A refusal changes nothing and has no number.
    """
    told, time = EVENTS[which], batch.time / 1e6
    market = _Market(instruments)
    for event in batch.events:
        kind = type(event)
        if kind not in told:
            continue
        try:
            name, level, text, fields = _TELL[kind](event, market)
        except KeyError:  # its prices cannot be told, and nobody may wait for that for ever
            unlisted = Skipped("unlisted", batch.epoch, getattr(event, "seq", 0) - 1, 1)
            yield skipped_record(unlisted, batch.partition, node, time)
            continue
        fields["event"] = name.value
        fields["partition"] = batch.partition
        fields["epoch"] = batch.epoch
        yield Record(time, level, node, LOG, text, fields)


def skipped_record(skipped: Skipped, partition: str, node: str, time: float) -> Record:
    """What is told of a hole in the journal, or of events that were told and did not happen."""
    fields: Fields = {
        "event": LogEvent.MARKET_SKIPPED.value,
        "partition": partition,
        "epoch": skipped.epoch,
        "seq": skipped.seq,
        "count": skipped.count,
        "reason": skipped.reason,
    }
    match skipped.reason:
        case "forked":
            fields["event"] = LogEvent.JOURNAL_FORKED.value
            text = (
                f"{partition}: history forked after number {skipped.seq}: the last "
                f"{skipped.count} events that were told did not happen"
            )
        case "trimmed":
            text = (
                f"{partition}: {skipped.count} events after number {skipped.seq} were not told: "
                "the journal no longer had them"
            )
        case "unlisted":
            text = (
                f"{partition}: an event after number {skipped.seq} is of no instrument known here"
            )
        case _:
            text = (
                f"{partition}: a new journal began; what was not told of the old one, after "
                f"number {skipped.seq}, is gone"
            )
    return Record(time, WARNING, node, LOG, text, fields)


_Told = tuple[LogEvent, int, str, Fields]
"""The name, the level, the text and the fields of a record."""


class _Market:
    """What the numbers of events mean."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments

    def price(self, symbol: str, ticks: int) -> float:
        return float(self._instruments[symbol].price.text[ticks])

    def quantity(self, symbol: str, lots: int) -> float:
        return float(self._instruments[symbol].quantity.text[lots])

    def value(self, symbol: str, ticks: int, lots: int) -> float:
        """Price times quantity: the float that is next to the exact product."""
        factor, divisor = _units(self._instruments[symbol])
        return ticks * lots * factor / divisor


_UNITS: dict[tuple[str, str], tuple[int, int]] = {}


def _units(instrument: Instrument) -> tuple[int, int]:
    """What a tick times a lot is worth, as a fraction."""
    steps = instrument.tick, instrument.lot
    found = _UNITS.get(steps)
    if found is None:
        (tick, ten), (lot, more) = (parse_decimal(step, "a step") for step in steps)
        power = ten + more
        found = _UNITS[steps] = (tick * lot * 10 ** max(power, 0), 10 ** max(-power, 0))
    return found


def _name_order(fields: Fields, key: str, order_id: int) -> None:
    """Ids that no index holds as a number go under another name, as text."""
    if order_id <= MAX_LONG:
        fields[key] = order_id
    else:
        fields[key + "_text"] = str(order_id)


def _trade(trade: Trade, market: _Market) -> _Told:
    price = market.price(trade.symbol, trade.price)
    quantity = market.quantity(trade.symbol, trade.quantity)
    fields: Fields = {
        "symbol": trade.symbol,
        "price": price,
        "quantity": quantity,
        "value": market.value(trade.symbol, trade.price, trade.quantity),
        "side": trade.side.value,
        "participant": trade.taker,
        "maker": trade.maker,
        "seq": trade.seq,
    }
    _name_order(fields, "order_id", trade.taker_order_id)
    _name_order(fields, "maker_order_id", trade.maker_order_id)
    text = f"{trade.symbol}: {quantity:.15g} traded at {price:.15g}"
    return LogEvent.TRADE_EXECUTED, INFO, text, fields


def _accepted(order: OrderAccepted, market: _Market) -> _Told:
    quantity = market.quantity(order.symbol, order.quantity)
    fields: Fields = {
        "symbol": order.symbol,
        "quantity": quantity,
        "side": order.side.value,
        "participant": order.participant,
        "time_in_force": order.time_in_force.value,
        "post_only": int(order.post_only),
        "seq": order.seq,
    }
    text = f"{order.symbol}: order to {order.side.lower()} {quantity:.15g}"
    if order.price is not None:
        fields["price"] = price = market.price(order.symbol, order.price)
        fields["value"] = market.value(order.symbol, order.price, order.quantity)
        text += f" at {price:.15g}"
    _name_order(fields, "order_id", order.order_id)
    return LogEvent.ORDER_ACCEPTED, INFO, text, fields


def _amended(order: OrderAmended, market: _Market) -> _Told:
    price = market.price(order.symbol, order.price)
    quantity = market.quantity(order.symbol, order.quantity)
    fields: Fields = {
        "symbol": order.symbol,
        "price": price,
        "quantity": quantity,
        "value": market.value(order.symbol, order.price, order.quantity),
        "participant": order.participant,
        "seq": order.seq,
    }
    _name_order(fields, "order_id", order.order_id)
    text = f"{order.symbol}: order amended, {quantity:.15g} at {price:.15g} remain"
    return LogEvent.ORDER_AMENDED, INFO, text, fields


def _canceled(order: OrderCanceled, market: _Market) -> _Told:
    quantity = market.quantity(order.symbol, order.quantity)
    fields: Fields = {
        "symbol": order.symbol,
        "quantity": quantity,
        "participant": order.participant,
        "seq": order.seq,
    }
    _name_order(fields, "order_id", order.order_id)
    text = f"{order.symbol}: {quantity:.15g} of an order cancelled"
    return LogEvent.ORDER_CANCELED, INFO, text, fields


def _refused(refusal: CommandRefused, market: _Market) -> _Told:
    # Not its text, which may repeat what the client said: and that may have been a token.
    fields: Fields = {"participant": refusal.participant, "code": refusal.code.value}
    if refusal.symbol is not None:
        fields["symbol"] = refusal.symbol
    if refusal.limit is not None:
        fields["limit"] = refusal.limit.value
    if refusal.order_id is not None:
        _name_order(fields, "order_id", refusal.order_id)
    return LogEvent.ORDER_REFUSED, INFO, f"refused: {refusal.code}", fields


def _state(change: StateChanged, market: _Market) -> _Told:
    halted = change.state is State.HALTED
    fields: Fields = {"symbol": change.symbol, "reason": change.reason.value, "seq": change.seq}
    if halted:
        text = f"{change.symbol}: trading is halted ({change.reason})"
        return LogEvent.TRADING_HALTED, WARNING, text, fields
    return LogEvent.TRADING_RESUMED, INFO, f"{change.symbol}: trading goes on", fields


_TELL: dict[type[Event], Callable[..., _Told]] = {
    Trade: _trade,
    OrderAccepted: _accepted,
    OrderAmended: _amended,
    OrderCanceled: _canceled,
    CommandRefused: _refused,
    StateChanged: _state,
}
