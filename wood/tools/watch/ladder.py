"""The order book as a ladder: asks above, bids below, the best of each beside the spread."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from rich.text import Text

from wood.tools.watch.market import Book
from wood.tools.watch.numbers import prices, quantity

BID, ASK, FAINT = "green", "red", "dim"

SEPARATORS = 8
"""Columns of a line that are neither numbers nor bars: spaces and the rules beside the price."""

MIN_BAR = 3
"""Columns below which a bar says nothing and is left out."""


@dataclass(frozen=True)
class _Columns:
    """Widths of the columns: bar, bid total | price | ask total, bar; and what a full bar is."""

    price: int
    total: int
    bar: int
    largest: Decimal

    def bar_halves(self, total: Decimal) -> int:
        """The length of a bar in half columns; something is never nothing."""
        return max(1, int(total * 2 * self.bar / self.largest)) if self.bar else 0


@dataclass(frozen=True)
class _Row:
    """One level, its numbers already written out."""

    price: str
    total: str
    amount: Decimal


def ladder(book: Book, levels: int, width: int) -> Text:
    """The `levels` best levels of both sides in `width` columns and 2 * `levels` + 2 lines.

    The spread keeps its line, however few levels there are.
    """
    asks, bids = book.asks(levels), book.bids(levels)
    written = prices([price for price, _ in asks + bids])
    rows = [
        _Row(price, quantity(total), total)
        for price, (_, total) in zip(written, asks + bids, strict=True)
    ]
    columns = _fit(rows, width)
    lines = [_head(columns)]
    lines += [Text()] * (levels - len(asks))
    lines += [_ask_line(row, columns) for row in reversed(rows[: len(asks)])]
    lines.append(_spread_line(book.spread, width))
    lines += [_bid_line(row, columns) for row in rows[len(asks) :]]
    return Text("\n", no_wrap=True, overflow="crop").join(lines)


def _fit(rows: Iterable[_Row], width: int) -> _Columns:
    price = max([5, *(len(row.price) for row in rows)])
    total = max([5, *(len(row.total) for row in rows)])
    bar = (width - price - 2 * total - SEPARATORS) // 2
    largest = max((row.amount for row in rows), default=Decimal(1))
    return _Columns(price, total, bar if bar >= MIN_BAR else 0, largest)


def _head(columns: _Columns) -> Text:
    return Text.assemble(
        (f"{'':{columns.bar}} {'bid':>{columns.total}} ", BID),
        (f"│ {'price':^{columns.price}} │", FAINT),
        (f" {'ask':<{columns.total}}", ASK),
    )


def _ask_line(row: _Row, columns: _Columns) -> Text:
    full, half = divmod(columns.bar_halves(row.amount), 2)
    return Text.assemble(
        " " * (columns.bar + columns.total + 2),
        ("│ ", FAINT),
        (f"{row.price:>{columns.price}}", f"bold {ASK}"),
        (" │", FAINT),
        f" {row.total:<{columns.total}} ",
        ("█" * full + "▌" * half, ASK),
    )


def _bid_line(row: _Row, columns: _Columns) -> Text:
    full, half = divmod(columns.bar_halves(row.amount), 2)
    return Text.assemble(
        (f"{'▐' * half + '█' * full:>{columns.bar}}", BID),
        f" {row.total:>{columns.total}} ",
        ("│ ", FAINT),
        (f"{row.price:>{columns.price}}", f"bold {BID}"),
        (" │", FAINT),
    )


def _spread_line(spread: Decimal | None, width: int) -> Text:
    text = "no spread" if spread is None else f"spread {spread:f}"
    return Text(f" {text} ".center(width, "─"), style=FAINT)
