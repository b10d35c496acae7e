"""The instruments that an operator lists, by options or in a TOML file."""

import tomllib
from collections.abc import Iterable
from pathlib import Path

from wood.model.errors import ConfigError
from wood.model.instruments import PARTITION, Instrument, Instruments

DEFAULT = "WOOD:0.01:1"
"""What is traded when nothing is listed."""


def listed(options: Iterable[str], file: Path | None) -> Instruments:
    """The instruments of the file, then those of the options. Raises `ConfigError`."""
    instruments = [] if file is None else read_file(file)
    instruments += [parse_option(text) for text in options]
    return Instruments(instruments or [parse_option(DEFAULT)])


def parse_option(text: str) -> Instrument:
    """Read NAME:TICK:LOT@PARTITION; all but the name may be left out. Raises `ConfigError`."""
    listing, at, partition = text.partition("@")
    parts = listing.split(":")
    if len(parts) > 3:
        raise ConfigError(f"--instrument {text!r}: write NAME:TICK:LOT, such as {DEFAULT}")
    symbol, tick, lot = (*parts, *("0.01", "1")[len(parts) - 1 :])
    return Instrument(symbol, tick, lot, partition if at else PARTITION)


def read_file(file: Path) -> list[Instrument]:
    """Read tables [[instrument]]: `symbol`, `tick`, `lot`, `partition`. Raises `ConfigError`."""
    try:
        # Numbers stay the text they are: a binary float would no longer be the tick.
        tables = tomllib.loads(file.read_text("utf-8"), parse_float=str).get("instrument")
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not TOML: {error}") from None
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{file}: list the instruments as tables [[instrument]]")
    return [_instrument(file, table) for table in tables]


def _instrument(file: Path, table: dict[str, object]) -> Instrument:
    unknown = set(table) - {"symbol", "tick", "lot", "partition"}
    if unknown or "symbol" not in table:
        raise ConfigError(
            f"{file}: an instrument has symbol, tick, lot, partition, not {sorted(table)}"
        )
    if any(isinstance(value, bool | list | dict) for value in table.values()):
        raise ConfigError(f"{file}: what an instrument has are strings or numbers")
    texts = {key: str(value) for key, value in table.items()}
    return Instrument(**texts)  # type: ignore[arg-type]
