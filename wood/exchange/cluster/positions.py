"""How far a durable reader is, as it stands in the hash `readers` of a partition."""

from msgspec import Struct
from msgspec.msgpack import Decoder, Encoder

from wood.exchange.cluster.client import Client
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.scripts import KEEP
from wood.exchange.tail import Position


class Kept(Struct, frozen=True):
    """A position, and when it was kept, in microseconds by the clock of Redis."""

    position: Position
    at: int


_decode = Decoder(tuple[str, int, int, int, int, int]).decode
_encode = Encoder().encode
_SIX = b"\x96"
"""Makes an array of MessagePack values that follow each other."""


def kept_in(value: bytes) -> Kept:
    """What the value of a reader says."""
    journal, epoch, seq, batch, time, at = _decode(_SIX + value)
    return Kept(Position(journal, epoch, seq, batch, time), at)


async def keep(client: Client, keys: Keys, reader: str, position: Position) -> None:
    """Write it down. Raises what the client raises."""
    values = position.journal, position.epoch, position.seq, position.batch, position.time
    said = b"".join(_encode(value) for value in values)
    await KEEP.run(client, [keys.readers], reader, said)


async def kept(client: Client, keys: Keys, reader: str) -> Kept | None:
    """What it kept last; None if it is not known. Raises what the client raises."""
    value = await client.hget(keys.readers, reader)
    return None if value is None else kept_in(value)
