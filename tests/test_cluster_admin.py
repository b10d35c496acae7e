"""`wood reset` and `wood export`, as an operator or a script meets them."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.redis_server import RedisServer
from tests.support import (
    PATIENCE,
    ROOT,
    Server,
    clean_environment,
    create,
    eventually,
    run_wood,
    run_wood_here,
)
from tests.traders import Traders, check_accounts

StartServer = Callable[..., Server]
StartRedis = Callable[..., RedisServer]

BIG = [2**53 + 1, 2**63, 2**64 - 1]
"""Ids that no binary float can hold."""


def reset(cluster: Cluster, answer: str = "") -> subprocess.CompletedProcess[str]:
    """`wood reset` with this on its standard input."""
    return subprocess.run(
        [sys.executable, "-m", "wood", "reset", "--redis", cluster.url, "--prefix", cluster.prefix],
        input=answer,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=ROOT,
        env=clean_environment(),
        check=False,
    )


def reset_yes(cluster: Cluster) -> subprocess.CompletedProcess[str]:
    return run_wood_here("reset", "--redis", cluster.url, "--prefix", cluster.prefix, "--yes")


def export(cluster: Cluster) -> list[dict[str, Any]]:
    done = run_wood("export", "--redis", cluster.url, "--prefix", cluster.prefix)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.endswith("\n")
    return [json.loads(line) for line in done.stdout.splitlines()]


def keys(cluster: Cluster) -> dict[bytes, bytes]:
    """Everything under the prefix, and what it holds."""
    with cluster.redis() as client:
        found = client.scan_iter(f"{cluster.prefix}:*", count=1000)
        return {key: client.dump(key) for key in found}


def rest(node: Server, *order_ids: int) -> None:
    with node.trader() as trader:
        for order_id in order_ids:
            assert trader.ask(create(order_id, "BUY", 9.5, 5))["report"] == "NEW"


class TestReset:
    def test_it_asks_and_then_nothing_is_left(
        self, redis_url: str, prefix: str, start_server: StartServer
    ) -> None:
        cluster = Cluster(
            start_server, redis_url, prefix, "--instrument", "A", "--instrument", "B", nodes=1
        )
        rest(cluster.nodes[0], 1, 2, 3)
        cluster.nodes[0].stop()
        neighbour = Cluster(start_server, redis_url, f"{prefix}-b", nodes=1)
        rest(neighbour.nodes[0], 4)
        neighbour.nodes[0].stop()
        before, others = keys(cluster), keys(neighbour)
        for answer in ("what?\nn\n", ""):
            done = reset(cluster, answer)
            assert done.returncode not in (0, 1), "neither done nor broken"
            assert done.stdout == ""
            assert f"delete the journal and 3 open orders under the prefix {prefix}?" in done.stderr
            assert "Traceback" not in done.stderr
            assert keys(cluster) == before
        done = reset(cluster, "y\n")
        assert (done.returncode, done.stdout) == (0, "cleared: 3 orders were open\n")
        with cluster.redis() as client:
            mine = client.scan_iter(f"{prefix}:*", count=1000)
            assert list(mine) == []
        assert keys(neighbour) == others
        done = reset_yes(cluster)
        assert done.returncode == 0
        assert done.stdout == f"there is no book under the prefix {prefix}\n"

    def test_yes_does_not_ask(self, redis_url: str, prefix: str, start_server: StartServer) -> None:
        """And the next cluster may have other rules."""
        cluster = Cluster(start_server, redis_url, prefix, "--persist", nodes=1)
        rest(cluster.nodes[0], 1)
        cluster.nodes[0].stop()
        done = reset_yes(cluster)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "cleared: 1 orders were open\n"
        assert keys(cluster) == {}
        node = cluster.start("--instrument", "GOLD")
        assert "clear" not in node.text().lower(), "there was nothing to clear"

    @pytest.mark.parametrize("lease", ["1", "60"])
    def test_it_refuses_while_nodes_run(
        self, redis_url: str, prefix: str, start_server: StartServer, lease: str
    ) -> None:
        cluster = Cluster(start_server, redis_url, prefix, "--lease", lease, nodes=1)
        node = cluster.nodes[0]
        if lease == "60":
            # Its beats are 12 seconds apart: as if 6 of them had passed.
            with cluster.redis() as client:
                [(writer, beat)] = client.zrange(cluster.keys.beats, 0, -1, withscores=True)
                client.zadd(cluster.keys.beats, {writer: beat - 6_000_000})
        rest(node, 1)
        for done in (reset(cluster, "y\n"), reset_yes(cluster)):
            assert done.returncode == 1
            assert done.stdout == ""
            assert "stop them first" in done.stderr
            assert "Traceback" not in done.stderr
        assert [order_id for _, order_id in cluster.orders()] == [1]
        with node.trader() as trader:
            trader.send(create(2, "SELL", 9.5, 1))
            assert [m["report"] for m in trader.messages(2)] == ["NEW", "FILL"]
        assert len(cluster.writers()) == 1

    def test_who_was_killed_is_waited_for(
        self, redis_url: str, prefix: str, start_server: StartServer
    ) -> None:
        cluster = Cluster(start_server, redis_url, prefix, "--lease", "1", nodes=1)
        rest(cluster.nodes[0], 1)
        cluster.nodes[0].kill()
        assert cluster.writers(), "it did not say that it goes"
        assert reset_yes(cluster).stdout == "cleared: 1 orders were open\n"
        assert keys(cluster) == {}


class TestExport:
    def test_numbers_are_exact(
        self, redis_url: str, prefix: str, start_server: StartServer
    ) -> None:
        cluster = Cluster(
            start_server, redis_url, prefix, "--instrument", "WOOD:0.01:0.001", nodes=1
        )
        price, quantity = "90071992547409.91", "999999999.999"  # 2^53 - 1 ticks, 10^12 - 1 lots
        with cluster.nodes[0].trader() as trader:
            for order_id in BIG:
                message = create(order_id, "SELL", price, 1) | {"quantity": quantity}
                assert trader.ask(message)["report"] == "NEW"
            trader.send(create(1, "BUY", price, 1) | {"quantity": "0.001"})
            trader.messages(3)
        lines = export(cluster)
        accepted = [line for line in lines if line["event"] == "OrderAccepted"]
        assert [line["order_id"] for line in accepted] == [*BIG, 1]
        assert [line["price"] for line in accepted] == [2**53 - 1] * 4
        assert [line["quantity"] for line in accepted] == [10**12 - 1] * 3 + [1]
        [trade] = [line for line in lines if line["event"] == "Trade"]
        assert (trade["maker_order_id"], trade["taker_order_id"]) == (BIG[0], 1)
        assert (trade["price"], trade["quantity"]) == (2**53 - 1, 1)
        # No number became a float on its way.
        assert not any(isinstance(value, float) for line in lines for value in line.values())

    def test_it_agrees_with_what_clients_were_told(
        self, redis_url: str, prefix: str, start_server: StartServer
    ) -> None:
        """Also while nodes run, and others trade; every event is there once, in order."""
        cluster = Cluster(start_server, redis_url, prefix, nodes=2)
        with Traders(cluster.private, count=6) as traders:
            traders.go_on(200)
            during = export(cluster)
            traders.go_on(200)
            traders.settle()
            lines = export(cluster)
            assert during == lines[: len(during)], "a part of the same history"
            assert len(during) > 200
            told = {life.told[0][1]: life.told for life in traders.lives}
            check_accounts(traders, cluster.journal())
        history = _told(lines)
        for first_id, reports in told.items():
            [theirs] = [each for each in history.values() if each[0][1] == first_id]
            assert theirs == reports
        assert lines == _lines_of(cluster)[: len(lines)]

    def test_who_reads_only_the_beginning(
        self, redis_url: str, prefix: str, start_server: StartServer
    ) -> None:
        """More than a pipe holds is written to a reader that is gone."""
        cluster = Cluster(start_server, redis_url, prefix, nodes=1)
        with cluster.nodes[0].trader() as trader:
            trader.send(*(create(n, "BUY", 1 + n % 9, 1) for n in range(3000)))
            trader.messages(3000)
        command = f"{sys.executable} -m wood export --redis {redis_url} --prefix {prefix}"
        done = subprocess.run(
            ["bash", "-c", f"{command} | head -1"],
            capture_output=True,
            timeout=PATIENCE,
            cwd=ROOT,
            env=clean_environment(),
            check=False,
        )
        assert json.loads(done.stdout)["event"] == "OrderAccepted"
        assert done.stderr == b""
        assert len(export(cluster)) >= 6000, "it would have been more"

    def test_what_cannot_be_written_is_one_line(
        self, redis_url: str, prefix: str, start_server: StartServer
    ) -> None:
        cluster = Cluster(start_server, redis_url, prefix, nodes=1)
        rest(cluster.nodes[0], 1)
        command = f"{sys.executable} -m wood export --redis {redis_url} --prefix {prefix}"
        done = subprocess.run(
            ["bash", "-c", f"{command} > /dev/full"],
            capture_output=True,
            timeout=PATIENCE,
            cwd=ROOT,
            env=clean_environment(),
            text=True,
            check=False,
        )
        assert done.returncode == 1
        [line] = done.stderr.splitlines()
        assert "No space left" in line


def test_there_is_nothing(redis_url: str, prefix: str) -> None:
    done = run_wood_here("export", "--redis", redis_url, "--prefix", prefix)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"wood: there is no journal under the prefix {prefix!r}\n"


@pytest.mark.parametrize("command", [["export"], ["reset"]])
def test_there_is_no_redis(command: list[str]) -> None:
    done = run_wood_here(*command, "--redis", "redis://127.0.0.1:1/0")
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("wood: cannot reach Redis at redis://127.0.0.1:1/0")


def test_settings_from_the_environment(
    redis_url: str, prefix: str, start_server: StartServer
) -> None:
    """One of them for all commands: who exports WOOD_REDIS means that one everywhere."""
    cluster = Cluster(start_server, redis_url, prefix, nodes=1)
    rest(cluster.nodes[0], 1)
    cluster.nodes[0].stop(signal.SIGTERM)
    where = {"WOOD_REDIS": redis_url, "WOOD_PREFIX": prefix}
    assert '"order_id":1' in run_wood("export", **where).stdout
    eventually(lambda: cluster.writers() == set())
    assert "cleared: 1" in run_wood("reset", WOOD_RESET_YES="1", **where).stdout


def _told(lines: list[dict[str, Any]]) -> dict[str, list[tuple[Any, ...]]]:
    """What each participant was told, if the export is right."""
    told: dict[str, list[tuple[Any, ...]]] = {}
    for line in lines:
        if line["event"] == "OrderAccepted":
            told.setdefault(line["participant"], []).append(("NEW", line["order_id"]))
        elif line["event"] == "OrderCanceled":
            told[line["participant"]].append(("CANCELED", line["order_id"]))
        elif line["event"] == "Trade":
            for who in ("maker", "taker"):
                fill = ("FILL", line[f"{who}_order_id"], line["price"], line["quantity"])
                told[line[who]].append(fill)
    return told


def _lines_of(cluster: Cluster) -> list[dict[str, Any]]:
    """The journal itself, in the shape of an export."""
    return [
        json.loads(
            json.dumps(
                {
                    "event": type(event).__name__,
                    "epoch": batch.epoch,
                    "time": batch.time,
                    **{name: getattr(event, name) for name in event.__struct_fields__},
                }
            )
        )
        for batch in cluster.journal()
        for event in batch.events
    ]
