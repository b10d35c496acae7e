"""A server that only parses and acknowledges: `python -m wood.tools.bench.ceiling --port 7009`.

The denominator of a benchmark: as fast as this can be made, on purpose. One write answers all that
a read brought; there is no book and no check. Each line is decoded by itself into an object with
exactly the fields of its message, the way in which the figures that this one is compared with were
taken. (All lines of a read in one call of the decoder would be 1.7 times as fast again.)
"""

import asyncio
import gc
from typing import cast

import click
import uvloop
from msgspec import Struct
from msgspec.json import Decoder

_NEW = b'{"message":"executionReport","orderId":%d,"report":"NEW"}\n'
_CANCELED = b'{"message":"executionReport","orderId":%d,"report":"CANCELED"}\n'


class _CreateOrder(Struct, tag="createOrder", tag_field="message", gc=False):
    orderId: int  # noqa: N815 (the names of the protocol)
    side: str
    price: int
    quantity: int


class _CancelOrder(Struct, tag="cancelOrder", tag_field="message", gc=False):
    orderId: int  # noqa: N815


_DECODER = Decoder(_CreateOrder | _CancelOrder)


class Acknowledger(asyncio.Protocol):
    """Answers the requests of one connection."""

    def __init__(self) -> None:
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        self._write = cast(asyncio.Transport, transport).write

    def data_received(self, data: bytes) -> None:
        """Answer every line that is complete."""
        if self._rest:
            data = self._rest + data
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        if end:
            self._write(acknowledge(data[:end]))


def acknowledge(lines: bytes) -> bytes:
    """The answers to complete lines. Raises `msgspec.DecodeError` at what is not a request."""
    return b"".join(
        [
            (_NEW if type(request) is _CreateOrder else _CANCELED) % request.orderId
            for request in map(_DECODER.decode, lines[:-1].split(b"\n"))
        ]
    )


async def serve(host: str, port: int) -> None:
    """Serve until cancelled."""
    server = await asyncio.get_running_loop().create_server(Acknowledger, host, port)
    async with server:
        await server.serve_forever()


@click.command()
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", type=int, required=True, help="Port to listen on.")
def main(host: str, port: int) -> None:
    """Serve until interrupted."""
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(host, port))


if __name__ == "__main__":
    main()
