"""Fixtures for all tests."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import Server

# What a shell runs in the background ignores Ctrl-C, and would hand that down to every process that
# the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the longer versions of some tests")


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether the longer versions are asked for."""
    return bool(request.config.getoption("--full"))


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers with options of one's own; afterwards each must end well."""
    servers: list[Server] = []

    def start(*options: str, before: str = "") -> Server:
        servers.append(Server(tmp_path, *options, before=before))
        return servers[-1]

    yield start
    codes = [server.stop() for server in servers]
    for server, code in zip(servers, codes, strict=True):
        assert "Traceback" not in server.text()
        assert code == 0, server.text()


@pytest.fixture
def server(start_server: Callable[..., Server]) -> Server:
    """A fresh exchange with the default settings."""
    return start_server()
