"""The content pack for Graylog, without Graylog: its form, its parts, and what it asks for."""

import copy
import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.graylog_pack import Asked, asked, of_kind, problems, terms, title, views
from tests.log_fields import table
from tests.support import ROOT
from wood.model.log_events import LogEvent

FILE = ROOT / "deploy" / "graylog" / "content-pack.json"
SCHEMA = ROOT / "tests" / "data" / "graylog_content_pack.schema.json"
SCRIPT = ROOT / "scripts" / "make_content_pack.py"
PACK: dict[str, Any] = json.loads(FILE.read_text())
DASHBOARD, *_ = (each["data"] for each in of_kind(PACK, "dashboard"))

OF_GRAYLOG = {"timestamp", "message", "level", "log", "node", "event"}
"""What every message has: made by Graylog of GELF's own fields, or put there with all records."""


def schema_says(file: Path) -> int:
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(SCHEMA), str(file)]
    return subprocess.run(command, capture_output=True, check=False).returncode


def test_the_file_is_what_the_script_makes() -> None:
    made = runpy.run_path(str(SCRIPT))["pack"]()
    assert FILE.read_text() == made, "run scripts/make_content_pack.py"


def test_it_is_of_the_format(tmp_path: Path) -> None:
    assert schema_says(FILE) == 0
    broken = tmp_path / "pack.json"
    broken.write_text(FILE.read_text().replace('"type": "pivot"', '"type": "pivots"'))
    assert schema_says(broken) == 1, "a schema that takes anything says nothing"


def test_all_fits_together() -> None:
    assert list(problems(PACK)) == []


def _page(pack: dict[str, Any]) -> dict[str, Any]:
    """The dashboard's first page, as it looks."""
    data = of_kind(pack, "dashboard")[0]["data"]
    page: dict[str, Any] = data["state"][data["search"]["queries"][0]["id"]]
    return page


def _searches(pack: dict[str, Any]) -> list[dict[str, Any]]:
    searches: list[dict[str, Any]] = views(pack)[-1]["search"]["queries"][0]["search_types"]
    return searches


BREAKS: dict[str, Callable[[dict[str, Any]], object]] = {
    "twice": lambda pack: pack["entities"].append(pack["entities"][0]),
    "no stream": lambda pack: pack["entities"].remove(of_kind(pack, "stream")[1]),
    "pages": lambda pack: views(pack)[0]["state"].clear(),
    "two queries": lambda pack: (q := views(pack)[0]["search"]["queries"]).append(q[0]),
    "without its search": lambda pack: _page(pack)["widget_mapping"].popitem(),
    "fills no widget": lambda pack: _searches(pack).append({**_searches(pack)[0], "id": "other"}),
    "differ in series": lambda pack: _searches(pack)[0]["series"][0].update(id="sum(price)"),
    "differ in query": lambda pack: _page(pack)["widgets"][0].update(query=None),
    "differ in row_pivots": lambda pack: _searches(pack)[0]["row_groups"].clear(),
    "lie on each other": lambda pack: [p.update(col=1) for p in _page(pack)["positions"].values()],
    "wider": lambda pack: [p.update(col=12) for p in _page(pack)["positions"].values()],
}


@pytest.mark.parametrize("what", BREAKS)
def test_what_does_not_fit_together_is_found(what: str) -> None:
    broken = copy.deepcopy(PACK)
    BREAKS[what](broken)
    assert any(what in problem for problem in problems(broken))


def test_inputs_take_gelf_as_it_is_sent() -> None:
    inputs = [each["data"] for each in of_kind(PACK, "input")]
    kinds = {each["type"]["@value"].rpartition(".")[2]: each["configuration"] for each in inputs}
    assert kinds.keys() == {"GELFUDPInput", "GELFTCPInput"}
    for configuration in kinds.values():
        assert configuration["port"]["@value"] == 12201
    assert kinds["GELFTCPInput"]["use_null_delimiter"]["@value"] is True
    assert all(each["global"]["@value"] is True for each in inputs)


def test_there_is_a_stream_for_each_log() -> None:
    found = {}
    for each in of_kind(PACK, "stream"):
        (rule,) = each["data"]["stream_rules"]
        assert (rule["type"]["@value"], rule["field"]["@value"]) == ("EXACT", "log")
        found[title(each["data"])] = rule["value"]["@value"]
    assert found == {"Wood: nodes": "nodes", "Wood: market": "market", "Wood: alerts": "alerts"}


def test_the_dashboard_shows_what_an_operator_has_to_see() -> None:
    names = " / ".join(each.title for each in asked(PACK))
    for part in (
        "Trades a minute",
        "Traded volume",
        "Traded value",
        "Last price",
        "Orders a minute",
        "Refused",
        "Latency",
        "Sessions, of each node",
        "Reconnected to Redis",
        "Errors",
    ):
        assert part in names
    assert {title(each) for each in views(PACK)} == {
        "Wood",
        "Wood: errors",
        "Wood: sessions of a participant",
        "Wood: refused logins",
        "Wood: trades of a symbol",
        "Wood: trouble with Redis",
    }


ASKED = [pytest.param(each, id=each.title) for each in asked(PACK)]


@pytest.mark.parametrize("widget", ASKED)
def test_a_query_names_events_that_there_are(widget: Asked) -> None:
    assert widget.events <= set(LogEvent)
    assert widget.events or "level" in widget.fields, "it looks at everything"


SENT = {name: row.fields for name, row in table().items()}
"""For each event the fields that a test saw arrive, and whether each is a `text` or a `number`."""


@pytest.mark.parametrize("widget", ASKED)
def test_it_asks_for_what_was_sent(widget: Asked) -> None:
    events = widget.events or {LogEvent.ERROR.value}
    assert events <= SENT.keys()
    for field in widget.fields - OF_GRAYLOG:
        kinds = {SENT[event][field] for event in events if field in SENT[event]}
        assert kinds, f"nobody sends {field} with {' or '.join(sorted(events))}"
        assert len(kinds) == 1, f"an index holds {field} as one kind"
        assert field not in widget.numbers or kinds == {"number"}


def test_a_field_is_of_one_kind_wherever_it_is() -> None:
    """An index takes the kind of the first, and refuses messages that have it otherwise."""
    kinds: dict[str, set[str]] = {}
    for fields in SENT.values():
        for field, what in fields.items():
            kinds.setdefault(field, set()).add(what)
    assert {field: found for field, found in kinds.items() if len(found) > 1} == {}


def test_queries_are_read_by_a_parser_of_their_language() -> None:
    assert [field for field, _ in terms("event:(a.b OR c.d) AND _exists_:e")] == [
        "event",
        "event",
        "_exists_",
    ]
    with pytest.raises(AssertionError, match="in no field"):
        list(terms("trade.executed"))
    with pytest.raises(Exception, match="Syntax error"):
        list(terms("event:(a.b OR"))


def test_a_table_is_in_an_order_that_it_can_have() -> None:
    found = [
        widget["config"]
        for state in DASHBOARD["state"].values()
        for widget in state["widgets"]
        if widget["config"].get("visualization") == "table"
    ]
    assert found
    for each in found:
        assert each["sort"]
