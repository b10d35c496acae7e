"""Opening a connection to a server, with an error that a person can act on."""

import asyncio
import ssl

from wood.client.line import reason
from wood.model.errors import WoodError


class ConnectionFailed(WoodError):
    """The server cannot be reached, or went away; the text is one line that says what to do."""


async def open_connection(
    host: str, port: int, limit: int = 1 << 20, *, tls: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to `host`:`port`; lines of up to `limit` bytes; with `tls` unless it is None.

    Raises `ConnectionFailed`.
    """
    try:
        return await asyncio.open_connection(host, port, limit=limit, ssl=tls)
    except OSError as error:
        raise unreachable(host, port, error) from None


def unreachable(host: str, port: int, error: OSError) -> ConnectionFailed:
    """What to tell the person when nobody answers at `host`:`port`."""
    return ConnectionFailed(
        f"no server at {host}:{port} ({reason(error)}); "
        "start one with 'wood -s' or give --host and a port"
    )


def lost(host: str, port: int) -> ConnectionFailed:
    """What to tell the person when the server closed the connection."""
    return ConnectionFailed(f"the server at {host}:{port} closed the connection")
