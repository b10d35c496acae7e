"""How much one participant may do: by default, in an instrument, and by its own exceptions.

A limit is what an operator wrote, a number in the units of the wire: whole orders, messages per
second, quantities and values as decimals. `None` says nothing, and the next one in turn counts;
`NONE` is no limit at all. What counts for a participant in an instrument is, in this order: its own
limit for that instrument, its own for all, the instrument's.

Both engines turn limits into whole units by the same arithmetic of binary floating-point numbers,
so that they agree to the last lot: a limit is exact to twelve digits.
"""

from collections.abc import Mapping
from math import floor, inf

from msgspec import Struct

from wood.model.errors import ConfigError

NONE = -1.0
"""The limit of one who has none."""

EVERYWHERE = "*"
"""Stands for all instruments."""

LARGEST = 1e30
"""No limit is greater, unless there is none."""

_NEARLY = 1 + 2.0**-40
"""A quotient that is this close below a whole number is that number."""


class Limits(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Limits of a participant, or in an instrument."""

    rate: float | None = None
    """Messages per second of a participant over all its connections; not by instrument."""
    open_orders: float | None = None
    """For all instruments of a partition together, or in one instrument."""
    order_quantity: float | None = None
    order_value: float | None = None
    """Price times quantity."""
    position: float | None = None
    """Long or short, in quantity."""

    def check(self) -> None:
        """Raise `ConfigError` for a limit that cannot be."""
        for name in self.__struct_fields__:
            limit = getattr(self, name)
            if limit is None or limit == NONE:
                continue
            named = f"a limit of {limit:g} for {name.replace('_', ' ')}"
            if not (limit > 0 or (limit == 0 and name == "position")) or limit > LARGEST:
                raise ConfigError(f"{named} cannot be")
            if name in ("rate", "open_orders") and limit != int(limit):
                raise ConfigError(f"{named} is no whole number")


NO_LIMITS = Limits()


class Bounds(Struct, frozen=True, gc=False):
    """What counts for one participant in one instrument, in its units; infinite without limit."""

    open_orders: float = inf
    quantity: float = inf
    """Lots."""
    value: float = inf
    """Ticks times lots."""
    position: float = inf
    """Lots."""


def bounds(
    tick: float, lot: float, listed: Limits, own: Mapping[str, Limits], symbol: str
) -> Bounds:
    """The bounds in the instrument `symbol`, whose own limits are `listed`, for one with `own`."""
    here, everywhere = own.get(symbol, NO_LIMITS), own.get(EVERYWHERE, NO_LIMITS)
    return Bounds(
        _units(_first(here.open_orders, listed.open_orders), 1.0),
        _units(_first(here.order_quantity, everywhere.order_quantity, listed.order_quantity), lot),
        _units(_first(here.order_value, everywhere.order_value, listed.order_value), tick * lot),
        _units(_first(here.position, everywhere.position, listed.position), lot),
    )


def _first(*limits: float | None) -> float:
    return next((limit for limit in limits if limit is not None), NONE)


def _units(limit: float, step: float) -> float:
    """Whole steps in `limit`. `lua/limits.lua` does the very same."""
    return inf if limit == NONE else float(floor(limit / step * _NEARLY))
