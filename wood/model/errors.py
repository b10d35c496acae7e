"""What can be refused, and why.

WoodError
+-- Refusal            a message or command is refused; carries an `ErrorCode`
+-- ConfigError        the operator's settings are wrong; the text says how to mend them
+-- EngineFailed       the engine broke and the server stopped
    +-- JournalTrimmed     the journal no longer reaches back to the asked-for number
"""

from enum import StrEnum


class ErrorCode(StrEnum):
    """The stable word in the `code` of an error reply.

    `retry` says whether the very same message can succeed later without being changed.
    """

    retry: bool

    def __new__(cls, value: str, retry: bool) -> "ErrorCode":
        """Make a member whose value is the word alone."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.retry = retry
        return member

    # Refusals are counted by their codes, and an enum's own would be computed in Python each time.
    __hash__ = str.__hash__

    # The message cannot be read, lacks a key, or has a value that no order can have.
    INVALID = "invalid", False
    # A price, a quantity or a level's total is past its bound.
    TOO_LARGE = "too_large", False
    # A line or map is longer than the limit; framing is lost and the connection is closed.
    TOO_LONG = "too_long", False
    # The participant has an open order with this id in this instrument.
    DUPLICATE = "duplicate", True
    # The participant has no open order with this id in this instrument.
    NOT_FOUND = "not_found", False
    # The exchange does not list this instrument.
    UNKNOWN_SYMBOL = "unknown_symbol", False
    # More than a limit of the participant, of the instrument or of the server allows.
    LIMIT = "limit", True
    # Trading in this instrument is halted; what is open can be cancelled.
    HALTED = "halted", True
    # The price is beyond the collar round the last trade.
    COLLAR = "collar", True
    # More messages per second than the connection, its address or its participant may send. For
    # too long without a break: the connection is closed.
    RATE = "rate", True
    # The server can no longer prove that you got every report; the connection is closed.
    UNAVAILABLE = "unavailable", True
    # The client's `seq` has a gap or a repeat.
    SEQUENCE = "sequence", False
    # Log in first; or the participant and its token do not fit.
    UNAUTHORIZED = "unauthorized", False
    # The operator has disabled this participant; its connections are closed.
    DISABLED = "disabled", False
    # Only an operator may do this.
    FORBIDDEN = "forbidden", False
    # The session was resumed through another connection; this one is closed.
    SUPERSEDED = "superseded", False
    # You asked for heartbeats and sent nothing for two intervals; the connection is closed.
    SILENT = "silent", True


class Limit(StrEnum):
    """The word in the `limit` of an error reply: which limit it was that refused."""

    # Messages per second: of one connection, of one address, of one participant over all nodes.
    CONNECTION_RATE = "connectionRate"
    ADDRESS_RATE = "addressRate"
    PARTICIPANT_RATE = "participantRate"
    # Connections at once: to the node, from one address.
    CONNECTIONS = "connections"
    ADDRESS_CONNECTIONS = "addressConnections"
    # Open orders: of one participant, of one in this instrument, of all participants.
    OPEN_ORDERS = "openOrders"
    INSTRUMENT_OPEN_ORDERS = "instrumentOpenOrders"
    RESTING_ORDERS = "restingOrders"
    # Of one order.
    ORDER_QUANTITY = "orderQuantity"
    ORDER_VALUE = "orderValue"
    # What was bought less what was sold, with all open orders of the same side filled.
    POSITION = "position"


class WoodError(Exception):
    """The base of every error that this package raises on purpose."""


class Refusal(WoodError):
    """A message or command is refused, and nothing has changed.

    `limit` is the one that refuses, if one does, and `retry_after` the microseconds
    after which to try again, if that is known.
    """

    def __init__(
        self,
        code: ErrorCode,
        text: str,
        *,
        limit: Limit | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.limit = limit
        self.retry_after = retry_after


class ConfigError(WoodError):
    """A setting is wrong; the text is one line that says how to mend it."""


class EngineFailed(WoodError):
    """The engine, or a reader of its journal, broke: a fault of the program, told in the log."""


class JournalTrimmed(WoodError):
    """The journal begins after the asked-for number: take a snapshot instead."""
