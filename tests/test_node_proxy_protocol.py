"""The PROXY protocol: what is a header, and whose connection it says this is."""

import socket
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wood.node.proxy_protocol import (
    LONGEST_BLOCK,
    LONGEST_LINE,
    BadHeader,
    Header,
    Source,
    plain,
    read_header,
)

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
LONGEST = b"PROXY UNKNOWN " + b"f" * (LONGEST_LINE - 16) + b"\r\n"

V4 = socket.inet_aton("192.0.2.7") + socket.inet_aton("10.0.0.1") + struct.pack("!HH", 51234, 7001)
V6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + struct.pack("!HH", 51234, 7001)
)
MAPPED = socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.7") + V6[16:]


def binary(command: int, kind: int, block: bytes, size: int | None = None) -> bytes:
    """A header of version 2, by the bytes at places 12 and 13."""
    size = len(block) if size is None else size
    return SIGNATURE + struct.pack("!BBH", command, kind, size) + block


GOOD = [
    (b"PROXY TCP4 192.0.2.7 10.0.0.1 51234 7001\r\n", ("192.0.2.7", 51234)),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", ("255.255.255.255", 65535)),
    (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", ("0.0.0.0", 0)),
    (b"PROXY TCP6 2001:DB8::7 ::1 51234 7001\r\n", ("2001:db8::7", 51234)),
    (b"PROXY TCP6 " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535\r\n", None),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 51234 7001\r\n", ("192.0.2.7", 51234)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff:: what ever 1 2\r\n", None),
    (LONGEST, None),
    (binary(0x21, 0x11, V4), ("192.0.2.7", 51234)),
    (binary(0x21, 0x11, V4 + b"\x20\x00\x03abc"), ("192.0.2.7", 51234)),
    (binary(0x21, 0x11, V4 + bytes(LONGEST_BLOCK - 12)), ("192.0.2.7", 51234)),
    (binary(0x21, 0x21, V6), ("2001:db8::7", 51234)),
    (binary(0x21, 0x21, MAPPED), ("192.0.2.7", 51234)),
    (binary(0x21, 0x31, bytes(216)), None),
    (binary(0x21, 0x12, V4), None),
    (binary(0x21, 0x00, b""), None),
    (binary(0x21, 0x00, b"who knows"), None),
    (binary(0x20, 0x00, b""), None),
    (binary(0x20, 0x11, V4), None),
    (binary(0x20, 0x11, b""), None),
]

BAD = [
    b'{"message":"heartbeat"}\n',
    b"GET / HTTP/1.1\r\n\r\n",
    b"proxy TCP4 192.0.2.7 10.0.0.1 51234 7001\r\n",
    b"PROXY\r\n",
    b"PROXY \r\n",
    b"PROXY TCP5 192.0.2.7 10.0.0.1 51234 7001\r\n",
    b"PROXY UNKNOWNS\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 51234\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 51234 7001 \r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 51234 7001 8\r\n",
    b"PROXY TCP4  192.0.2.7 10.0.0.1 51234 7001\r\n",
    b"PROXY TCP4 192.0.2.07 10.0.0.1 51234 7001\r\n",
    b"PROXY TCP4 192.0.2.256 10.0.0.1 51234 7001\r\n",
    b"PROXY TCP4 192.0.2.7 localhost 51234 7001\r\n",
    b"PROXY TCP4 ::1 ::1 51234 7001\r\n",
    b"PROXY TCP6 192.0.2.7 ::1 51234 7001\r\n",
    b"PROXY TCP6 fe80::1%lo ::1 51234 7001\r\n",
    b"PROXY TCP6 \xff\xb2 ::1 51234 7001\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 7001\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 51234 65536\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 -1 7001\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 01 7001\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 \xb2 7001\r\n",
    LONGEST[:-2] + b"f\r\n",
    b"PROXY UNKNOWN".ljust(LONGEST_LINE, b"x"),
    b"PROXY TCP4 192.0.2.7 10.0.0.1 51234 7001\n".ljust(LONGEST_LINE, b"x"),
    binary(0x11, 0x11, V4),
    binary(0x31, 0x11, V4),
    binary(0x22, 0x11, V4),
    binary(0x21, 0x41, V4),
    binary(0x21, 0x13, V4),
    binary(0x20, 0x41, V4),
    binary(0x21, 0x11, V4[:-1]),
    binary(0x21, 0x21, V6[:-1]),
    binary(0x21, 0x21, V4),
    binary(0x21, 0x31, bytes(215)),
    binary(0x21, 0x11, b"", LONGEST_BLOCK + 1),
    binary(0x20, 0x00, b"", 65535),
    SIGNATURE[:-1] + b"\r!\x11\x00\x0c" + V4,
]


@pytest.mark.parametrize(("data", "source"), GOOD)
def test_a_header_is_read_in_whatever_pieces(data: bytes, source: tuple[str, int] | None) -> None:
    for length in range(len(data)) if len(data) < 1000 else (0, 15, 16, len(data) - 1):
        assert read_header(data[:length]) is None
    for rest in (b"", b"\r\n", b'{"message":"heartbeat"}\n', data):
        found = read_header(data + rest)
        assert found is not None
        assert found.length == len(data)
        if source is not None or b"TCP6 ffff" not in data:
            assert found.source == (source and Source(*source))


@pytest.mark.parametrize("data", BAD)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(BadHeader):
        read_header(data)


@given(st.binary(max_size=300))
@example(b"P")
@example(b"\r\n\r\n\0")
def test_whatever_arrives_is_judged_by_its_beginning(data: bytes) -> None:
    """More bytes never change what was said of fewer."""
    judged = [_judge(data[:length]) for length in range(len(data) + 1)]
    final = [verdict for verdict in judged if verdict is not None]
    assert len({str(verdict) for verdict in final}) <= 1
    assert None not in judged[judged.index(final[0]) :] if final else True


@given(
    st.sampled_from([data for data, _ in GOOD if len(data) < 1000]),
    st.integers(0, 255),
    st.integers(0, 255),
)
def test_a_header_with_a_wrong_byte_is_read_or_refused(data: bytes, place: int, byte: int) -> None:
    place %= len(data)
    broken = data[:place] + bytes([byte]) + data[place + 1 :]
    verdict = _judge(broken.ljust(LONGEST_BLOCK + 20, b" "))
    assert verdict is not None
    if isinstance(verdict, Header) and verdict.source is not None:
        assert plain(verdict.source.host) == verdict.source.host
        assert 0 <= verdict.source.port <= 65535


def test_an_address_has_one_form() -> None:
    assert plain("::FFFF:192.0.2.7") == plain("192.0.2.7") == "192.0.2.7"
    assert plain("2001:DB8:0::7") == "2001:db8::7"
    assert plain("fe80::1%lo") == "fe80::1%lo"
    assert plain("?") == "?"


def _judge(data: bytes) -> Header | str | None:
    try:
        return read_header(data)
    except BadHeader:
        return "bad"


def test_a_client_is_an_address_and_a_port() -> None:
    assert Source("127.0.0.1", 5).client == "127.0.0.1:5"
    assert Source("::1", 5).client == "[::1]:5"
