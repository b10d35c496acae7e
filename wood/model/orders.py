"""The words that commands and events share: side and time in force."""

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


BUY, SELL = Side.BUY, Side.SELL
GTC, IOC, FOK = TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK
