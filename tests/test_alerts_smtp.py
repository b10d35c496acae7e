"""Alerts by e-mail, handed to a real mail server: plain, STARTTLS, SMTPS, with a login."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.alerts import letter, notice
from tests.mail_server import HOST, PASSWORD, USER
from tests.mail_server import MailServer as Receiver
from tests.support import PATIENCE, eventually, free_port
from tests.tls import Office
from wood.alerts import smtp as module
from wood.alerts.outbox import Letter
from wood.alerts.sender import Sender, Undelivered
from wood.alerts.smtp import MailServer, MailSink, message
from wood.model.errors import ConfigError
from wood.model.log_events import LogEvent

# The server warns of what it is told to do here.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

LOGIN = f"{USER}:{quote(PASSWORD, safe='')}@"
SENDER = "wood@exchange.example"


@pytest.fixture
def receiver() -> Iterator[Callable[..., Receiver]]:
    started: list[Receiver] = []

    def start(**settings: object) -> Receiver:
        started.append(Receiver(**settings))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for each in started:
        each.stop()


def sink(url: str, recipient: str = "ops@example.org") -> MailSink:
    return MailSink(MailServer.parse(url), SENDER, recipient)


def refusal(url: str, recipient: str = "ops@example.org") -> str:
    with pytest.raises(Undelivered) as error:
        sink(url, recipient).deliver(letter())
    assert PASSWORD not in str(error.value)
    assert quote(PASSWORD, safe="") not in str(error.value)
    return str(error.value)


def test_a_mail_says_what_since_when_how_often_and_what_to_do(
    receiver: Callable[..., Receiver],
) -> None:
    server = receiver()
    sink(f"smtp://{HOST}:{server.port}").deliver(letter(notice(text="größer als 1", times=3)))
    (mail,) = server.mails
    assert (mail["From"], mail["To"], mail["X-Rcpt"]) == (SENDER, *["ops@example.org"] * 2)
    assert mail["Subject"] == "[wood] RAISED node-lost n1"
    assert mail["Date"]
    assert mail["Message-ID"]
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content().replace("\r\n", "\n") == (
        "RAISED node-lost n1\n"
        "  größer als 1\n"
        "  since: 2027-01-15 08:00:00 UTC\n"
        "  happened: 3 times\n"
        "  what to do: docs/operations.md#node-lost\n"
    )


def test_many_notices_are_one_mail(receiver: Callable[..., Receiver]) -> None:
    server = receiver()
    ended = notice(id="b", event=LogEvent.ALERT_ENDED, stands_for=4)
    sink(f"smtp://{HOST}:{server.port}").deliver(Letter([notice(), ended], {"errors": 7}))
    (mail,) = server.mails
    text = mail.get_content()
    assert mail["Subject"] == "[wood] 1 alerts, 1 ended"
    assert "ENDED node-lost n1" in text
    assert "notices in this one: 4" in text
    assert "And 7 more notices of errors" in text


def test_a_name_cannot_add_a_header() -> None:
    mail = message(letter(notice(subject="n1\r\nBcc: mallory@example.org")), SENDER, "a@b")
    assert "Bcc" not in mail
    assert "\\r\\n" in mail["Subject"]


def test_by_starttls_with_a_login(receiver: Callable[..., Receiver], tmp_path: Path) -> None:
    office = Office(tmp_path)
    server = receiver(cert=office.cert, login=True)
    sink(f"smtp://{LOGIN}{HOST}:{server.port}?starttls&ca={office.ca}").deliver(letter())
    assert server.encrypted == [True]
    assert server.logins == [USER]


def test_by_smtps_with_a_login(receiver: Callable[..., Receiver], tmp_path: Path) -> None:
    office = Office(tmp_path)
    server = receiver(cert=office.cert, smtps=True, login=True)
    sink(f"smtps://{LOGIN}{HOST}:{server.port}?ca={office.ca}").deliver(letter())
    assert server.encrypted == [True]
    assert server.logins == [USER]


def test_a_server_of_another_issuer_is_not_told_the_password(
    receiver: Callable[..., Receiver], tmp_path: Path
) -> None:
    office, other = Office(tmp_path / "one"), Office(tmp_path / "two")
    server = receiver(cert=office.cert, login=True)
    text = refusal(f"smtp://{LOGIN}{HOST}:{server.port}?starttls&ca={other.ca}")
    assert "CERTIFICATE_VERIFY_FAILED" in text
    assert server.logins == []


def test_a_server_without_starttls_is_not_told_the_password(
    receiver: Callable[..., Receiver],
) -> None:
    server = receiver(login=True)
    assert "STARTTLS" in refusal(f"smtp://{LOGIN}{HOST}:{server.port}?starttls")
    assert server.logins == []


def test_a_wrong_password_is_said_and_not_shown(receiver: Callable[..., Receiver]) -> None:
    server = receiver(login=True)
    text = refusal(f"smtp://{USER}:xyzzy@{HOST}:{server.port}")
    assert "refuses the user or the password (535)" in text
    assert "xyzzy" not in text
    sink(f"smtp://{LOGIN}{HOST}:{server.port}").deliver(letter())
    assert len(server.mails) == 1


def test_a_recipient_who_is_refused_keeps_nobody_from_being_told(
    receiver: Callable[..., Receiver],
) -> None:
    server = receiver(refused=("gone@example.org",))
    url = f"smtp://{HOST}:{server.port}"
    assert "refuses the recipient: 550 nobody of" in refusal(url, "gone@example.org")
    senders = [Sender(sink(url, who), wait=0.01) for who in ("gone@example.org", "ops@example.org")]
    for sender in senders:
        sender.start()
        sender.tell([notice()])
    eventually(lambda: len(server.mails) == 1)
    server.refused = ()
    eventually(lambda: len(server.mails) == 2)
    assert {mail["X-Rcpt"] for mail in server.mails} == {"gone@example.org", "ops@example.org"}
    for sender in senders:
        sender.end()
        assert sender.ended(PATIENCE) is None


def test_a_server_that_is_away_gets_what_waited_in_one_mail(
    receiver: Callable[..., Receiver],
) -> None:
    server = receiver()
    server.stop()
    sender = Sender(sink(f"smtp://{HOST}:{server.port}"), wait=0.01)
    sender.start()
    sender.tell([notice(), notice(id="b", subject="n2")])
    sender.tell([notice(event=LogEvent.ALERT_ENDED, times=2)])
    server.start()
    eventually(lambda: len(server.mails) == 1)
    sender.end()
    assert sender.ended(PATIENCE) is None
    (mail,) = server.mails
    text = mail.get_content()
    assert "RAISED node-lost n2" in text
    assert "ENDED node-lost n1" in text
    assert "RAISED node-lost n1" not in text


@pytest.fixture
def slow_server() -> Iterator[Callable[[bytes], int]]:
    """Servers that take a connection, say a byte now and then for ever, and never more."""
    stop = threading.Event()
    threads: list[threading.Thread] = []
    listeners: list[socket.socket] = []

    def serve(listener: socket.socket, text: bytes) -> None:
        client, _ = listener.accept()
        with client:
            while not stop.wait(0.02):
                try:
                    client.sendall(text)
                except OSError:
                    return

    def start(text: bytes) -> int:
        listener = socket.create_server((HOST, 0))
        listener.settimeout(PATIENCE)
        listeners.append(listener)
        threads.append(threading.Thread(target=serve, args=(listener, text)))
        threads[-1].start()
        port: int = listener.getsockname()[1]
        return port

    yield start
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize("text", [b"", b"2"], ids=["silent", "a byte now and then"])
def test_a_slow_server_is_given_up(
    slow_server: Callable[[bytes], int], text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    monkeypatch.setattr(module, "LONGEST", 0.3)
    port = slow_server(text)
    began = time.monotonic()
    refusal(f"smtp://{HOST}:{port}")
    assert time.monotonic() - began < PATIENCE / 2


def test_where_nobody_is_that_is_said() -> None:
    assert "refused" in refusal(f"smtp://{HOST}:{free_port()}")


@pytest.mark.parametrize(
    "url",
    [
        "mail.example",
        "http://mail.example",
        "smtp://",
        "smtp://u:secret@mail.example:port",
        "smtp://u:secret@mail.example/path",
        "smtp://u:secret@mail.example?tls",
        "smtp://u:secret@mail.example#f",
        "smtps://u:secret@mail.example?starttls",
        "smtp://u:secret@mail.example?ca=/dev/null",
        "smtps://u:secret@mail.example?ca=/no/such/file",
        "smtp://onlyuser@mail.example",
        "smtp://u:secret@[mail.example",
    ],
)
def test_a_url_that_cannot_be_is_one_line_without_the_password(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^--smtp: ") as error:
        MailServer.parse(url)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_vouches_for_nobody_is_said(tmp_path: Path) -> None:
    file = tmp_path / "empty.pem"
    file.write_text("nothing\n")
    with pytest.raises(ConfigError, match="has no certificates"):
        sink(f"smtps://mail.example?ca={file}")


def test_what_a_url_leaves_out() -> None:
    assert MailServer.parse("smtp://mail.example") == MailServer("mail.example", 25)
    assert MailServer.parse("smtps://mail.example/").port == 465
    assert MailServer.parse(f"smtp://{LOGIN}mail.example").password == PASSWORD
    assert MailServer.parse(f"smtp://{LOGIN}mail.example").readable
    assert not MailServer.parse(f"smtp://{LOGIN}mail.example?starttls").readable
    assert PASSWORD not in repr(MailServer.parse(f"smtp://{LOGIN}mail.example"))
