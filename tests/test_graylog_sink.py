import logging
import random
import socket
import string
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.gelf_receiver import HOST, GelfReceiver, needs_gelf
from tests.tls import Office
from wood.graylog import sink as sinks
from wood.graylog.address import Address
from wood.graylog.record import Fields, Record
from wood.graylog.sink import Sink, SinkDown, make_sink
from wood.model.errors import ConfigError

Start = Callable[..., GelfReceiver]

LONG = "".join(random.Random(7).choices(string.ascii_letters, k=20_000))


def record(number: int = 0, text: str = "Redis answers again") -> Record:
    fields: Fields = {
        "event": "redis.back",
        "partition": "main",
        "duration_ms": 12.5,
        "seq": number,
        "price": 0.00000001,
        "client": "[::1]:7001",
        "order_id": 2**53,
        "symbol": "Ü\u20ac\U0001f600\n",
    }
    return Record(1_700_000_000.25, logging.WARNING, "node-1", "nodes", text, fields)


EXPECTED = {
    "version": "1.1",
    "host": "node-1",
    "short_message": "Redis answers again",
    "timestamp": 1_700_000_000.25,
    "level": 4,
    "_log": "nodes",
    "_node": "node-1",
    "_event": "redis.back",
    "_partition": "main",
    "_duration_ms": 12.5,
    "_seq": 0,
    "_price": 1e-08,
    "_client": "[::1]:7001",
    "_order_id": 2**53,
    "_symbol": "Ü\u20ac\U0001f600\n",
}


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path / "office")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "PATIENCE", 0.5)


def sent(sink: Sink, *records: Record) -> None:
    for each in records:
        sink.send(each)
    sink.flush()


def confirmed(sink: Sink, *records: Record) -> None:
    sent(sink, *records)
    sink.confirm()


@needs_gelf
@pytest.mark.parametrize("compress", ["yes", "no"])
def test_over_udp_small_and_in_chunks(start_gelf: Start, compress: str) -> None:
    receiver = start_gelf("udp")
    with closing(make_sink(receiver.address(compress=compress))) as sink:
        sent(sink, record())
        assert receiver.until(1)[0] == EXPECTED
        sent(sink, record(text=LONG))
        assert receiver.until(2)[1] == EXPECTED | {"short_message": LONG}
        sink.confirm()


@needs_gelf
def test_over_tcp(start_gelf: Start) -> None:
    receiver = start_gelf("tcp")
    with closing(make_sink(receiver.address())) as sink:
        confirmed(sink, record(), record(text=LONG))
        first, second = receiver.messages()
        assert first == EXPECTED
        assert second == EXPECTED | {"short_message": LONG}


@needs_gelf
def test_over_tls(start_gelf: Start, office: Office) -> None:
    receiver = start_gelf("tls", office.cert)
    with closing(make_sink(receiver.address(ca=office.ca))) as sink:
        confirmed(sink, record(), record(text=LONG))
        assert receiver.messages() == [EXPECTED, EXPECTED | {"short_message": LONG}]


@needs_gelf
def test_over_tls_with_a_certificate_of_ones_own(start_gelf: Start, office: Office) -> None:
    receiver = start_gelf("tls", office.cert, office.ca)
    ours = office.participant("wood")
    with closing(make_sink(receiver.address(ca=office.ca, cert=ours))) as sink:
        confirmed(sink, record())
        assert receiver.messages() == [EXPECTED]
    with (
        closing(make_sink(receiver.address(ca=office.ca))) as sink,
        pytest.raises(SinkDown, match=r"certificate required|closed the connection|reset"),
    ):
        confirmed(sink, record(1))
    assert receiver.count() == 1


@needs_gelf
def test_a_server_that_somebody_else_vouches_for_is_told_nothing(
    start_gelf: Start, office: Office, tmp_path: Path
) -> None:
    receiver = start_gelf("tls", office.cert)
    other = Office(tmp_path / "other")
    for options in ({"ca": other.ca}, {}):
        with (
            closing(make_sink(receiver.address(**options))) as sink,
            pytest.raises(SinkDown, match=r"local issuer certificate"),
        ):
            sent(sink, record())
    with closing(make_sink(Address.parse(f"tls://{HOST}:{receiver.port}?ca={office.ca}"))) as sink:
        confirmed(sink, record())
    assert receiver.count() == 1


def test_files_of_no_use_are_refused_in_one_line(tmp_path: Path, office: Office) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")
    for options in (f"ca={nonsense}", f"cert={nonsense}", f"cert={office.cert}&key={nonsense}"):
        with pytest.raises(ConfigError, match=r"cannot use .*nonsense.pem"):
            make_sink(Address.parse(f"tls://{HOST}?{options}"))


@needs_gelf
@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_each_confirmation_is_one_connection_and_loses_nothing(
    start_gelf: Start, office: Office, scheme: str
) -> None:
    receiver = start_gelf(scheme, *[office.cert] * (scheme == "tls"))
    options = {"ca": office.ca} if scheme == "tls" else {}
    with closing(make_sink(receiver.address(**options))) as sink:
        for start in range(0, 2_000, 100):
            confirmed(sink, *map(record, range(start, start + 100)))
            assert receiver.count() == start + 100, "all of them are written when it is confirmed"
    assert [message["_seq"] for message in receiver.messages()] == list(range(2_000))


@needs_gelf
def test_a_receiver_that_was_killed_is_noticed_and_found_again(start_gelf: Start) -> None:
    receiver = start_gelf("tcp")
    with closing(make_sink(receiver.address())) as sink:
        sent(sink, record(1))
        receiver.kill()
        with pytest.raises(SinkDown):
            sink.confirm()
        with pytest.raises(SinkDown, match=r"refused"):
            sent(sink, record(1))
        receiver.start()
        confirmed(sink, record(1))
    assert receiver.messages()[-1]["_seq"] == 1


@needs_gelf
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_a_receiver_that_stands_still_confirms_nothing(
    start_gelf: Start, office: Office, scheme: str
) -> None:
    receiver = start_gelf(scheme, *[office.cert] * (scheme == "tls"))
    options = {"ca": office.ca} if scheme == "tls" else {}
    with closing(make_sink(receiver.address(**options))) as sink:
        confirmed(sink, record(1))
        receiver.freeze()
        with pytest.raises(SinkDown, match=r"no answer in time"):
            confirmed(sink, record(2))
        with pytest.raises(SinkDown, match=r"no answer in time"):
            confirmed(sink, *[record(2, LONG)] * 2_000)  # more than the system keeps for it
        receiver.go_on()
        confirmed(sink, record(3))
    assert 3 in {message["_seq"] for message in receiver.messages()}


@needs_gelf
def test_over_udp_it_is_mostly_noticed_that_nobody_listens(start_gelf: Start) -> None:
    receiver = start_gelf("udp")
    with closing(make_sink(receiver.address())) as sink:
        sent(sink, record(1))
        receiver.until(1)
        receiver.kill()
        with pytest.raises(SinkDown, match=r"refused|nobody listens"):
            confirmed(sink, record(2))
        receiver.start()
        sent(sink, record(3))
        assert receiver.until(2)[1]["_seq"] == 3


class Server:
    """A server that does as a test says with each connection, and listens no more if it says so."""

    def __init__(self, *plays: Callable[[socket.socket], None]) -> None:
        self.listener = socket.create_server((HOST, 0))
        self.address = Address("tcp", HOST, self.listener.getsockname()[1])
        self._thread = threading.Thread(target=self._run, args=plays)
        self._thread.start()

    def close(self) -> None:
        self._thread.join()
        self.listener.close()

    def _run(self, *plays: Callable[[socket.socket], None]) -> None:
        for play in plays:
            connection, _ = self.listener.accept()
            with connection:
                play(connection)


@pytest.fixture
def play() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*plays: Callable[[socket.socket], None]) -> Server:
        servers.append(Server(*plays))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def read_all(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


def read_one_byte(connection: socket.socket) -> None:
    connection.recv(1)


def nothing(_: socket.socket) -> None:
    pass


def test_who_reads_to_the_end_confirms(play: Callable[..., Server]) -> None:
    server = play(read_all, read_all)
    with closing(make_sink(server.address)) as sink:
        confirmed(sink, record())


def test_who_ends_with_something_unread_does_not(play: Callable[..., Server]) -> None:
    server = play(read_one_byte)
    with closing(make_sink(server.address)) as sink, pytest.raises(SinkDown):
        confirmed(sink, record())


def test_who_ends_before_we_do_does_not_though_all_was_read(play: Callable[..., Server]) -> None:
    done = threading.Event()

    def read_and_end(connection: socket.socket) -> None:
        data = b""
        while not data.endswith(b"\0"):
            data += connection.recv(65_536)
        connection.shutdown(socket.SHUT_WR)
        done.set()
        read_all(connection)

    server = play(read_and_end)
    with closing(make_sink(server.address)) as sink:
        sent(sink, record())
        done.wait()
        with pytest.raises(SinkDown, match=r"has closed the connection"):
            sink.confirm()


def test_who_dies_when_it_has_read_all_does_not(play: Callable[..., Server]) -> None:
    # The system ends the connection of a process that is killed as it should be ended, if nothing
    # was unread. But then nobody listens any more.
    def read_all_and_die(connection: socket.socket) -> None:
        read_all(connection)
        server.listener.close()

    server = play(read_all_and_die)
    with closing(make_sink(server.address)) as sink:
        sent(sink, record())
        with pytest.raises(SinkDown, match=r"refused"):
            sink.confirm()


def test_an_idle_connection_that_the_server_ends_is_no_loss(play: Callable[..., Server]) -> None:
    server = play(read_all, nothing, read_all, read_all)
    with closing(make_sink(server.address)) as sink:
        confirmed(sink, record())  # it has connected again, and the server ends that
        confirmed(sink, record())


def test_a_name_that_nobody_knows_is_a_sink_that_is_down() -> None:
    for scheme in ("udp", "tcp"):
        with (
            closing(make_sink(Address.parse(f"{scheme}://no-such-host.invalid"))) as sink,
            pytest.raises(SinkDown),
        ):
            sent(sink, record())
