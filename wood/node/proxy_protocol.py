"""The PROXY protocol, versions 1 and 2: a balancer's word on whose connection it passes on.

Bytes in, an address out; no sockets. By the specification of HAProxy (doc/proxy-protocol.txt).
"""

from collections.abc import Iterable
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)
from typing import NamedTuple

Network = IPv4Network | IPv6Network

LONGEST_LINE = 107
"""Bytes of the longest header of version 1, with its line end."""

LONGEST_BLOCK = 4096
"""Bytes that a header of version 2 may have after the first 16: the addresses, and what else the
balancer tells in type-length-value rows, which nobody reads here."""

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_WORD = b"PROXY "
_FIXED = len(_SIGNATURE) + 4
_LOCAL = 0
_STREAM, _DATAGRAM = 1, 2
_INET, _INET6, _UNIX = 1, 2, 3
_BLOCKS = {0: 0, _INET: 12, _INET6: 36, _UNIX: 216}
"""The bytes that the addresses of each family take."""


class BadHeader(Exception):
    """What arrived is no header of the PROXY protocol."""


class Source(NamedTuple):
    """Where a connection comes from."""

    host: str
    port: int

    @property
    def client(self) -> str:
        """As the log has it: address and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Header(NamedTuple):
    """A whole header."""

    source: Source | None
    """The client; None if the balancer speaks for itself, or does not know."""
    length: int
    """Its bytes: what comes after them is the client's."""


def plain(host: str) -> str:
    """An address in one form: that of IPv4 also where the system writes it as one of IPv6."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def is_within(host: str, networks: Iterable[Network]) -> bool:
    """Whether an address is in one of these networks; what is no address is in none."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in networks)


def is_loopback(host: str) -> bool:
    """Whether an address is one of this machine's own to itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def read_header(data: bytes) -> Header | None:
    """The header that `data` begins with; None as long as its end is missing.

    Raises `BadHeader` as soon as it can only be something else.
    """
    if data.startswith(_SIGNATURE[: len(data)]):
        return _binary(data)
    if data.startswith(_WORD[: len(data)]):
        return _line(data)
    raise BadHeader("it does not begin with a PROXY header")


def _line(data: bytes) -> Header | None:
    end = data.find(b"\r\n", 0, LONGEST_LINE)
    if end < 0:
        if len(data) >= LONGEST_LINE:
            raise BadHeader("the PROXY line is too long")
        return None
    length = end + 2
    protocol, _, rest = data[len(_WORD) : end].partition(b" ")
    if protocol == b"UNKNOWN":
        return Header(None, length)
    fields = rest.split(b" ")
    if protocol not in (b"TCP4", b"TCP6") or len(fields) != 4:
        raise BadHeader("the PROXY line is none")
    kind = IPv4Address if protocol == b"TCP4" else IPv6Address
    host, _ = [_address(field, kind) for field in fields[:2]]
    port, _ = [_port(field) for field in fields[2:]]
    return Header(Source(host, port), length)


def _address(field: bytes, kind: type[IPv4Address] | type[IPv6Address]) -> str:
    text = field.decode("ascii", "replace")
    try:
        if "%" in text:
            raise AddressValueError("a zone means something on one machine only")
        return plain(str(kind(text)))
    except AddressValueError:
        raise BadHeader("the PROXY line has no such address") from None


def _port(field: bytes) -> int:
    if not (field.isdigit() and len(field) <= 5) or (field[:1] == b"0" and len(field) > 1):
        raise BadHeader("the PROXY line has no such port")
    port = int(field)
    if port > 65535:
        raise BadHeader("the PROXY line has no such port")
    return port


def _binary(data: bytes) -> Header | None:
    if len(data) < _FIXED:
        return None
    version, command = divmod(data[12], 16)
    family, transport = divmod(data[13], 16)
    size = int.from_bytes(data[14:16], "big")
    if version != 2 or command > 1:
        raise BadHeader("the PROXY header is of another version")
    if size > LONGEST_BLOCK:
        raise BadHeader("the PROXY header is too long")
    if family not in _BLOCKS or transport > _DATAGRAM:
        raise BadHeader("the PROXY header names no known kind of address")
    if command != _LOCAL and size < _BLOCKS[family]:
        raise BadHeader("the PROXY header is too short for its addresses")
    length = _FIXED + size
    if len(data) < length:
        return None
    if command == _LOCAL or transport != _STREAM:
        return Header(None, length)
    return Header(_source(family, data[_FIXED:length]), length)


def _source(family: int, block: bytes) -> Source | None:
    if family == _INET:
        return Source(str(IPv4Address(block[:4])), int.from_bytes(block[8:10], "big"))
    if family == _INET6:
        port = int.from_bytes(block[32:34], "big")
        return Source(plain(str(IPv6Address(block[:16]))), port)
    return None  # one of the same machine, by a socket that has no address
