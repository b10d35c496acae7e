"""The HTTP port of a node: what it answers, and what it lets a client cost."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPConnection
from ipaddress import ip_network
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cluster import Cluster
from tests.engines import with_loop
from tests.redis_server import RedisServer
from tests.support import (
    PATIENCE,
    ROOT,
    Server,
    clean_environment,
    create,
    eventually,
    free_port,
)
from wood.node import health
from wood.node.health import LONGEST_REQUEST, MAX_CLIENTS, Answer, Health
from wood.node.proxy_protocol import Source

GOOD = b"GET /page HTTP/1.1\r\nHost: here\r\n\r\n"


def page() -> Answer:
    return Answer(HTTPStatus.OK, "fine\n")


def answers(*requests: bytes) -> list[bytes]:
    """What a server says to each, up to its end; a request is sent in pieces, cut at each `|`."""
    said: list[bytes] = []

    async def test() -> None:
        pages = Health({"/page": page})
        server = await asyncio.get_running_loop().create_server(pages.connection, "127.0.0.1", 0)
        for request in requests:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for part in request.split(b"|"):
                writer.write(part)
                await asyncio.sleep(0.01)
            said.append(await reader.read())
            writer.close()
        server.close()

    with_loop(test)
    return said


def status(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


def test_a_page_is_answered_as_http_wants_it() -> None:
    (whole, pieces, head, query, old) = answers(
        GOOD,
        b"GE|T /page HTTP/1.1\r|\nHost: here\r\n|\r\n",
        b"HEAD /page HTTP/1.1\r\n\r\n",
        b"GET /page?now HTTP/1.1\r\n\r\n",
        b"GET /page HTTP/1.0\n\n",
    )
    top, _, body = whole.partition(b"\r\n\r\n")
    assert top.splitlines() == [
        b"HTTP/1.1 200 OK",
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: 5",
        b"Cache-Control: no-store",
        b"Connection: close",
    ]
    assert body == b"fine\n"
    assert pieces == query == old == whole
    assert head == top + b"\r\n\r\n"


def test_what_is_not_a_page_is_refused() -> None:
    missing, posted, empty, words, other = answers(
        b"GET /other HTTP/1.1\r\n\r\n",
        b"POST /page HTTP/1.1\r\nContent-Length: 5000000\r\n\r\n" + b"hello" * 1_000_000,
        b"\r\n\r\n",
        b"GET /page\r\n\r\n",
        b"GET /page RTSP/1.0\r\n\r\n",
    )
    assert [status(answer) for answer in (missing, posted)] == [404, 405]
    assert b"\r\nAllow: GET, HEAD\r\n" in posted
    assert [status(answer) for answer in (empty, words, other)] == [400] * 3


def test_a_request_has_a_bound() -> None:
    long, endless = answers(
        GOOD[:-2] + b"X: " + b"x" * (LONGEST_REQUEST - 100) + b"\r\n\r\n",
        GOOD[:-2] + b"x" * 3 * LONGEST_REQUEST,
    )
    assert [status(answer) for answer in (long, endless)] == [200, 431]


def test_only_the_first_request_is_heard() -> None:
    (answer,) = answers(GOOD * 3)
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("said", [b"", b"GET /pa", GOOD])
def test_who_is_slow_is_closed(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    """Also one that was answered and does not go."""
    monkeypatch.setattr(health, "PATIENCE", 0.05)

    async def test() -> None:
        pages = Health({"/page": page})
        server = await asyncio.get_running_loop().create_server(pages.connection, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(said)
        while not pages.clients:
            await asyncio.sleep(0)
        while pages.clients:
            await asyncio.sleep(0.005)
        writer.close()
        server.close()

    with_loop(test)


def test_who_only_holds_connections_does_not_keep_a_check_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So many are held at once; one more ends the oldest, and is answered."""
    monkeypatch.setattr(health, "PATIENCE", 60)

    async def test() -> None:
        pages = Health({"/page": page})
        server = await asyncio.get_running_loop().create_server(pages.connection, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        held = [await asyncio.open_connection(*address) for _ in range(MAX_CLIENTS)]
        while len(pages.clients) < MAX_CLIENTS:
            await asyncio.sleep(0)
        for reader, _ in held[:3]:
            check, writer = await asyncio.open_connection(*address)
            assert len(pages.clients) <= MAX_CLIENTS
            writer.write(GOOD)
            assert b"fine" in await check.read()
            with suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
            while len(pages.clients) == MAX_CLIENTS:
                await asyncio.sleep(0)
            held.append(await asyncio.open_connection(*address))
            while len(pages.clients) < MAX_CLIENTS:
                await asyncio.sleep(0)
        assert not any(reader.at_eof() for reader, _ in held[3:])
        for _, writer in held:
            writer.close()
        pages.close()
        server.close()

    with_loop(test)


@pytest.mark.parametrize(
    ("host", "balancers", "admitted"),
    [
        ("192.0.2.1", (), True),
        ("192.0.2.1", ("10.0.0.0/8",), False),
        ("10.1.2.3", ("192.0.2.0/24", "10.0.0.0/8"), True),
        ("127.0.0.1", ("10.0.0.0/8",), True),
        ("::1", ("10.0.0.0/8",), True),
        ("", ("10.0.0.0/8",), False),
    ],
)
def test_who_may_ask(host: str, balancers: tuple[str, ...], admitted: bool) -> None:
    pages = Health({}, [ip_network(each) for each in balancers])
    assert pages.admits(host) is admitted


def test_who_may_not_ask_is_closed_unheard(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(health, "source_of", lambda _: Source("192.0.2.1", 7))

    async def test() -> None:
        pages = Health({"/page": page}, [ip_network("10.0.0.0/8")])
        server = await asyncio.get_running_loop().create_server(pages.connection, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with suppress(ConnectionError):
            writer.write(GOOD)
            assert await reader.read() == b""
        assert not pages.clients
        writer.close()
        server.close()

    with_loop(test)
    assert "a health check from 192.0.2.1 port 7 closed: only this machine" in caplog.text


# Of real nodes


def ask(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    """The status and the text."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


READY = 200, "ready\n"


def test_a_server_is_alive_and_ready(start_server: Callable[..., Server]) -> None:
    port = free_port()
    server = start_server("--health", str(port))
    assert ask(port, "/healthz") == (200, "ok\n")
    assert ask(port, "/readyz") == READY
    assert ask(port, "/readyz", "HEAD") == (200, "")
    assert ask(port, "/readyz", "POST")[0] == 405
    assert ask(port, "/other") == (404, "there are /healthz, /readyz, /status, /metrics\n")
    assert f"health port: 127.0.0.1:{port}" in server.text()
    with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=PATIENCE) as response:
        assert response.read() == b"ok\n"


def test_a_server_behind_a_balancer_answers_its_own_machine(
    start_server: Callable[..., Server],
) -> None:
    """As a container asks itself; it is not asked for a PROXY header."""
    port = free_port()
    start_server("--health", str(port), "--proxy-protocol", "192.0.2.1")
    assert ask(port, "/readyz") == READY


def test_the_port_may_be_taken(start_server: Callable[..., Server]) -> None:
    server = start_server()
    with pytest.raises(AssertionError, match="choose another with --health PORT"):
        Server(server.log.parent, "--health", str(server.private))


def test_a_full_server_is_not_ready(start_server: Callable[..., Server]) -> None:
    port = free_port()
    server = start_server("--health", str(port), "--max-connections", "2")
    with server.trader(), server.watcher():
        eventually(lambda: ask(port, "/readyz") == (503, "too many connections\n"))
        assert ask(port, "/healthz") == (200, "ok\n")
    eventually(lambda: ask(port, "/readyz") == READY)


def test_a_draining_server_serves_on(start_server: Callable[..., Server]) -> None:
    """Old connections and new ones; a second signal ends that, and the wait ends by itself."""
    port = free_port()
    server = start_server("--health", str(port), "--drain", "60")
    with server.trader() as old:
        assert old.ask(create(1, "BUY", 1, 1))["report"] == "NEW"
        server.process.terminate()
        eventually(lambda: ask(port, "/readyz") == (503, "draining\n"))
        assert ask(port, "/healthz") == (200, "ok\n")
        assert old.ask(create(2, "BUY", 1, 1))["report"] == "NEW"
        with server.trader() as new:
            assert new.ask(create(3, "BUY", 1, 1))["report"] == "NEW"
        server.process.terminate()
        assert old.line() == b""
    assert server.process.wait(PATIENCE) == 0
    with pytest.raises(ConnectionRefusedError):
        ask(port, "/healthz")


def test_draining_ends(start_server: Callable[..., Server]) -> None:
    server = start_server("--drain", "0.2")
    with server.trader() as old:
        assert old.ask(create(1, "BUY", 1, 1))["report"] == "NEW"
        server.process.terminate()
        assert old.line() == b""
    assert server.process.wait(PATIENCE) == 0
    assert "draining for 0.2 seconds" in server.text()


def test_a_node_whose_redis_is_away_is_alive_and_not_ready(
    start_redis: Callable[..., RedisServer], start_server: Callable[..., Server]
) -> None:
    port, redis = free_port(), start_redis("--appendonly", "yes", "--appendfsync", "always")
    options = ("--lease", "1", "--health", str(port))
    (node,) = Cluster(start_server, redis.url, "wood", *options, nodes=1).nodes
    assert ask(port, "/readyz") == READY
    with node.trader() as old:
        assert old.ask(create(1, "BUY", 1, 1))["report"] == "NEW"
        redis.kill()
        eventually(lambda: ask(port, "/readyz") == (503, "redis is away\n"))
        assert ask(port, "/healthz") == (200, "ok\n")
        redis.start()
        eventually(lambda: ask(port, "/readyz") == READY)
        assert old.ask(create(2, "BUY", 1, 1))["report"] == "NEW", "it was never closed"


def test_a_node_whose_redis_is_silent_is_not_ready(
    start_redis: Callable[..., RedisServer], start_server: Callable[..., Server]
) -> None:
    """It finds out by the time-out, which the URL may change."""
    port, redis = free_port(), start_redis()
    url = f"{redis.url}?socket_timeout=0.3"
    (node,) = Cluster(start_server, url, "wood", "--health", str(port), nodes=1).nodes
    assert ask(port, "/readyz") == READY
    with node.trader() as old:
        redis.freeze()
        try:
            eventually(lambda: ask(port, "/readyz") == (503, "redis is away\n"))
            old.send(create(1, "BUY", 1, 1))
        finally:
            redis.thaw()
        eventually(lambda: ask(port, "/readyz") == READY)
        assert old.message()["report"] == "NEW"


def test_a_node_that_starts_is_alive_and_not_ready(
    start_redis: Callable[..., RedisServer], start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """It waits for a sign of life of another one, which was killed."""
    redis, port = start_redis(), free_port()
    options = ("-m", "--redis", redis.url, "--lease", "60")
    start_server(*options).kill()
    command = [sys.executable, "-m", "wood", "-s", *options, "--private", "0", "--public", "0"]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [*command, "--health", str(port)], stderr=log, cwd=ROOT, env=clean_environment()
        ) as node,
    ):
        eventually(lambda: _listens(port), "a health port")
        assert ask(port, "/readyz") == (503, "starting\n")
        assert ask(port, "/healthz") == (200, "ok\n")
        node.terminate()
        assert node.wait(PATIENCE) == 0


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
