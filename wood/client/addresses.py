"""Where servers are, and which one to try next, and when."""

from collections.abc import Callable, Iterable

FIRST_DELAY = 0.1
"""Seconds that the longest pause lasts before each address is tried for the first time."""

LONGEST_DELAY = 5.0
"""Seconds that no pause exceeds."""

Address = tuple[str, int]


def parse(address: str | Address) -> Address:
    """(host, port) of `host:port`, `[::1]:port` or of such a tuple. Raises `ValueError`."""
    if not isinstance(address, str):
        host, port = address
        return host, port
    host, colon, digits = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{address!r}: an IPv6 address stands in brackets, as in [::1]:7001")
    if not (colon and host and digits.isascii() and digits.isdigit() and int(digits) < 1 << 16):
        raise ValueError(f"{address!r} is not an address such as localhost:7001")
    return host, int(digits)


def text(address: Address) -> str:
    """`address` as `parse` reads it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Rotation:
    """The addresses in turn, for ever, with pauses that grow from round to round.

    A pause is drawn from nothing to its bound, so that the clients of a node that died do not all
    come to the next one at once. `random` draws from 0 to 1.
    """

    def __init__(self, addresses: Iterable[str | Address], random: Callable[[], float]) -> None:
        self.addresses = [parse(address) for address in addresses]
        if not self.addresses:
            raise ValueError("a client needs at least one address")
        self._random = random
        self._tried = 0  # addresses, in all
        self._failed = 0  # attempts since the last one that did well

    def next(self) -> tuple[float, Address]:
        """Seconds to wait, and then the address to try. The very first is tried at once."""
        bound = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(self._failed // len(self.addresses), 30))
        delay = self._random() * bound if self._tried else 0.0
        address = self.addresses[self._tried % len(self.addresses)]
        self._tried += 1
        self._failed += 1
        return delay, address

    def did_well(self) -> None:
        """The last address served for a while: the pauses begin anew, with the next address."""
        self._failed = 0
