"""Names, symbols, sessions and tokens made to break out of where they are written: nothing of them
comes into a key of Redis, a channel, a line of the log or a terminal.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
import redis

from tests.cluster import Cluster
from tests.hostile import From
from tests.sessions import LOGIN, log_in
from tests.support import PATIENCE, ROOT, Peer, Server, clean_environment, create, run_wood
from wood.model.participants import digest

MARK = "zqx"
"""Part of each hostile value, so that it is found wherever it went."""

VALUES = [
    *[f"{MARK}{char}{MARK}" for char in " :{}*?[]|/\\~\"'`$;<>\0\n\r\t\x1b\x7f\x9b\u202e\u2028é"],
    f"{MARK}\x1b[31m",
    f"{MARK}\x1b]0;title\x07",
    f"~0123456{MARK}",
    f"{{{MARK}}}",
    f"{MARK}:*",
    MARK * 10_000,
    f"\ud800{MARK}",  # half of a character: no text in UTF-8
]

PACKED = [*[f"{MARK}".encode() + bytes([byte]) for byte in (0, 10, 27, 128, 255)]]
"""What is not UTF-8."""


def hostile_messages() -> Iterator[object]:
    """Each value wherever a client may say a text."""
    for value in VALUES:
        yield LOGIN | {"participant": value}
        yield LOGIN | {"token": value}
        yield LOGIN | {"session": value, "participant": "bob"}
        yield LOGIN | {"participant": "bob", "session": {value: value}, "lastSeq": {value: 1}}
        yield create(1, "BUY", 5, 1) | {"symbol": value}
        yield create(1, value, 5, 1)
        yield create(1, "BUY", value, 1)
        yield {"message": "cancelOrder", "orderId": value}
        yield {"message": "cancelAll", "symbol": value}
        yield {"message": "cancelAll", "participant": value}
        yield {"message": "halt", "symbol": value}
        yield {"message": "orders", "symbol": value}
        yield {"message": value}
        yield {value: value, "message": "heartbeat"}
    for raw in PACKED[:1] + PACKED[2:]:
        yield b'{"message":"login","participant":"' + raw + b'"}\n'


def say_it_all(server: Server) -> None:
    """On the private port, in both encodings, and on the public one; logins on connections of
    their own, for some are understood.
    """
    number = 0
    others: list[Peer] = []
    with ExitStack() as stack:
        peer = stack.enter_context(server.trader())
        for message in hostile_messages():
            if isinstance(message, dict) and message.get("message") != "login":
                peer.send(message)
                assert printable(peer.line())
                continue
            number += 1
            # From many addresses: who fails to log in again and again is answered later and later.
            address = f"127.0.{1 + number // 250}.{1 + number % 250}"
            others.append(stack.enter_context(From(address, server.private)))
            others[-1].send(message)
        assert all(printable(other.line()) for other in others)
    with server.trader() as peer:
        count = 0
        for message in hostile_messages():
            if isinstance(message, dict) and message.get("message") != "login":
                peer.send(msgpack.packb(message, unicode_errors="surrogatepass"))
                count += 1
        for raw in PACKED:
            peer.send(msgpack.packb(create(1, "BUY", 5, 1) | {"symbol": raw}))
        peer.packed(count)
    with server.watcher() as watcher:
        for value in VALUES:
            watcher.send({"message": "subscribe", "symbols": [value]})
            watcher.send({"message": "subscribe", "symbols": ["WOOD"], "encoding": value})
            watcher.send({"message": value})
            for line in watcher.lines(3):
                assert printable(line)


def printable(line: bytes) -> bool:
    """Whether a line of an answer is plain JSON in which nothing of the question came back raw."""
    return bool(line) and line.decode().isprintable()


def plain(log: bytes) -> bool:
    """Whether a log is lines of text and nothing else."""
    return all(line.isprintable() for line in log.decode().split("\n"))


def test_nothing_comes_into_the_log(server: Server) -> None:
    say_it_all(server)
    log = server.log.read_bytes()
    assert plain(log)
    assert MARK.encode() not in log


def test_nothing_comes_into_redis(
    prefix: str, redis_url: str, start_server: Callable[..., Server]
) -> None:
    cluster = Cluster(start_server, redis_url, prefix, nodes=1)
    with cluster.redis() as client:
        heard = client.pubsub()
        heard.psubscribe("*")
        before = set(client.scan_iter("*", count=1000))
        say_it_all(cluster.nodes[0])
        with cluster.nodes[0].trader() as peer:
            log_in(peer, "carol")
            assert peer.ask(create(9, "BUY", 5, 1))["report"] == "NEW"
        new = set(client.scan_iter("*", count=1000)) - before
        mine = re.compile(re.escape(prefix).encode() + rb":[A-Za-z0-9_.:{}-]*")
        ours = {key for key in new if MARK.encode() in key or key.startswith(prefix.encode())}
        assert ours, "there was an order"
        assert all(mine.fullmatch(key) for key in ours), ours
        assert not any(MARK.encode() in key for key in new)
        while (message := heard.get_message()) is not None:
            assert MARK.encode() not in message["channel"]
        heard.close()
        assert MARK.encode() not in b"".join(_fields(client, prefix))
    assert plain(cluster.nodes[0].log.read_bytes())


def _fields(client: Any, prefix: str) -> Iterator[bytes]:
    """The names of all that is kept: fields of hashes and members of sets."""
    for key in client.scan_iter(f"{prefix}*", count=1000):
        kind = client.type(key)
        if kind == b"hash":
            yield from client.hkeys(key)
        elif kind == b"zset":
            yield from client.zrange(key, 0, -1)
        elif kind == b"set":
            yield from client.smembers(key)


# Servers that want the operator's terminal

EVIL = b"\x1b[2J\x1b]0;owned\x07\x9b31m\xe2\x80\xae"


@contextmanager
def evil_server(*says: bytes) -> Iterator[int]:
    """A server that says these to everybody, and goes on listening."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(1)
                    try:
                        for each in says:
                            connection.sendall(each)
                        while connection.recv(1 << 16):
                            pass
                    except OSError:
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE)


ERRORS = [
    b'{"message":"error","type":"error","error":"\\u001b[2J\\u009b31m\\u202eowned","code":"x"}\n',
    b'{"message":"error","type":"error","error":"no","code":"\\u001b]0;owned\\u0007"}\n',
    EVIL + b"\n",
    b'{"type":"orderbook","side":"bid","price":1,"quantity":1,"symbol":"\\u001b[2J"}\n' + EVIL,
]


@pytest.mark.parametrize("said", ERRORS)
@pytest.mark.parametrize(
    "command",
    [
        ("watch", "--symbol", "WOOD", "--public"),
        ("cancel", "--participant", "bob", "--operator", "root", "--token", "t", "--port"),
        ("halt", "WOOD", "--operator", "root", "--token", "t", "--port"),
        ("bench", "-n", "10", "--timeout", "1", "--port"),
        ("replay", "examples/flow-messages.csv", "--port"),
    ],
    ids=lambda command: command[0],
)
def test_no_server_commands_the_terminal(command: tuple[str, ...], said: bytes) -> None:
    with evil_server(said) as port:
        done = subprocess.run(
            [sys.executable, "-m", "wood", *command, str(port)],
            capture_output=True,
            timeout=PATIENCE,
            cwd=ROOT,
            env=clean_environment(),
            check=False,
        )
    assert done.returncode
    for output in (done.stdout, done.stderr):
        assert plain(output), output
    assert b"Traceback" not in done.stderr


def test_nor_do_traders_print_what_commands_it() -> None:
    with evil_server(*ERRORS) as port:
        process = subprocess.Popen(
            [sys.executable, "-m", "wood", "-c", "--port", str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=clean_environment(),
        )
        try:
            out, err = process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE)
    assert plain(out)
    assert plain(err)
    assert b"Traceback" not in err


def test_nor_does_what_somebody_wrote_into_redis(prefix: str, redis_url: str) -> None:
    """Names of participants are checked where they are added, and shown as what they are."""
    options = ("--redis", redis_url, "--prefix", prefix)
    assert run_wood("participant", "add", "alice", *options).returncode == 0
    with redis.Redis.from_url(redis_url) as client:
        [key] = [key for key in client.scan_iter(f"{prefix}*") if b"participants" in key]
        [value] = client.hvals(key)
        client.hset(key, b"\x1b[2Jowned\n", value)
        done = subprocess.run(
            [sys.executable, "-m", "wood", "participant", "list", *options],
            capture_output=True,
            timeout=PATIENCE,
            cwd=ROOT,
            env=clean_environment(),
            check=False,
        )
    assert plain(done.stdout)
    assert plain(done.stderr)
    assert b"Traceback" not in done.stderr


def test_nor_a_file_of_participants(tmp_path: Path) -> None:
    file = tmp_path / "participants"
    one = '{"digest":"' + digest("x") + '","added":1763720000,"operator":false,"disabled":false}'
    file.write_text(f'{{"\\u001b[2Jowned": {one}}}')
    os.chmod(file, 0o600)
    for more in ((), ("--json",)):
        done = run_wood("participant", "list", "--participants", str(file), *more)
        assert (done.stdout + done.stderr).replace("\n", "").isprintable()
