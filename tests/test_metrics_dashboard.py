"""What Grafana and the rules ask Prometheus for is what nodes say, in words that it understands."""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from tests.cluster import Cluster
from tests.prometheus import FOLDER, Prometheus, needs_prometheus, page, promtool
from tests.support import ROOT, Server, create, eventually, free_port

GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "dashboard.json").read_text())
PROVISIONED = GRAFANA / "provisioning"

READER = "wood_node_reader_behind"
"""Has no value where no reader is part of the node."""


def panels() -> Iterator[dict[str, Any]]:
    """All that show something."""
    return (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def queries() -> list[str]:
    """Those of the dashboard, with values for its variables."""
    found = [target["expr"] for panel in panels() for target in panel["targets"]]
    found += [each["expr"] for each in DASHBOARD["annotations"]["list"]]
    return [re.sub(r"\$(node|partition|symbol)\b", ".*", _timed(query)) for query in found]


def _timed(query: str) -> str:
    return query.replace("$__rate_interval", "5s")


def rules() -> list[str]:
    """The expressions of the alerts."""
    groups = YAML(typ="safe").load(FOLDER / "alerts.yml")["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def labels_by_metric(*ports: int) -> dict[str, set[str]]:
    """The metrics of nodes, each with the names of its labels; those of no value yet too."""
    known: dict[str, set[str]] = {READER: {"reader"}}
    for port in ports:
        for family in text_string_to_metric_families(page(port)):
            for sample in family.samples:
                known.setdefault(sample.name, set()).update(sample.labels)
    said = "".join(page(port) for port in ports)
    assert f"# TYPE {READER} gauge" in said
    return known


def used(query: str) -> Iterator[tuple[str, set[str]]]:
    """The metrics of a query, each with the labels that are asked for by name."""
    for name, matchers in re.findall(r"\b(wood_\w+|process_\w+)(?:\{([^}]*)\})?", query):
        yield name, set(re.findall(r"(\w+)\s*=", matchers)) - {"instance", "job"}


def test_all_that_is_asked_for_is_said_by_nodes(
    redis_url: str, prefix: str, start_server: Callable[..., Server]
) -> None:
    """By a node in front of Redis, and but for Redis by a single server."""
    ports = [free_port(), free_port()]
    nodes = Cluster(start_server, redis_url, prefix, "--health", str(ports[0]), nodes=1).nodes
    nodes.append(start_server("--health", str(ports[1])))
    for node in nodes:
        with node.trader() as peer:
            peer.send(create(1, "BUY", 1, 1), create(2, "SELL", 1, 1))
            peer.messages(4)
    known, alone = labels_by_metric(*ports), labels_by_metric(ports[1])
    names = set[str]()
    for query in [*queries(), *rules()]:
        for name, labels in used(query):
            assert name in known, query
            assert labels <= known[name], query
            names.add(name)
    only_redis = known.keys() - alone.keys()
    assert {name for name in only_redis if not name.endswith(("_bucket", "_sum", "_count"))} == {
        "wood_node_redis_up",
        "wood_node_redis_outages_total",
        "wood_node_gaps_filled_total",
        "wood_node_resyncs_total",
        "wood_node_forks_total",
        "wood_node_unavailable_total",
    }
    ours = {re.sub("_(bucket|sum|count)$", "", name) for name in known if name.startswith("wood_")}
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in names}
    assert ours - shown <= {
        "wood_journal_batches_total",
        "wood_journal_last_number",
        "wood_journal_last_batch_timestamp_seconds",
    }, "all else is on the wall"


@needs_prometheus
def test_prometheus_understands_all_that_is_asked(tmp_path: Path) -> None:
    records = [{"record": f"query:{n}", "expr": query} for n, query in enumerate(queries())]
    assert len(records) > 30
    file = tmp_path / "rules.yml"
    YAML(typ="safe").dump({"groups": [{"name": "dashboard", "rules": records}]}, file)
    assert f"{len(records)} rules found" in promtool("check", "rules", file)


@needs_prometheus
@pytest.mark.long
def test_every_panel_shows_something(
    redis_url: str, prefix: str, start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """Of a node that trades; but for what is shown only when it happens."""
    port = free_port()
    (node,) = Cluster(start_server, redis_url, prefix, "--health", str(port), nodes=1).nodes
    prometheus = Prometheus(tmp_path, [f"127.0.0.1:{port}"])
    try:
        with node.trader() as peer:
            numbers = iter(range(1, 1_000_000))

            def shows(query: str) -> bool:
                for side in ("BUY", "SELL"):
                    peer.send(create(next(numbers), side, 1, 1))
                peer.messages(4)
                return bool(prometheus.values(query))

            for query in queries():
                if "ALERTS{" in query or READER in query or "> 0" in query:
                    prometheus.ask("query", query=query)
                else:
                    eventually(partial(shows, query), query)
    finally:
        prometheus.close()


def test_the_documentation_has_each_metric_and_its_labels(
    redis_url: str, prefix: str, start_server: Callable[..., Server]
) -> None:
    port = free_port()
    (node,) = Cluster(start_server, redis_url, prefix, "--health", str(port), nodes=1).nodes
    with node.trader() as peer:
        peer.send(create(1, "BUY", 1, 1), create(2, "SELL", 1, 1))
        peer.messages(4)
    said = {}
    for family in text_string_to_metric_families(page(port)):
        if family.name.startswith("wood_"):
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            name = f"{family.name}_total" if family.type == "counter" else family.name
            said[name] = family.type, labels
    said[READER] = "gauge", {"reader"}
    rows = re.findall(
        r"^\| `(wood_\w+)` \| (\w+) \|(.*?)\|", (ROOT / "docs" / "metrics.md").read_text(), re.M
    )
    assert {n: (kind, set(re.findall(r"`(\w+)`", labels))) for n, kind, labels in rows} == said


def test_the_dashboard_is_whole() -> None:
    """Numbers of panels are their own, places do not overlap, and all ask the chosen Prometheus."""
    everything = DASHBOARD["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    taken = set[tuple[int, int]]()
    for panel in everything:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]}
    assert set(re.findall(r"\$\{?([a-z]+)", json.dumps(DASHBOARD))) <= variables
    for panel in panels():
        for each in [panel, *panel["targets"]]:
            assert each["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    yaml = YAML(typ="safe")
    (source,) = yaml.load(PROVISIONED / "datasources" / "prometheus.yml")["datasources"]
    assert source["type"] == "prometheus"
    interval = yaml.load(FOLDER / "prometheus.yml")["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == interval
    (provider,) = yaml.load(PROVISIONED / "dashboards" / "wood.yml")["providers"]
    compose = yaml.load(ROOT / "deploy" / "docker-compose.yml")
    mounted = dict(each.split(":")[:2] for each in compose["services"]["grafana"]["volumes"])
    assert mounted["./grafana/provisioning"] == "/etc/grafana/provisioning"
    folder = provider["options"]["path"]
    assert mounted["./grafana/dashboard.json"].startswith(f"{folder}/")
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in compose["services"]
