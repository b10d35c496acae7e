"""Asking a node how it is, by the page `/status` of its health port."""

import asyncio

import msgspec

from wood.client.addresses import text as address_text
from wood.client.line import reason
from wood.model.node_report import NodeReport

PATIENCE = 2.0
"""Seconds for the whole answer: who watches asks again soon."""

LONGEST_ANSWER = 1 << 22
"""Bytes. A report of a thousand instruments has some 30,000."""

_read = msgspec.json.Decoder(NodeReport).decode


class NoReport(OSError):
    """Somebody answers, and it is not a node that says how it is."""


async def ask_node(host: str, port: int) -> NodeReport:
    """The report of the node whose health port this is.

    Raises `OSError`, of which `NoReport` and `TimeoutError` are kinds; its text is for people.
    Cancelling is safe.
    """
    where = address_text((host, port))
    try:
        async with asyncio.timeout(PATIENCE):
            answer = await _answer(host, port)
    except NoReport:
        raise
    except TimeoutError:
        raise TimeoutError(f"{where} was silent for {PATIENCE:g} s") from None
    except OSError as error:
        raise ConnectionError(f"nobody answers at {where} ({reason(error)})") from None
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].split(b" ")
    if not status[0].startswith(b"HTTP/") or len(status) < 2:
        raise NoReport(f"{where} does not speak HTTP: is that the port of --health?")
    if status[1] != b"200":
        said = status[1].decode("ascii", "replace")
        raise NoReport(f"{where} has no page /status ({said}): no node, or one of an older version")
    try:
        return _read(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NoReport(f"{where} says what this version does not understand: {error}") from None


async def _answer(host: str, port: int) -> bytes:
    """All that is said until the end of the connection."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET /status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        said = b""
        while piece := await reader.read(65536):
            said += piece
            if len(said) > LONGEST_ANSWER:
                raise NoReport(f"{address_text((host, port))} says more than a report has")
        return said
    finally:
        # Not waited for: the answer is whole, and a peer that holds on must not hold us.
        writer.transport.abort()
