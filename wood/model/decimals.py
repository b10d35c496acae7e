"""The grammar of decimal numbers, checked before anything is converted.

JSON's own: an optional minus, digits without leading zeros, one optional point, an optional
exponent; ASCII only. Binary floats never appear, and `1e900000` costs no more than `1`.
"""

import re

from wood.model.errors import ErrorCode, Refusal

MAX_LENGTH = 100
"""Characters of the longest number that is read."""

MAX_MAGNITUDE = 40
"""No number of 10^40 or more, or finer than 10^-140, is ever converted."""

_NUMBER = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?", re.ASCII)


def parse_decimal(text: str, name: str) -> tuple[int, int]:
    """Read `text` as (coefficient, exponent): its exact value is coefficient * 10^exponent.

    `name` is what the error text calls the number. Raises `Refusal` (`invalid`, `too_large`).
    """
    match = _NUMBER.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if match is None:
        raise Refusal(ErrorCode.INVALID, f"{name} must be a decimal number")
    sign, whole, fraction, power = match.groups(default="")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return 0, 0
    exponent = _small_int(power) - len(fraction)
    if len(digits) + exponent > MAX_MAGNITUDE and not sign:
        raise Refusal(ErrorCode.TOO_LARGE, f"{name} is too large")
    significant = digits.rstrip("0")
    exponent += len(digits) - len(significant)
    if sign or exponent < -MAX_MAGNITUDE - MAX_LENGTH:
        # Its size no longer matters to anybody: below zero, or off every tick there can be.
        exponent = max(min(exponent, MAX_MAGNITUDE), -MAX_MAGNITUDE - MAX_LENGTH)
    coefficient = int(significant)
    return (-coefficient if sign else coefficient), exponent


def decimal_text(coefficient: int, exponent: int) -> str:
    """Write coefficient * 10^exponent plainly: a whole value without a point, no trailing zeros."""
    if exponent >= 0:
        return str(coefficient * 10**exponent)
    digits = str(abs(coefficient)).rjust(1 - exponent, "0")
    whole, fraction = digits[:exponent], digits[exponent:].rstrip("0")
    sign = "-" if coefficient < 0 else ""
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def _small_int(power: str) -> int:
    """An exponent that is cut off at a million, so that its own digits cost nothing either."""
    if not power:
        return 0
    digits = power.lstrip("+-").lstrip("0")
    size = int(digits or "0") if len(digits) <= 6 else 10**6
    return -size if power[0] == "-" else size
