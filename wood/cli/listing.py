"""The instruments that an operator lists, by options or in a TOML file."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from wood.cli.trading import KEYS, Texts, rules_of
from wood.model.errors import ConfigError
from wood.model.instruments import PARTITION, Instrument, Instruments

DEFAULT = "WOOD:0.01:1"
"""What is traded when nothing is listed."""

_LISTING = {"symbol": "", "tick": "0.01", "lot": "1", "partition": PARTITION}
"""What else than `KEYS` an instrument has, and what it is if nothing is said."""


_NONE: Texts = {}


def listed(options: Iterable[str], file: Path | None, trading: Texts = _NONE) -> Instruments:
    """The instruments of the file, then those of the options. Raises `ConfigError`.

    `trading` is how all of them are traded for which the file does not say otherwise.
    """
    instruments = [] if file is None else read_file(file, trading)
    instruments += [parse_option(text, trading) for text in options]
    return Instruments(instruments or [parse_option(DEFAULT, trading)])


def parse_option(text: str, trading: Texts = _NONE) -> Instrument:
    """Read NAME:TICK:LOT@PARTITION; all but the name may be left out. Raises `ConfigError`."""
    listing, at, partition = text.partition("@")
    parts = listing.split(":")
    if len(parts) > 3:
        raise ConfigError(f"--instrument {text!r}: write NAME:TICK:LOT, such as {DEFAULT}")
    texts = dict(zip(_LISTING, parts, strict=False)) | ({"partition": partition} if at else {})
    return _instrument(texts, trading)


def read_file(file: Path, trading: Texts = _NONE) -> list[Instrument]:
    """Read the tables [[instrument]] of a TOML file. Raises `ConfigError`."""
    try:
        # Numbers stay the text they are: a binary float would no longer be the tick.
        found = tomllib.loads(file.read_text("utf-8"), parse_float=str)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not TOML: {error}") from None
    tables = found.pop("instrument", None)
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{file}: list the instruments as tables [[instrument]]")
    if found:
        raise ConfigError(f"{file}: {_names(found)} stands outside of the tables [[instrument]]")
    try:
        return [_instrument(_texts(table), trading) for table in tables]
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def _texts(table: Mapping[str, object]) -> dict[str, str]:
    if "symbol" not in table:
        raise ConfigError(f"an instrument has a symbol, and this one has {_names(table)}")
    symbol = table["symbol"]
    unknown = {key: table[key] for key in table if key not in (*_LISTING, *KEYS)}
    if unknown:
        known = ", ".join((*_LISTING, *KEYS))
        raise ConfigError(f"instrument {symbol}: unknown: {_names(unknown)} (there are {known})")
    for key, value in table.items():
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ConfigError(f"instrument {symbol}: {key} is neither a string nor a number")
    return {key: str(value) for key, value in table.items()}


def _names(keys: Iterable[str]) -> str:
    return ", ".join(keys) or "nothing"


def _instrument(texts: Texts, trading: Texts) -> Instrument:
    symbol, tick, lot, partition = (texts.get(key, _LISTING[key]) for key in _LISTING)
    plain = Instrument(symbol, tick, lot, partition)
    try:
        rules = rules_of({**trading, **texts}, plain)
    except ConfigError as error:
        raise ConfigError(f"instrument {plain.symbol}: {error}") from None
    return Instrument(symbol, tick, lot, partition, rules=rules)
