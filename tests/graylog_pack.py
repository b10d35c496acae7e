"""What a content pack of Graylog asks for, and what in it does not fit together.

Graylog checks little when it takes a pack: a widget without its search is an empty box on the
dashboard, a field that nobody sends an empty chart.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from luqum.parser import parser
from luqum.tree import Item, Range, SearchField, Word

Json = dict[str, Any]


class Asked(NamedTuple):
    """What one widget, with its page, wants of the records."""

    title: str
    events: frozenset[str]
    """That its query names."""
    fields: frozenset[str]
    """All that it needs to be there."""
    numbers: frozenset[str]
    """Of these, those that it adds up, compares or takes the latest of."""


def of_kind(pack: Json, *kinds: str) -> list[Json]:
    """The entities that are such."""
    return [each for each in pack["entities"] if each["type"]["name"] in kinds]


def views(pack: Json) -> list[Json]:
    """What the dashboard and the saved searches are made of."""
    return [each["data"] for each in of_kind(pack, "dashboard", "search")]


def title(data: Json) -> str:
    """Of an input, a stream or a view."""
    name: str = data["title"]["@value"]
    return name


def terms(query: str) -> Iterator[tuple[str, Item]]:
    """The fields that a query names, each with a word or range that it looks for."""
    if query:
        yield from _terms(parser.parse(query), None)


def _terms(item: Item, field: str | None) -> Iterator[tuple[str, Item]]:
    if isinstance(item, SearchField):
        field = item.name
    elif isinstance(item, Word | Range):
        assert field is not None, f"{item} is looked for in no field"
        yield field, item
        return
    for child in item.children:
        yield from _terms(child, field)


def asked(pack: Json) -> Iterator[Asked]:
    """What each widget wants."""
    for view in views(pack):
        for query in view["search"]["queries"]:
            state = view["state"][query["id"]]
            for widget in state["widgets"]:
                yield _asked(widget, query, state["titles"]["widget"][widget["id"]])


def _asked(widget: Json, query: Json, name: str) -> Asked:
    of = widget["query"] or query["query"]
    events, fields = set(), set()
    for field, value in terms(of["query_string"]):
        if field == "event":
            events.add(str(value).strip())
        # To ask for a field is a term too: its name stands where the value does.
        fields.add(str(value).strip() if field == "_exists_" else field)
    config = widget["config"]
    pivots = [*config.get("row_pivots", []), *config.get("column_pivots", [])]
    fields |= {field for pivot in pivots for field in pivot["fields"]}
    fields |= set(config.get("fields", []))
    functions = [each["function"].rstrip(")").split("(") for each in config.get("series", [])]
    numbers = frozenset(field for _, field in functions if field)
    return Asked(name, frozenset(events), frozenset(fields) | numbers, numbers)


def problems(pack: Json) -> Iterator[str]:
    """What does not fit together, in words."""
    ids = [each["id"] for each in pack["entities"]]
    yield from (f"{each} is there twice" for each, count in Counter(ids).items() if count > 1)
    streams = {each["id"] for each in of_kind(pack, "stream")}
    for view in views(pack):
        yield from (f"{title(view)}: {problem}" for problem in _of_view(view, streams))


def _of_view(view: Json, streams: set[str]) -> Iterator[str]:
    queries = {query["id"]: query for query in view["search"]["queries"]}
    if len(queries) < len(view["search"]["queries"]):
        yield "two queries have one id"
    if queries.keys() != view["state"].keys():
        yield "its pages are not its queries"
    inner: Counter[str] = Counter()
    for each in queries.keys() & view["state"].keys():
        inner.update(search["id"] for search in queries[each]["search_types"])
        inner.update(widget["id"] for widget in view["state"][each]["widgets"])
        yield from _of_page(queries[each], view["state"][each], streams)
    yield from (f"{each} is there twice" for each, count in inner.items() if count > 1)


def _of_page(query: Json, state: Json, streams: set[str]) -> Iterator[str]:
    searches = {search["id"]: search for search in query["search_types"]}
    widgets = {widget["id"]: widget for widget in state["widgets"]}
    mapping: dict[str, list[str]] = state["widget_mapping"]
    for part in (mapping, state["positions"], state["titles"]["widget"]):
        if part.keys() != widgets.keys():
            yield "a widget is without its search, place or title, or one of these without a widget"
    if sorted(each for found in mapping.values() for each in found) != sorted(searches):
        yield "a search fills no widget, or two"
    named = [*query.get("filter", {}).get("filters", [])]
    for stream in [each["id"] for each in named] + [
        each for part in (*searches.values(), *widgets.values()) for each in part["streams"]
    ]:
        if stream not in streams:
            yield f"no stream {stream}"
    for each in mapping.keys() & widgets.keys():
        for search in mapping[each]:
            if search in searches:
                yield from _of_widget(widgets[each], searches[search])
    yield from _of_places(state["positions"])


def _of_widget(widget: Json, search: Json) -> Iterator[str]:
    for part in ("filter", "filters", "timerange", "query", "streams"):
        if widget[part] != search[part]:
            yield f"a widget and its search differ in {part}"
    config = widget["config"]
    if (widget["type"] == "messages") != (search["type"] == "messages"):
        yield "a widget of records is filled by a search for figures, or the other way round"
    elif widget["type"] == "aggregation":
        if [each["function"] for each in config["series"]] != [s["id"] for s in search["series"]]:
            yield "a widget and its search differ in series"
        for pivots, groups in (("row_pivots", "row_groups"), ("column_pivots", "column_groups")):
            ours = [(each["type"], each["fields"]) for each in config[pivots]]
            if ours != [(each["type"], each["fields"]) for each in search[groups]]:
                yield f"a widget and its search differ in {pivots}"
        if config["sort"] != search["sort"]:
            yield "a widget and its search differ in order"
        series = {each["id"] for each in search["series"]}
        if not {each["field"] for each in config["sort"]} <= series:
            yield "it is in the order of a series that it does not have"


def _of_places(places: Json) -> Iterator[str]:
    taken: Counter[tuple[int, int]] = Counter()
    for each in places.values():
        columns = range(each["col"], each["col"] + each["width"])
        rows = range(each["row"], each["row"] + each["height"])
        taken.update((column, row) for column in columns for row in rows)
    if taken and max(taken.values()) > 1:
        yield "two widgets lie on each other"
    if any(column > 12 for column, _ in taken):
        yield "a widget is wider than the page"
