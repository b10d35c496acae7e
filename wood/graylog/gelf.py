"""A record as a message in the Graylog Extended Log Format, version 1.1."""

import logging
import math

from wood.graylog.record import Record
from wood.model.log_events import Value

Message = dict[str, str | int | float]

TEXT = 32_000
"""Characters of a text or a traceback that are sent; what is longer is cut, and says so."""

FIELD = 8_000
"""Characters of a field: what Graylog keeps such texts in refuses more than 32,766 bytes."""

CUT = " ... (cut)"

LEVELS = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
)
"""A level of Python's logging from there on, and that of syslog which says the same."""

DEBUG = 7

WHOLE = range(-(2**63), 2**63)
"""Whole numbers that Graylog's index can hold."""


def message(record: Record, text: int = TEXT, field: int = FIELD) -> Message:
    """What GELF says of a record. Texts longer than `text`, and fields longer than `field`
    characters, are cut.
    """
    told: Message = {
        "version": "1.1",
        "host": record.node or "wood",
        "short_message": cut(record.text, text) or "-",  # it may not be empty
        "timestamp": record.time,
        "level": next((its for level, its in LEVELS if record.level >= level), DEBUG),
        "_log": record.log,
        "_node": record.node,
    }
    if record.traceback:
        told["full_message"] = cut(record.traceback, text)
    for name, value in record.fields.items():
        if (possible := _possible(value, field)) is not None:
            told[f"_{name}"] = possible
    return told


def cut(text: str, most: int) -> str:
    """At most `most` characters of it, and that it was cut if so; and none that ends it for a
    program in C.
    """
    if "\0" in text:
        text = text.replace("\0", r"\x00")
    return text if len(text) <= most else text[: max(most - len(CUT), 0)] + CUT


def _possible(value: Value, most: int) -> Value | None:
    """What of a value the index can hold."""
    if isinstance(value, str):
        return cut(value, most)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return int(value) if value in WHOLE else None
