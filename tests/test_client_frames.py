"""A stream of bytes cut into messages, whatever pieces it comes in."""

from itertools import pairwise

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wood.client import frames as frames_module
from wood.client.errors import ProtocolError
from wood.client.frames import Frames, Lines, Maps, MapsOrLines

MAPS = [{"a": 1}, {}, {"b": "x" * 300, "c": [1, {"d": None}]}, {"e": 2**64 - 1}]


def fed(frames: Frames, data: bytes, cuts: list[int]) -> list[bytes]:
    """The messages in `data`, fed in pieces."""
    found: list[bytes] = []
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    for start, end in pairwise(places):
        frames.feed(data[start:end])
        while (frame := frames.next()) is not None:
            found.append(frame)
    return found


LONG = b"\xc6\x00\x00\x01\x00" + b"x" * 200  # of 256 bytes

CUTS = st.lists(st.integers(0, 500))


@given(cuts=CUTS)
def test_lines(cuts: list[int]) -> None:
    data = b'{"a":1}\r\n\n\r\n{"b":2}\n' + b"x" * 300 + b"\nhalf"
    frames = Lines()
    assert fed(frames, data, cuts) == [b'{"a":1}', b'{"b":2}', b"x" * 300]
    assert frames.rest() == b"half"


@given(cuts=CUTS)
def test_maps(cuts: list[int]) -> None:
    packed = [msgpack.packb(each) for each in MAPS]
    frames = Maps()
    assert fed(frames, b"".join(packed) + b"\x81", cuts) == packed
    assert frames.rest() == b"\x81"


@given(cuts=CUTS)
def test_a_connection_is_in_maps_or_in_lines(cuts: list[int]) -> None:
    packed = [msgpack.packb(each) for each in MAPS]
    assert fed(MapsOrLines(), b"".join(packed) + b"\x81", cuts) == packed
    lines = MapsOrLines()
    assert (lines.next(), lines.rest()) == (None, b"")
    assert fed(lines, b'{"a":1}\n{"b":2}\n{"half', cuts) == [b'{"a":1}', b'{"b":2}']
    assert lines.rest() == b'{"half'


def test_the_rest_can_go_on_in_another_encoding() -> None:
    lines, maps = Lines(), Maps()
    packed = msgpack.packb({"text": "a\nb"})
    lines.feed(b"{}\n" + packed)
    assert lines.next() == b"{}"
    maps.feed(lines.rest())
    assert maps.next() == packed


@pytest.mark.parametrize(
    ("kind", "data"), [(Lines, b"x" * 101), (Maps, b"\xc6\x00\x00\x01\x00" + b"x" * 200)]
)
def test_a_message_without_an_end(
    kind: type[Frames], data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames_module, "LIMIT", 100)
    frames = kind()
    frames.feed(data)
    with pytest.raises(ProtocolError, match="100 bytes"):
        frames.next()


def test_what_is_not_message_pack() -> None:
    frames = Maps()
    frames.feed(b"\xc1")
    with pytest.raises(ProtocolError):
        frames.next()
