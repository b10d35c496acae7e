"""A participant's own limits, as an operator changes them and a store keeps them."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import asdict

from wood.model.errors import ConfigError
from wood.model.instruments import Instrument
from wood.model.limits import EVERYWHERE, NO_LIMITS, Limits

LimitChanges = Mapping[str, float | None]
"""Fields of `Limits` that get another value; None takes a participant's own limit away."""


def check_changes(symbol: str, changes: LimitChanges) -> None:
    """Whether these limits can be set there. Raises `ConfigError`."""
    check_own({symbol: Limits(**changes)})
    if symbol != EVERYWHERE and "rate" in changes:
        raise _rate_of(symbol)


def check_own(own: Mapping[str, Limits]) -> None:
    """Whether a participant can have these limits. Raises `ConfigError`.

    The symbols need not be known, since a store does not know the instruments.
    """
    for symbol, limits in own.items():
        if symbol != EVERYWHERE:
            Instrument(symbol)  # which knows what a symbol is
            if limits.rate is not None:
                raise _rate_of(symbol)
        limits.check()


def _rate_of(symbol: str) -> ConfigError:
    return ConfigError(f"a limit of the rate holds in all instruments, not in {symbol} alone")


def changed(own: Mapping[str, Limits], symbol: str, changes: LimitChanges) -> dict[str, Limits]:
    """What one with its `own` limits has after a change, by the rules of `lua/participant.lua`."""
    here: dict[str, Any] = asdict(own.get(symbol, NO_LIMITS)) | dict(changes)
    return without_empty({**own, symbol: Limits(**here)})


def without_empty(own: Mapping[str, Limits]) -> dict[str, Limits]:
    """The same without what says nothing."""
    return {symbol: limits for symbol, limits in own.items() if limits != NO_LIMITS}
