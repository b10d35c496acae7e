"""What is made of what Redis has and of what nodes say, without either of them."""

import re
from typing import Any, get_args

import pytest
from msgspec.structs import fields, replace

from tests.reports import NOW, node_report, partition_report
from tests.support import ROOT
from wood.exchange.cluster.overview import NodeView, PartitionView, ReaderView, RedisView, View
from wood.exchange.tail import Position
from wood.monitor.known import known
from wood.monitor.lags import Lags
from wood.monitor.summarize import Address, Away, summarize
from wood.monitor.summary import NodeStatus, Summary, Trouble

REDIS = RedisView(
    run_id="r1",
    redis_version="7.2.4",
    role="master",
    replicas=1,
    used_memory=1000,
    maxmemory=0,
    aof_enabled=True,
    aof_last_write_status="ok",
    aof_last_bgrewrite_status="ok",
    aof_current_size=500,
    rdb_last_bgsave_status="ok",
    latency=0.001,
)

MAIN = PartitionView(
    name="main",
    tag="main",
    journal="j",
    epoch=1,
    seq=120,
    batch=60,
    time=NOW - 2_000_000,
    now=NOW,
    resting=7,
    kept=1000,
    lease=5.0,
    epochs=[(1, 0, 0)],
    writers={"a1": 0.5},
    nodes={"a1": NodeView("node1", NOW - 500_000, node_report(), lost=False)},
    readers={},
    states={"WOOD": "open"},
    redis=REDIS,
)


def view(**partitions: PartitionView) -> View:
    return View(REDIS, partitions or {"main": MAIN})


def seen(there: View, asked: dict[Address, Any] | None = None) -> Summary:
    return summarize(NOW, known(there), asked or {})


def node(summary: Summary, name: str = "node1") -> NodeStatus:
    (found,) = (each for each in summary.nodes if each.name == name)
    return found


def whats(summary: Summary) -> list[str]:
    assert summary.well == (not summary.troubles)
    return [each.what for each in summary.troubles]


def test_a_cluster_that_is_well() -> None:
    summary = seen(view())
    assert (summary.well, summary.troubles, summary.time) == (True, [], NOW / 1e6)
    one = node(summary)
    assert (one.state, one.reason, one.age, one.up, one.lag) == ("ready", None, 0.5, 60.0, 0.0)
    assert (one.sessions, one.named, one.subscribers, one.submit_p99) == (3, 2, 1, 0.005)
    (main,) = summary.partitions
    assert (main.name, main.epoch, main.seq, main.age, main.resting) == ("main", 1, 120, 2.0, 7)
    (wood,) = summary.instruments
    assert (wood.symbol, wood.partition, wood.state) == ("WOOD", "main", "open")
    (redis,) = summary.redis
    assert (redis.role, redis.replicas, redis.partitions) == ("master", 1, ["main"])


def test_rates_are_those_of_the_whole_exchange() -> None:
    """Each node has commands of its own, and tells of the journal of all."""
    other = node_report(name="node2", command_rate=5.0, event_rate=11.0)
    nodes = {**MAIN.nodes, "b2": NodeView("node2", NOW, other, lost=False)}
    gone = {"c3": NodeView("node3", NOW, node_report(name="node3"), lost=True)}
    main = replace(MAIN, nodes={**nodes, **gone}, writers={"a1": 0.1, "b2": 0.2})
    rates = seen(view(main=main)).rates
    assert (rates.commands, rates.events, rates.trades) == (15.0, 12.0, 2.0)


def test_a_lost_node_and_the_last_that_it_said() -> None:
    lost = NodeView("node2", NOW - 9_000_000, node_report(name="node2"), lost=True)
    summary = seen(view(main=replace(MAIN, nodes={**MAIN.nodes, "b2": lost})))
    assert whats(summary) == ["node-lost"]
    assert (node(summary, "node2").state, node(summary, "node2").age) == ("lost", 9.0)
    assert "declared dead" in summary.troubles[0].text


def test_where_all_died_nobody_is_left_to_say_so() -> None:
    summary = seen(view(main=replace(MAIN, writers={"a1": 12.0})))
    assert whats(summary) == ["no-node", "node-silent"]
    assert (node(summary).state, node(summary).reason) == ("silent", "no beat for 12 s")
    assert whats(seen(view(main=replace(MAIN, writers={"a1": 4.9})))) == []


@pytest.mark.parametrize(
    ("reason", "state", "troubles"),
    [
        (None, "ready", []),
        ("draining", "draining", []),
        ("redis is away", "unready", ["no-node", "node-unready"]),
    ],
)
def test_why_a_node_is_not_ready(reason: str | None, state: str, troubles: list[str]) -> None:
    report = node_report(ready=reason)
    main = replace(MAIN, nodes={"a1": NodeView("node1", NOW, report, lost=False)})
    summary = seen(view(main=main))
    assert (node(summary).state, whats(summary)) == (state, troubles)
    if state == "unready":
        assert summary.troubles[1] == Trouble("node-unready", "node1", "redis is away")


def test_a_node_that_has_said_nothing_yet_is_called_by_its_id() -> None:
    nodes = {**MAIN.nodes, "b2": NodeView("", 0, None, lost=False)}
    summary = seen(view(main=replace(MAIN, nodes=nodes, writers={"a1": 0.1, "b2": 0.0})))
    assert (node(summary, "b2").state, node(summary, "b2").age) == ("unknown", None)
    assert whats(summary) == []


def test_two_nodes_of_one_name_are_two() -> None:
    nodes = {**MAIN.nodes, "b2": NodeView("node1", NOW, node_report(), lost=False)}
    summary = seen(view(main=replace(MAIN, nodes=nodes, writers={"a1": 0.1, "b2": 0.1})))
    assert [each.name for each in summary.nodes] == ["node1", "node1 b2"]


def test_a_node_of_several_partitions_is_one() -> None:
    """It is as the partition has it that heard of it last, and lost if one has lost it."""
    report = node_report(partitions={"main": partition_report(), "metals": partition_report()})
    later = NodeView("node1", NOW - 100_000, report, lost=False)
    metals = replace(
        MAIN, name="metals", nodes={"z9": later}, writers={"z9": 0.1}, states={"GOLD": "halted"}
    )
    summary = seen(view(main=MAIN, metals=metals))
    assert [each.name for each in summary.nodes] == ["node1"]
    assert node(summary).age == 0.1
    assert [(each.symbol, each.partition, each.state) for each in summary.instruments] == [
        ("WOOD", "main", "open"),
        ("GOLD", "metals", "halted"),
    ]
    assert [each.partitions for each in summary.redis] == [["main", "metals"]]
    assert whats(summary) == []
    metals = replace(
        metals, nodes={"z9": replace(later, lost=True)}, redis=replace(REDIS, run_id="r2")
    )
    summary = seen(view(main=MAIN, metals=metals))
    assert node(summary).state == "lost"
    assert [each.partitions for each in summary.redis] == [["main"], ["metals"]]


def stalled(waited: float) -> Summary:
    report = node_report(partitions={"main": partition_report(waiting=3, waited=waited)})
    return seen(view(main=replace(MAIN, nodes={"a1": NodeView("node1", NOW, report, lost=False)})))


def test_commands_that_nobody_decides() -> None:
    assert whats(stalled(4.9)) == []
    summary = stalled(8.0)
    assert (summary.partitions[0].waiting, summary.partitions[0].waited) == (3, 8.0)
    assert summary.troubles == [
        Trouble("journal-stalled", "main", "3 commands wait, for 8 s without any answer")
    ]


def test_a_reader_that_is_behind_and_gets_no_further() -> None:
    def reading(seq: int, age: float) -> Summary:
        at = ReaderView(Position("j", 1, seq, 50, 0), NOW - round(age * 1e6), 120 - seq)
        return seen(view(main=replace(MAIN, readers={"graylog": at})))

    assert whats(reading(120, 3600)) == []
    assert whats(reading(100, 29)) == []
    summary = reading(100, 40)
    assert (summary.readers[0].behind, summary.readers[0].age) == (20, 40.0)
    assert summary.troubles == [
        Trouble("reader-behind", "graylog in main", "20 events behind, and no further for 40 s")
    ]


@pytest.mark.parametrize(
    ("changed", "what", "text"),
    [
        ({"role": "slave"}, "redis-not-writing", "it is a slave, no master"),
        ({"aof_last_write_status": "err"}, "redis-not-writing", "append-only file"),
        ({"aof_last_bgrewrite_status": "err"}, "redis-not-writing", "rewrite of it"),
        ({"rdb_last_bgsave_status": "err"}, "redis-not-writing", "snapshot"),
        ({"maxmemory": 1100}, "redis-memory", "91% of maxmemory"),
    ],
)
def test_what_keeps_redis_from_writing(changed: dict[str, Any], what: str, text: str) -> None:
    (trouble,) = seen(view(main=replace(MAIN, redis=replace(REDIS, **changed)))).troubles
    assert (trouble.what, trouble.where) == (what, "main")
    assert text in trouble.text


def test_memory_that_is_not_nearly_full_is_no_trouble() -> None:
    assert whats(seen(view(main=replace(MAIN, redis=replace(REDIS, maxmemory=1200))))) == []


def test_an_event_loop_that_stood_still() -> None:
    report = node_report(loop_lag=1.5)
    summary = seen(
        view(main=replace(MAIN, nodes={"a1": NodeView("node1", NOW, report, lost=False)}))
    )
    assert summary.troubles == [Trouble("node-slow", "node1", "its event loop was 1.5 s late")]


def test_under_a_prefix_where_nothing_is() -> None:
    summary = summarize(NOW, known(View(REDIS, {})), {})
    assert whats(summary) == ["no-book"]
    assert summary.time == NOW / 1e6
    assert [each.partitions for each in summary.redis] == [["main"]]


# Nodes that are asked themselves


SINGLE = node_report(
    name="single", mode="memory", readers={"graylog": 4}, states={"WOOD": "halted"}
)


def test_a_single_server_tells_all_that_there_is() -> None:
    summary = summarize(NOW, None, {("127.0.0.1", 7011): SINGLE})
    assert whats(summary) == []
    assert (node(summary, "single").mode, node(summary, "single").age) == ("memory", 0.0)
    (main,) = summary.partitions
    assert (main.seq, main.age, main.resting) == (120, 2.0, None)
    assert [(each.symbol, each.state) for each in summary.instruments] == [("WOOD", "halted")]
    assert [(each.name, each.behind, each.age) for each in summary.readers] == [
        ("graylog", 4, None)
    ]
    assert summary.redis == []


def test_a_node_that_does_not_answer() -> None:
    asked: dict[Address, Any] = {
        ("127.0.0.1", 7011): SINGLE,
        ("h", 7012): "nobody answers at h:7012",
    }
    summary = summarize(NOW, None, asked)
    assert summary.troubles == [Trouble("node-silent", "h:7012", "nobody answers at h:7012")]


def test_what_a_node_says_itself_counts_more_than_its_last_beat() -> None:
    said = node_report(ready="redis is away")
    summary = seen(view(), {("127.0.0.1", 7011): said})
    assert [(each.name, each.state, each.age) for each in summary.nodes] == [
        ("node1", "unready", 0.0)
    ]


def test_a_node_that_beats_and_does_not_answer_is_one_node() -> None:
    summary = seen(view(), {("127.0.0.1", 7011): "silent for 2 s"})
    assert [(each.name, each.state) for each in summary.nodes] == [("node1", "silent")]


def test_while_redis_is_away_nodes_still_tell() -> None:
    summary = summarize(NOW, Away("cannot reach Redis"), {("127.0.0.1", 7011): node_report()})
    assert summary.troubles == [Trouble("redis-unreachable", "", "cannot reach Redis")]
    assert [each.name for each in summary.partitions] == ["main"]
    assert whats(summarize(NOW, Away("cannot reach Redis"), {})) == ["redis-unreachable"]


# Behind the journal


def behind(said: float, last: float, *, head: float = 0.1, missing: int = 10) -> Summary:
    """A node that said, so many seconds ago, that its last batch was `last` seconds ago."""
    part = partition_report(seq=120, time=NOW - round(last * 1e6))
    report = node_report(time=NOW - round(said * 1e6), partitions={"main": part})
    there = NodeView("node1", report.time, report, lost=False)
    main = replace(MAIN, seq=120 + missing, time=NOW - round(head * 1e6), nodes={"a1": there})
    return seen(view(main=main))


def test_one_report_leaves_a_doubt_and_two_do_not() -> None:
    lags = Lags()
    first = lags.settle(behind(said=0.6, last=10.6))
    assert (node(first).lag, first.well, lags.doubtful) == (0.0, True, True)
    again = lags.settle(behind(said=0.6, last=10.6))
    assert (node(again).lag, lags.doubtful) == (0.0, True), "the same report is no proof"
    second = lags.settle(behind(said=0.2, last=11.2))
    assert (node(second).lag, whats(second), lags.doubtful) == (10.0, ["node-behind"], False)
    assert second.troubles[0].text == "10.0 s behind the journal"


def test_a_market_that_slept_is_no_node_that_is_behind() -> None:
    """The first batch for long came after the node's report: it is in the next one."""
    lags = Lags()
    lags.settle(behind(said=0.6, last=30.0))
    assert lags.doubtful
    caught_up = lags.settle(behind(said=0.1, last=0.5, missing=0))
    assert (node(caught_up).lag, caught_up.well, lags.doubtful) == (0.0, True, False)


def test_a_journal_that_sleeps_leaves_nobody_behind() -> None:
    lags = Lags()
    for _ in range(2):
        summary = lags.settle(behind(said=0.1, last=3600, head=3600, missing=0))
        assert (node(summary).lag, summary.well, lags.doubtful) == (0.0, True, False)


# Its form


def test_each_key_of_the_json_is_documented() -> None:
    page = (ROOT / "docs" / "status.md").read_text().partition("## JSON")[2]
    documented: dict[str, list[str]] = {}
    place = ""
    for where, key in re.findall(r"^\| (\S*) ?\| `(\w+)` \|", page, re.M):
        place = where.strip("`") or place
        documented.setdefault(place, []).append(key)
    expected = {"top": [each.name for each in fields(Summary)]}
    for each in fields(Summary):
        for kind in (each.type, *get_args(each.type)):
            if hasattr(kind, "__struct_fields__"):
                expected[each.name] = list(kind.__struct_fields__)
    assert documented == expected


def test_each_trouble_is_documented() -> None:
    page = (ROOT / "docs" / "status.md").read_text()
    table = page.partition("## What is not well")[2].partition("## JSON")[0]
    documented = set(re.findall(r"^\| `([\w-]+)` \|", table, re.M)) - {"what"}
    source = "".join(
        (ROOT / "wood" / "monitor" / f"{name}.py").read_text() for name in ("troubles", "summarize")
    )
    used = set(re.findall(r'Trouble\(\s*f?"([\w-]+)"', source))
    states = {f"node-{state}" for state in ("lost", "silent", "unready")}
    assert documented == used | states
