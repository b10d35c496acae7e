"""`wood alert` as a command: what it watches, whom it tells, how it ends."""

import json
import socket
import subprocess
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from tests.alert_process import AlertProcess
from tests.alerts import notice
from tests.mail_server import HOST, PASSWORD, USER, MailServer
from tests.support import PATIENCE, Server, eventually, free_port, run_wood, run_wood_here
from tests.tls import Office
from wood.alerts import run
from wood.alerts.outbox import Letter
from wood.alerts.run import deliver_rest
from wood.alerts.sender import Sender, Sink, Undelivered
from wood.alerts.sources import disk

StartServer = Callable[..., Server]
StartAlert = Callable[..., AlertProcess]


@pytest.fixture
def start_alert(tmp_path: Path) -> Iterator[StartAlert]:
    """Start one; afterwards it must end well."""
    started: list[AlertProcess] = []

    def start(*options: str, **environment: str) -> AlertProcess:
        started.append(AlertProcess(tmp_path, *options, **environment))
        return started[-1]

    yield start
    codes = [each.stop() for each in started]
    for each, code in zip(started, codes, strict=True):
        assert "Traceback" not in each.text()
        assert code == 0, each.text()


@pytest.fixture
def webhook() -> Iterator[HTTPServer]:
    with HTTPServer(HOST, free_port()) as server:
        yield server


@pytest.fixture
def mail() -> Iterator[MailServer]:
    server = MailServer()
    yield server
    server.stop()


def nobody() -> str:
    """A health port that no node has."""
    return f"{HOST}:{free_port()}"


def test_a_single_server_that_dies_is_told_and_that_it_is_back(
    start_server: StartServer, start_alert: StartAlert
) -> None:
    port = free_port()
    options = "--name", "s1", "--health", str(port)
    server = start_server(*options)
    assert run_wood("alert", "--health", f"{HOST}:{port}", "--once").returncode == 0
    alert = start_alert("--health", f"{HOST}:{port}")
    server.kill()
    eventually(lambda: len(alert.told()) == 1)
    start_server(*options)
    eventually(lambda: len(alert.told()) == 2)
    assert [title.split()[:2] for title in alert.told()] == [
        ["RAISED", "node-lost"],
        ["ENDED", "node-lost"],
    ]


@pytest.mark.parametrize("mode", ["memory", "redis"])
def test_errors_in_the_log_of_a_server_are_told_with_their_number(
    tmp_path: Path,
    redis_url: str,
    prefix: str,
    start_server: StartServer,
    start_alert: StartAlert,
    mode: str,
) -> None:
    office, port = Office(tmp_path / "tls"), free_port()
    where, more = ["--health", f"{HOST}:{port}"], ["--health", str(port)]
    if mode == "redis":
        where = ["--redis", redis_url, "--prefix", prefix]
        more = ["-m", *where]
    server = start_server(*office.options, "--name", "s1", *more)
    alert = start_alert(*where, "--errors", "3", "--errors-within", "4")
    office.cert.write_text("nothing of use\n")
    for count in range(1, 4):
        server.process.send_signal(1)
        eventually(lambda count=count: server.text().count("ERROR") == count)  # type: ignore[misc]
    alert.tells("RAISED errors s1", "ENDED errors s1")
    assert "3 errors in the log of the node in 4 s" in alert.text()
    assert ", 3 times; see docs/operations.md#errors" in alert.text()


def test_a_disk_that_is_too_full_is_told_and_one_that_is_not_is_not(
    tmp_path: Path, start_alert: StartAlert
) -> None:
    used = 100 * (1 - disk(str(tmp_path)).free / disk(str(tmp_path)).size)
    here = "--disk", str(tmp_path)
    assert run_wood("alert", *here, "--once", "--disk-full", str(min(100.0, used + 5))).stdout == (
        "no alerts\n"
    )
    alert = start_alert(*here, "--disk-full", str(max(0.0, used - 5)))
    alert.tells(f"RAISED disk-nearly-full {tmp_path}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    path = tmp_path / "small"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a file system")
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.mark.long
def test_a_disk_that_fills_up_is_told_and_that_there_is_room_again(
    small_disk: Path, start_alert: StartAlert
) -> None:
    alert = start_alert("--disk", str(small_disk))
    (small_disk / "file").write_bytes(bytes(3_900_000))
    alert.tells(f"RAISED disk-nearly-full {small_disk}")
    (small_disk / "file").unlink()
    alert.tells(f"ENDED disk-nearly-full {small_disk}")


def test_everybody_is_told_and_one_who_hangs_holds_up_nobody(
    start_alert: StartAlert, webhook: HTTPServer, mail: MailServer
) -> None:
    webhook.expect_request("/").respond_with_data()
    graylog = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    graylog.settimeout(PATIENCE)
    graylog.bind((HOST, 0))
    hanging = socket.create_server((HOST, 0))  # takes connections, and says nothing
    where = nobody()
    alert = start_alert(
        *("--health", where, "--webhook", f"http://{HOST}:{hanging.getsockname()[1]}/"),
        *("--webhook", webhook.url_for("/"), "--smtp", f"smtp://{HOST}:{mail.port}"),
        *("--mail-to", "ops@example.org", "--mail-to", "boss@example.org"),
        *("--mail-from", "wood@example.org", "--name", "watcher"),
        *("--graylog", f"udp://{HOST}:{graylog.getsockname()[1]}"),
    )
    alert.tells(f"RAISED node-lost {where}")
    eventually(lambda: len(mail.mails) == 2 and len(webhook.log) == 1)
    assert {each["To"] for each in mail.mails} == {"ops@example.org", "boss@example.org"}
    (notice,) = json.loads(webhook.log[0][0].data)["notices"]
    assert (notice["event"], notice["subject"]) == ("alert.raised", where)
    while True:
        record = json.loads(zlib.decompress(graylog.recv(65536)))
        if record["_event"] == "alert.raised":
            break
    assert (record["host"], record["_log"], record["level"]) == ("watcher", "alerts", 3)
    assert (record["_alert"], record["_subject"]) == ("node-lost", where)
    assert (record["_count"], record["_runbook"]) == (1, "docs/operations.md#node-lost")
    graylog.close()
    hanging.close()


def test_who_is_away_until_the_end_is_tried_once_more_and_named(start_alert: StartAlert) -> None:
    where = nobody()
    secret = "tok3n"
    alert = start_alert(
        *("--health", where, "--webhook", f"http://u:{secret}@{nobody()}/{secret}"),
        *("--mail-to", "ops@example.org"),
        WOOD_ALERT_SMTP=f"smtp://u:{secret}@{nobody()}",
    )
    alert.tells(f"RAISED node-lost {where}")
    eventually(lambda: alert.text().count("does not take alerts") == 2)
    assert alert.stop() == 0
    assert alert.text().count(f"was not told: RAISED node-lost {where}") == 2
    assert "stopped; 1 alerts had not ended" in alert.text()
    assert "the password is sent in the plain" in alert.text()
    assert secret not in alert.text()


def test_a_password_that_is_refused_is_in_no_log(start_alert: StartAlert, tmp_path: Path) -> None:
    office = Office(tmp_path)
    server = MailServer(cert=office.cert, login=True)
    alert = start_alert(
        *("--health", nobody(), "--mail-to", "ops@example.org"),
        WOOD_ALERT_SMTP=f"smtp://{USER}:sesame@{HOST}:{server.port}?starttls&ca={office.ca}",
    )
    eventually(lambda: "refuses the user or the password (535)" in alert.text())
    alert.stop()
    assert "sesame" not in alert.text()
    assert PASSWORD not in alert.text()
    server.stop()


class Away(Sink):
    """Refuses the first letter."""

    name = "away"

    def __init__(self) -> None:
        self.tries = 0

    def deliver(self, letter: Letter) -> None:
        self.tries += 1
        if self.tries == 1:
            raise Undelivered("away")


def test_what_waits_is_tried_at_the_end_whatever_pause_is_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = Away()
    sender = Sender(sink, wait=1000)
    sender.start()
    sender.tell([notice()])
    eventually(lambda: sink.tries == 1)
    deliver_rest([sender], PATIENCE)
    assert sink.tries == 2
    assert "was not told" not in caplog.text


class Hanging(Sink):
    """Never done before it is let go."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.free = threading.Event()

    def deliver(self, letter: Letter) -> None:
        assert self.free.wait(PATIENCE)


def test_all_share_the_time_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    sinks = [Hanging(name) for name in ("one", "two")]
    senders = [Sender(sink) for sink in sinks]
    for sender in senders:
        sender.start()
        sender.tell(notice(id=str(n), subject=f"n{n}") for n in range(run.NAMED + 5))
    deliver_rest(senders, 0.1)
    one, two = [record.getMessage() for record in caplog.records]
    assert one.startswith("one was not told: RAISED node-lost n0, RAISED node-lost n1, ")
    assert one.endswith("RAISED node-lost n19 and 5 notices more")
    assert two.startswith("two was not told: ")
    for sink in sinks:
        sink.free.set()


def test_it_says_what_it_cannot_see(start_alert: StartAlert) -> None:
    alert = start_alert("--health", nobody())
    disk_unseen = "not watched, without --disk: how full the disk of the append-only file is"
    eventually(lambda: disk_unseen in alert.text(), "the last line of these")
    assert "not watched, without --redis: " in alert.text()
    assert "without --health" not in alert.text()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ((), "name what to watch"),
        (("--health", "7003"), "give HOST:PORT"),
        (("--health", "h:0"), "give HOST:PORT"),
        (("--redis", "http://h"), "no URL of a Redis"),
        (("--health", "h:1", "--smtp", "smtp://h"), "--smtp and --mail-to need each other"),
        (("--health", "h:1", "--mail-to", "a@b"), "--smtp and --mail-to need each other"),
        (("--health", "h:1", "--smtp", "h", "--mail-to", "a@b"), "no URL of a mail server"),
        (("--health", "h:1", "--smtp", "smtp://h", "--mail-to", "a b"), "give an address"),
        (("--health", "h:1", "--webhook", "h"), "no URL to post to"),
        (("--health", "h:1", "--graylog", "h"), "udp://"),
        (("--disk", "/no/such/path"), "does not exist"),
        (("--health", "h:1", "--interval", "nan"), "not a finite number"),
    ],
)
def test_a_mistake_is_one_line(options: tuple[str, ...], text: str) -> None:
    result = run_wood_here("alert", *options)
    assert result.returncode in (1, 2)
    assert text in result.stderr
    assert result.stderr.count("\n") == 1
