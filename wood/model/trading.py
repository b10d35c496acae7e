"""How an instrument is traded, beside its tick and lot: what an operator may set for each."""

from msgspec import Struct

from wood.model.limits import NO_LIMITS, Limits
from wood.model.orders import Beyond, SelfTrade

WHOLE = 10_000
"""A collar of the whole price, in its units: hundredths of a percent."""


class TradingRules(Struct, frozen=True):
    """Self-trade prevention, the price collar, and limits.

    `collar` is in hundredths of a percent of the last trade's price, None for none; both engines
    reckon its width in binary floating-point numbers, cut to whole ticks. `reference` is
    a price in ticks that counts while there was no trade; without it there is no collar until then.
    """

    self_trade: SelfTrade = SelfTrade.ALLOW
    collar: int | None = None
    beyond: Beyond = Beyond.REFUSE
    reference: int | None = None
    limits: Limits = NO_LIMITS
    """`open_orders` of these is in this instrument; `rate` is None."""


NO_RULES = TradingRules()
