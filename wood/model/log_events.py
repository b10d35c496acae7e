"""The names of what the log tells: stable, for those who search and count in Graylog.

A record of the log that stands for something has one of these names, and fields beside its text:
`log.warning("Redis answers again", extra=told(LogEvent.REDIS_BACK, partition="main"))`. Fields are
text and numbers; what a stranger chose is a field too, never a name. No token is ever one.
`docs/log.md` has them all, and `tests/log_fields.json` what real servers were seen to send.
"""

from enum import StrEnum

Value = str | int | float
"""Of a field: text, or a number that stays a number."""

EXTRA = "told"
"""The attribute of a `logging.LogRecord` that has the name and the fields."""


class LogEvent(StrEnum):
    """What can be told. Those of `MARKET` come from the journal, all others from a process."""

    NODE_STARTED = "node.started"
    """A node listens. `version`, `mode`, `private`, `public`, `health`, and `duration_ms` of
    the start.
    """
    NODE_DRAINING = "node.draining"
    """It serves on, and wants no new connections. `duration_ms` is for how long."""
    NODE_STOPPED = "node.stopped"
    """It has ended in order. `duration_ms` is how long it took."""
    NODE_FAILED = "node.failed"
    """It did not start, or its engine failed and it stopped. `reason`."""
    NODE_MEASURED = "node.measured"
    """What it did since the last one of these, and how it is: figures only."""
    NODE_RESYNCHRONISED = "node.resynchronised"
    """It lost the thread of the journal, and began again from a snapshot. `partition`, `reason`."""
    NODE_FENCED = "node.fenced"
    """It was declared dead, and comes back as another writer. `partition`, `reason`."""
    NODE_LOST = "node.lost"
    """Another node was silent for a lease, and was declared dead. `partition`, `writer`."""
    SESSION_OPENED = "session.opened"
    """A private connection was opened. `session`, `client`."""
    SESSION_CLOSED = "session.closed"
    """A private connection has ended. `reason`, `participant`, `duration_ms` and those above."""
    SESSION_NAMED = "session.named"
    """A participant logged in, or resumed. `session`, `client`, `participant`, `session_name`."""
    LOGIN_REFUSED = "login.refused"
    """A login was refused. `session`, `client`, `participant` as claimed, `code`."""
    SUBSCRIBER_OPENED = "subscriber.opened"
    """A public connection was opened. `session`, `client`."""
    SUBSCRIBER_CLOSED = "subscriber.closed"
    """A public connection has ended. `session`, `client`, `reason`, `duration_ms`."""
    CONNECTION_REFUSED = "connection.refused"
    """A connection was closed before it could say anything. `client`, `reason`, perhaps `limit`."""
    CLIENT_SLOW = "client.slow"
    """A client was closed, since it does not read what it is sent. `session`, `client`,
    `reason`.
    """
    LIMIT_HIT = "limit.hit"
    """So much was refused for a limit within a second. `limit`, `participant`, `client`, `symbol`,
    `count`.
    """
    LINES_LEFT_OUT = "lines.left_out"
    """More happened of a kind than is told one by one. `about`, `count`."""
    REDIS_LOST = "redis.lost"
    """Redis does not answer, or not as it should. `partition`, `reason`."""
    REDIS_BACK = "redis.back"
    """It does again. `partition`, `duration_ms`."""
    REDIS_REFUSES = "redis.refuses"
    """Redis answers, and does not let this node write. `partition`, `reason`."""
    REDIS_WRITES = "redis.writes"
    """It does again. `partition`, `duration_ms`."""
    JOURNAL_FORKED = "journal.forked"
    """Redis lost the end of the journal. `partition`, `reason`, `epoch`, `seq`, `count`."""
    BOOK_CLEARED = "book.cleared"
    """A new book began. `partition`, `count` of the orders that were open."""
    CERTIFICATES_READ = "certificates.read"
    """The files of TLS were read again."""
    CERTIFICATES_REFUSED = "certificates.refused"
    """They are of no use, and those of before stay. `reason`."""
    PARTICIPANTS_READ = "participants.read"
    """The participants' file was read again. `count`."""
    PARTICIPANTS_REFUSED = "participants.refused"
    """It is of no use, and the participants stay as they were. `reason`."""
    OPERATOR_ACTED = "operator.acted"
    """An operator halted or resumed an instrument. `participant`, `symbol`, `state`."""
    READER_MEASURED = "reader.measured"
    """How far `wood graylog` is. `partition`, `epoch`, `seq`, `records`, `behind` (events)."""
    GRAYLOG_LOST = "graylog.lost"
    """What tells the market finds no Graylog; this arrives when it is back. `reason`."""
    GRAYLOG_BACK = "graylog.back"
    """It is back. `duration_ms`."""
    ERROR = "error"
    """Something else that was told as a warning or worse. No further fields."""
    RECORDS_DROPPED = "records.dropped"
    """So many records could not be sent to Graylog. `count`."""

    TRADE_EXECUTED = "trade.executed"
    ORDER_ACCEPTED = "order.accepted"
    ORDER_CANCELED = "order.canceled"
    ORDER_AMENDED = "order.amended"
    ORDER_REFUSED = "order.refused"
    TRADING_HALTED = "trading.halted"
    TRADING_RESUMED = "trading.resumed"
    MARKET_SKIPPED = "market.skipped"
    """The reader could not tell some of the journal: `reason`, `seq` to go on after, `count`."""

    ALERT_RAISED = "alert.raised"
    ALERT_REPEATED = "alert.repeated"
    ALERT_ENDED = "alert.ended"


def told(event: LogEvent, **fields: Value | None) -> dict[str, object]:
    """What to give a call of the log as `extra`. A field that is None is left out."""
    known = {name: value for name, value in fields.items() if value is not None}
    return {EXTRA: {"event": event.value, **known}}
