"""Who is one client, as far as an address can tell, and how many connections it has."""

from collections import Counter
from ipaddress import IPv6Address, ip_address, ip_network

PREFIX = 64
"""Bits of an IPv6 address that tell one client from another: it may choose the others itself."""


def group(host: str) -> str:
    """What limits by address count by: the address, or of IPv6 its network of one client."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address), PREFIX), strict=False))
    return host


class Addresses:
    """Connections by the address that they come from, at most `most` of each; 0: no limit."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._counts)

    def full(self, address: str, spare: int = 0) -> bool:
        """Whether there may be no more from `address`, `spare` ones beyond the limit included."""
        return bool(self._most) and self._counts.get(address, 0) >= self._most + spare

    def add(self, address: str) -> None:
        """Count one more."""
        self._counts[address] += 1

    def remove(self, address: str) -> None:
        """Count one less."""
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]
