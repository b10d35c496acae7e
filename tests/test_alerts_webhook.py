"""Alerts by webhook, posted to a real HTTP server, and the schema that docs/alerts.md shows."""

import json
import re
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.alerts import letter, notice
from tests.support import PATIENCE, ROOT, eventually, free_port
from tests.tls import Office
from wood.alerts import webhook as module
from wood.alerts.outbox import Letter
from wood.alerts.sender import Sender, Undelivered
from wood.alerts.webhook import Hook, WebhookSink, body, webhooks
from wood.model.errors import ConfigError
from wood.model.log_events import LogEvent


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer("127.0.0.1", free_port()) as server:
        yield server


def sink(url: str) -> WebhookSink:
    return WebhookSink(Hook.parse(url))


def refusal(url: str) -> str:
    with pytest.raises(Undelivered) as error:
        sink(url).deliver(letter())
    assert "secret" not in str(error.value)
    return str(error.value)


def schema() -> Any:
    """As docs/alerts.md has it."""
    (text,) = re.findall(r"```json\n(\{\n  \"\$schema\".*?)```", page(), re.DOTALL)
    return json.loads(text)


def page() -> str:
    return (ROOT / "docs" / "alerts.md").read_text()


def check(posted: bytes) -> Any:
    """What is posted, if it is as the page says."""
    value = json.loads(posted)
    Draft202012Validator.check_schema(schema())
    Draft202012Validator(schema(), format_checker=FormatChecker()).validate(value)
    return value


def test_it_is_posted_as_the_page_says(server: HTTPServer) -> None:
    expected = {"method": "POST", "query_string": "key=secret"}
    server.expect_oneshot_request("/alerts", **expected).respond_with_data()  # type: ignore[arg-type]
    ended = notice(id="b", event=LogEvent.ALERT_ENDED, last=notice().since + 2.5, stands_for=4)
    url = server.url_for("/alerts?key=secret").replace("http://", "http://u:s%40cret@")
    sink(url).deliver(Letter([notice(), ended], {"errors": 7}))
    server.check_assertions()
    request, _ = server.log[0]
    assert request.content_type == "application/json"
    assert request.authorization is not None
    assert (request.authorization.username, request.authorization.password) == ("u", "s@cret")
    value = check(request.data)
    assert value["format"] == 1
    assert value["leftOut"] == {"errors": 7}
    assert value["notices"] == [
        {
            "id": "node-lost/n1/1",
            "event": "alert.raised",
            "alert": "node-lost",
            "subject": "n1",
            "text": "n1 is gone",
            "since": "2027-01-15T08:00:00.000Z",
            "last": "2027-01-15T08:00:00.000Z",
            "ended": False,
            "seconds": 0.0,
            "times": 1,
            "standsFor": 1,
            "runbook": "docs/operations.md#node-lost",
        },
        value["notices"][0]
        | {
            "id": "b",
            "event": "alert.ended",
            "last": "2027-01-15T08:00:02.500Z",
            "ended": True,
            "seconds": 2.5,
            "standsFor": 4,
        },
    ]


def test_the_example_on_the_page_is_one() -> None:
    (text,) = re.findall(r"```json\n(\{\n  \"format\".*?)```", page(), re.DOTALL)
    value = check(text.encode())
    assert value.keys() == json.loads(body(letter())).keys()
    assert value["notices"][0].keys() == json.loads(body(letter()))["notices"][0].keys()


def test_over_tls_to_one_that_can_be_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = Office(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(office.cert)
    with HTTPServer("127.0.0.1", free_port(), ssl_context=context) as server:
        server.expect_request("/").respond_with_data()
        url = f"https://127.0.0.1:{server.port}/"
        assert "CERTIFICATE_VERIFY_FAILED" in refusal(url)
        assert not server.log
        monkeypatch.setenv("SSL_CERT_FILE", str(office.ca))
        sink(url).deliver(letter())
        assert len(server.log) == 1


@pytest.mark.parametrize("status", [204, 301, 404, 500])
def test_any_2xx_is_a_yes_and_nothing_else(server: HTTPServer, status: int) -> None:
    server.expect_request("/").respond_with_data(status=status, headers={"Location": "/there"})
    server.expect_request("/there").respond_with_data()
    if status == 204:
        sink(server.url_for("/")).deliver(letter())
    else:
        assert f"answers {status} " in refusal(server.url_for("/"))
    assert len(server.log) == 1


def test_a_server_that_refuses_or_is_away_gets_what_waited_grouped(server: HTTPServer) -> None:
    answers = iter([500, 503, 200])
    server.expect_request("/").respond_with_handler(lambda _: Response(status=next(answers)))
    url = server.url_for("/")
    server.stop()
    sender = Sender(sink(url), wait=0.01)
    sender.start()
    sender.tell([notice(times=1)])
    sender.tell([notice(times=2)])
    server.start()
    eventually(lambda: len(server.log) == 3)
    sender.end()
    assert sender.ended(PATIENCE) is None
    (told,) = check(server.log[-1][0].data)["notices"]
    assert (told["times"], told["standsFor"]) == (2, 2)


def test_a_server_that_hangs_is_given_up(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    free = threading.Event()

    def hang(_: Request) -> Response:
        assert free.wait(PATIENCE)
        return Response()

    server.expect_request("/").respond_with_handler(hang)
    began = time.monotonic()
    assert "timed out" in refusal(server.url_for("/"))
    assert time.monotonic() - began < PATIENCE / 2
    free.set()


def test_where_nobody_is_that_is_said() -> None:
    assert "refused" in refusal(f"http://u:secret@127.0.0.1:{free_port()}/secret")


@pytest.mark.parametrize(
    "url",
    [
        "hooks.example",
        "ftp://hooks.example",
        "http://",
        "https://u:secret@h:port/",
        "http://u:secret@[h/",
        "http://h/secret path",
        "http://h/sécret",
    ],
)
def test_a_url_that_cannot_be_is_one_line_without_it(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^--webhook: ") as error:
        Hook.parse(url)
    assert "secret" not in str(error.value)


def test_nothing_secret_is_in_its_name() -> None:
    hook = Hook.parse("https://u:secret@hooks.example:8443/secret?secret")
    assert hook.name == "https://hooks.example:8443"
    assert "secret" not in repr(hook)


def test_webhooks_on_one_host_have_numbers_in_the_log() -> None:
    urls = "https://h/secret", "http://h/", "https://u:p@h/other", "https://i/"
    assert [sink.name for sink in webhooks([Hook.parse(url) for url in urls])] == [
        "the webhook https://h #1",
        "the webhook http://h",
        "the webhook https://h #2",
        "the webhook https://i",
    ]
