"""The user of `deploy/redis.acl`: the exchange needs no more, and it can do nothing else."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.redis_cluster import RedisCluster
from tests.redis_sentinel import NAME, RedisSentinel
from tests.redis_server import RedisServer
from tests.redis_user import FILE, PASSWORD, AclFileServer, granted, set_user, shipped, url_of
from tests.sessions import again, log_in, resume
from tests.support import ROOT, Server, create, eventually, run_wood, run_wood_here
from wood.exchange.cluster import rights
from wood.exchange.cluster.faults import is_denied
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.overview import Overview
from wood.exchange.cluster.rights import acl_rules
from wood.exchange.cluster.stored_tail import StoredTail

StartServer = Callable[..., Server]

INSTALLED = shutil.which("redis-server")


@pytest.fixture(params=["valkey", "redis"])
def binary(request: pytest.FixtureRequest, redis_binary: str | None) -> str | None:
    """The server that other tests use, and the Redis that is installed here, if one is."""
    if request.param == "valkey":
        return redis_binary
    if INSTALLED is None:
        pytest.skip("no redis-server is installed")
    return INSTALLED


@pytest.fixture
def server(tmp_path: Path, binary: str | None) -> Iterator[AclFileServer]:
    # DEBUG and MODULE are refused to everybody else before anyone is asked who they are.
    more = ("--enable-debug-command", "yes", "--enable-module-command", "yes")
    server = AclFileServer(tmp_path, *more, binary=binary)
    yield server
    server.close()


# What it has


def test_the_file_is_what_the_code_says_that_it_needs() -> None:
    assert FILE.read_text() == f"user default off\nuser wood {acl_rules('wood')}\n"
    assert "nopass" not in shipped()
    assert not any(word.startswith((">", "#")) for word in shipped()), "a password that all know"


def test_every_command_of_the_scripts_is_granted() -> None:
    source = "".join(file.read_text() for file in (files(rights.__package__) / "lua").iterdir())
    used = set(re.findall(r"""\b(?:p?call|each)\(\s*['"]([A-Z]+)['"]""", source))
    assert used > {"HGET", "ZADD", "XADD", "SPUBLISH"}
    assert {word.lower() for word in used} <= granted()


def test_a_cluster_runs_under_it_and_uses_all_of_it(
    server: AclFileServer, start_server: StartServer
) -> None:
    """Two nodes, two partitions, clients, everything that an operator does, and a node that dies.

    In the second database, so that this right is used too.
    """
    url = url_of(server.url).removesuffix("/0") + "/1"
    with server.client() as client:
        client.config_resetstat()
    with server.client(db=1) as client:
        _play(url, start_server, client)
        with start_server("-m", "--redis", url).trader() as trader:
            assert trader.ask(create(1, "BUY", 5, 5))["report"] == "NEW"
            asyncio.run(_look_on(url))
        assert client.execute_command("ACL", "LOG") == []
    with redis.Redis.from_url(url) as user:
        assert user.ping(), "what a health check asks"
    with server.client() as client:
        used = _used(client)
    assert granted() - used == {"cluster|slots"}, "rights that nobody uses"


async def _look_on(url: str) -> None:
    """What a durable reader does, and who watches the cluster."""
    overview = Overview(url, "wood")
    async with StoredTail(url, "wood", "main", None, "reader") as tail:
        await tail.keep((await tail.read()).position)
    assert (await overview.ask()).partitions["main"].readers
    assert await overview.forget_reader("reader") is not None
    await overview.close()


def _used(client: Any) -> set[str]:
    return {name.removeprefix("cmdstat_") for name in client.info("commandstats")}


def _play(url: str, start_server: StartServer, client: Any) -> None:
    """What it asks of `client` itself are commands that the user does not have."""
    where = ("--redis", url)
    orders = Keys("wood").of(["WOOD"])[2]

    def wood(*words: str) -> str:
        done = (run_wood if words == ("export",) else run_wood_here)(*words, *where)
        assert done.returncode == 0, done.stderr
        return done.stdout

    token = wood("participant", "add", "alice").strip()
    root = wood("participant", "add", "root", "--operator").strip()
    wood("participant", "limit", "alice", "--max-rate", "1000", "--max-position", "50")
    options = ["-m", *where, "--journal", "2", "--lease", "1", "--reconnect-grace", "0"]
    options += ["--instrument", "WOOD", "--instrument", "GOLD@metals", "--collar", "50%"]
    options += ["--max-participant-rate", "5000", "--self-trade", "cancel-both"]
    one, other = start_server(*options), start_server(*options)
    with one.trader() as alice, other.trader() as bob, other.watcher() as watcher:
        reply = log_in(alice, token=token)
        assert alice.ask(create(1, "BUY", 9.5, 5))["report"] == "NEW"
        assert alice.ask(create(2, "BUY", 9.25, 5))["report"] == "NEW"
        assert watcher.message()["quantity"] == 5
        assert bob.ask(create(1, "SELL", 9.5, 2))["report"] == "NEW"
        assert bob.message()["report"] == "FILL"
        assert alice.message()["report"] == "FILL"
        bob.ask({"message": "amendOrder", "orderId": 7, "quantity": 1})
        for _ in range(40):  # now and then the script forgets buckets that are full
            bob.ask({"message": "cancelOrder", "orderId": 7})
        bob.ask({"message": "orders"})
        alice.ask({"message": "instruments"})
        with other.trader() as once_more:
            _, reply = resume(once_more, again(reply, token=token, cancelOnDisconnect=True))
            assert once_more.ask(create(3, "BUY", 9, 5))["report"] == "NEW"
        eventually(lambda: not client.hstrlen(orders, "alice 3"), "a cancelled order")
        wood("participant", "rotate", "alice")
        wood("participant", "disable", "alice")
        wood("participant", "enable", "alice")
        wood("participant", "limit", "alice", "--max-rate", "default")
        wood("participant", "limit", "alice", "--max-position", "default")
        assert '"alice"' in wood("participant", "list", "--json")
        address = ("--host", one.host, "-p", str(one.private))
        for words in (
            ("cancel", "--anonymous-older-than", "0s"),
            ("halt", "WOOD"),
            ("resume", "WOOD"),
        ):
            done = run_wood_here(*words, "--operator", "root", *address, WOOD_TOKEN=root)
            assert done.returncode == 0, done.stderr
    with other.trader() as carl:
        log_in(carl, "carl", cancelOnDisconnect=True)
        assert carl.ask(create(1, "BUY", 5, 5))["report"] == "NEW"
        assert client.hstrlen(orders, "carl 1")
        other.kill()
    eventually(lambda: not client.hstrlen(orders, "carl 1"), "orders of a node that died")
    assert '"event":"' in wood("export")
    one.process.send_signal(signal.SIGTERM)
    one.process.wait()
    third = start_server(*options)
    third.kill()
    assert wood("reset", "--yes").startswith("cleared: ")


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="no redis-cli is installed")
def test_the_page_gives_it_a_password(tmp_path: Path, binary: str | None) -> None:
    """As a file, and while the server runs; any password will do."""
    password = "a b/&'$\\#>"
    page = (ROOT / "docs" / "operations.md").read_text().partition("## The user in Redis")[2]
    [block] = re.findall(r"```sh\n(.*?)```", page, re.S)[:1]
    as_file, by_hand = (line for line in block.splitlines() if "$PASSWORD" in line)
    file = tmp_path / "made.acl"

    def run(line: str) -> None:
        subprocess.run(
            ["bash", "-ec", line], cwd=ROOT, env=os.environ | {"PASSWORD": password}, check=True
        )

    run(as_file.replace("/etc/redis/users.acl", str(file)))
    assert password not in file.read_text()
    server = AclFileServer(tmp_path, binary=binary, text=file.read_text())
    try:
        for again in (False, True):
            line = Line(server, password=password)
            assert isinstance(line.ask("TIME"), list)
            line.refused("KEYS", "*")
            line.close()
            if not again:
                with server.client() as client:
                    client.execute_command("ACL", "DELUSER", "wood")
                run(by_hand.replace("redis-cli ", f"redis-cli --user root -a x -p {server.port} "))
    finally:
        server.close()


# What it has not

OUTSIDE = "woods:{main}:meta"
"""A key, or a channel, that is none of the exchange's."""

ALWAYS = {"auth", "hello", "quit", "reset"}
"""Nobody can be refused these: they are for those who have not logged in."""


class Line:
    """A connection of the user, on which nothing is said that the test does not say."""

    def __init__(self, server: RedisServer, user: str = "wood", password: str = PASSWORD) -> None:
        client = redis.Redis(
            host=server.host, port=server.port, username=user, password=password, protocol=2
        )
        self._client: Any = client
        self._connection: Any = client.connection_pool.get_connection()

    def ask(self, *words: str | int) -> Any:
        """The answer, or the error that it is."""
        self._connection.send_command(*words)
        try:
            return self._connection.read_response()
        except redis.RedisError as error:
            return error

    def refused(self, *words: str | int) -> str:
        """It is no right of the user; what the server says."""
        answer = self.ask(*words)
        kinds = redis.exceptions.NoPermissionError, redis.exceptions.ExecAbortError  # as EXEC does
        assert isinstance(answer, kinds), (words, answer)
        assert "permissions to" in str(answer), (words, answer)
        return str(answer)

    def close(self) -> None:
        self._connection.disconnect()
        self._client.close()


@pytest.fixture
def line(server: AclFileServer) -> Iterator[Line]:
    line = Line(server)
    yield line
    line.close()


@pytest.fixture
def kept(server: AclFileServer) -> Iterator[None]:
    """What others keep in the same server, which must be as it was."""
    with server.client() as client:
        client.set(OUTSIDE, "others")
        client.set("others", "others")
        yield
        assert sorted(client.keys("*")) == [b"others", OUTSIDE.encode()]
        assert client.mget(OUTSIDE, "others") == [b"others", b"others"]


@pytest.mark.usefixtures("kept")
def test_no_other_command_of_the_server(server: AclFileServer, line: Line) -> None:
    """All that it has, subcommands too, with keys that the user may touch."""
    root = Line(server, "root", "any")
    commands = list(_commands(root.ask("COMMAND")))
    assert len(commands) > 300
    free = set()
    for name, arity, flags in commands:
        if name in granted():
            continue
        if b"no_auth" in flags:
            free.add(name)
            continue
        words = name.split("|")
        words += ["wood:{main}:meta"] * (abs(arity) - len(words))
        said = line.refused(*words)
        assert "permissions to run" in said, (words, said)
    assert free == ALWAYS
    assert granted() <= {name for name, _, _ in commands}
    root.close()


def _commands(answer: Any) -> Iterator[tuple[str, int, list[bytes]]]:
    """Name, arity and flags of each; a container also by itself if it can be called so."""
    for name, arity, flags, *rest in answer:
        subcommands = rest[-1]
        if not subcommands or arity == -1:
            yield name.decode(), arity, flags
        yield from _commands(subcommands)


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("name", [OUTSIDE, "wood", "others", "*", "Wood:x", "", "x wood:{main}:a"])
def test_none_of_its_commands_on_keys_and_channels_of_others(
    server: AclFileServer, line: Line, name: str
) -> None:
    root = Line(server, "root", "any")
    arity = {each: count for each, count, _ in _commands(root.ask("COMMAND"))}
    for command in rights.ON_KEYS:
        words = [name] * (abs(arity[command.lower()]) - 1)
        assert "key" in line.refused(command, *words)
    for command in rights.ON_CHANNELS:
        words = [name] * (abs(arity[command.lower()]) - 1)
        assert "channel" in line.refused(command, *words)
    assert "key" in line.refused("UNLINK", "wood:{main}:meta", name)
    assert "key" in line.refused("EVALSHA", "0" * 40, 2, "wood:{main}:meta", name)
    root.close()


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    "words",
    [
        ("FLUSHALL",),
        ("FLUSHDB",),
        ("KEYS", "*"),
        ("SCAN", "0"),
        ("CONFIG", "GET", "*"),
        ("PUBLISH", "wood:{main}:events:x", "text"),
        ("SPUBLISH", OUTSIDE, "text"),
        ("SET", "wood:{main}:x", "1"),
        ("HGET", OUTSIDE, "field"),
        ("UNLINK", OUTSIDE),
        ("EVAL", "return 1", "0"),
        ("EVALSHA", "0" * 40, "0"),
        ("SCRIPT", "FLUSH"),
        ("ACL", "SETUSER", "wood", "+@all"),
    ],
)
def test_no_script_of_its_own_goes_further(line: Line, words: tuple[str, ...]) -> None:
    """It may load scripts, and so run any: what they call is asked for its rights, too."""
    quoted = ", ".join(f"'{word}'" for word in words)
    script = line.ask("SCRIPT", "LOAD", f"return redis.call({quoted})")
    error = line.ask("EVALSHA", script.decode(), 0)
    assert isinstance(error, redis.ResponseError), error
    assert is_denied(error) or "not allowed from script" in str(error), error


def test_the_default_user_is_off(server: AclFileServer) -> None:
    with RedisServer.client(server) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


# What a wrong user is told


def test_a_node_of_a_user_with_fewer_rights_says_in_one_line_which(server: AclFileServer) -> None:
    node = ("-s", "-m", "--private", "0", "--public", "0", "--redis", url_of(server.url))
    for rule, said in (
        ("-spublish", "use SPUBLISH on names that begin with wood:"),
        ("-ssubscribe", "use SSUBSCRIBE on names that begin with wood:"),
        ("-xtrim", "use XTRIM on names that begin with wood:"),
        ("-time", "use TIME on names"),
        ("resetchannels", "use SPUBLISH, SSUBSCRIBE on names that begin with wood:"),
        ("resetkeys", "use HDEL, HEXISTS, HGET, HGETALL, HKEYS and "),
        ("-evalsha", "run scripts (EVALSHA, SCRIPT LOAD)"),
        ("-script|load", "run scripts (EVALSHA, SCRIPT LOAD)"),
        ("-info", "use INFO"),
    ):
        set_user(server, rule)
        with server.client() as client:
            client.script_flush()
        done = run_wood_here(*node)
        assert said in denied(done), rule
    set_user(server)
    done = run_wood(*node, "--prefix", "w")
    assert "on names that begin with w:" in denied(done)
    with server.client() as client:
        assert client.keys("*") == [], "nothing was written"


@pytest.mark.parametrize("right", ["zrem", "hdel", "hset", "zadd", "xadd", "spublish"])
def test_a_right_that_is_taken_away_leaves_nothing_half_done(
    server: AclFileServer, start_server: StartServer, right: str
) -> None:
    """Each is asked for before the first write of a batch."""
    node = start_server("-m", "--redis", url_of(server.url))
    with node.trader() as maker, node.trader() as taker:
        assert maker.ask(create(1, "SELL", 5, 3))["report"] == "NEW"
        set_user(server, f"-{right}")
        assert taker.ask(create(1, "BUY", 5, 1))["code"] == "unavailable"
        set_user(server)
        taker.send(create(1, "BUY", 5, 1))
        assert [taker.message()["report"] for _ in range(2)] == ["NEW", "FILL"]
        assert maker.message()["quantity"] == 1
    assert "Traceback" not in node.text()


def test_an_operator_with_fewer_rights_is_told_in_one_line(server: AclFileServer) -> None:
    where = ("--redis", url_of(server.url))
    denied(run_wood_here("participant", "list", *where, "--prefix", "w"))
    denied(run_wood_here("reset", *where, "--prefix", "w"))
    denied(run_wood_here("export", *where, "--prefix", "w"))
    set_user(server, "-hset")
    denied(run_wood_here("participant", "add", "alice", *where))


def denied(done: Any) -> str:
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("wood: Redis does not let the user of --redis ")
    assert "deploy/redis.acl" in line
    assert PASSWORD not in line
    return str(line)


# Several servers


@pytest.mark.long
def test_a_redis_cluster(tmp_path: Path, binary: str | None, start_server: StartServer) -> None:
    sharded = RedisCluster(tmp_path, binary=binary)
    try:
        for each in sharded.servers:
            set_user(each)
            with each.client() as client:
                client.config_resetstat()
        url = f"cluster://wood:{PASSWORD}@{sharded.url.removeprefix('cluster://')}"
        options = ("-m", "--redis", url, "--instrument", "WOOD", "--instrument", "GOLD@metals")
        one, other = start_server(*options), start_server(*options)
        assert run_wood_here("participant", "add", "alice", "--redis", url).returncode == 0
        with one.trader() as trader, other.trader() as maker:
            for symbol in ("WOOD", "GOLD"):
                order = create(1, "BUY", 9.5, 5) | {"symbol": symbol}
                assert maker.ask(order)["report"] == "NEW"
                assert trader.ask(order | {"side": "SELL"})["report"] == "NEW"
                assert trader.message()["report"] == maker.message()["report"] == "FILL"
        for node in (one, other):
            node.process.send_signal(signal.SIGTERM)
            node.process.wait()
        assert '"partition":"metals"' in run_wood("export", "--redis", url).stdout
        assert run_wood_here("reset", "--yes", "--redis", url).returncode == 0
        used: set[str] = set()
        for each in sharded.servers:
            with each.client() as client:
                assert client.execute_command("ACL", "LOG") == []
                used |= _used(client)
            line = Line(each)
            for words in (("CLUSTER", "NODES"), ("CLUSTER", "RESET"), ("READONLY",), ("FLUSHALL",)):
                line.refused(*words)
            line.close()
        assert "cluster|slots" in used
    finally:
        sharded.close()


@pytest.mark.long
def test_sentinels(tmp_path: Path, binary: str | None, start_server: StartServer) -> None:
    """Whose user is another one: they have no keys, and are asked one thing only."""
    page = (ROOT / "docs" / "operations.md").read_text()
    [rules] = re.findall(r"ACL SETUSER wood reset (on >PASSWORD [^`]*sentinel[^`]*)", page)
    five = RedisSentinel(tmp_path, binary=binary)
    try:
        for each in five.servers:
            set_user(each)
        for sentinel in five.sentinels:
            with sentinel.client() as client:
                words = rules.replace("PASSWORD", PASSWORD).split()
                client.execute_command("ACL", "SETUSER", "wood", "reset", *words)
        url = five.url.replace("://", f"://wood:{PASSWORD}@")
        url += f"?sentinel_username=wood&sentinel_password={PASSWORD}"
        node = start_server("-m", "--redis", url)
        with node.trader() as trader:
            assert trader.ask(create(1, "BUY", 9.5, 5))["report"] == "NEW"
        assert node.stop() == 0
        for each in (*five.servers, *five.sentinels):
            with each.client() as client:
                assert client.execute_command("ACL", "LOG") == []
        line = Line(five.sentinels[0])
        assert isinstance(line.ask("SENTINEL", "MASTER", NAME), list)
        for words in (("SENTINEL", "RESET", "*"), ("SENTINEL", "MASTERS"), ("INFO",), ("PING",)):
            line.refused(*words)
        line.close()
    finally:
        five.close()
