"""The steps of price and quantity of the instrument that is traded, which the server knows."""

import asyncio
import ssl
from decimal import Decimal

from msgspec import Struct

from wood.client.replies import ErrorReply, Instrument, InstrumentsReply
from wood.model.errors import WoodError
from wood.tools.connection import lost, open_connection
from wood.tools.traders.messages import decode, not_a_private_port, printable

ASK_SECONDS = 3.0
"""How long a server may take to answer; one that says nothing has no such question."""

MAX_NAMES = 10
"""Instruments that are named to whoever asked for another one."""

_QUESTION = b'{"message":"instruments"}\n'


class Grid(Struct, frozen=True):
    """Prices are multiples of `tick`, quantities of `lot`; by default those of the base."""

    tick: Decimal = Decimal("0.01")
    lot: Decimal = Decimal(1)


async def ask_grid(
    host: str, port: int, symbol: str | None, *, tls: ssl.SSLContext | None = None
) -> Grid:
    """The grid of `symbol`, or of the default instrument. Raises `WoodError`.

    It asks on a connection of its own: to a server that knows the base protocol only, and answers
    late or not at all, nobody listens any more then.
    """
    reader, writer = await open_connection(host, port, tls=tls)
    try:
        async with asyncio.timeout(ASK_SECONDS):
            writer.write(_QUESTION)
            line = await reader.readline()
    except TimeoutError:
        return Grid()
    except (OSError, ValueError):  # ValueError: a line beyond all limits
        line = b""
    finally:
        writer.close()
    if not line.endswith(b"\n"):
        raise lost(host, port)
    return grid_in(line, symbol)


def grid_in(line: bytes, symbol: str | None) -> Grid:
    """The grid of `symbol` in the server's answer. Raises `WoodError`."""
    reply = decode(line)
    if isinstance(reply, ErrorReply):
        return Grid()
    if not isinstance(reply, InstrumentsReply):
        raise not_a_private_port()
    for each in reply.instruments:
        if symbol in (None, each.symbol):
            return _grid(each)
    names = " ".join(each.symbol for each in reply.instruments[:MAX_NAMES])
    raise WoodError(f"the server does not trade {symbol}, but {printable(names.encode())}")


def _grid(instrument: Instrument) -> Grid:
    for step in (instrument.tick, instrument.lot):
        if not (step.is_finite() and step > 0 and -40 < step.adjusted() < 40):
            raise WoodError(f"the server has a tick or a lot of {step}, in which nobody can trade")
    return Grid(instrument.tick, instrument.lot)
