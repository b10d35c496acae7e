"""The page /metrics of live nodes: what it says is true, and in the format of Prometheus."""

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster import Cluster
from tests.prometheus import needs_prometheus, page, promtool
from tests.redis_server import RedisServer
from tests.support import Server, create, eventually, free_port
from wood.model.node_report import NodeReport

StartServer = Callable[..., Server]

Samples = dict[tuple[str, str], float]
"""By the name of the metric, and its labels in one text: `partition=main symbol=WOOD`."""


def samples(port: int) -> Samples:
    """All that the page says, as the client library of Prometheus reads it."""
    return {
        (sample.name, " ".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page(port))
        for sample in family.samples
    }


def status(port: int) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(page(port, "/status"))
    return said


@pytest.fixture(params=["memory", "redis"])
def port(request: pytest.FixtureRequest, prefix: str, start_server: StartServer) -> int:
    """The health port of a server, alone or in front of Redis, with two instruments."""
    here, mode = free_port(), str(request.param)
    options = ["--health", str(here), "--name", "node one"]
    options += ["--instrument", "WOOD:0.01:1", "--instrument", "PEAR:0.5:0.1"]
    if mode == "redis":
        url = str(request.getfixturevalue("redis_url"))
        options += ["-m", "--redis", url, "--prefix", prefix]
    server = start_server(*options)
    request.node.server = server
    return here


@pytest.fixture
def server(request: pytest.FixtureRequest, port: int) -> Server:
    found: Server = request.node.server
    return found


def trade(server: Server) -> None:
    """Two trades of 3 WOOD at 100.25 and 0.2 PEAR at 7; one order stays; two are refused."""
    with server.trader() as peer:
        peer.ask(create(1, "BUY", 100.25, 5))
        peer.send(create(2, "SELL", 100, 3))
        assert [m["report"] for m in peer.messages(3)] == ["NEW", "FILL", "FILL"]
        pear = {"symbol": "PEAR"}
        peer.ask(create(3, "SELL", 7, 1) | pear)
        peer.send(create(4, "BUY", 7, 1) | {"quantity": 0.2} | pear)
        assert [m["report"] for m in peer.messages(3)] == ["NEW", "FILL", "FILL"]
        assert peer.ask(create(1, "BUY", 1, 1))["code"] == "duplicate"
        assert peer.ask({"message": "cancelOrder", "orderId": 99})["code"] == "not_found"


def test_what_was_traded_and_refused_is_counted(port: int, server: Server) -> None:
    trade(server)
    found = samples(port)
    for symbol, volume, value, price in (
        ("WOOD", 3.0, 300.75, 100.25),
        ("PEAR", 0.2, 1.4, 7.0),
    ):
        labels = f"partition=main symbol={symbol}"
        assert found["wood_journal_trades_total", labels] == 1
        assert found["wood_journal_volume_total", labels] == volume
        assert found["wood_journal_value_total", labels] == value
        assert found["wood_journal_last_price", labels] == price
        assert found["wood_journal_halted", labels] == 0
    refusals = {
        labels: value
        for (name, labels), value in found.items()
        if name.startswith("wood_journal_r")
    }
    assert {labels for labels, value in refusals.items() if value} == {
        "code=duplicate partition=main",
        "code=not_found partition=main",
    }
    assert sum(refusals.values()) == 2
    main = "partition=main"
    assert found["wood_journal_events_total", main] == found["wood_journal_last_number", main]
    assert found["wood_node_commands_total", main] >= 6


def _all_is_told(found: Samples) -> bool:
    """Whether no batch is timed and not yet told."""
    main = "partition=main"
    batches, redis = "wood_journal_batches_total", "wood_node_redis_seconds_count"
    return found.get((redis, main), found[batches, main]) == found[batches, main]


def test_times_are_measured_once_for_each_batch(port: int, server: Server) -> None:
    trade(server)
    # What is timed last may not be told yet when the answers of a batch are.
    eventually(lambda: _all_is_told(samples(port)))
    found, main = samples(port), "partition=main"
    batches = found["wood_journal_batches_total", main]
    assert batches >= 6
    names = ["batch_size", "submit_seconds", "feed_lag_seconds"]
    redis = ("wood_node_redis_up", main) in found
    if redis:
        names.append("redis_seconds")
        assert found["wood_node_redis_up", main] == 1
    assert redis == (status(port)["mode"] == "redis")
    for name in names:
        assert found[f"wood_node_{name}_count", main] == batches, name
        assert found[f"wood_node_{name}_bucket", f"le=+Inf {main}"] == batches
        assert found[f"wood_node_{name}_sum", main] > 0, name
    eventually(lambda: samples(port)["wood_node_queue_depth", main] == 0)
    found = samples(port)
    assert found["wood_node_queue_seconds", main] == 0
    assert found["wood_node_batch_size_sum", main] == found["wood_node_commands_total", main]
    eventually(lambda: samples(port)["wood_node_event_loop_lag_seconds_count", ""] > 0)


def test_who_is_connected(port: int, server: Server) -> None:
    with server.trader() as anonymous, server.trader() as named, server.watcher() as watcher:
        named.ask({"message": "login", "participant": "alice"})
        anonymous.ask(create(1, "BUY", 1, 1))
        watcher.line()
        found = samples(port)
        assert found["wood_node_sessions", "login=no"] == 1
        assert found["wood_node_sessions", "login=yes"] == 1
        assert found["wood_node_subscribers", ""] == 1
        said = status(port)
        assert (said["sessions"], said["named"], said["subscribers"]) == (2, 1, 1)
    eventually(lambda: samples(port)["wood_node_sessions", "login=yes"] == 0)


def test_a_node_says_what_it_is(port: int, server: Server) -> None:
    found = {labels: value for (name, labels), value in samples(port).items() if "build" in name}
    ((labels, value),) = found.items()
    assert value == 1
    said = status(port)
    assert f"mode={said['mode']} node=node one" in labels
    assert f"version={said['version']}" in labels
    assert said["name"] == "node one"
    assert (said["private"], said["public"], said["health"]) == (
        server.private,
        server.public,
        port,
    )
    assert said["states"] == {"WOOD": "open", "PEAR": "open"}
    assert said["ready"] is None
    assert said.keys() == set(NodeReport.__struct_fields__)


def test_rates_and_quantiles_are_of_the_last_seconds(port: int, server: Server) -> None:
    assert status(port)["submit_p99"] is None
    trade(server)
    eventually(lambda: status(port)["command_rate"] > 0)
    said = status(port)
    assert said["event_rate"] > said["trade_rate"] > 0
    assert said["refusal_rate"] > 0
    assert 0 < said["submit_p50"] <= said["submit_p99"] < 10
    assert said["trades"] == said["refusals"] == 2
    (partition,) = said["partitions"].values()
    assert partition["seq"] == said["events"] > 0
    assert partition["waited"] == 0
    assert bool(partition["writer"]) == (said["mode"] == "redis")


@needs_prometheus
def test_prometheus_finds_no_fault_with_the_page(port: int, server: Server) -> None:
    trade(server)
    assert promtool("check", "metrics", said=page(port).encode()) == ""


def test_clients_that_do_not_read_are_counted(start_server: StartServer) -> None:
    port = free_port()
    server = start_server("--health", str(port), "--output-limit", "65536")
    with server.trader(receive_buffer=4096) as slow, server.trader() as busy:
        slow.ask(create(1, "BUY", 5, 10**6))
        while samples(port)["wood_node_slow_clients_closed_total", ""] == 0:
            busy.send(*[create(number, "SELL", 5, 1) for number in range(500)])
            busy.messages(1000)
    assert status(port)["slow"] == 1


def test_connections_that_are_refused_are_counted(start_server: StartServer) -> None:
    port = free_port()
    server = start_server("--health", str(port), "--max-connections", "1")
    with server.trader() as first, server.trader() as second:
        first.ask({"message": "heartbeat"})
        second.rest()
        assert samples(port)["wood_node_connections_refused_total", ""] == 1
    assert status(port)["ready"] in ("too many connections", None)


def test_waiting_orders_and_an_absent_redis_are_seen(
    start_redis: Callable[..., RedisServer], start_server: StartServer
) -> None:
    """The clock of what waits runs while nothing is answered, and stands at 0 again after that."""
    port, redis, main = free_port(), start_redis("--appendonly", "yes"), "partition=main"
    options = ("--lease", "1", "--health", str(port))
    (node,) = Cluster(start_server, redis.url, "wood", *options, nodes=1).nodes
    with node.trader() as peer:
        peer.ask(create(1, "BUY", 1, 1))
        redis.freeze()
        try:
            peer.send(create(2, "BUY", 1, 1))
            eventually(lambda: samples(port)["wood_node_queue_seconds", main] > 0.3)
            assert samples(port)["wood_node_queue_depth", main] == 1
            assert status(port)["partitions"]["main"]["waited"] > 0.3
        finally:
            redis.thaw()
        assert peer.message()["report"] == "NEW"
        eventually(lambda: samples(port)["wood_node_queue_seconds", main] == 0)
        redis.kill()
        eventually(lambda: samples(port)["wood_node_redis_up", main] == 0)
        redis.start()
        eventually(lambda: samples(port)["wood_node_redis_up", main] == 1)
        found = samples(port)
        assert found["wood_node_redis_outages_total", main] == 1
        assert found["wood_node_submit_seconds_bucket", f"le=0.25 {main}"] == 1
        assert found["wood_node_submit_seconds_count", main] >= 2


def test_a_lost_history_is_counted(
    start_redis: Callable[..., RedisServer], start_server: StartServer
) -> None:
    redis = start_redis("--appendonly", "yes", "--appendfsync", "always")
    port, main = free_port(), "partition=main"
    options = ("--lease", "1", "--health", str(port))
    (node,) = Cluster(start_server, redis.url, "wood", *options, nodes=1).nodes
    with node.trader() as peer:
        for number in range(1, 4):
            peer.ask(create(number, "BUY", 1, 1))
        redis.kill()
        redis.lose(1, "wood:{main}:journal")
        redis.start()
        assert peer.message()["code"] == "unavailable"
    eventually(lambda: samples(port)["wood_node_forks_total", main] == 1)
    eventually(lambda: samples(port)["wood_node_resyncs_total", main] == 1)


def test_what_a_node_missed_and_read_again_is_counted(
    redis_url: str, prefix: str, start_server: StartServer
) -> None:
    """It was stopped while another one went on, and its subscription was cut meanwhile."""
    port, main = free_port(), "partition=main"
    cluster = Cluster(start_server, redis_url, prefix, "--lease", "60", nodes=1)
    other = cluster.start("--health", str(port))
    (node,) = cluster.nodes
    with node.trader() as peer:
        peer.ask(create(1, "BUY", 1, 1))
        eventually(lambda: samples(port)["wood_journal_last_number", main] == 2)
        before = samples(port)["wood_node_gaps_filled_total", main]
        other.process.send_signal(signal.SIGSTOP)
        with cluster.redis() as client:
            client.client_kill_filter(_type="pubsub")
        peer.ask(create(2, "BUY", 1, 1))
        other.process.send_signal(signal.SIGCONT)
        eventually(lambda: samples(port)["wood_journal_last_number", main] == 4)
        assert samples(port)["wood_node_gaps_filled_total", main] == before + 1


def test_what_cannot_be_written_is_counted_apart(
    start_redis: Callable[..., RedisServer], start_server: StartServer
) -> None:
    port, redis = free_port(), start_redis()
    (node,) = Cluster(start_server, redis.url, "wood", "--health", str(port), nodes=1).nodes
    with node.trader() as peer, redis.client() as client:
        peer.ask(create(1, "BUY", 1, 1))
        client.config_set("maxmemory", "1")
        assert peer.ask(create(2, "BUY", 1, 1))["code"] == "unavailable"
        assert status(port)["partitions"]["main"]["waited"] == 0, "nothing waits any more"
        client.config_set("maxmemory", "0")
    found = samples(port)
    assert found["wood_node_unavailable_total", "partition=main"] == 1
    assert found["wood_journal_refusals_total", "code=unavailable partition=main"] == 0
    eventually(lambda: samples(port)["wood_node_queue_seconds", "partition=main"] == 0)


def test_whether_a_node_is_ready(
    start_redis: Callable[..., RedisServer], start_server: StartServer
) -> None:
    port = free_port()
    redis = start_redis()
    (node,) = Cluster(start_server, redis.url, "wood", "--health", str(port), nodes=1).nodes
    assert samples(port)["wood_node_ready", ""] == 1
    redis.kill()
    eventually(lambda: status(port)["ready"] == "redis is away")
    assert samples(port)["wood_node_ready", ""] == 0
    redis.start()
    eventually(lambda: status(port)["ready"] is None)
    assert not node.ended()
