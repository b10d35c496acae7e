"""Several partitions on one Redis: several node processes, the client at any of them."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.support import Peer, Server, create, run_wood, run_wood_here
from wood.exchange.cluster.layout import Layout, choose

StartServer = Callable[..., Server]

WOOD, GOLD = ("--instrument", "WOOD"), ("--instrument", "GOLD@metals")
LOGIN = {"message": "login", "participant": "alice"}


def start(begin: StartServer, url: str, prefix: str, *options: str, nodes: int = 2) -> Cluster:
    quick = ("--lease", "1", "--reconnect-grace", "0.2")
    return Cluster(begin, url, prefix, *quick, *options, nodes=nodes)


def gold(order_id: int, side: str = "BUY", quantity: int = 1) -> dict[str, object]:
    return create(order_id, side, 5, quantity) | {"symbol": "GOLD"}


def open_orders(peer: Peer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = peer.ask({"message": "orders"})["orders"]
    return found


def test_resumed_in_both_at_another_node_after_kill_9(
    redis_url: str, prefix: str, start_server: StartServer
) -> None:
    cluster = start(start_server, redis_url, prefix, *WOOD, *GOLD)
    here, there = cluster.nodes
    with here.trader() as before, there.trader() as bob, there.trader() as after:
        login = before.ask(LOGIN)
        before.send(create(1, "BUY", 5, 100), gold(1, quantity=100))
        seen = {r["symbol"]: r["seq"] for r in before.messages(2)}
        bob.send(
            *(create(n, "SELL", 5, 1) for n in range(50)), *(gold(n, "SELL") for n in range(60))
        )
        bob.messages(220)
        here.kill()
        place = {"session": login["session"], "epoch": login["epoch"]}
        after.send(LOGIN | place | {"lastSeq": {"main": seen["WOOD"], "metals": seen["GOLD"]}})
        told = after.messages(111)
        assert told[110]["recovered"] == {"main": True, "metals": True}
        assert told[110]["session"] == login["session"]
        symbols = [report["symbol"] for report in told[:110]]
        assert (symbols.count("WOOD"), symbols.count("GOLD")) == (50, 60)
        assert all(report["report"] == "FILL" for report in told[:110])
        assert len({(report["symbol"], report["seq"]) for report in told[:110]}) == 110
        assert [(o["symbol"], o["quantity"]) for o in open_orders(after)] == [
            *(("WOOD", 50), ("GOLD", 40))
        ]
    cluster.nodes.pop(0)


def test_orders_of_a_node_that_died_are_cancelled_in_both(
    redis_url: str, prefix: str, start_server: StartServer
) -> None:
    cluster = start(start_server, redis_url, prefix, *WOOD, *GOLD)
    here, there = cluster.nodes
    with here.trader() as before, there.trader() as looking:
        looking.ask(LOGIN | {"participant": "bob"})
        before.ask(LOGIN | {"participant": "bob", "cancelOnDisconnect": True})
        before.send(create(1, "BUY", 5, 1), gold(1))
        before.messages(2)
        here.kill()
        told = looking.messages(4)
        assert sorted((r["report"], r["symbol"]) for r in told[2:]) == [
            *(("CANCELED", "GOLD"), ("CANCELED", "WOOD"))
        ]
        assert open_orders(looking) == []
    cluster.nodes.pop(0)


def test_a_token_counts_in_every_partition_also_in_one_that_is_added_later(
    redis_url: str, prefix: str, start_server: StartServer
) -> None:
    where = ("--redis", redis_url, "--prefix", prefix)

    def participant(change: str, name: str) -> str:
        done = run_wood_here("participant", change, name, *where)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    token = participant("add", "alice")
    old = start(start_server, redis_url, prefix, *WOOD, nodes=1)
    with old.nodes[0].trader() as before:
        login = before.ask(LOGIN | {"token": token})
        assert before.ask(create(1, "BUY", 5, 1))["report"] == "NEW"
        # A node that knows one more partition joins, while the older one runs.
        (node,) = start(start_server, redis_url, prefix, *WOOD, *GOLD, nodes=1).nodes
        with node.trader() as after, node.trader() as wrong:
            assert wrong.ask(LOGIN | {"token": "x"})["code"] == "unauthorized"
            place = {"session": login["session"], "epoch": login["epoch"], "lastSeq": 0}
            after.send(LOGIN | {"token": token} | place)
            assert after.message()["report"] == "NEW"
            reply = after.message()
            assert reply["recovered"] == {"main": True}
            assert reply["partitions"] == {"main": ["WOOD"], "metals": ["GOLD"]}
            assert b"superseded" in before.rest()
            assert after.ask(gold(1))["report"] == "NEW"
            other = participant("rotate", "alice")
            with node.trader() as late:
                assert late.ask(LOGIN | {"token": token})["code"] == "unauthorized"
            with node.trader() as late:
                assert "session" in late.ask(LOGIN | {"token": other})
            participant("disable", "alice")
            assert b"disabled" in after.rest()
        with node.trader() as late:
            assert late.ask(LOGIN | {"token": other})["code"] == "disabled"
        participant("enable", "alice")
        with node.trader() as late:
            late.send(LOGIN | {"token": other})
            assert "session" in late.message()
            assert open_orders(late) == []


def test_what_an_operator_does_is_done_in_all(
    redis_url: str, prefix: str, start_server: StartServer
) -> None:
    where = ("--redis", redis_url, "--prefix", prefix)
    cluster = start(start_server, redis_url, prefix, "--persist", *WOOD, *GOLD, nodes=1)
    with cluster.nodes[0].trader() as trader:
        trader.send(create(1, "BUY", 5, 1), gold(1))
        trader.messages(2)
    assert cluster.nodes.pop().stop() == 0
    exported = run_wood("export", *where)
    partitions = [line.split('"partition":"')[1].split('"')[0] for line in exported.stdout.split()]
    assert set(partitions) == {"main", "metals"}
    done = run_wood_here("reset", "--yes", *where)
    assert done.stdout == "cleared: 2 orders were open\n", done.stderr
    assert run_wood_here("export", *where).returncode == 1


def test_a_node_that_puts_an_instrument_elsewhere_is_refused(
    redis_url: str, prefix: str, start_server: StartServer
) -> None:
    """Also when nobody runs: the book that persists would stay behind."""
    cluster = start(start_server, redis_url, prefix, "--persist", *WOOD, *GOLD, nodes=1)
    moved = ("-s", "-m", "--redis", redis_url, "--prefix", prefix, "--lease", "1", "--persist")
    for running in (True, False):
        if not running:
            assert cluster.nodes.pop().stop() == 0
        for listed, said in (
            ([*WOOD, "--instrument", "GOLD"], "GOLD is in the partition metals there, main here"),
            ([*WOOD, "--instrument", "GOLD@b"], "GOLD is in the partition metals there, b here"),
            ([*GOLD, *WOOD], "the default one is WOOD there, GOLD here"),
            (["--instrument", "GOLD"], "the default one is WOOD there, GOLD here"),
        ):
            done = run_wood_here(*moved, *listed)
            assert done.returncode == 1
            assert said in done.stderr
    where = ("--redis", redis_url, "--prefix", prefix)
    assert run_wood_here("reset", "--yes", *where).returncode == 0
    start(start_server, redis_url, prefix, "--persist", *WOOD, "--instrument", "GOLD@b", nodes=1)


def test_a_single_server_has_one_partition() -> None:
    done = run_wood_here("-s", "--private", "0", "--public", "0", *WOOD, *GOLD)
    assert done.returncode == 1
    assert "several partitions need -m" in done.stderr


class TestLayout:
    def test_partitions_go_to_the_masters_that_have_the_fewest(self) -> None:
        masters = ("a", "b", "c")

        def master_of(tag: str) -> str:
            return masters[sum(tag.encode()) % 3]

        tags = {"main": "main"}
        for name in ("p1", "p2", "p3", "p4", "p5"):
            tags[name] = choose(name, tags, (master_of, masters))
            assert tags[name].startswith(name)
        load = [master_of(tag) for tag in tags.values()]
        assert [load.count(master) for master in masters] == [2, 2, 2]
        assert len(set(load[:3])) == 3, "also while there are few"

    def test_names_alone_can_share_one(self) -> None:
        assert choose("metals", {"main": "main"}, (lambda tag: "a", ["a"])) == "metals"
        assert choose("metals", {"main": "main"}, None) == "metals"

    def test_a_hundred_who_choose_at_once_agree(self, redis_url: str, prefix: str) -> None:
        async def settle() -> dict[str, str]:
            layout = Layout(redis_url, prefix)
            try:
                return await layout.settle(["main", "x", "y"])
            finally:
                await layout.close()

        async def all_at_once() -> list[dict[str, str]]:
            return await asyncio.gather(*(settle() for _ in range(100)))

        assert {tuple(tags.items()) for tags in asyncio.run(all_at_once())} == {
            (("main", "main"), ("x", "x"), ("y", "y"))
        }

    def test_without_a_redis_it_says_so(self) -> None:
        done = run_wood_here("-s", "-m", "--redis", "redis://localhost:1", *WOOD, *GOLD)
        assert done.returncode == 1
        assert "cannot reach Redis" in done.stderr


@pytest.mark.parametrize("text", ["GOLD@", "GOLD@a b", "GOLD@A", "GOLD@" + "a" * 17])
def test_a_partition_has_a_plain_name(text: str) -> None:
    done = run_wood_here("-s", "-m", "--instrument", text)
    assert done.returncode == 1
    assert "a partition is 1 to 16 of the characters a-z 0-9" in done.stderr


def test_a_client_that_says_too_much_to_one_waits_for_that_one(
    redis_url: str, prefix: str, start_server: StartServer
) -> None:
    """Both get their answers, in the order in which each partition was asked."""
    (node,) = start(start_server, redis_url, prefix, *WOOD, *GOLD, nodes=1).nodes
    with node.trader() as trader:
        count = 6000
        for n in range(count):
            trader.send(create(n, "BUY", 5, 1), gold(n))
        told = trader.messages(2 * count)
        assert [r["orderId"] for r in told if "symbol" in r] == list(range(count))
        assert [r["orderId"] for r in told if "symbol" not in r] == list(range(count))
