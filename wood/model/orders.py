"""The words that commands, events and instruments share."""

from enum import StrEnum


class Side(StrEnum):
    """The side of an order or of a level."""

    BUY = "BUY"
    SELL = "SELL"


class TimeInForce(StrEnum):
    """How long an order may stand: until cancelled, not at all, or only as a whole at once."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"


class State(StrEnum):
    """Whether an instrument is traded. While it is halted only cancels are taken."""

    OPEN = "open"
    HALTED = "halted"


class Reason(StrEnum):
    """Why the state of an instrument changed."""

    OPERATOR = "operator"
    COLLAR = "collar"


class SelfTrade(StrEnum):
    """What happens when an order meets a resting one of the same participant.

    They trade; or the rest of the incoming one is cancelled; or the resting one is, and the
    incoming one goes on; or both are.
    """

    ALLOW = "allow"
    CANCEL_NEWEST = "cancel-newest"
    CANCEL_OLDEST = "cancel-oldest"
    CANCEL_BOTH = "cancel-both"


class Beyond(StrEnum):
    """What a price collar does about an order that is priced, or would trade, beyond it."""

    REFUSE = "refuse"
    HALT = "halt"


BUY, SELL = Side.BUY, Side.SELL
OPEN, HALTED = State.OPEN, State.HALTED
GTC, IOC, FOK = TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK
