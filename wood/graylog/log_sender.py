"""The process that sends the log of another one: `python -m wood.graylog.log_sender`.

It reads records from a pair of sockets and sends them, until its standard input ends: then the
other process has closed its log, or is no more.
"""

import logging
import select
import socket
import sys
import time
from collections.abc import Iterator

import msgspec

from wood.graylog.address import Address
from wood.graylog.child import Outage, begin
from wood.graylog.outbox import Outbox
from wood.graylog.record import Fields, Record
from wood.graylog.sending import Sending
from wood.graylog.sink import make_sink
from wood.model.log_events import LogEvent

log = logging.getLogger("wood.graylog")

MOST = 10_000
"""Records that wait while Graylog is away; more are dropped and counted."""

LAST_WORDS = 4.5
"""Seconds in which all that waits has to be sent when the other process has ended."""

DATAGRAM = 1 << 20
"""Bytes that no record has."""


def main(arguments: list[str]) -> None:
    """Send until there is nothing more."""
    channel, (packed, node, kind) = begin(arguments)
    address = Address.unpack(packed)
    sending = Sending(
        Outbox(MOST), make_sink(address), Outage(address), lambda count: dropped(node, kind, count)
    )
    sending.start()
    for record in _records(channel):
        sending.put(record)
    if lost := sending.end(LAST_WORDS):
        log.warning("%d records could not be sent to Graylog at %s", lost, address)


def dropped(node: str, kind: str, count: int) -> Record:
    """Tells Graylog that something is missing there."""
    text = f"{count} records could not be sent to Graylog"
    fields: Fields = {"event": LogEvent.RECORDS_DROPPED.value, "count": count}
    return Record(time.time(), logging.WARNING, node, kind, text, fields)


def _records(channel: socket.socket) -> Iterator[Record]:
    """All that arrive until standard input ends, and what is there then."""
    decode = msgspec.msgpack.Decoder(Record).decode
    buffer = memoryview(bytearray(DATAGRAM))
    channel.setblocking(False)
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(sys.stdin, select.POLLIN)
    ended = False
    while not ended:
        ended = any(number != channel.fileno() for number, _ in poll.poll())
        while True:
            try:
                size = channel.recv_into(buffer)
            except BlockingIOError:
                break
            yield decode(buffer[:size])


if __name__ == "__main__":
    main(sys.argv)
