"""Reports as tables: the median of the rounds, and in brackets the least and the greatest."""

from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.table import Table

from wood.tools.bench.book import BookReport
from wood.tools.bench.deep import Depth
from wood.tools.bench.report import Report, Side
from wood.tools.bench.resting import Resting
from wood.tools.bench.script import ScriptReport

_ROWS: tuple[tuple[str, Callable[[Side], str]], ...] = (
    ("messages/s", lambda side: side.messages_per_second.text(",.0f")),
    ("p50, ms", lambda side: side.p50_ms.text(".3f")),
    ("p99, ms", lambda side: side.p99_ms.text(".3f")),
    ("p99.9, ms", lambda side: side.p99_9_ms.text(".3f")),
    ("fills per order", lambda side: f"{side.fills_per_order:.2f}"),
    ("refused", lambda side: _refused(side)),
    ("public lines/s", lambda side: f"{side.public_lines_per_second:,}"),
    ("generator, cores", lambda side: side.generator_cores.text(".2f")),
)


def report_table(report: Report) -> RenderableType:
    """A column for each server, or one for the target alone."""
    settings = report.settings
    title = (
        f"{report.rounds} x {settings.orders:,} orders and cancels, "
        f"{settings.connections} connections, {settings.in_flight} in flight on each"
    )
    table = Table("")
    sides = [report.target] if report.ceiling is None else [report.target, report.ceiling]
    for name in ("target", "ceiling")[: len(sides)]:
        table.add_column(name, justify="right")
    for label, text in _ROWS:
        table.add_row(label, *map(text, sides))
    if report.ratio is not None:
        table.add_row("target / ceiling", report.ratio.text(".3f"))
    title += " (interrupted)" if report.interrupted else ""
    target = settings.target if report.redis is None else f"{settings.target} on {report.redis}"
    return Group(title, f"target: {target}", table, str(report.conditions))


def book_table(report: BookReport) -> RenderableType:
    """One column: the book."""
    title = f"the book alone, {report.rounds} x {report.settings.orders:,} orders and cancels"
    table = Table("")
    table.add_column("book", justify="right")
    table.add_row("orders/s", report.orders_per_second.text(",.0f"))
    table.add_row("fills per order", f"{report.fills_per_order:.2f}")
    if report.resting is not None:
        _add_resting(table, report.resting)
    return Group(title, table, str(report.conditions))


def script_table(report: ScriptReport) -> RenderableType:
    """One column: the script; below, the books with resting orders."""
    title = (
        f"the script alone, {report.rounds} x {report.settings.orders:,} orders and cancels "
        f"in batches of {report.settings.batch}"
    )
    table = Table("")
    table.add_column("script", justify="right")
    table.add_row("commands/s", report.commands_per_second.text(",.0f"))
    table.add_row("by the script's own time", report.script_commands_per_second.text(",.0f"))
    table.add_row("us per command, script's own", report.script_us_per_command.text(".2f"))
    table.add_row("fills per order", f"{report.fills_per_order:.2f}")
    tables = [table, _depth_table(report.resting)] if report.resting else [table]
    return Group(title, f"on {report.redis}", *tables, str(report.conditions))


def _depth_table(depths: list[Depth]) -> Table:
    table = Table("resting orders")
    for name in ("us per command, script's own", "growth of the cost", "bytes per order"):
        table.add_column(name, justify="right")
    for depth in depths:
        cost, growth = depth.script_us_per_command.text(".2f"), depth.growth.text(".2f")
        table.add_row(f"{depth.orders:,}", cost, growth, f"{depth.bytes_per_order:,}")
    return table


def _add_resting(table: Table, resting: Resting) -> None:
    table.add_section()
    table.add_row("resting orders", f"{resting.orders:,}")
    table.add_row("memory, MB", f"{resting.memory_mb:,.1f}")
    table.add_row("bytes per order", f"{resting.bytes_per_order:,}")
    table.add_row(
        f"us per command, {resting.few_orders:,} resting", f"{resting.few_us_per_command:.2f}"
    )
    table.add_row(f"us per command, {resting.orders:,}", f"{resting.full_us_per_command:.2f}")
    table.add_row("growth of the cost", f"{resting.growth:.2f}")
    table.add_row("longest pause, ms", f"{resting.longest_pause_ms:.2f}")
    table.add_row("full collection, ms", f"{resting.full_collection_ms:.2f}")


def _refused(side: Side) -> str:
    if not side.errors:
        return "none"
    codes = ", ".join(f"{code} {count:,}" for code, count in side.errors.items())
    return f"{side.refused_share:.2%} ({codes})"
