"""A report as a table."""

from collections.abc import Callable

from rich.table import Table

from wood.tools.bench.report import Report, Side

_ROWS: tuple[tuple[str, Callable[[Side], str]], ...] = (
    ("messages/s", lambda side: side.messages_per_second.text(",.0f")),
    ("p50, ms", lambda side: side.p50_ms.text(".3f")),
    ("p99, ms", lambda side: side.p99_ms.text(".3f")),
    ("p99.9, ms", lambda side: side.p99_9_ms.text(".3f")),
    ("fills per order", lambda side: f"{side.fills_per_order:.2f}"),
    ("refused", lambda side: _refused(side)),
    ("public lines/s", lambda side: f"{side.public_lines_per_second:,.0f}"),
    ("generator, cores", lambda side: side.generator_cores.text(".2f")),
)


def table(report: Report) -> Table:
    """Median (least .. greatest) of the rounds, a column for each server."""
    settings = report.settings
    result = Table(
        title=(
            f"{report.rounds} x {settings.orders:,} orders and cancels, "
            f"{settings.connections} connections, {settings.in_flight} in flight on each"
        ),
        caption=str(report.conditions) + ("; interrupted" if report.interrupted else ""),
        title_justify="left",
        caption_justify="left",
    )
    sides = {"target": report.target, "ceiling": report.ceiling}
    result.add_column("")
    for name, side in sides.items():
        if side is not None:
            result.add_column(name, justify="right")
    for label, text in _ROWS:
        result.add_row(label, *(text(side) for side in sides.values() if side is not None))
    if report.ratio is not None:
        result.add_row("target / ceiling", report.ratio.text(".3f"))
    return result


def _refused(side: Side) -> str:
    if not side.errors:
        return "none"
    codes = ", ".join(f"{code} {count:,}" for code, count in side.errors.items())
    return f"{side.refused_share:.2%} ({codes})"
