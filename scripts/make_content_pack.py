"""Write deploy/graylog/content-pack.json for Graylog 6, from deploy/graylog/dashboard.toml.

The format is the one that Graylog 6.0 writes itself when it exports a pack: a list of entities
(inputs, streams, saved searches, a dashboard), each with a version. Ids come from names, so that
the same description makes the same file.
"""

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

FOLDER = Path(__file__).parent.parent / "deploy" / "graylog"
DESCRIPTION = FOLDER / "dashboard.toml"
PACK = FOLDER / "content-pack.json"

PORT = 12201
CREATED = "2026-01-01T00:00:00.000Z"
"""When a pack was made would make each one another."""

HOUR = 3600
UNITS = {"s": "seconds", "m": "minutes", "h": "hours"}
SERIES = re.compile(r"(?P<kind>\w+)\((?P<field>\w*)\)")
LOOKS: dict[str, dict[str, str] | None] = {
    "bar": {"barmode": "stack", "axis_type": "linear"},
    "line": {"interpolation": "linear", "axis_type": "linear"},
    "numeric": None,
    "table": None,
}

Json = dict[str, Any]


def pack() -> str:
    """The text of the file."""
    told = tomllib.loads(DESCRIPTION.read_text("utf-8"))
    content = {
        "v": "1",
        "id": _id("content pack"),
        "rev": told["revision"],
        "name": "Wood, an exchange",
        "summary": "Streams, saved searches and a dashboard for wood.",
        "description": "Made by scripts/make_content_pack.py; see docs/operations.md.",
        "vendor": "wood",
        "url": "",
        "created_at": CREATED,
        "server_version": "6.0.0",
        # None: Graylog's loader takes no pack that asks for something.
        "parameters": [],
        "entities": [
            *_inputs(),
            *map(_stream, told["stream"]),
            *map(_search, told["search"]),
            _dashboard(told["tab"]),
        ],
    }
    return json.dumps(content, indent=2) + "\n"


def _id(*names: str) -> str:
    return str(uuid5(NAMESPACE_URL, "/".join(("wood", *names))))


def _value(value: str | bool | int) -> Json:
    kind = {str: "string", bool: "boolean", int: "integer"}[type(value)]
    return {"@type": kind, "@value": value}


def _values(**values: str | bool | int) -> Json:
    return {name: _value(value) for name, value in values.items()}


def _entity(kind: str, version: str, name: str, data: Json) -> Json:
    return {
        "v": "1",
        "type": {"name": kind, "version": version},
        "id": _id(kind, name),
        "data": data,
        "constraints": [{"type": "server-version", "version": ">=6.0.0"}],
    }


# What is listened to, and where it goes


def _inputs() -> list[Json]:
    common: dict[str, str | bool | int] = {
        "bind_address": "0.0.0.0",
        "port": PORT,
        "number_worker_threads": 2,
        "charset_name": "UTF-8",
        "decompress_size_limit": 8388608,
    }
    tcp: dict[str, str | bool | int] = {
        "recv_buffer_size": 1048576,
        # The end of a message, as graypy sends it.
        "use_null_delimiter": True,
        "max_message_size": 2097152,
        "tcp_keepalive": True,
        "tls_enable": False,
        "tls_cert_file": "",
        "tls_key_file": "",
        "tls_key_password": "",
        "tls_client_auth": "disabled",
        "tls_client_auth_cert_file": "",
    }
    return [
        _input("udp.GELFUDPInput", "Wood: GELF over UDP", {"recv_buffer_size": 1048576, **common}),
        _input("tcp.GELFTCPInput", "Wood: GELF over TCP", {**common, **tcp}),
    ]


def _input(kind: str, title: str, configuration: dict[str, str | bool | int]) -> Json:
    data = {
        "title": _value(title),
        "configuration": _values(**configuration),
        "static_fields": {},
        "type": _value(f"org.graylog2.inputs.gelf.{kind}"),
        "global": _value(True),
        "extractors": [],
    }
    return _entity("input", "1", title, data)


def _stream(told: Json) -> Json:
    rule = _values(type="EXACT", field="log", value=told["log"], inverted=False, description="")
    data = {
        "alarm_callbacks": [],
        "outputs": [],
        "remove_matches": _value(False),
        "title": _value(told["title"]),
        "stream_rules": [rule],
        "alert_conditions": [],
        "matching_type": _value("AND"),
        "disabled": _value(False),
        "description": _value(told["about"]),
        "default_stream": _value(False),
    }
    return _entity("stream", "1", told["log"], data)


# What is shown: a view is a search with queries, and beside it how each query's answers look


def _search(told: Json) -> Json:
    """One page: how many there were over time, and the records."""
    of = {"query": told["query"]}
    count = {"title": "Count", "chart": "bar", "series": ["count()"], "place": [1, 1, 12, 2]}
    records = {"title": "Records", "chart": "messages", "place": [1, 3, 12, 6]}
    widgets = [{**of, **count, "every": None}, {**of, **records, "columns": told["columns"]}]
    page = {"title": told["title"], "widget": widgets, "query": told["query"], "log": told["log"]}
    return _view("search", "1", told["title"], told["about"], [page])


def _dashboard(tabs: list[Json]) -> Json:
    about = "The market as the journal tells it, the nodes, and what is alarming."
    return _view("dashboard", "2", "Wood", about, tabs)


def _view(kind: str, version: str, title: str, about: str, pages: list[Json]) -> Json:
    ids = [_id(kind, title, "page", page["title"]) for page in pages]
    data = {
        "summary": _value(about),
        "search": {
            "queries": [_query(*each) for each in zip(ids, pages, strict=True)],
            "parameters": [],
            "requires": {},
            "owner": "admin",
            "created_at": CREATED,
        },
        "created_at": CREATED,
        "requires": {},
        "state": {of: _state(of, page) for of, page in zip(ids, pages, strict=True)},
        "properties": [],
        "owner": "admin",
        "title": _value(title),
        "type": kind.upper(),
        "description": _value(about),
    }
    return _entity(kind, version, title, data)


def _query(of: str, page: Json) -> Json:
    query: Json = {
        "id": of,
        "timerange": _hour(),
        "filters": [],
        "query": _lucene(page.get("query", "")),
        "search_types": [_search_type(of, page, widget) for widget in page["widget"]],
    }
    if "log" in page:
        streams = [{"type": "stream", "id": _id("stream", page["log"])}]
        query["filter"] = {"type": "or", "filters": streams}
    return query


def _state(of: str, page: Json) -> Json:
    widgets = {_id(of, "widget", widget["title"]): widget for widget in page["widget"]}
    return {
        "selected_fields": None,
        "static_message_list_id": None,
        "titles": {
            "tab": {"title": page["title"]},
            "widget": {each: widget["title"] for each, widget in widgets.items()},
        },
        "widgets": [_widget(each, page, widget) for each, widget in widgets.items()],
        "widget_mapping": {
            each: [_id(of, "search type", widget["title"])] for each, widget in widgets.items()
        },
        "positions": {each: _place(widget["place"]) for each, widget in widgets.items()},
        "formatting": {"highlighting": []},
        "display_mode_settings": {"positions": {}},
    }


def _place(place: Sequence[int]) -> Json:
    return dict(zip(("col", "row", "width", "height"), place, strict=True))


def _hour() -> Json:
    return {"type": "relative", "from": HOUR}


def _lucene(query: str) -> Json:
    return {"type": "elasticsearch", "query_string": query}


def _asked(page: Json, widget: Json) -> Json:
    """What a widget and its search say alike; nothing on a page with a query of its own."""
    own = "query" not in page
    return {
        "filter": None,
        "filters": [],
        "timerange": _hour() if own else None,
        "query": _lucene(widget["query"]) if own else None,
        "streams": [_id("stream", widget["log"])] if own else [],
    }


# The two kinds of widget, each with the search that fills it


def _search_type(of: str, page: Json, widget: Json) -> Json:
    common = {"id": _id(of, "search type", widget["title"]), **_asked(page, widget)}
    if widget["chart"] == "messages":
        newest = [{"field": "timestamp", "order": "DESC"}]
        more = {"name": None, "limit": 150, "offset": 0, "decorators": [], "sort": newest}
        return {**common, "type": "messages", **more}
    return {
        **common,
        "type": "pivot",
        "name": "chart",
        "series": [_series(each)[0] for each in widget["series"]],
        "row_groups": [_group(*each) for each in _rows(widget)],
        "column_groups": [_group(*each) for each in _columns(widget)],
        "sort": _sort(widget),
        "rollup": True,
    }


def _widget(each: str, page: Json, widget: Json) -> Json:
    kind = "messages" if widget["chart"] == "messages" else "aggregation"
    return {"id": each, "type": kind, **_asked(page, widget), "config": _config(widget)}


def _config(widget: Json) -> Json:
    if widget["chart"] == "messages":
        return {
            "fields": widget["columns"],
            "show_message_row": "message" not in widget["columns"],
            "show_summary": None,
            "decorators": [],
            "sort": [{"type": "pivot", "field": "timestamp", "direction": "Descending"}],
        }
    return {
        "visualization": widget["chart"],
        "visualization_config": LOOKS[widget["chart"]],
        "event_annotation": False,
        "row_pivots": [_pivot(*each) for each in _rows(widget)],
        "column_pivots": [_pivot(*each) for each in _columns(widget)],
        "series": [_series(each)[1] for each in widget["series"]],
        "sort": _sort(widget),
        "rollup": True,
        "formatting_settings": None,
    }


def _rows(widget: Json) -> list[tuple[str, str | None]]:
    """The field of each row, and how long one lasts if it is a time; None: Graylog chooses."""
    if "every" in widget:
        return [("timestamp", widget["every"])]
    return [(widget["rows"], None)] if "rows" in widget else []


def _columns(widget: Json) -> list[tuple[str, str | None]]:
    return [(widget["by"], None)] if "by" in widget else []


def _sort(widget: Json) -> list[Json]:
    """A table begins with what there is most of."""
    if "rows" not in widget:
        return []
    return [{"type": "series", "field": "count()", "direction": "Descending"}]


def _group(field: str, every: str | None) -> Json:
    if field != "timestamp":
        return {"type": "values", "fields": [field], "limit": 15}
    interval: Json = {"type": "auto", "scaling": 1.0}
    if every is not None:
        interval = {"type": "timeunit", "timeunit": every}
    return {"type": "time", "fields": [field], "interval": interval}


def _pivot(field: str, every: str | None) -> Json:
    if field != "timestamp":
        return {"type": "values", "fields": [field], "config": {"limit": 15}}
    interval: Json = {"type": "auto", "scaling": 1.0}
    if every is not None:
        interval = {"type": "timeunit", "value": int(every[:-1]), "unit": UNITS[every[-1]]}
    return {"type": "time", "fields": [field], "config": {"interval": interval}}


def _series(function: str) -> tuple[Json, Json]:
    """Of a search, and of the widget that shows it."""
    found = SERIES.fullmatch(function)
    assert found is not None, f"{function} is no function of a field"
    asked = {"type": found["kind"], "id": function, "field": found["field"] or None}
    return asked, {"function": function, "config": {"name": None}}


if __name__ == "__main__":
    PACK.write_text(pack(), "utf-8")
