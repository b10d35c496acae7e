"""Which fields each event of the log has, and whether that is what a process really sends.

The table is `log_fields.json`: for each event the fields that it can have, `text` or `number`, and
in which run of the tests all of them are seen (`seen_in`), but for those that `also` names, which
another run sees. A run collects what servers send and is compared with the table: nothing that it
saw is not there, and what it is to see it saw.
"""

import json
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import eventually, free_port
from wood.model.log_events import LogEvent

FILE = Path(__file__).parent / "log_fields.json"

ALWAYS = {"_event", "_node", "_log"}
"""Fields of every record, beside those of GELF itself, which have no underscore."""


@dataclass(frozen=True)
class Row:
    """What is known of an event."""

    fields: dict[str, str]
    seen_in: str
    also: dict[str, list[str]] = field(default_factory=dict)
    """Fields that are seen in another run, by its name."""


def table() -> dict[str, Row]:
    """By the name of the event."""
    return {name: Row(**row) for name, row in json.loads(FILE.read_text()).items()}


def kind(value: object) -> str:
    """What a field is to Graylog."""
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else "text"


def fields_of(message: dict[str, Any]) -> dict[str, str]:
    """Of a GELF message: its fields, and what they are."""
    return {
        name.removeprefix("_"): kind(value)
        for name, value in message.items()
        if name.startswith("_") and name not in ALWAYS
    }


def check(messages: list[dict[str, Any]], run: str, *but: str) -> None:
    """Compare what a run saw with the table; `but` are events that it need not see."""
    rows = table()
    seen: dict[str, dict[str, str]] = {}
    types: dict[str, set[type]] = {}
    for message in messages:
        for name, value in message.items():
            types.setdefault(name, set()).add(type(value))
        event = message["_event"]
        assert event in rows, f"{event} is not in {FILE.name}"
        for name, what in fields_of(message).items():
            assert rows[event].fields.get(name) == what, f"{event}: {name} is {what}: {message}"
            seen.setdefault(event, {})[name] = what
        seen.setdefault(event, {})
    # An index takes the type of a field from the first record that has it.
    assert all(len(each) == 1 for name, each in types.items() if name != "timestamp"), types
    for event, row in rows.items():
        expected = _expected(row, run)
        if event not in but and (expected or row.seen_in == run):
            assert event in seen, f"{event} was not seen in {run}"
            missing = expected - seen[event].keys()
            assert not missing, f"{event} has no {missing} in {run}"


def _expected(row: Row, run: str) -> set[str]:
    """The fields that a run is to see."""
    if row.seen_in != run:
        return set(row.also.get(run, ()))
    return row.fields.keys() - {name for names in row.also.values() for name in names}


class Ear:
    """Takes GELF over TCP, as messages that end with a zero byte. Close it in the end."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.heard = b""
        """All that arrived, as it came."""
        self._port = free_port()
        self.url = f"tcp://127.0.0.1:{self._port}"
        self.come_back()

    def come_back(self) -> None:
        """Listen, at the beginning and after `go_away`."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def go_away(self) -> None:
        """Take no connection any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def close(self) -> None:
        """Hear no more."""
        self.go_away()

    def of(self, event: LogEvent) -> list[dict[str, Any]]:
        """What was heard of an event."""
        return [message for message in self.messages if message["_event"] == event]

    def wait(self, event: LogEvent, count: int = 1) -> dict[str, Any]:
        """The last message of an event, as soon as there are so many."""
        eventually(lambda: len(self.of(event)) >= count, f"{count} of {event}")
        return self.of(event)[-1]

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._hear, args=(connection,), daemon=True).start()

    def _hear(self, connection: socket.socket) -> None:
        data = b""
        with connection, suppress(OSError):
            while more := connection.recv(65536):
                self.heard += more
                *whole, data = (data + more).split(b"\0")
                self.messages += map(json.loads, whole)
