"""A halt as all sides see it, by the same code on a server alone and on the nodes of a cluster."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.sessions import log_in
from tests.support import Peer, Server, create, eventually, run_wood, run_wood_here
from wood.client import Client, PublicClient, QueryRefused, State, StateChanged

INSTRUMENTS = ("--instrument", "WOOD", "--instrument", "PEAR")


@dataclass
class Venue:
    """The servers, and the environment of an operator's commands. In a cluster they are two nodes:
    what is asked of the one is seen at the other.
    """

    asked: Server
    seen: Server
    who: dict[str, str]

    def wood(self, *words: str) -> str:
        """What an operator's command prints."""
        done = run_wood_here(*words, "-p", str(self.asked.private), **self.who)
        return done.stdout + done.stderr


@pytest.fixture(params=["single", "cluster"])
def venue(
    request: pytest.FixtureRequest,
    redis_url: str,
    prefix: str,
    start_server: Callable[..., Server],
    tmp_path: Path,
) -> Venue:
    single = request.param == "single"
    where: tuple[str, ...] = ("--redis", redis_url, "--prefix", prefix)
    if single:
        where = ("--participants", str(tmp_path / "participants.json"))
    added = run_wood_here("participant", "add", "root", "--operator", *where)
    who = {"WOOD_OPERATOR": "root", "WOOD_TOKEN": added.stdout.strip()}
    if single:
        server = start_server(*where, *INSTRUMENTS)
        return Venue(server, server, who)
    asked, seen = Cluster(start_server, redis_url, prefix, *INSTRUMENTS, nodes=2).nodes
    return Venue(asked, seen, who)


def subscribed(server: Server, *symbols: str) -> tuple[Peer, list[dict[str, object]]]:
    """A subscriber, and what it was told up to the line that ends the books."""
    peer = server.watcher()
    peer.send({"message": "subscribe", "symbols": list(symbols)})
    told = [peer.message()]
    while told[-1]["type"] != "snapshot":
        told.append(peer.message())
    return peer, told


def states(server: Server) -> dict[str, str]:
    """What a node says of the instruments."""
    with server.trader() as peer:
        rows = peer.ask({"message": "instruments"})["instruments"]
    return {row["symbol"]: row["state"] for row in rows}


def test_while_an_instrument_is_halted_there_are_cancels_and_nothing_else(venue: Venue) -> None:
    amend = {"message": "amendOrder", "orderId": 1, "quantity": 1}
    market = {"message": "marketOrder", "orderId": 2, "side": "SELL", "quantity": 1}
    watcher, _ = subscribed(venue.seen, "WOOD", "PEAR")
    with venue.seen.trader() as alice, watcher, venue.seen.watcher() as plain:
        login = log_in(alice)
        for number in (1, 2, 3):
            assert alice.ask(create(number, "BUY", 5, 10))["report"] == "NEW"
            assert watcher.message()["type"] == plain.message()["type"] == "orderbook"
        assert venue.wood("halt", "WOOD") == "WOOD is halted\n"
        line = watcher.message()
        assert line["seq"] > login["seq"]
        told = {"type": "state", "symbol": "WOOD", "state": "halted", "reason": "operator"}
        assert line == told | {"seq": line["seq"]}
        for message in (create(9, "BUY", 5, 1), create(9, "SELL", 5, 1), amend, market):
            refused = alice.ask(message)
            assert (refused["code"], refused["error"]) == ("halted", "trading in WOOD is halted")
        assert alice.ask(create(9, "BUY", 5, 1) | {"symbol": "PEAR"})["report"] == "NEW"
        assert watcher.message()["symbol"] == "PEAR"
        assert alice.ask({"message": "cancelOrder", "orderId": 1})["report"] == "CANCELED"
        assert venue.wood("cancel", "--participant", "alice") == "cancelled 3 orders\n"
        assert [report["report"] for report in alice.messages(3)] == ["CANCELED"] * 3
        assert states(venue.seen) == {"WOOD": "halted", "PEAR": "open"}
        late, before = subscribed(venue.seen, "WOOD")
        with late:
            assert [line["type"] for line in before[-2:]] == ["state", "snapshot"]
            assert before[-2]["seq"] == before[-1]["seq"]
            assert venue.wood("resume", "WOOD", "PEAR") == "WOOD is open\nPEAR is open\n"
            told |= {"state": "open"}
            again = late.message()
            assert again == told | {"seq": again["seq"]}
        assert alice.ask(create(1, "BUY", 4, 10))["report"] == "NEW"
        while (line := watcher.message())["type"] != "state":
            pass
        assert line == again, "the same number for everybody"
        while (line := plain.message())["price"] != 4:
            assert line["type"] == "orderbook", "the base has no such line"


def test_a_halt_that_is_asked_for_twice_is_one(venue: Venue) -> None:
    watcher, _ = subscribed(venue.seen, "WOOD")
    with watcher:
        for _ in range(2):
            assert venue.wood("halt", "WOOD") == "WOOD is halted\n"
        assert venue.wood("resume", "WOOD") == "WOOD is open\n"
        told = watcher.messages(2)
    assert [line["state"] for line in told] == ["halted", "open"]
    assert told[1]["seq"] > told[0]["seq"]


def test_who_is_no_operator_or_names_nothing(venue: Venue) -> None:
    assert "(unknown_symbol)" in venue.wood("halt", "PLUM")
    venue.who["WOOD_TOKEN"] = "another"
    assert "(unauthorized)" in venue.wood("halt", "WOOD")
    with venue.asked.trader() as alice:
        log_in(alice)
        for word in ("halt", "resume"):
            assert alice.ask({"message": word})["code"] == "forbidden"
    assert states(venue.seen) == {"WOOD": "open", "PEAR": "open"}


def test_with_the_client_library(venue: Venue) -> None:
    private = [f"127.0.0.1:{venue.asked.private}"]
    public = [f"127.0.0.1:{venue.seen.public}"]

    async def play() -> None:
        root = Client(private, "root", venue.who["WOOD_TOKEN"], encoding="msgpack")
        async with root, PublicClient(public, ["WOOD"], encoding="msgpack") as market:
            assert await root.halt("WOOD") is State.HALTED
            update = await anext(market)
            assert isinstance(update, StateChanged)
            assert market.book().state is State.HALTED
            async with PublicClient(public, ["PEAR", "WOOD"]) as late, Client(private) as nobody:
                assert late.book("WOOD").state is State.HALTED
                assert late.book("PEAR").state is State.OPEN
                listed = {each.symbol: each.state for each in await nobody.instruments()}
                assert listed == {"WOOD": "halted", "PEAR": "open"}
                with pytest.raises(QueryRefused, match="only an operator") as caught:
                    await nobody.resume("WOOD")
                assert caught.value.code == "forbidden"
                assert await root.resume() is State.OPEN
                await anext(late)
                assert late.book("WOOD").state is State.OPEN

    asyncio.run(play(), debug=True)


def test_of_several_partitions_each_halts_its_own(
    redis_url: str, prefix: str, start_server: Callable[..., Server]
) -> None:
    where = ("--redis", redis_url, "--prefix", prefix)
    added = run_wood_here("participant", "add", "root", "--operator", *where)
    who = {"WOOD_OPERATOR": "root", "WOOD_TOKEN": added.stdout.strip()}
    listed = ("--instrument", "WOOD", "--instrument", "GOLD@metals")
    asked, seen = Cluster(start_server, redis_url, prefix, *listed, nodes=2).nodes
    venue = Venue(asked, seen, who)
    with seen.watcher() as watcher, seen.trader() as alice:
        watcher.send({"message": "subscribe", "symbols": ["WOOD", "GOLD"]})
        begun = watcher.messages(3)
        assert [line.get("partition") for line in begun] == [None, "main", "metals"]
        assert venue.wood("halt", "GOLD", "WOOD") == "GOLD is halted\nWOOD is halted\n"
        assert {line["symbol"] for line in watcher.messages(2)} == {"GOLD", "WOOD"}
        assert venue.wood("resume", "WOOD") == "WOOD is open\n"
        assert (watcher.message()["symbol"], states(seen)) == (
            "WOOD",
            {"WOOD": "open", "GOLD": "halted"},
        )
        assert alice.ask(create(1, "BUY", 5, 1))["report"] == "NEW"
        refused = alice.ask(create(1, "BUY", 5, 1) | {"symbol": "GOLD"})
        assert (refused["code"], refused["symbol"]) == ("halted", "GOLD")
    late = seen.watcher()
    with late:
        late.send({"message": "subscribe", "symbols": ["WOOD", "GOLD"]})
        told = [late.message() for _ in range(6)]
        kinds = [(line["type"], line.get("symbol", line.get("partition"))) for line in told]
        assert kinds[2:] == [
            *(("orderbook", "WOOD"), ("snapshot", "main")),
            *(("state", "GOLD"), ("snapshot", "metals")),
        ]


def test_it_outlives_the_one_who_asked(venue: Venue) -> None:
    """Nothing of it is the operator's connection's, or its node's."""
    venue.wood("halt", "WOOD")
    if venue.asked is not venue.seen:
        venue.asked.kill()
    eventually(lambda: states(venue.seen) == {"WOOD": "halted", "PEAR": "open"}, "the halt")


@pytest.mark.parametrize("kept", [True, False])
def test_with_persist_it_outlives_all_nodes(
    kept: bool,
    redis_url: str,
    prefix: str,
    start_server: Callable[..., Server],
) -> None:
    where = ("--redis", redis_url, "--prefix", prefix)
    added = run_wood_here("participant", "add", "root", "--operator", *where)
    options = (*INSTRUMENTS, "--lease", "1", *(["--persist"] if kept else []))
    cluster = Cluster(start_server, redis_url, prefix, *options, nodes=1)
    who = {"WOOD_OPERATOR": "root", "WOOD_TOKEN": added.stdout.strip()}
    Venue(cluster.nodes[0], cluster.nodes[0], who).wood("halt", "WOOD")
    exported = run_wood("export", *where).stdout
    assert '"halted"' in exported
    assert '"operator"' in exported
    assert cluster.nodes[0].stop() == 0
    node = cluster.start()
    assert states(node)["WOOD"] == ("halted" if kept else "open")
    watcher, told = subscribed(node, "WOOD")
    watcher.socket.close()
    assert [line["type"] for line in told if line["type"] == "state"] == ["state"] * kept
