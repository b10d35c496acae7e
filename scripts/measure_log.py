"""What a record for Graylog costs: the event loop that tells it, and the process that sends it.

Nobody reads where it is sent.

    PYTHONPATH=. .venv/bin/python scripts/measure_log.py
"""

import logging
import socket
import statistics
import time
from collections.abc import Callable

from wood.graylog.address import Address
from wood.graylog.encoding import Datagrams, Frames
from wood.graylog.handler import start_log_sender
from wood.graylog.record import Fields, Record
from wood.model.log_events import LogEvent, told

ROUNDS, EACH = 200, 50  # so many fit into the socket between the processes


def main() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        handler = start_log_sender(Address("udp", *nobody.getsockname()), "node-1")
        log = logging.Logger("wood.node")
        fields = told(LogEvent.SESSION_OPENED, session="1-1", client="192.0.2.1:50000")
        record = log.makeRecord(
            "wood.node", logging.INFO, "f", 1, "session %s opened", ("1-1",), None, extra=fields
        )
        costs = []
        for _ in range(ROUNDS):
            time.sleep(0.01)  # the other process reads
            begun = time.perf_counter()
            for _ in range(EACH):
                handler.handle(record)
            costs.append((time.perf_counter() - begun) / EACH * 1e6)
        print(
            f"handing a record over: {statistics.median(costs):.1f} us (dropped: {handler.dropped})"
        )
        handler.close()
    known: Fields = {"event": "session.opened", "session": "1-1", "client": "192.0.2.1:50000"}
    ready = Record(time.time(), logging.INFO, "node-1", "nodes", "session 1-1 opened", known)
    frames, datagrams = Frames(), Datagrams(1408, compress=True)
    print(f"encoding it for TCP: {cost(lambda: frames.of(ready)):.1f} us")
    print(f"encoding it for UDP, compressed: {cost(lambda: list(datagrams.of(ready))):.1f} us")


def cost(call: Callable[[], object]) -> float:
    """Microseconds of a call."""
    begun = time.perf_counter()
    for _ in range(10_000):
        call()
    return (time.perf_counter() - begun) / 10_000 * 1e6


if __name__ == "__main__":
    main()
