"""Numbers on the command line."""

from math import isfinite
from typing import Any

import click


class FiniteRange(click.FloatRange):
    """A range of floats without `nan`, which is in every range, and without infinity."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """`value` as a float in the range. Fails as click's own types do."""
        number: float = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number
