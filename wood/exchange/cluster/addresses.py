"""What `--redis URL` says: which servers to ask for the master, and how to talk to it.

    redis://user:password@host:6379/0           one server; rediss:// with TLS, unix:///path?db=0
    sentinel://user:password@h1:26379,h2/NAME/0 the master that these sentinels call NAME
    cluster://user:password@h1:6379,h2          whichever master of the Redis Cluster has the key

`sentinels://` and `clusters://` are the same with TLS, on all connections. User and password are
those of the masters; those of the sentinels, if they have any, are `?sentinel_username=...` and
`&sentinel_password=...`. What else stands after the question mark goes to the client library.
"""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from redis.asyncio.connection import parse_url

Address = tuple[str, int]
"""A host and a port."""

SENTINEL_PORT = 26379
REDIS_PORT = 6379

_SCHEMES = {
    "sentinel": ("sentinel", False),
    "sentinels": ("sentinel", True),
    "cluster": ("cluster", False),
    "clusters": ("cluster", True),
}
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.%]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?", re.ASCII)
_NAME_AND_DATABASE = re.compile(r"/([^/]+)(?:/([0-9]{0,9}))?/?", re.ASCII)


@dataclass(frozen=True)
class Seeds:
    """Servers to ask where a master is."""

    hosts: tuple[Address, ...]
    name: str
    """What the sentinels call it; empty for a Redis Cluster."""
    tls: bool
    options: dict[str, Any] = field(repr=False)
    """For connections to the masters, in the words of the client library."""
    sentinel_options: dict[str, Any] = field(repr=False)
    """For connections to the sentinels."""

    def __str__(self) -> str:
        return ", ".join(address_text(host) for host in self.hosts)


def address_text(address: Address) -> str:
    """A host and a port for people, and for the configuration of HAProxy."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def seeds(url: str) -> Seeds | None:
    """Those that a URL names, None if it is one of a single server.

    Raises `ValueError` or what the client library raises if it is wrong, with no safe text.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        return None
    kind, tls = _SCHEMES[parts.scheme]
    user, at, hosts = parts.netloc.rpartition("@")
    # A character that was not escaped in a password would end up in these.
    query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    if parts.fragment or "@" in parts.path:
        raise ValueError
    sentinel = {
        option: query.pop(f"sentinel_{option}", None) for option in ("username", "password")
    }
    name, database = "", ""
    if kind == "sentinel":
        found = _NAME_AND_DATABASE.fullmatch(parts.path)
        if not found:
            raise ValueError
        name, database = unquote(found[1]), found[2] or ""
    elif parts.path not in ("", "/", "/0") or any(sentinel.values()):
        raise ValueError
    port = SENTINEL_PORT if kind == "sentinel" else REDIS_PORT
    addresses = tuple(_address(host, port) for host in hosts.split(","))
    # The library's own reading of users, passwords and options.
    library = f"{'rediss' if tls else 'redis'}://{user}{at}host/{database}?{urlencode(query)}"
    options: dict[str, Any] = {**parse_url(library)}
    for key in ("host", "port", "connection_class"):
        options.pop(key, None)
    shared = {key: value for key, value in options.items() if key.startswith("ssl_")}
    given = {key: value for key, value in sentinel.items() if value}
    return Seeds(addresses, name, tls, options, shared | given)


def _address(text: str, port: int) -> Address:
    found = _HOST.fullmatch(text)
    if not found:
        raise ValueError
    number = int(found[3] or port)
    if not 0 < number < 65536:
        raise ValueError
    return found[1] or found[2], number


def without_password(url: str) -> str:
    """A URL as it may be printed."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "URL"
    return scheme + separator + rest.rpartition("@")[2].partition("?")[0]
