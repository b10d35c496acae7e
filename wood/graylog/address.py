"""Where Graylog listens: `udp://host:12201`, `tcp://host:12201` or `tls://host:12201`."""

from pathlib import Path
from typing import NoReturn
from urllib.parse import SplitResult, parse_qsl, urlsplit

import msgspec
from msgspec import Struct

from wood.model.errors import ConfigError

PORT = 12201
"""Of GELF, where none is named."""

CHUNK = 1408
"""Bytes of a message in one datagram, as Graylog's own libraries have it: any network passes it."""

CHUNKS = range(100, 65_000)
"""What a chunk may be, in bytes."""

OPTIONS = {"udp": {"compress", "chunk"}, "tcp": set[str](), "tls": {"ca", "cert", "key"}}
"""Of each kind of transport, what may stand behind a question mark."""

EXAMPLE = "such as udp://graylog.example.com:12201 (or tcp://, tls://)"


class Address(Struct, frozen=True):
    """An input of Graylog, and how to speak to it."""

    scheme: str
    """`udp`, `tcp` or `tls`."""
    host: str
    port: int = PORT
    compress: bool = True
    """With UDP, whether messages are compressed."""
    chunk: int = CHUNK
    """With UDP, the bytes of a message that go into one datagram."""
    ca: Path | None = None
    """With TLS, who issues the server's certificate; None: whom the system trusts."""
    cert: Path | None = None
    """With TLS, the certificate that is shown to the server."""
    key: Path | None = None
    """Its private key; None: in the same file."""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read an address. Raises `ConfigError`."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            _refuse(text, f"is no address: give one {EXAMPLE}")
        if parts.scheme not in OPTIONS:
            _refuse(text, f"begins with none of udp://, tcp://, tls://: give one {EXAMPLE}")
        if not parts.hostname:
            _refuse(text, f"names no host: give one {EXAMPLE}")
        if not _can_be_looked_up(parts.hostname):
            _refuse(text, f"names a host that no name can be (RFC 3490): give one {EXAMPLE}")
        if parts.path.strip("/") or parts.fragment or parts.username is not None:
            _refuse(text, f"has more than a host, a port and options: give one {EXAMPLE}")
        options = _options(text, parts)
        return cls(
            parts.scheme,
            parts.hostname,
            PORT if port is None else port,
            compress=_yes(text, options.get("compress", "yes")),
            chunk=_chunk(text, options.get("chunk", str(CHUNK))),
            **_files(text, options),
        )

    @property
    def packed(self) -> str:
        """For another process; see `unpack`."""
        return msgspec.json.encode(self, enc_hook=str).decode()

    @classmethod
    def unpack(cls, packed: str) -> "Address":
        """The address that was packed."""
        return msgspec.json.decode(packed, type=cls, dec_hook=lambda kind, text: kind(text))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def _can_be_looked_up(host: str) -> bool:
    """Whether `getaddrinfo` takes it: an empty label, or a long one, is to it no matter of DNS."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def _options(text: str, parts: SplitResult) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        possible = OPTIONS[parts.scheme]
        if name not in possible:
            known = ", ".join(sorted(possible)) or "none"
            _refuse(text, f"has the option {name!r}; those of {parts.scheme}:// are: {known}")
        if name in options:
            _refuse(text, f"has the option {name!r} twice: leave one out")
        options[name] = value
    return options


def _yes(text: str, value: str) -> bool:
    if value not in ("yes", "no"):
        _refuse(text, "says neither compress=yes nor compress=no")
    return value == "yes"


def _chunk(text: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value) in CHUNKS):
        _refuse(text, f"needs a chunk of {CHUNKS[0]} to {CHUNKS[-1]} bytes")
    return int(value)


def _files(text: str, options: dict[str, str]) -> dict[str, Path | None]:
    names = ("ca", "cert", "key")
    files = {name: Path(options[name]) if name in options else None for name in names}
    for name, file in files.items():
        if file is not None and not file.is_file():
            _refuse(text, f"names with {name}= a file that is not there: {file}")
    if files["key"] is not None and files["cert"] is None:
        _refuse(text, "has a key and no certificate: add cert=FILE")
    return files


def _refuse(text: str, why: str) -> NoReturn:
    # Whoever takes it for a URL that has a password in it shall not find that in a log.
    scheme, separator, rest = text.rpartition("://")
    shown = scheme + separator + rest.rpartition("@")[2]
    raise ConfigError(f"the Graylog address {shown!r} {why}")
