"""The exchange at a glance, as tables for a terminal: what is not well comes first."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wood.model.text import printable
from wood.monitor.summary import NodeStatus, RedisStatus, Summary, Trouble

_STATES = {
    "ready": "green",
    "open": "green",
    "draining": "yellow",
    "unready": "red",
    "silent": "red",
    "lost": "red",
    "halted": "red",
}

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400

_NOBODY_KNOWS = "-"

Cell = str | Text


def render(summary: Summary) -> RenderableType:
    """All of it, without what there is none of."""
    return Group(*_parts(summary))


def _parts(summary: Summary) -> Iterator[RenderableType]:
    yield _headline(summary)
    yield from map(_trouble, summary.troubles)
    for table in _tables(summary):
        yield Text()
        yield table


def _tables(summary: Summary) -> Iterator[Table]:
    if summary.nodes:
        yield _titled("node", _NODE_COLUMNS, map(_node, summary.nodes))
    if summary.partitions:
        columns = ("epoch", "last number", "last batch", "waiting", "open orders")
        rows = (
            (
                each.name,
                str(each.epoch),
                f"{each.seq:,}",
                _age(each.age),
                f"{each.waiting:,}",
                _count(each.resting),
            )
            for each in summary.partitions
        )
        yield _titled("partition", columns, rows)
    if summary.instruments:
        instruments = ((each.symbol, _state(each.state)) for each in summary.instruments)
        yield _titled("instrument", ("state",), instruments)
    if summary.readers:
        readers = (
            (each.name, each.partition, f"{each.behind:,}", _age(each.age))
            for each in summary.readers
        )
        yield _titled("reader", ("partition", "events behind", "last kept"), readers)
    if summary.redis:
        yield _titled("Redis of", _REDIS_COLUMNS, map(_redis, summary.redis))


def _headline(summary: Summary) -> Text:
    rates = summary.rates
    return Text.assemble(
        ("well", "bold green") if summary.well else ("NOT WELL", "bold red"),
        f"  {rates.commands:,.1f} commands/s, {rates.events:,.1f} events/s, "
        f"{rates.trades:,.1f} trades/s, {rates.refusals:,.1f} refusals/s",
    )


def _trouble(trouble: Trouble) -> Text:
    where = f" {trouble.where}" if trouble.where else ""
    return Text.assemble(
        (f"! {trouble.what}{printable(where)}", "red"), printable(f": {trouble.text}")
    )


def _titled(name: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Table:
    """A table: the first column says whose row it is, numbers stand right."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(name, overflow="fold")
    for column in columns:
        words = column in ("state", "role", "version", "partition")
        table.add_column(column, justify="left" if words else "right", no_wrap=True)
    for row in rows:
        # A string would be read as markup, and is somebody else's.
        table.add_row(*(Text(printable(cell)) if isinstance(cell, str) else cell for cell in row))
    return table


_NODE_COLUMNS = (
    *("state", "sessions", "public", "cmds/s", "answer\np99 ms", "feed\np99 ms"),
    *("loop\nlate ms", "behind\ns", "errors", "up"),
)

_REDIS_COLUMNS = ("role", "replicas", "version", "memory", "append-only file", "answers in")


def _node(node: NodeStatus) -> list[Cell]:
    return [
        node.name,
        _state(node.state),
        _count(node.sessions),
        _count(node.subscribers),
        _decimal(node.command_rate),
        _milliseconds(node.submit_p99),
        _milliseconds(node.feed_lag_p99),
        _milliseconds(node.loop_lag),
        _decimal(node.lag),
        _count(node.errors),
        _age(node.up),
    ]


def _redis(redis: RedisStatus) -> list[Cell]:
    limit = f" of {_size(redis.max_memory)}" if redis.max_memory else ""
    if not redis.append_only:
        file: Cell = Text("off", style="yellow")
    elif redis.failing:
        file = Text(f"{_size(redis.append_only_size)}, failing", style="red")
    else:
        file = _size(redis.append_only_size)
    return [
        ", ".join(redis.partitions),
        redis.role if redis.role == "master" else Text(redis.role, style="red"),
        str(redis.replicas),
        redis.version,
        f"{_size(redis.memory)}{limit}",
        file,
        f"{_milliseconds(redis.latency)} ms",
    ]


def _state(word: str) -> Text:
    return Text(printable(word), style=_STATES.get(word, "yellow"))


def _count(number: int | None) -> str:
    return _NOBODY_KNOWS if number is None else f"{number:,}"


def _decimal(number: float | None) -> str:
    return _NOBODY_KNOWS if number is None else f"{number:,.1f}"


def _milliseconds(seconds: float | None) -> str:
    return _NOBODY_KNOWS if seconds is None else f"{seconds * 1000:,.1f}"


def _age(seconds: float | None) -> str:
    """Such as 12 s, 5 min, 3 h or 10 d: never more than is of use at a glance."""
    if seconds is None:
        return _NOBODY_KNOWS
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= 2 * unit:
            return f"{seconds // unit:,.0f} {name}"
    return f"{seconds:.0f} s"


def _size(number: float) -> str:
    for unit in _UNITS[:-1]:
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:,.0f} {_UNITS[-1]}"
