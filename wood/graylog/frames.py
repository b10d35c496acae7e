"""What a courier and its process say to each other, over a stream."""

import struct
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from wood.graylog.record import Record
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

KINDS: tuple[type[Event], ...] = (
    Trade,
    StateChanged,
    OrderAccepted,
    OrderCanceled,
    OrderAmended,
    CommandRefused,
)
"""The events that can be packed; the place of each stands before it."""

LENGTH = struct.Struct(">I")
"""Before each message: how many bytes it has."""


class PackedBatch(Struct, array_like=True):
    """A batch, and of its events those that are wanted."""

    partition: str
    epoch: int
    writer: str
    number: int
    first: int
    last: int
    time: int
    events: list[tuple[int, msgspec.Raw]]


class Hello(Struct, tag=True):
    """The first thing that the process is told: for whom it sends what to whom."""

    address: str
    node: str
    which: str
    instruments: list[tuple[str, str, str, str]]
    """Symbol, tick, lot, partition."""


class Delivery(Struct, tag=True):
    """Send this and say when it has arrived."""

    number: int
    batches: list[PackedBatch]
    records: list[Record]


class Delivered(Struct, tag=True):
    """The answer."""

    number: int


class State(Struct, tag=True):
    """Graylog is away, and why; or it is back."""

    up: bool
    reason: str


Told = Hello | Delivery | Delivered | State

_KIND = {kind: place for place, kind in enumerate(KINDS)}
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Told).decode
_decode_event = [msgspec.msgpack.Decoder(kind).decode for kind in KINDS]


def frame(message: Hello | Delivered | State) -> bytes:
    """A message as bytes."""
    return _framed(_encode(message))


def delivery(
    number: int, batches: Iterable[Batch], wanted: frozenset[type[Event]], records: Sequence[Record]
) -> bytes | None:
    """A delivery as bytes; None if there is nothing in it."""
    packed = []
    for batch in batches:
        events = [(_KIND[type(event)], event) for event in batch.events if type(event) in wanted]
        if events:
            b = batch
            head = b.partition, b.epoch, b.writer, b.number, b.first, b.last, b.time
            packed.append((*head, events))
    if not packed and not records:
        return None
    message = {"type": "Delivery", "number": number, "batches": packed, "records": records}
    return _framed(_encode(message))


def read(data: bytes) -> Told:
    """The message in some bytes, without the length."""
    told: Told = _decode(data)
    return told


def unpack(packed: PackedBatch) -> Batch:
    """The batch, with the events that came along."""
    p = packed
    events = [_decode_event[kind](raw) for kind, raw in p.events]
    return Batch(p.partition, p.epoch, p.writer, p.number, p.first, p.last, p.time, events)


def pack_instruments(instruments: Instruments) -> list[tuple[str, str, str, str]]:
    """What a record needs to know of them."""
    return [(i.symbol, i.tick, i.lot, i.partition) for i in instruments.values()]


def unpack_instruments(packed: list[tuple[str, str, str, str]]) -> Instruments:
    """The same instruments, without their rules."""
    return Instruments(Instrument(*each) for each in packed)


def _framed(data: bytes) -> bytes:
    return LENGTH.pack(len(data)) + data
