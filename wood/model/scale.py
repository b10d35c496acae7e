"""Decimals on the wire, whole units inside: one `Scale` for prices and one for quantities."""

from wood.model.decimals import decimal_text, parse_decimal
from wood.model.errors import ErrorCode, Refusal

CACHE_SIZE = 1 << 13
"""Entries after which a cache of conversions is emptied, so that no client can make it grow."""

LONGEST_CACHED = 24
"""Bytes of the longest text that is remembered."""


class Scale:
    """Converts between decimal text and whole multiples of `step`.

    `units[text]` and `text[units]` are dictionaries that compute what they lack, since a price is
    seen many times and a hit costs one look-up. Texts are bytes, as they stand on the wire;
    `units` also takes a JSON string of a number, quotes and all. `units` raises `Refusal`
    (`invalid`, `too_large`) for what is not a multiple of `step` in 1 to `limit` units.
    """

    def __init__(self, name: str, step: str, limit: int) -> None:
        coefficient, exponent = parse_decimal(step, f"the step of the {name}")
        if coefficient <= 0:
            raise Refusal(ErrorCode.INVALID, f"the step of the {name} must be greater than 0")
        if exponent < -18 or len(str(coefficient)) + exponent > 18:
            raise Refusal(
                ErrorCode.INVALID,
                f"the step of the {name} has over 18 digits on a side of its point",
            )
        self.name = name
        self.step = decimal_text(coefficient, exponent)
        self.limit = limit
        self._coefficient = coefficient
        self._exponent = exponent
        self.units: dict[bytes, int] = _Units(self)
        self.text: dict[int, bytes] = _Text(self)

    def __repr__(self) -> str:
        return f"Scale({self.name!r}, {self.step!r}, {self.limit})"

    def to_units(self, text: str) -> int:
        """Whole units of the decimal `text`, without the cache. Raises as `units` does."""
        coefficient, exponent = parse_decimal(text, self.name)
        if coefficient <= 0:
            raise Refusal(ErrorCode.INVALID, f"{self.name} must be greater than 0")
        shift = exponent - self._exponent
        dividend: int = coefficient * 10 ** max(shift, 0)
        divisor: int = self._coefficient * 10 ** max(-shift, 0)
        units, remainder = divmod(dividend, divisor)
        if units > self.limit or (units == self.limit and remainder):
            largest = decimal_text(self.limit * self._coefficient, self._exponent)
            raise Refusal(ErrorCode.TOO_LARGE, f"{self.name} must be at most {largest}")
        if remainder:
            raise Refusal(ErrorCode.INVALID, f"{self.name} must be a multiple of {self.step}")
        return units

    def to_text(self, units: int) -> str:
        """The exact decimal of `units`: `145` when whole, otherwise such as `145.25`."""
        return decimal_text(units * self._coefficient, self._exponent)


class _Units(dict[bytes, int]):
    """JSON text of a number, or of a string of one, to whole units."""

    def __init__(self, scale: Scale) -> None:
        self._scale = scale

    def __missing__(self, text: bytes) -> int:
        # Latin-1 takes every byte, so that the grammar, not the decoder, refuses what is not ASCII.
        units = self._scale.to_units(text.decode("latin-1").removeprefix('"').removesuffix('"'))
        if len(text) <= LONGEST_CACHED:
            if len(self) >= CACHE_SIZE:
                self.clear()
            self[text] = units
        return units


class _Text(dict[int, bytes]):
    """Whole units to the JSON text of a number."""

    def __init__(self, scale: Scale) -> None:
        self._scale = scale

    def __missing__(self, units: int) -> bytes:
        if len(self) >= CACHE_SIZE:
            self.clear()
        text = self[units] = self._scale.to_text(units).encode()
        return text
