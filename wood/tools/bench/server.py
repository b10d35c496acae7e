"""All connections to one server, and the rounds that are played over them."""

import asyncio
import secrets
import ssl
import time
from collections import Counter
from collections.abc import Sequence
from itertools import cycle, islice

from msgspec import Struct

from wood.tools.bench.client import Connection, Round, Subscriber
from wood.tools.bench.encode import Load
from wood.tools.connection import ConnectionFailed, lost, unreachable

_LOGIN = b'{"message":"login","participant":"bench-%b-%d"}\n'

QUANTILES = (0.5, 0.99, 0.999)


class Measured(Struct, frozen=True):
    """What one round showed. Latencies are in seconds, from the write to the read."""

    messages: int
    seconds: float
    quantiles: list[float]
    """At `QUANTILES`."""
    accepted: int
    fills: int
    errors: Counter[str]
    refusal: str | None
    """The text of the first error there ever was on these connections."""
    public_lines: int
    cpu: float
    """Seconds of processor time that this process, the generator, used meanwhile."""

    @property
    def rate(self) -> float:
        """Requests answered per second."""
        return self.messages / self.seconds


class Server:
    """A server under load, or several nodes of one that are given connections in turn.

    `timeout` is in seconds without any answer, and for connecting.
    """

    def __init__(
        self,
        host: str,
        ports: Sequence[int],
        timeout: float,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.host = host
        self.ports = ports
        self._timeout = timeout
        self._tls = tls
        self._connections: list[Connection] = []
        self._subscribers: list[Subscriber] = []

    async def connect(self, connections: int, in_flight: int, *, login: bool = False) -> None:
        """Open the connections that ask, under a name each if asked. Raises `ConnectionFailed`."""
        run = secrets.token_hex(4)
        for number, port in enumerate(islice(cycle(self.ports), connections)):
            hello = _LOGIN % (run.encode(), number) if login else b""
            connection = Connection(in_flight, lost(self.host, port), hello)
            await self._open(connection, port)
            self._connections.append(connection)

    async def subscribe(self, ports: Sequence[int], subscribers: int, hello: bytes = b"") -> None:
        """Open connections to the public feed, on each of which `hello` is said.

        Raises `ConnectionFailed`.
        """
        for port in islice(cycle(ports), subscribers):
            subscriber = Subscriber(hello)
            await self._open(subscriber, port)
            self._subscribers.append(subscriber)

    def close(self) -> None:
        """Close all connections. Safe to call twice."""
        for connection in self._connections:
            connection.close()
        for subscriber in self._subscribers:
            subscriber.close()

    async def play(self, loads: Sequence[Load]) -> Measured:
        """Send one load over each connection; wait for all answers. Raises `ConnectionFailed`."""
        before, cpu = self._tally(), time.process_time()
        round_ = Round(sum(map(len, loads)))
        for connection, load in zip(self._connections, loads, strict=True):
            connection.begin(load, round_)
        await self._finish(round_)
        cpu = time.process_time() - cpu
        if any(subscriber.is_lost for subscriber in self._subscribers):
            raise ConnectionFailed(f"the server at {self.host} closed a public connection")
        return _measured(round_, before, self._tally(), cpu)

    async def _open(self, protocol: asyncio.BaseProtocol, port: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                await loop.create_connection(lambda: protocol, self.host, port, ssl=self._tls)
        except TimeoutError:
            error = f"the server at {self.host}:{port} does not take connections"
            raise ConnectionFailed(error) from None
        except OSError as error:
            raise unreachable(self.host, port, error) from None

    async def _finish(self, round_: Round) -> None:
        """Wait for the end of the round for as long as it gets on."""
        before = -1
        while before != round_.left:
            before = round_.left
            await asyncio.wait([round_.done], timeout=self._timeout)
            if round_.done.done():
                return round_.done.result()
        raise ConnectionFailed(
            f"the server at {self.host}:{self.ports[0]} stopped answering: nothing for "
            f"{self._timeout:g} s, with {round_.left} of {round_.size} messages unanswered"
        )

    def _tally(self) -> "_Tally":
        answers = [connection.answers for connection in self._connections]
        return _Tally(
            sum(each.accepted for each in answers),
            sum(each.fills for each in answers),
            sum((each.errors for each in answers), Counter[str]()),
            next((each.refusal for each in answers if each.refusal is not None), None),
            sum(subscriber.lines for subscriber in self._subscribers),
        )


class _Tally(Struct, frozen=True):
    """What all connections were told since they were opened."""

    accepted: int
    fills: int
    errors: Counter[str]
    refusal: str | None
    public_lines: int


def _measured(round_: Round, before: _Tally, after: _Tally, cpu: float) -> Measured:
    return Measured(
        messages=round_.size,
        seconds=round_.ended - round_.began,
        quantiles=round_.latencies.percentiles(QUANTILES),
        accepted=after.accepted - before.accepted,
        fills=after.fills - before.fills,
        errors=after.errors - before.errors,
        refusal=after.refusal,
        public_lines=after.public_lines - before.public_lines,
        cpu=cpu,
    )
