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
    # The participant's open orders, or the server's connections, are at their limit.
    LIMIT = "limit", True
    # More messages per second than the connection may send.
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


class WoodError(Exception):
    """The base of every error that this package raises on purpose."""


class Refusal(WoodError):
    """A message or command is refused, and nothing has changed."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class ConfigError(WoodError):
    """A setting is wrong; the text is one line that says how to mend it."""


class EngineFailed(WoodError):
    """The engine, or a reader of its journal, broke: a fault of the program, told in the log."""


class JournalTrimmed(WoodError):
    """The journal begins after the asked-for number: take a snapshot instead."""
