"""A record on its way to Graylog: what a process hands to the one that encodes and sends."""

from msgspec import Struct

from wood.model.log_events import Value

Fields = dict[str, Value]
"""By name, without the underscore that GELF puts before it. `event` is always among them."""


class Record(Struct, frozen=True, gc=False):
    """One message. `time` is seconds since the epoch, `level` that of Python's logging.

    `log` is which of the streams it belongs to: `nodes`, `market` or `alerts`.
    """

    time: float
    level: int
    node: str
    log: str
    text: str
    fields: Fields
    traceback: str | None = None
