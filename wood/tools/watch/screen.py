"""The whole screen: a header, the ladder and the tape, laid out for the size of the terminal."""

from dataclasses import dataclass
from itertools import islice

from rich.console import RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from wood.tools.watch.ladder import ladder
from wood.tools.watch.market import Market, TapeLine
from wood.tools.watch.numbers import quantity
from wood.tools.watch.tape import ARROWS, tape

HEADER_LINES = 3
BORDER_COLUMNS = 4
LADDER_EXTRA = 4
"""Lines that are not levels: borders, heading and spread."""

TAPE_EXTRA = 3
"""Lines that are not trades: borders and heading."""

LEAST_TAPE, MOST_TAPE = 34, 50
"""Columns of a tape that stands beside the ladder."""

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
            *self._body(market, width, height - HEADER_LINES),
            Layout(Text(" ")),  # takes the lines that are left over
        )
        return layout

    def _body(self, market: Market, width: int, height: int) -> list[Layout]:
        """Ladder and tape, no higher than what they can show."""
        ladder_height = min(height, 2 * self.levels + LADDER_EXTRA)
        tape_height = min(height, self.trades + TAPE_EXTRA)
        if width >= SIDE_BY_SIDE:
            height = max(ladder_height, tape_height)
            tape_width = min(max(LEAST_TAPE, width * 2 // 5), MOST_TAPE)
            body = Layout(size=height)
            body.split_row(
                Layout(self._ladder(market, width - tape_width, height)),
                Layout(self._tape(market, height), size=tape_width),
            )
            return [body]
        tape_height = min(tape_height, max(height - ladder_height, height * 2 // 5))
        ladder_height = min(ladder_height, height - tape_height)
        return [
            Layout(self._ladder(market, width, ladder_height), size=ladder_height),
            Layout(self._tape(market, tape_height), size=tape_height),
        ]

    def _header(self, market: Market) -> Panel:
        row = Table.grid(expand=True)
        for justify in ("left", "center", "right"):
            row.add_column(justify=justify, no_wrap=True)
        row.add_row(
            _last(market.last), f"volume {quantity(market.volume)}", f"{market.trades:,} trades"
        )
        # A Text, since a string would be read as markup.
        name = self.symbol or "default instrument"
        title = Text("HALTED " if market.halted else "", style="red")
        title.append(f"{name} at {self.address}", style="not dim bold")
        return Panel(row, title=title, subtitle="Ctrl-C ends", border_style="dim")

    def _ladder(self, market: Market, width: int, height: int) -> Panel:
        fitting = max(1, (height - LADDER_EXTRA) // 2)
        text = ladder(market.book, min(self.levels, fitting), width - BORDER_COLUMNS)
        return Panel(text, title="order book", border_style="dim")

    def _tape(self, market: Market, height: int) -> Panel:
        fitting = max(1, height - TAPE_EXTRA)
        lines = list(islice(market.tape, min(self.trades, fitting)))
        return Panel(tape(lines), title="trades", border_style="dim")


def _last(line: TapeLine | None) -> Text:
    if line is None:
        return Text("no trades yet", style="dim")
    arrow, style = ARROWS[line.move]
    return Text.assemble("last ", (f"{line.price:f} {arrow}", f"bold {style}"))
