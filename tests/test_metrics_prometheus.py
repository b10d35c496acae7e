"""Prometheus: its configuration and its rules, and what it makes of live nodes."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.cluster import Cluster
from tests.prometheus import FOLDER, Prometheus, needs_prometheus, promtool
from tests.support import Server, create, eventually, free_port

pytestmark = needs_prometheus

Start = Callable[[list[int]], Prometheus]

RULES = [
    rule
    for group in YAML(typ="safe").load(FOLDER / "alerts.yml")["groups"]
    for rule in group["rules"]
]
TESTS: list[dict[str, Any]] = YAML(typ="safe").load(FOLDER / "alerts.test.yml")["tests"]


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Start]:
    """Start Prometheus on nodes, by their health ports."""
    started: list[Prometheus] = []

    def start(ports: list[int]) -> Prometheus:
        started.append(Prometheus(tmp_path, [f"127.0.0.1:{port}" for port in ports]))
        return started[-1]

    yield start
    for prometheus in started:
        prometheus.close()


def test_it_finds_no_fault_with_what_ships() -> None:
    said = promtool("check", "config", "prometheus.yml")
    assert "1 rule files found" in said
    assert f"{len(RULES)} rules found" in said


def test_each_alert_is_raised_and_ends() -> None:
    """By promtool; and each rule is tried, before, while and after."""
    assert "SUCCESS" in promtool("test", "rules", "alerts.test.yml")
    tried: dict[str, list[bool]] = {}
    for test in TESTS:
        expected = [each["exp_samples"] for each in test.get("promql_expr_test", ())]
        for samples in filter(None, expected):
            found = re.findall(r'alertname="([\w-]+)"', str(samples))
            assert len(found) == 1
            tried[found[0]] = [bool(each) for each in expected]
    assert tried == {rule["alert"]: [False, True, False] for rule in RULES}


def test_each_alert_says_what_to_do() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"].keys() == {"summary", "description"}


def test_a_server_is_scraped(start_server: Callable[..., Server], watch: Start) -> None:
    port = free_port()
    server = start_server("--health", str(port), "--name", "alone")
    prometheus = watch([port])
    instance = (("instance", f"127.0.0.1:{port}"), ("job", "wood"))
    with server.trader() as peer:
        peer.ask(create(1, "BUY", 1, 5))
        peer.send(create(2, "SELL", 1, 3))
        peer.messages(3)
        eventually(lambda: prometheus.value("sum(wood_journal_volume_total)") == 3)
        assert prometheus.values("up") == {instance: 1}
        assert prometheus.value("wood_node_sessions{login='no'}") == 1
        named = prometheus.value('count(wood_build_info{node="alone", mode="memory"})')
        assert named == 1
    (target,) = prometheus.ask("targets")["activeTargets"]
    assert target["lastError"] == ""
    assert prometheus.values("ALERTS") == {}


@pytest.mark.long
def test_nodes_are_scraped_and_a_lost_one_is_seen(
    redis_url: str, prefix: str, start_server: Callable[..., Server], watch: Start
) -> None:
    """What all nodes see alike is the largest, what each does itself the sum."""
    ports = [free_port(), free_port()]
    cluster = Cluster(start_server, redis_url, prefix, nodes=0)
    first, second = (cluster.start("--health", str(port)) for port in ports)
    prometheus = watch(ports)
    with first.trader() as buyer, second.trader() as seller:
        buyer.ask(create(1, "BUY", 1, 5))
        seller.send(create(2, "SELL", 1, 3))
        seller.messages(2)
        trades, commands = "wood_journal_trades_total", "sum(wood_node_commands_total)"
        eventually(lambda: list(prometheus.values(trades).values()) == [1, 1])
        assert prometheus.value(f"max({trades})") == 1
        eventually(lambda: prometheus.value(commands) == 2)
        assert prometheus.value("min(wood_node_redis_up)") == 1
    second.kill()
    eventually(lambda: prometheus.value(f'up{{instance="127.0.0.1:{ports[1]}"}}') == 0)
    pending = 'count(ALERTS{alertname="node-lost"})'
    eventually(lambda: prometheus.value(pending) == 1)
