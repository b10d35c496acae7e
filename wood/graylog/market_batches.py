"""What goes to the process that makes records of it: batches without what nobody is told, packed.

So who reads the journal spends a microsecond on an event, and the other process the rest.
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

from msgspec import Raw, Struct
from msgspec.msgpack import Decoder, Encoder

from wood.graylog.market import TOLD, Which, records
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
from wood.model.instruments import Instruments

_KINDS: Sequence[type[Event]] = (
    Trade,
    StateChanged,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    CommandRefused,
)
"""Named by their place."""
_PLACES = {kind: place for place, kind in enumerate(_KINDS)}


class _Batch(Struct, array_like=True, frozen=True, gc=False, tag=0):
    partition: str
    epoch: int
    time: int
    events: list[tuple[int, Any]]


class _Ready(Struct, array_like=True, frozen=True, gc=False, tag=1):
    record: Record


class _RawBatch(Struct, array_like=True, frozen=True, gc=False, tag=0):
    partition: str
    epoch: int
    time: int
    events: list[tuple[int, Raw]]


_encode = Encoder().encode
_decode = Decoder(_RawBatch | _Ready).decode
_decoders: list[Decoder[Any]] = [Decoder(kind) for kind in _KINDS]


class Packed(Struct, frozen=True, gc=False):
    """A batch, or a record that is ready; `records` is how many come of it."""

    data: bytes
    records: int


def pack(batch: Batch, which: Which) -> Packed | None:
    """What is told of `batch`; None if nothing is."""
    told = TOLD[which]
    events = [(_PLACES[type(event)], event) for event in batch.events if type(event) in told]
    if not events:
        return None
    return Packed(_encode(_Batch(batch.partition, batch.epoch, batch.time, events)), len(events))


def pack_record(record: Record) -> Packed:
    """A record that is told as it is."""
    return Packed(_encode(_Ready(record)), 1)


def unpack(data: bytes, instruments: Instruments, node: str, which: Which) -> Iterator[Record]:
    """The records of what was packed."""
    packed = _decode(data)
    if isinstance(packed, _Ready):
        yield packed.record
        return
    events = [cast(Event, _decoders[place].decode(raw)) for place, raw in packed.events]
    # Of a batch `records` needs no more than this.
    batch = Batch(packed.partition, packed.epoch, "", 0, 0, 0, packed.time, events)
    yield from records(batch, instruments, node, which)
