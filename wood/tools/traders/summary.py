"""The summary that the traders leave behind: two tables, a row for each trader and the total."""

from collections.abc import Sequence
from decimal import Decimal

from wood.tools.traders.tally import Tally, total

SENT = ("createOrder", "marketOrder", "cancelOrder")
REPORTS = ("NEW", "FILL", "CANCELED")


def summary(tallies: Sequence[Tally]) -> str:
    """The tables as text that ends without a line end; they fit 80 columns for days."""
    names = [f"trader {number}" for number in range(1, len(tallies) + 1)]
    named = list(zip([*names, "total"], [*tallies, total(tallies)], strict=True))
    messages = [["messages", *SENT, *REPORTS, "errors"]]
    messages += [[name, *_message_cells(tally)] for name, tally in named]
    trades = [["trades", "bought", "for", "sold", "for", "position", "cash"]]
    trades += [[name, *_trade_cells(tally)] for name, tally in named]
    return "\n".join([*_table(messages), "", *_table(trades)])


def _message_cells(tally: Tally) -> list[str]:
    counts = [tally.sent[kind] for kind in SENT] + [tally.reports[kind] for kind in REPORTS]
    return [str(count) for count in (*counts, tally.errors)]


def _trade_cells(tally: Tally) -> list[str]:
    amounts = (tally.bought, tally.spent, tally.sold, tally.earned)
    return [*map(_plain, amounts), _signed(tally.position), _signed(tally.cash)]


def _plain(amount: Decimal) -> str:
    """All digits of `amount` that say something, without an exponent."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _signed(amount: Decimal) -> str:
    return f"+{_plain(amount)}" if amount > 0 else _plain(amount)


def _table(rows: list[list[str]]) -> list[str]:
    """Names to the left, numbers to the right, each column as wide as it must be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
