"""Who goes away while the login is under way leaves no session that nobody has."""

import hashlib
import signal
import socket
import struct
from collections.abc import Callable, Iterator

import msgpack
import pytest

from tests.cluster import Cluster
from tests.redis_server import RedisServer
from tests.support import Peer, Server, eventually

LOGIN = {
    "message": "login",
    "participant": "alice",
    "token": "secret",
    "cancelOnDisconnect": True,
}
LOGIN_TIMEOUT = 0.3


@pytest.fixture
def redis_server(start_redis: Callable[..., RedisServer]) -> RedisServer:
    return start_redis()


@pytest.fixture
def cluster(redis_server: RedisServer, start_server: Callable[..., Server]) -> Cluster:
    """A node that wants to be told a token soon, and knows one."""
    options = ("--auth", "token", "--login-timeout", str(LOGIN_TIMEOUT))
    cluster = Cluster(start_server, redis_server.url, "wood", *options, nodes=1)
    record = (hashlib.sha256(b"secret").hexdigest(), 0, False, False)
    with cluster.redis() as client:
        client.hset(cluster.keys.participants, "alice", b"".join(map(msgpack.packb, record)))
    return cluster


@pytest.fixture
def late(cluster: Cluster, redis_server: RedisServer) -> Iterator[Peer]:
    """A connection whose login waits for Redis; in the end it has been decided and closed."""
    with cluster.nodes[0].trader() as peer:
        assert peer.ask({"message": "heartbeat"})["code"] == "unauthorized"
        redis_server.freeze()
        yield peer
    redis_server.thaw()
    with cluster.redis() as client:
        eventually(lambda: client.hget(cluster.keys.meta, "seq") == b"1", "the login")
        eventually(lambda: not client.exists(cluster.keys.sessions), "the end of the session")
        assert not client.exists(cluster.keys.placed)


def test_a_login_takes_too_long(late: Peer) -> None:
    late.send(LOGIN)
    assert late.message()["code"] == "unauthorized"
    assert late.message() is None


def test_the_connection_is_reset(cluster: Cluster, late: Peer) -> None:
    """The node notices, since it has something to say before the answer to the login."""
    (node,) = cluster.nodes
    node.process.send_signal(signal.SIGSTOP)
    late.send({"message": "heartbeat"}, LOGIN)
    late.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    late.socket.close()
    node.process.send_signal(signal.SIGCONT)
    cluster.logged("closed: ")
