"""Ports: those in front, which the person named, and those of the nodes behind them."""

import errno
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from wood.model.errors import ConfigError

LOOPBACK = "127.0.0.1"


@contextmanager
def front(host: str, ports: Mapping[str, int]) -> Iterator[list[str]]:
    """The addresses of `host`, once all `ports`, by their options, can be listened on there.

    Until the exit no other launcher gets past this on the same ports: with SO_REUSEPORT two
    clusters would share them unawares. Raises `ConfigError`.
    """
    with ExitStack() as held:
        with ExitStack() as probes:
            addresses = [
                address
                for option, port in ports.items()
                for address in _listenable(probes, host, option, port)
            ]
        for option, port in ports.items():
            _claim(held, option, port)
        yield list(dict.fromkeys(addresses))


def _listenable(probes: ExitStack, host: str, option: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, *_, address in found:
            probe = probes.enter_context(socket.socket(family))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _in_use(option, port) from None
        raise ConfigError(
            f"cannot listen on {host}:{port} ({error.strerror}): check --host and --{option}"
        ) from None
    return [str(address[0]) for *_, address in found]


def _claim(held: ExitStack, option: str, port: int) -> None:
    """Take a name that only one process can have; Linux gives it back at our end, whatever that."""
    if sys.platform == "linux":
        claim = held.enter_context(socket.socket(socket.AF_UNIX))
        try:
            claim.bind(f"\0wood-cluster-{port}")
        except OSError:
            raise _in_use(option, port) from None


def _in_use(option: str, port: int) -> ConfigError:
    return ConfigError(
        f"port {port} is in use: stop what listens there, or choose another with --{option} PORT"
    )


class Inner:
    """Ports of the loopback for nodes, each given once. Someone else may still be faster."""

    def __init__(self) -> None:
        self._given: set[int] = set()

    def take(self, wanted: int) -> int:
        """The wanted one, or the next that nobody listens on."""
        port = wanted
        while port in self._given or not _is_free(port):
            port += 1
        self._given.add(port)
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def reachable(host: str) -> str:
    """Where a client on this machine finds what listens on `host`."""
    return {"": LOOPBACK, "0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)
