"""How instruments are traded, as the script that decides is told it beside each batch.

By instrument it is `[self-trade prevention, collar, whether beyond it halts, reference, tick, lot,
bounds of open orders, quantity, value and position]`, with nil for what there is not.
"""

from collections.abc import Iterable
from math import isinf

from msgspec import Raw
from msgspec.msgpack import Encoder

from wood.model.instruments import Instrument, Instruments
from wood.model.limits import bounds
from wood.model.orders import Beyond, SelfTrade

_encode = Encoder().encode


class TradingTexts:
    """The rules of `instruments`, each encoded once."""

    def __init__(self, instruments: Instruments) -> None:
        self._encoded = {symbol: Raw(_encode(_row(i))) for symbol, i in instruments.items()}

    def of(self, symbols: Iterable[str]) -> bytes:
        """Those of a batch that is about these."""
        return _encode([self._encoded[symbol] for symbol in symbols])


def _row(instrument: Instrument) -> tuple[object, ...]:
    rules = instrument.rules
    tick, lot = float(instrument.tick), float(instrument.lot)
    most = bounds(tick, lot, rules.limits, {}, instrument.symbol)
    return (
        None if rules.self_trade is SelfTrade.ALLOW else rules.self_trade,
        rules.collar,
        rules.beyond is Beyond.HALT,
        rules.reference,
        tick,
        lot,
        *(
            None if isinf(bound) else bound
            for bound in (most.open_orders, most.quantity, most.value, most.position)
        ),
    )
