"""The process that tells Graylog of the market: `python -m wood.graylog.market_sender`.

It is given batches, makes records of them, sends them until Graylog has confirmed them, and says
so. It ends when the other process closes the stream.
"""

import select
import socket
import sys
import time
from collections.abc import Callable

from wood.graylog.address import Address
from wood.graylog.child import Outage, Pauses, begin
from wood.graylog.frames import (
    LENGTH,
    Delivered,
    Delivery,
    Hello,
    State,
    Told,
    frame,
    read,
    unpack,
    unpack_instruments,
)
from wood.graylog.market import Which, records
from wood.graylog.sink import make_sink, why_down

PACE = 0.1
"""Seconds between two confirmations at least: each costs a new connection to Graylog."""


class Ended(Exception):
    """The other process has closed the stream."""


class Stream:
    """The stream to the other process, blocking."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        # Not select.select: the number of this socket is that of the other process, which has many.
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)
        self._file = channel.makefile("rb")

    def read(self) -> Told:
        """The next message. Raises `Ended`."""
        (size,) = LENGTH.unpack(self._read(LENGTH.size))
        return read(self._read(size))

    def _read(self, size: int) -> bytes:
        try:
            data = self._file.read(size)
        except OSError:  # the other side was gone before it had read an answer
            raise Ended from None
        if len(data) < size:
            raise Ended
        return data

    def say(self, message: Delivered | State) -> None:
        """Send a message. Raises `Ended`."""
        try:
            self._channel.sendall(frame(message))
        except OSError:
            raise Ended from None

    def wait(self, seconds: float) -> None:
        """Do nothing for so long. Raises `Ended`: the other side says nothing until it is told
        that something has arrived, so what there is to be read is the end.
        """
        if self._poll.poll(max(seconds, 0) * 1000):
            raise Ended


class Sender:
    """Sends what it is given."""

    def __init__(
        self, stream: Stream, hello: Hello, clock: Callable[[], float] = time.monotonic
    ) -> None:
        address = Address.unpack(hello.address)
        self._stream = stream
        self._sink = make_sink(address)
        self._outage = Outage(address, lambda up, reason: stream.say(State(up, reason)))
        self._instruments = unpack_instruments(hello.instruments)
        self._node, self._which = hello.node, Which(hello.which)
        self._clock = clock
        self._confirmed = 0.0

    def deliver(self, delivery: Delivery) -> None:
        """Send it until it is confirmed. Raises `Ended`."""
        pauses = Pauses()
        while True:
            try:
                self._send(delivery)
            except Ended:
                raise
            except Exception as error:
                self._sink.close()
                self._outage.down(why_down(error))
                self._stream.wait(pauses.next())
            else:
                self._outage.up()
                self._stream.say(Delivered(delivery.number))
                return

    def _send(self, delivery: Delivery) -> None:
        for record in delivery.records:
            self._sink.send(record)
        for packed in delivery.batches:
            for record in records(unpack(packed), self._instruments, self._node, self._which):
                self._sink.send(record)
        self._sink.flush()
        self._stream.wait(self._confirmed + PACE - self._clock())
        self._sink.confirm()
        self._confirmed = self._clock()


def main(arguments: list[str]) -> None:
    """Send until the stream ends."""
    channel, _ = begin(arguments)
    stream = Stream(channel)
    try:
        hello = stream.read()
        assert isinstance(hello, Hello)
        sender = Sender(stream, hello)
        while True:
            delivery = stream.read()
            assert isinstance(delivery, Delivery)
            sender.deliver(delivery)
    except Ended:
        pass


if __name__ == "__main__":
    main(sys.argv)
