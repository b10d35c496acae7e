"""What an error of Redis means, and what is said of a server that will not do."""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis
from redis.exceptions import AuthenticationError, BusyLoadingError

from tests.engines import with_loop
from tests.redis_server import RedisServer
from tests.support import eventually
from wood.exchange.cluster.client import Client, Fault, check_server, connect, fault
from wood.model.errors import ConfigError

Start = Callable[..., RedisServer]

WRITE = "return redis.call('SET', KEYS[1], '1')"


async def error_of(url: str, *command: str | int) -> Exception:
    client = connect(url, "key")
    try:
        with pytest.raises((redis.RedisError, OSError)) as caught:
            await client.execute_command(*command)
        return caught.value
    finally:
        await client.aclose()


async def answer_or_error(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except redis.ResponseError as error:
        return error


def fault_of(url: str, *command: str | int) -> Fault:
    found: list[Fault] = []

    async def test() -> None:
        found.append(fault(await error_of(url, *command)))

    with_loop(test)
    return found[0]


def script(source: str) -> tuple[str | int, ...]:
    return "EVAL", source, 1, "key"


@pytest.mark.parametrize(
    ("before", "command", "expected"),
    [
        ([], ("EVALSHA", "0" * 40, 0), Fault.NOT_NOW),
        ([], script("error('boom')"), Fault.BROKEN),
        ([], script("return redis.call('NOSUCH')"), Fault.BROKEN),
        ([("LPUSH", "key", "1")], script("return redis.call('HGET', KEYS[1], '1')"), Fault.BROKEN),
        ([("LPUSH", "key", "1")], ("HGET", "key", "1"), Fault.BROKEN),
        ([("CONFIG", "SET", "maxmemory", "1")], script(WRITE), Fault.REFUSED),
        ([("CONFIG", "SET", "min-replicas-to-write", "1")], script(WRITE), Fault.REFUSED),
        ([("REPLICAOF", "127.0.0.1", "1")], script(WRITE), Fault.NOT_NOW),
        (
            [
                ("CONFIG", "SET", "replica-serve-stale-data", "no"),
                ("REPLICAOF", "127.0.0.1", "1"),
            ],
            ("GET", "key"),
            Fault.NOT_NOW,
        ),
        ([("CONFIG", "SET", "requirepass", "secret")], ("GET", "key"), Fault.UNKNOWN),
    ],
)
def test_errors_of_a_real_server(
    start_redis: Start,
    before: list[tuple[str, ...]],
    command: tuple[str | int, ...],
    expected: Fault,
) -> None:
    server = start_redis()
    with server.client() as client:
        for each in before:
            client.execute_command(*each)
    assert fault_of(server.url, *command) is expected


def test_what_the_user_has_no_right_to(start_redis: Start) -> None:
    server = start_redis()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "weak", "on", ">secret", "~*", "+eval", "+client")
    url = server.url.replace("//", "//weak:secret@")
    assert fault_of(url, "GET", "key") is Fault.REFUSED
    # In the middle of a script it proves nothing: what came before may have been written.
    assert fault_of(url, *script(WRITE)) is Fault.BROKEN


def test_a_disk_that_takes_nothing(start_redis: Start) -> None:
    server = start_redis()
    with server.client() as client:
        shutil.rmtree(server.folder)
        client.config_set("save", "1000 1")
        client.set("key", "1")
        client.bgsave()
        eventually(lambda: client.info()["rdb_last_bgsave_status"] == "err")
    assert fault_of(server.url, *script(WRITE)) is Fault.REFUSED


def test_a_server_that_runs_somebodys_endless_script(start_redis: Start) -> None:
    server = start_redis("--busy-reply-threshold", "1")

    async def test() -> None:
        endless = asyncio.create_task(error_of(server.url, *script("while true do end")))
        client = connect(server.url, "key")
        while not isinstance(error := await answer_or_error(client.ping()), redis.ResponseError):
            pass
        assert str(error).startswith("BUSY")
        assert fault(error) is Fault.NOT_NOW
        await client.execute_command("SCRIPT KILL")
        # Only one that has written nothing can be killed.
        assert fault(await endless) is Fault.NOT_NOW
        await client.aclose()

    with_loop(test)


def test_a_server_that_dies_or_is_not_there(start_redis: Start) -> None:
    server = start_redis()

    async def test() -> None:
        waits = asyncio.create_task(error_of(server.url, "BLPOP", "nothing", 0))
        client = connect(server.url, "key")
        while (await client.info())["blocked_clients"] == 0:
            pass
        server.kill()
        assert fault(await waits) is Fault.UNKNOWN
        await client.aclose()

    with_loop(test)
    assert fault_of(server.url, "GET", "key") is Fault.UNKNOWN


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("LOADING Redis is loading the dataset in memory", Fault.NOT_NOW),
        ("UNKILLABLE Sorry the script already executed write commands", Fault.NOT_NOW),
        ("CLUSTERDOWN Hash slot not served", Fault.NOT_NOW),
        ("TRYAGAIN Multiple keys request during rehashing of slot", Fault.NOT_NOW),
        ("MISCONF Errors writing to the AOF file: No space left on device", Fault.REFUSED),
        ("ERR max number of clients reached", Fault.UNKNOWN),
        ("MOVED 1 127.0.0.1:7000", Fault.NOT_NOW),
        ("ASK 1 127.0.0.1:7000", Fault.NOT_NOW),
        ("CROSSSLOT Keys in request don't hash to the same slot", Fault.BROKEN),
    ],
)
def test_errors_that_are_hard_to_bring_about(line: str, expected: Fault) -> None:
    async def test() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(1000):
                writer.write(f"-{line}\r\n".encode())
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            error = await error_of(f"redis://127.0.0.1:{port}", "GET", "key")
        assert fault(error) is expected

    with_loop(test)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (redis.TimeoutError("no answer"), Fault.UNKNOWN),
        (ConnectionResetError(), Fault.UNKNOWN),
        (redis.InvalidResponse("what is that?"), Fault.UNKNOWN),
        (redis.ResponseError("UNKNOWN word"), Fault.BROKEN),
    ],
)
def test_errors_of_the_client_library(error: Exception, expected: Fault) -> None:
    assert fault(error) is expected


async def checked_at(url: str) -> None:
    client = connect(url, "key")
    try:
        await check_server(client, url, persist=False)
    finally:
        await client.aclose()


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize(
    "url",
    [
        "",
        ":secret@localhost:6379",
        "http://user:secret@localhost/0",
        "redis://:secret@localhost:port/0",
        "redis://:secret@localhost:99999/0",
        "redis://:secret@[::1/0",
        "redis://:secret@localhost/0?db=x",
        "redis://localhost/0?password=secret&db=x",
        # Nobody told the operator that these characters must be escaped in a password.
        "redis://:sec/secret@localhost:6379/0",
        "redis://:secret/ret@localhost:6379/0",
        "redis://user:secret#ret@localhost:6379/0",
        "redis://user:secret?ret@localhost:6379/0",
    ],
)
def test_a_bad_url_is_told_without_its_password(url: str, single: bool) -> None:
    with pytest.raises(ConfigError) as caught:
        connect(url, "key", single=single)
    assert str(caught.value).startswith("--redis ")
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["redis://:secret@127.0.0.1:1/0", "redis://127.0.0.1:1/0?password=secret"]
)
def test_a_server_that_is_not_there_is_told_without_its_password(url: str) -> None:
    async def test() -> None:
        with pytest.raises(ConfigError, match=r"cannot reach Redis at redis://127\.") as caught:
            await checked_at(url)
        assert "secret" not in str(caught.value)

    with_loop(test)


def test_an_unknown_option_in_a_url_is_the_operators_error() -> None:
    async def test() -> None:
        with pytest.raises(ConfigError) as caught:
            await checked_at("redis://:secret@127.0.0.1:1/0?nonsense=1")
        assert "secret" not in str(caught.value)

    with_loop(test)


def test_a_unix_socket(start_redis: Start) -> None:
    """The client library says of itself that it takes them, where a URL is wrong."""
    server = start_redis("--unixsocket", "socket")

    async def test() -> None:
        await checked_at(f"unix://{server.folder}/socket")

    with_loop(test)


def test_one_connection_is_not_shared_with_others(redis_url: str) -> None:
    """Nothing is tried twice by the library itself, on either kind of client."""

    async def test() -> None:
        for single in (True, False):
            client = connect(redis_url, "key", single=single)
            await client.ping()
            connection = client.connection or await client.connection_pool.get_connection()
            assert (client.connection is not None) is single
            assert connection.retry.get_retries() == 0
            if not single:
                await client.connection_pool.release(connection)
            await client.aclose()

    with_loop(test)


class Info:
    """A client of a server that says this of itself; an error is raised."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        self.answers = list(answers)

    async def info(self) -> dict[str, Any]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"master_replid": "f00"} | answer


async def checked(*answers: dict[str, Any] | Exception, persist: bool = False) -> None:
    client: Client = Info(*answers)
    await check_server(client, "redis://:secret@host", persist=persist)
    assert client.answers == []


@pytest.mark.parametrize(
    "info",
    [
        {},  # it may hide what else it is
        {"redis_version": "7.0.0", "maxmemory_policy": "noeviction"},
        {"redis_version": "7.2.4", "valkey_version": "9.1.2"},
        {"redis_version": "10.0.1"},
        {"redis_version": "255.255.255"},
    ],
)
def test_a_good_server(info: dict[str, Any]) -> None:
    with_loop(lambda: checked(info))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"redis_version": "6.2.14"}, "Redis 6.2.14 is too old"),
        ({"master_replid": ""}, "replication id"),
        ({"maxmemory_policy": "allkeys-lru"}, "maxmemory-policy to noeviction"),
        (AuthenticationError("Authentication required."), "does not let us in"),
        (redis.exceptions.NoPermissionError("no"), "does not let the user of --redis use INFO"),
        (redis.ConnectionError("refused"), "cannot reach Redis at redis://host"),
        (OSError("no route"), "cannot reach Redis at redis://host"),
    ],
)
def test_a_server_that_will_not_do(answer: dict[str, Any] | Exception, said: str) -> None:
    async def test() -> None:
        with pytest.raises(ConfigError, match=said) as caught:
            await checked(answer)
        assert "secret" not in str(caught.value)

    with_loop(test)


def test_a_server_that_loads_is_waited_for() -> None:
    with_loop(lambda: checked(BusyLoadingError("loading"), {}))


@pytest.mark.parametrize(("persist", "aof", "warns"), [(1, 0, 1), (1, 1, 0), (0, 0, 0)])
def test_a_book_that_would_not_outlive_redis_is_warned_of(
    persist: bool, aof: int, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        with_loop(lambda: checked({"aof_enabled": aof}, persist=bool(persist)))
    assert ("append-only" in caplog.text) is bool(warns)
