"""What Graylog is told of the market: records of the events of a batch."""

import logging
from collections.abc import Iterator
from enum import StrEnum

from wood.graylog.record import Fields, Record
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
from wood.model.instruments import Instruments
from wood.model.log_events import LogEvent


class Which(StrEnum):
    """What is told."""

    TRADES = "trades"
    ORDERS = "orders"
    """Orders, and trades."""


_TRADES: frozenset[type[Event]] = frozenset({Trade, StateChanged})

EVENTS: dict[Which, frozenset[type[Event]]] = {
    Which.TRADES: _TRADES,
    Which.ORDERS: _TRADES | {OrderAccepted, OrderCanceled, OrderAmended, CommandRefused},
}
"""The events that `records` wants to see; others do not come to it."""


def records(batch: Batch, instruments: Instruments, node: str, which: Which) -> Iterator[Record]:
    """The records of a batch, in its order."""
    for event in batch.events:
        if isinstance(event, Trade):
            instrument = instruments[event.symbol]
            fields: Fields = {
                "event": LogEvent.TRADE_EXECUTED.value,
                "symbol": event.symbol,
                "price": float(instrument.price.to_text(event.price)),
                "quantity": float(instrument.quantity.to_text(event.quantity)),
                "seq": event.seq,
                "epoch": batch.epoch,
                "partition": batch.partition,
            }
            text = f"trade {event.seq} in {event.symbol}"
            yield Record(batch.time / 1e6, logging.INFO, node, "market", text, fields)
