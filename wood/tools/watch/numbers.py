"""Numbers as they are written on the screen: every digit exact, points below each other."""

from collections.abc import Sequence
from decimal import Decimal


def prices(values: Sequence[Decimal]) -> list[str]:
    """`values` with the same number of decimals, the least that loses nothing."""
    places = max((_places(value) for value in values), default=0)
    return [f"{value:.{places}f}" for value in values]


def quantity(value: Decimal) -> str:
    """`value` in full, with a comma at each thousand."""
    return f"{value:,f}"


def _places(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return max(-exponent, 0) if isinstance(exponent, int) else 0
