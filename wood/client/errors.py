"""What a client can fail with.

WoodError
+-- ClientError
    +-- ConnectionLost     nobody answers, and nobody will be asked again
    +-- Rejected           the server will not have this client; carries a `code`
    |   +-- LoginRefused       unauthorized, disabled, or what was asked for is invalid
    |   +-- Superseded         the session was resumed through another connection
    |   +-- Disabled           the operator has disabled the participant
    |   +-- SubscriptionRefused
    +-- QueryRefused       a question, `halt` or `resume` was refused; carries a `code`
    +-- ProtocolError      the other side does not speak this protocol
    +-- ClientClosed       something was asked of a client that is closed
"""

from wood.model.errors import WoodError
from wood.model.text import printable


class ClientError(WoodError):
    """The base of all that this package raises, but for the errors of its caller.

    Those are `TypeError` for a price or quantity that is no exact number, `ValueError` for one
    that is none at all, and for other arguments that cannot be meant.
    """


class ConnectionLost(ClientError):
    """The connection is gone, or there never was one, and none will be tried for again."""


class Rejected(ClientError):
    """The server ended it for good, so that trying again would not help; `code` says why."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


class LoginRefused(Rejected):
    """There is no such participant, its token is another one, or what was asked is invalid."""


class Superseded(Rejected):
    """The session was resumed through another connection, which has it now."""


class Disabled(Rejected):
    """The operator has disabled the participant."""


class SubscriptionRefused(Rejected):
    """What was subscribed to cannot be had."""


class QueryRefused(ClientError):
    """A question was refused; `code` says why.

    `limit` is the one that refused, if one did, and `retry_after` the seconds after which to try
    again, if the server said so.
    """

    def __init__(
        self, text: str, code: str, limit: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(text)
        self.code = code
        self.limit = limit
        self.retry_after = retry_after


class ProtocolError(ClientError):
    """The other side said what no server of this protocol says."""

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))  # which may quote it


class ClientClosed(ClientError):
    """The client is closed, or was never opened."""
