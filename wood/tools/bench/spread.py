"""A figure that was measured several times: its median and how far it strayed."""

from collections.abc import Iterable
from statistics import median

from msgspec import Struct


class Spread(Struct, frozen=True):
    """The median of some measurements, the least and the greatest."""

    median: float
    min: float
    max: float

    def text(self, form: str) -> str:
        """Such as `101,000 (98,000..103,000)`; `form` is a format specification."""
        text = format(self.median, form)
        if self.min == self.max:
            return text
        return f"{text} ({self.min:{form}}..{self.max:{form}})"


def spread(values: Iterable[float], digits: int) -> Spread:
    """Of one value at least, rounded to `digits` after the point."""
    ordered = sorted(values)
    middle = median(ordered)
    return Spread(round(middle, digits), round(ordered[0], digits), round(ordered[-1], digits))
