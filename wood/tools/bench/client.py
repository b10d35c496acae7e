"""The two kinds of connection a benchmark opens, as protocols: one asks, the other only listens."""

import asyncio
from time import perf_counter
from typing import cast

from wood.model.errors import WoodError
from wood.tools.bench.answers import Answers
from wood.tools.bench.encode import Load
from wood.tools.bench.latency import Latencies, Questions

_NOTHING = Load(memoryview(b""), [0])


class Round:
    """One measured stretch: `size` requests over all connections, from first write to last answer.

    `done` ends with it, or with the error that ended it; times are in seconds of `perf_counter`.
    """

    def __init__(self, size: int) -> None:
        self.size = self.left = size
        self.latencies = Latencies()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.began = self.ended = perf_counter()

    def answered(self, count: int, now: float) -> None:
        """`count` more requests are answered."""
        self.left -= count
        if not self.left and not self.done.done():
            self.ended = now
            self.done.set_result(None)

    def fail(self, error: WoodError) -> None:
        """End the round with `error`, unless it has ended."""
        if not self.done.done():
            self.done.set_exception(error)


class Connection(asyncio.Protocol):
    """A closed loop: at most `in_flight` requests wait for an answer, and each answer frees one.

    `lost` is the error for a connection that the server closes; `hello` is said first, and what
    answers it is not counted.
    """

    def __init__(self, in_flight: int, lost: WoodError, hello: bytes = b"") -> None:
        self.answers = Answers()
        self._hello = hello
        self._in_flight = in_flight
        self._lost = lost
        self._is_lost = False
        self._questions = Questions()
        self._round: Round | None = None
        self._load = _NOTHING
        self._sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where requests go."""
        # uvloop's transports are none by inheritance, only by their methods.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._hello)

    def begin(self, load: Load, round_: Round) -> None:
        """Fill the window with the first requests of `load`; the answers draw the rest after."""
        if self._is_lost:
            round_.fail(self._lost)
            return
        self._load, self._sent, self._round = load, 0, round_
        self._send(self._in_flight, perf_counter())

    def close(self) -> None:
        """Close the connection; what is not answered yet never will be."""
        self._round = None
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Count the answers and refill the window with one write."""
        now = perf_counter()
        answered = self._answers_in(data)
        if answered and self._round is not None:
            self._questions.answered(answered, now, self._round.latencies)
            self._send(answered, now)
            self._round.answered(answered, now)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed, by whomever."""
        self._is_lost = True
        if self._round is not None:
            self._round.fail(self._lost)

    def _answers_in(self, data: bytes) -> int:
        answered = self.answers.feed(data)
        if answered <= self._questions.open:
            return answered
        if self._round is not None:
            self._round.fail(WoodError("the server answers more than it was asked"))
        self._transport.close()
        return 0

    def _send(self, count: int, now: float) -> None:
        first, load = self._sent, self._load
        last = min(first + count, len(load))
        if first < last:
            self._sent = last
            self._questions.asked(last - first, now)
            self._transport.write(load.data[load.ends[first] : load.ends[last]])


class Subscriber(asyncio.Protocol):
    """Listens to the public feed and counts its lines; `hello` is said first."""

    def __init__(self, hello: bytes = b"") -> None:
        self._hello = hello
        self.lines = 0
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember what to close."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._hello)

    def data_received(self, data: bytes) -> None:
        """Count."""
        self.lines += data.count(b"\n")

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed, by whomever."""
        self.is_lost = True

    def close(self) -> None:
        """Stop listening."""
        self._transport.close()
