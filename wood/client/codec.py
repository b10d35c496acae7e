"""The two encodings of the private port, each as one thing."""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from wood.client.frames import LINE, Frames, Lines, MapsOrLines
from wood.client.replies import Private, decode, unpack
from wood.client.requests import Message, encode, pack

Encoding = Literal["json", "msgpack"]


class Codec(Struct, frozen=True):
    """How to cut what the server says into messages, to read one, and to write one."""

    frames: Callable[[], Frames]
    decode: Callable[[bytes], Private]
    encode: Callable[[Message], bytes]


def _either(frame: bytes) -> Private:
    return decode(frame) if frame.startswith(LINE) else unpack(frame)


CODECS: dict[str, Codec] = {
    "json": Codec(Lines, decode, encode),
    "msgpack": Codec(MapsOrLines, _either, pack),
}


def codec(encoding: str) -> Codec:
    """That of `encoding`. Raises `ValueError`."""
    if encoding not in CODECS:
        raise ValueError(f"encoding must be one of {', '.join(CODECS)}")
    return CODECS[encoding]
