"""What the errors of Redis, and of its client library, say of the command that they answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto

from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as ConnectionBroken

FAILURES = (RedisError, OSError)
"""What a command to Redis may raise, however it went wrong."""


class Fault(Enum):
    """What an error says of the command that it answers."""

    UNKNOWN = auto()
    """The connection broke or was silent: it may have been done."""
    NOT_NOW = auto()
    """It was not done, but will be if it is sent again: loading, busy, a replica, moved."""
    REFUSED = auto()
    """It was not done, and who asked should hear of it: no memory, no disk, no right."""
    BROKEN = auto()
    """The script failed: a fault of the program, or someone else wrote under the prefix."""


def fault(error: Exception) -> Fault:
    """Classify an error of the client library."""
    if isinstance(error, BusyLoadingError | ReadOnlyError | NoScriptError):
        return Fault.NOT_NOW
    # While a slot moves, and after it: the first two until all of its keys are in one place again.
    if isinstance(error, AskError | TryAgainError | ClusterDownError):
        return Fault.NOT_NOW  # MOVED is a kind of ASK to the library
    if isinstance(error, OutOfMemoryError | NoPermissionError):
        return Fault.REFUSED
    if not isinstance(error, ResponseError):
        return Fault.UNKNOWN
    text = str(error)
    word = text.split(" ", 1)[0]
    # Only a script that has not written anything can be killed.
    if word in ("BUSY", "UNKILLABLE", "MASTERDOWN") or "SCRIPT KILL" in text:
        return Fault.NOT_NOW
    if word in ("MISCONF", "NOREPLICAS"):
        return Fault.REFUSED
    return Fault.BROKEN


# What scripts say differs: Redis 7.0, 7.2 and later, Valkey.
_DENIED = ("NOPERM", "ACL failure in script", "The user executing the script can't")


def is_denied(error: Exception) -> bool:
    """Whether the user has not the right to something, also if a script found that out."""
    if isinstance(error, NoPermissionError):
        return True
    return isinstance(error, ResponseError) and any(text in str(error) for text in _DENIED)


@contextmanager
def as_broken() -> Iterator[None]:
    """uvloop raises RuntimeError for what is written to a transport that has just been closed."""
    try:
        yield
    except RuntimeError as error:
        if "handler is closed" not in str(error) and "closing transport" not in str(error):
            raise
        raise ConnectionBroken(str(error)) from error
