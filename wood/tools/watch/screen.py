"""The whole screen: a header, the ladder and the tape, laid out for the size of the terminal."""

from dataclasses import dataclass
from itertools import islice

from rich.console import RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from wood.tools.watch.ladder import ladder
from wood.tools.watch.market import Market
from wood.tools.watch.numbers import quantity
from wood.tools.watch.tape import ARROWS, tape

HEADER_LINES = 3
BORDER_LINES, BORDER_COLUMNS = 2, 4
TAPE_COLUMNS = 34
SIDE_BY_SIDE = 70
"""Columns from which ladder and tape stand beside each other; in fewer the tape is below."""


@dataclass(frozen=True)
class Screen:
    """What the person chose to see, and from where."""

    address: str
    symbol: str | None
    levels: int
    trades: int

    def render(self, market: Market, width: int, height: int) -> RenderableType:
        """`market` for a terminal of `width` columns and `height` lines."""
        layout = Layout()
        layout.split_column(
            Layout(self._header(market), size=HEADER_LINES),
            self._body(market, width, height - HEADER_LINES),
        )
        return layout

    def _body(self, market: Market, width: int, height: int) -> Layout:
        body = Layout()
        if width >= SIDE_BY_SIDE:
            tape_width = max(TAPE_COLUMNS, width * 2 // 5)
            body.split_row(
                Layout(self._ladder(market, width - tape_width, height)),
                Layout(self._tape(market, height), size=tape_width),
            )
        else:
            tape_height = height * 2 // 5
            body.split_column(
                Layout(self._ladder(market, width, height - tape_height)),
                Layout(self._tape(market, tape_height), size=tape_height),
            )
        return body

    def _header(self, market: Market) -> Panel:
        row = Table.grid(expand=True)
        row.add_column(no_wrap=True)
        row.add_column(justify="right", no_wrap=True)
        symbol = self.symbol or "default instrument"
        row.add_row(Text.assemble((symbol, "bold"), f" at {self.address}"), _figures(market))
        return Panel(row, title="wood watch", subtitle="Ctrl-C ends", border_style="dim")

    def _ladder(self, market: Market, width: int, height: int) -> Panel:
        # Two lines are not levels: the heading and the spread.
        fitting = max(1, (height - BORDER_LINES - 2) // 2)
        text = ladder(market.book, min(self.levels, fitting), width - BORDER_COLUMNS)
        return Panel(text, title="order book", border_style="dim")

    def _tape(self, market: Market, height: int) -> Panel:
        fitting = max(1, height - BORDER_LINES - 1)
        lines = list(islice(market.tape, min(self.trades, fitting)))
        return Panel(tape(lines), title="trades", border_style="dim")


def _figures(market: Market) -> Text:
    text = Text.assemble(f"{market.trades:,} trades  volume {quantity(market.volume)}  last ")
    if market.last is None:
        return text.append("none")
    arrow, style = ARROWS[market.last.move]
    return text.append(f"{market.last.price:f} {arrow}", style=f"bold {style}")
