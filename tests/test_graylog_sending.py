"""The thread that sends, and a sink that fails in ways of which nobody has thought."""

import logging

import pytest

from tests.support import PATIENCE, eventually
from wood.graylog.address import Address
from wood.graylog.child import Outage
from wood.graylog.log_sender import dropped
from wood.graylog.outbox import Outbox
from wood.graylog.record import Record
from wood.graylog.sending import Sending
from wood.graylog.sink import Sink


class OddSink(Sink):
    """Raises what is no `SinkDown`, so long as it is odd; and keeps what was confirmed."""

    def __init__(self) -> None:
        self.odd = True
        self.tries = 0
        self.arrived: list[str] = []
        self._waiting: list[str] = []

    def send(self, record: Record) -> None:
        self._waiting.append(record.text)

    def flush(self) -> None:
        self.tries += 1
        if self.odd:
            raise UnicodeError("label too long")

    def confirm(self) -> None:
        self.arrived += self._waiting
        self._waiting = []

    def close(self) -> None:
        self._waiting = []


def test_an_error_of_any_kind_is_told_once_and_what_was_dropped_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = OddSink()
    address = Address("udp", "graylog")
    sending = Sending(Outbox(2), sink, Outage(address), lambda count: dropped("n", "nodes", count))
    for number in range(5):
        sending.put(Record(1.0, logging.INFO, "n", "nodes", str(number), {}))
    sending.start()
    eventually(lambda: sink.tries >= 3, "another try")
    [away] = caplog.messages
    assert away == f"Graylog at {address} is away: UnicodeError: label too long"
    sink.odd = False
    assert sending.end(PATIENCE) == 0
    assert sink.arrived == ["0", "1", "3 records could not be sent to Graylog"]
    assert "is back" in caplog.messages[-1]
