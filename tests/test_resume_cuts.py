"""The line is cut after each byte of a short dialogue; who resumes knows of each order.

Nothing is taken twice, nothing later, and no report is told twice or not at all.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.accounts import Account, Fate
from tests.cluster import Cluster
from tests.proxy import Cut, Cutter
from tests.resuming import (
    DIALOGUE,
    Client,
    check_against_journal,
    check_against_server,
    resume,
    tidy_up,
    until_all_have_left,
)
from tests.support import Peer, Server, eventually
from tests.wires import Wire

StartServer = Callable[..., Server]

BREAKS = [
    ("requests", "reset"),
    ("requests", "end"),
    ("answers", "reset"),
    ("answers", "end"),
    ("answers", "lose"),
]
STRIDE = 97
"""From one position to the next in the short version: prime, so that the ways to break differ."""


@pytest.fixture
def cutter() -> Iterator[Cutter]:
    cutter = Cutter()
    yield cutter
    cutter.close()


def dialogue(cutter: Cutter, account: Account, *, packed: bool, step_by_step: bool) -> None:
    """Have the dialogue through the proxy, as far as that lets it come."""
    try:
        client = Client(account, cutter.port, packed=packed)
    except ConnectionResetError:  # at once, before this side saw that it was connected
        assert cutter.cut is not None
        assert cutter.cut.after == 0
        return
    with client:
        if client.log_in():
            client.converse(DIALOGUE, step_by_step=step_by_step)


def lengths(cutter: Cutter, *, packed: bool) -> dict[str, int]:
    """How many bytes the whole dialogue has in both directions, and some more."""
    cutter.cut = None
    account = Account("measure")
    asked = len(Wire(packed).encode(account.login(), *DIALOGUE))
    dialogue(cutter, account, packed=packed, step_by_step=True)
    assert len(account.reports) == 10
    eventually(lambda: cutter.answered > 0, "the length of the answers")
    return {"requests": asked, "answers": cutter.answered + 40}


def cuts(longest: dict[str, int], breaks: list[tuple[str, str]], full: bool) -> Iterator[Cut]:
    """All positions, or a sample of them."""
    for place, (direction, how) in enumerate(breaks):
        step = 1 if full else STRIDE
        for after in range(0 if full else place * 19, longest[direction] + 1, step):
            yield Cut(direction, after, how)  # type: ignore[arg-type]


def portions(full: bool) -> list[list[tuple[str, str]]]:
    """The ways to break for each server: all positions of all of them make a long journal."""
    return [[way] for way in BREAKS] if full else [BREAKS]


def run(
    cutter: Cutter, ports: list[int], breaks: list[tuple[str, str]], *, packed: bool, full: bool
) -> list[Account]:
    """Cut everywhere; resume at the next port. Returns the accounts, one for each cut."""
    cutter.target = ports[0]
    longest = lengths(cutter, packed=packed)
    accounts: list[Account] = []
    for number, cut in enumerate(cuts(longest, breaks, full)):
        account = Account(f"{'-'.join(breaks[0])}-{number}")
        accounts.append(account)
        cutter.cut, cutter.target = cut, ports[number % len(ports)]
        dialogue(cutter, account, packed=packed, step_by_step=number % 2 == 0)
        with resume(account, ports[(number + 1) % len(ports)], packed=packed) as client:
            tidy_up(client)
    fates = {order.fate for account in accounts for order in account.orders.values()}
    assert fates <= {Fate.TAKEN, Fate.NEVER}
    assert Fate.TAKEN in fates
    assert Fate.NEVER in fates or ("requests", "end") not in breaks
    return accounts


@pytest.mark.timeout(900)  # all positions take their time
@pytest.mark.parametrize("packed", [False, True], ids=["json", "msgpack"])
def test_a_server(start_server: StartServer, cutter: Cutter, full: bool, packed: bool) -> None:
    """The public saw every trade that the participants were told of, and an empty book."""
    for breaks in portions(full):
        server = start_server()
        with server.watcher() as watcher:
            watcher.ask({"message": "subscribe", "symbols": ["WOOD"], "encoding": "json"})
            assert watcher.message()["type"] == "snapshot"
            accounts = run(cutter, [server.private], breaks, packed=packed, full=full)
            check_against_server(accounts, server)
            fills = [r for account in accounts for r in account.reports if r.what == "FILL"]
            check_public(watcher, trades=len(fills) // 2 + 1)


def check_public(watcher: Peer, trades: int) -> None:
    """So many trades are seen, the one of the dialogue that was measured included."""
    levels: dict[tuple[str, int], int] = {}
    while trades or any(levels.values()):
        message = watcher.message()
        if message["type"] == "trade":
            trades -= 1
            assert trades >= 0
        else:
            levels[message["side"], message["price"]] = message["quantity"]


@pytest.mark.timeout(900)  # all positions take their time
@pytest.mark.parametrize("packed", [False, True], ids=["json", "msgpack"])
def test_a_cluster(
    redis_url: str,
    prefix: str,
    start_server: StartServer,
    cutter: Cutter,
    full: bool,
    packed: bool,
) -> None:
    """Each resumes at another node, and that knows all."""
    if packed and not full:
        pytest.skip("a part of it is enough for every day: the encoding is that of one server")
    cluster = Cluster(start_server, redis_url, prefix, nodes=2)
    ports = [port for _, port in cluster.private]
    for breaks in portions(full):
        accounts = run(cutter, ports, breaks, packed=packed, full=full)
        until_all_have_left(cluster)
        check_against_journal(accounts, cluster)
        assert not cluster.orders()
        assert not cluster.levels()
