"""A node is frozen or killed with commands in it; nothing of them is taken after the resume.

Of three orders the first is in a batch on its way to Redis, which a proxy holds, the second in the
queue of the node, and the third in its socket.
"""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from tests.accounts import Account, Fate
from tests.cluster import Cluster, until_read
from tests.proxy import Proxy
from tests.redis_server import RedisServer
from tests.resuming import (
    Client,
    check_against_journal,
    resume,
    tidy_up,
    until_all_have_left,
)
from tests.support import Server, create, eventually

StartServer = Callable[..., Server]

UNDER_WAY, QUEUED, UNREAD = 700_001, 700_002, 700_003


@dataclass
class Scene:
    """A cluster whose first node reaches Redis through the proxy."""

    cluster: Cluster
    proxy: Proxy
    start: StartServer
    options: tuple[str, ...]

    def node(self) -> Server:
        """One more node behind the proxy."""
        redis = ("-m", "--redis", self.proxy.url, "--prefix", self.cluster.prefix)
        node = self.start(*redis, *self.options)
        self.cluster.nodes.append(node)
        return node

    @property
    def other(self) -> Server:
        """A node that nothing happens to."""
        return self.cluster.nodes[0]


@pytest.fixture(scope="module")
def scene(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    redis_binary: str | None,
) -> Iterator[Scene]:
    """With a lease that never ends here, or with a short one."""
    folder = tmp_path_factory.mktemp("nodes")
    redis = RedisServer(folder, binary=redis_binary)
    options = ("--lease", str(request.param), "--persist")
    start = partial(Server, folder)
    cluster = Cluster(start, redis.url, "wood", *options, nodes=1)
    proxy = Proxy(redis.port)
    yield Scene(cluster, proxy, start, options)
    assert [server.stop() for server in cluster.nodes] == [0] * len(cluster.nodes)
    proxy.close()
    redis.close()


def fill(scene: Scene, node: Server, account: Account) -> Client:
    """Have an order at each place in the node; the connection is that of its client."""
    client = Client(account, node.private)
    assert client.log_in()
    client.converse([create(1, "BUY", 50, 7)], step_by_step=True)
    scene.proxy.hold(str(UNDER_WAY).encode())
    client.say(create(UNDER_WAY, "BUY", 50, 1))
    eventually(lambda: bool(scene.proxy.held), "a batch on its way")
    client.say(create(QUEUED, "BUY", 50, 2), {"message": "cancelOrder", "orderId": 1})
    until_read(node, client.peer)
    return client


def finish(scene: Scene, account: Account, *, taken: set[int]) -> None:
    """At the end the client knows of each order, and the journal knows nothing else."""
    until_all_have_left(scene.cluster)
    check_against_journal([account], scene.cluster)
    assert account.taken == taken
    never = {order_id for order_id, o in account.orders.items() if o.fate is Fate.NEVER}
    assert never == {UNDER_WAY, QUEUED, UNREAD} - taken


def told_the_end(client: Client, *codes: str) -> list[int]:
    """The old connection hears why it ends, and at most of orders that were taken."""
    *before, last = client.rest()
    client.close()
    assert last["code"] in codes
    return [message["orderId"] for message in before if message.get("report") == "NEW"]


@pytest.mark.parametrize("scene", [60], indirect=True, scope="module")
@pytest.mark.parametrize("in_time", [False, True], ids=["batch after", "batch before"])
def test_a_node_goes_on_before_its_lease_ends(scene: Scene, in_time: bool) -> None:
    """The batch reaches Redis after the resume, or before: then it is in the replay."""
    account = Account(f"alice-{in_time}")
    node = scene.node()
    old = fill(scene, node, account)
    node.process.send_signal(signal.SIGSTOP)
    old.say(create(UNREAD, "BUY", 50, 3))
    if in_time:
        scene.proxy.release()
        eventually(lambda: (account.name, UNDER_WAY) in scene.cluster.orders(), "the batch")
    with resume(account, scene.other.private) as client:
        scene.proxy.release()
        node.process.send_signal(signal.SIGCONT)
        assert told_the_end(old, "superseded") == ([UNDER_WAY] if in_time else [])
        assert account.open == ({1: 7, UNDER_WAY: 1} if in_time else {1: 7})
        tidy_up(client)
    finish(scene, account, taken={1, UNDER_WAY} if in_time else {1})


@pytest.mark.parametrize("scene", [1], indirect=True, scope="module")
def test_a_node_goes_on_after_its_lease_ended(scene: Scene) -> None:
    """It is fenced: neither what it had sent nor what it had not is taken."""
    account = Account("alice")
    node = scene.node()
    old = fill(scene, node, account)
    node.process.send_signal(signal.SIGSTOP)
    old.say(create(UNREAD, "BUY", 50, 3))
    with resume(account, scene.other.private) as client:
        scene.cluster.logged("declared dead", [scene.other])
        node.process.send_signal(signal.SIGCONT)
        scene.proxy.release()
        assert told_the_end(old, "superseded", "unavailable") == []
        assert account.open == {1: 7}
        tidy_up(client)
    finish(scene, account, taken={1})


@pytest.mark.parametrize("scene", [60], indirect=True, scope="module")
def test_a_node_is_killed(scene: Scene) -> None:
    """Its last batch reaches Redis after its client resumed, and is not taken."""
    account = Account("bob")
    node = scene.node()
    old = fill(scene, node, account)
    node.process.send_signal(signal.SIGSTOP)
    old.say(create(UNREAD, "BUY", 50, 3))
    node.kill()
    with resume(account, scene.other.private) as client:
        before = scene.cluster.journal()[-1].number
        scene.proxy.release()
        tidy_up(client)
        eventually(lambda: len(scene.cluster.journal()) > before, "the batch")
    old.close()
    finish(scene, account, taken={1})


@pytest.mark.parametrize("scene", [60], indirect=True, scope="module")
def test_a_login_that_was_given_up_comes_late(scene: Scene) -> None:
    """It takes the session from the connection that its own client has by then.

    To be told `superseded` after a login without an answer need not mean that there is somebody
    else: who resumes once more for each such login has the session in the end, and all accounts.
    """
    account = Account("carol")
    node = scene.node()
    with resume(account, scene.other.private) as client:
        client.converse([create(1, "BUY", 50, 7)], step_by_step=True)
    node.process.send_signal(signal.SIGSTOP)
    given_up = Client(account, node.private)
    given_up.send(account.login())
    given_up.close()
    with resume(account, scene.other.private) as client:
        client.converse([create(2, "BUY", 50, 1)], step_by_step=True)
        node.process.send_signal(signal.SIGCONT)
        assert client.rest()[-1]["code"] == "superseded"
    with resume(account, scene.other.private) as client:
        assert account.open == {1: 7, 2: 1}
        tidy_up(client)
    until_all_have_left(scene.cluster)
    check_against_journal([account], scene.cluster)
