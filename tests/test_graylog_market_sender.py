"""The process that sends the market, when the one that told it to is gone."""

import select
import socket
import subprocess
import sys
from collections.abc import Callable

from tests.engines import INSTRUMENTS
from tests.gelf_receiver import GelfReceiver, needs_gelf
from tests.support import PATIENCE
from tests.test_graylog_market import a_trade, batch_of
from wood.graylog.frames import Hello, delivery, frame, pack_instruments
from wood.graylog.market import EVENTS, Which


@needs_gelf
def test_it_ends_quietly_though_nobody_heard_its_answer(
    start_gelf: Callable[..., GelfReceiver],
) -> None:
    address = start_gelf("udp").address()
    here, there = socket.socketpair()
    with here, there:
        sender = subprocess.Popen(
            [sys.executable, "-m", "wood.graylog.market_sender", str(there.fileno())],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[there.fileno()],
        )
        there.close()
        hello = Hello(address.packed, "n", Which.TRADES, pack_instruments(INSTRUMENTS))
        packed = delivery(1, [batch_of(a_trade())], EVENTS[Which.TRADES], ())
        assert packed is not None
        here.sendall(frame(hello) + packed)
        assert select.select([here], [], [], PATIENCE)[0], "an answer"
    _, said = sender.communicate(timeout=PATIENCE)
    assert (sender.returncode, said) == (0, b"")
