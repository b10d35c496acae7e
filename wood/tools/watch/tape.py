"""The trade tape: the newest trade on top."""

from collections.abc import Sequence
from datetime import datetime

from rich.text import Text

from wood.tools.watch.market import TapeLine
from wood.tools.watch.numbers import prices, quantity

ARROWS = {1: ("▲", "green"), -1: ("▼", "red"), 0: ("=", "dim")}
"""By the move of the price."""


def tape(lines: Sequence[TapeLine]) -> Text:
    """A heading and `lines`; times are those of this machine's time zone."""
    written = prices([line.price for line in lines])
    sizes = [quantity(line.quantity) for line in lines]
    price_width = max([5, *map(len, written)])
    size_width = max([8, *map(len, sizes)])
    head = f"{'time':<12}   {'price':>{price_width}} {'quantity':>{size_width}}"
    rows = [Text(head, style="dim")]
    for line, price, size in zip(lines, written, sizes, strict=True):
        arrow, style = ARROWS[line.move]
        rows.append(
            Text.assemble(
                (_clock(line.time), "dim"),
                (f" {arrow} {price:>{price_width}}", style),
                f" {size:>{size_width}}",
            )
        )
    return Text("\n", no_wrap=True, overflow="crop").join(rows)


def _clock(time: float) -> str:
    moment = datetime.fromtimestamp(time)
    return f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03}"
