"""The process that sends the log of another one, started by itself."""

import signal
import socket
import subprocess
import sys

import msgspec

from tests.gelf_receiver import HOST
from tests.support import PATIENCE
from wood.graylog.address import Address
from wood.graylog.record import Record


def test_signals_to_stop_are_not_meant_for_it() -> None:
    # Whoever ends a service sends them to all its processes: this one has the last words to send.
    # What starts it blocks them in it as well; here nobody does.
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, there, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((HOST, 0))
        receiver.settimeout(PATIENCE)
        address = Address("udp", HOST, receiver.getsockname()[1], compress=False)
        arguments = [str(there.fileno()), address.packed, "n", "nodes"]
        sender = subprocess.Popen(
            [sys.executable, "-m", "wood.graylog.log_sender", *arguments],
            stdin=subprocess.PIPE,
            pass_fds=[there.fileno()],
        )
        for text in ("first", "after the signals"):
            here.send(msgspec.msgpack.encode(Record(1.0, 20, "n", "nodes", text, {})))
            assert text.encode() in receiver.recv(65_536)
            for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                sender.send_signal(each)
        here.send(msgspec.msgpack.encode(Record(1.0, 20, "n", "nodes", "last words", {})))
        assert sender.stdin is not None
        sender.stdin.close()
        assert b"last words" in receiver.recv(65_536)
    assert sender.wait(PATIENCE) == 0
