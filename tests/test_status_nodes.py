"""Asking a node how it is: what it says, and all that may be there instead of a node."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from tests.engines import with_loop
from tests.reports import node_report
from tests.support import free_port
from wood.monitor import nodes
from wood.monitor.nodes import LONGEST_ANSWER, NoReport, ask_node

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def asked(handle: Handler) -> object:
    """What `ask_node` returns, or raises, where `handle` answers."""
    found: list[object] = []

    async def test() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        try:
            found.append(await ask_node("127.0.0.1", server.sockets[0].getsockname()[1]))
        except OSError as error:
            found.append(error)
        server.close()

    with_loop(test)
    return found[0]


def saying(answer: bytes, heard: list[bytes] | None = None) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if heard is not None:
            heard.append(request)
        writer.write(answer)
        writer.close()

    return handle


def refused(answer: bytes) -> str:
    error = asked(saying(answer))
    assert isinstance(error, NoReport), error
    return str(error)


def test_a_report_comes_as_the_node_wrote_it() -> None:
    report, heard = node_report(name="n1"), list[bytes]()
    body = msgspec.json.encode(report)
    assert asked(saying(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n" + body, heard)) == report
    assert heard[0].startswith(b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\n")


def test_a_newer_node_may_say_more() -> None:
    said = msgspec.to_builtins(node_report(name="n1")) | {"mood": "fine"}
    body = msgspec.json.encode(said)
    assert asked(saying(b"HTTP/1.1 200 OK\r\n\r\n" + body)) == node_report(name="n1")


def test_who_is_no_node_is_said_to_be_none() -> None:
    assert "does not speak HTTP" in refused(b"220 mail.example ESMTP\r\n")
    assert "does not speak HTTP" in refused(b"")
    assert "no page /status (404)" in refused(b"HTTP/1.1 404 Not Found\r\n\r\nthere are /healthz\n")
    assert "does not understand" in refused(b"HTTP/1.1 200 OK\r\n\r\nready\n")
    assert "does not understand" in refused(b'HTTP/1.1 200 OK\r\n\r\n{"name":1}')
    assert "does not understand" in refused(b'HTTP/1.1 200 OK\r\n\r\n{"name":"\xff"}')


def test_who_says_too_much_is_not_listened_to() -> None:
    assert "more than a report has" in refused(b"x" * (LONGEST_ANSWER + 1))


def test_who_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "PATIENCE", 0.05)

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    error = asked(hold)
    assert isinstance(error, TimeoutError)
    assert "was silent for 0.05 s" in str(error)


def test_where_nobody_is_that_is_said_with_the_reason() -> None:
    port, found = free_port(), list[str]()

    async def test() -> None:
        with pytest.raises(ConnectionError) as error:
            await ask_node("127.0.0.1", port)
        found.append(str(error.value))

    with_loop(test)
    assert found == [f"nobody answers at 127.0.0.1:{port} (Connection refused)"]
