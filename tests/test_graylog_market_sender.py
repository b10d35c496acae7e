"""The process that sends the market: at what pace, after what, and until when."""

import fcntl
import resource
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.engines import INSTRUMENTS
from tests.gelf_receiver import HOST, GelfReceiver, needs_gelf
from tests.support import PATIENCE
from tests.test_graylog_market import a_trade, batch_of
from tests.test_graylog_sending import OddSink
from wood.graylog import market_sender
from wood.graylog.address import Address
from wood.graylog.frames import (
    LENGTH,
    Delivered,
    Delivery,
    Hello,
    State,
    delivery,
    frame,
    pack_instruments,
    read,
)
from wood.graylog.market import EVENTS, Which
from wood.graylog.market_sender import Ended, Sender, Stream
from wood.graylog.sink import Sink


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


def test_signals_to_stop_are_not_meant_for_it() -> None:
    # The one that started it gets them too, and has it send the rest.
    here, there = socket.socketpair()
    with here, there, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((HOST, 0))
        receiver.settimeout(PATIENCE)
        here.settimeout(PATIENCE)
        address = Address("udp", HOST, receiver.getsockname()[1])
        hello = Hello(address.packed, "n", Which.TRADES, pack_instruments(INSTRUMENTS))
        sender = subprocess.Popen(
            [sys.executable, "-m", "wood.graylog.market_sender", str(there.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[there.fileno()],
        )
        there.close()
        here.sendall(frame(hello))
        for number in (1, 2, 3):
            packed = delivery(number, [batch_of(a_trade())], EVENTS[Which.TRADES], ())
            assert packed is not None
            here.sendall(packed)
            assert receiver.recv(65_536)
            answer = frame(Delivered(number))
            assert here.recv(len(answer), socket.MSG_WAITALL) == answer
            for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                sender.send_signal(each)
    assert sender.wait(PATIENCE) == 0


def test_a_stream_with_a_high_number_waits_as_any_other() -> None:
    # It has the number that it had in a server of many connections.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2_000), hard))
    try:
        here, there = socket.socketpair()
        with here, there, socket.socket(fileno=fcntl.fcntl(there, fcntl.F_DUPFD, 1_100)) as high:
            assert high.fileno() >= 1_100
            stream = Stream(high)
            stream.wait(0.001)
            here.close()
            with pytest.raises(Ended):
                stream.wait(PATIENCE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class PretendedStream(Stream):
    """Time goes on only here, while it is waited."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.said: list[Delivered | State] = []

    def say(self, message: Delivered | State) -> None:
        self.said.append(message)

    def wait(self, seconds: float) -> None:
        self.now += max(seconds, 0)


def a_sender(
    monkeypatch: pytest.MonkeyPatch, stream: PretendedStream, sink: Sink
) -> Callable[[int], None]:
    """What sends one trade with this sink, as the delivery of that number."""
    monkeypatch.setattr(market_sender, "make_sink", lambda address: sink)
    hello = Hello(
        Address("tcp", "graylog").packed, "n", Which.TRADES, pack_instruments(INSTRUMENTS)
    )
    sender = Sender(stream, hello, clock=lambda: stream.now)

    def send(number: int) -> None:
        packed = delivery(number, [batch_of(a_trade())], EVENTS[Which.TRADES], ())
        assert packed is not None
        told = read(packed[LENGTH.size :])
        assert isinstance(told, Delivery)
        sender.deliver(told)

    return send


def test_there_are_no_more_than_ten_confirmations_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = PretendedStream()
    confirmed: list[float] = []

    class TimedSink(OddSink):
        def confirm(self) -> None:
            confirmed.append(stream.now)

    sink = TimedSink()
    sink.odd = False
    send = a_sender(monkeypatch, stream, sink)
    for number in range(25):
        send(number)
    assert confirmed[0] == 1_000, "the first one waits for nobody"
    assert len(confirmed) == 25
    for first, eleventh in zip(confirmed, confirmed[10:], strict=False):
        assert eleventh - first >= 1 - 1e-6, "each costs a connection, and a port for a minute"


def test_an_error_of_any_kind_is_told_once_and_the_delivery_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = PretendedStream()

    class MendedSink(OddSink):
        def flush(self) -> None:
            self.odd = self.tries < 3
            super().flush()

    sink = MendedSink()
    a_sender(monkeypatch, stream, sink)(7)
    away, back, delivered = stream.said
    assert away == State(False, "UnicodeError: label too long")
    assert isinstance(back, State)
    assert (back.up, delivered) == (True, Delivered(7))
    assert len(sink.arrived) == 1, "what the odd one had gathered is not sent twice"
