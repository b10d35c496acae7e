"""What an order may be, before it meets any other: limits, and the price collar of an instrument.

The rules are checked in a fixed order, see docs/protocol.md; whoever is refused learns the first
that refuses.
"""

from collections.abc import Mapping
from typing import NamedTuple

from wood.book.accounts import Account
from wood.model.errors import ErrorCode, Limit
from wood.model.instruments import Instrument
from wood.model.limits import Bounds, Limits, bounds
from wood.model.orders import BUY, Beyond, SelfTrade, Side
from wood.model.trading import band

NO_BOUNDS = Bounds()


class Refused(NamedTuple):
    """Why a command is refused."""

    code: ErrorCode
    text: str
    limit: Limit | None = None


class Rules:
    """The rules of one instrument, and what they depend on."""

    def __init__(self, instrument: Instrument) -> None:
        rules = instrument.rules
        self.self_trade = rules.self_trade
        self.halts = rules.beyond is Beyond.HALT
        """Whether what would trade beyond the collar halts the instrument."""
        self.last: int | None = rules.reference
        """The price that the collar is round: of the last trade, or the reference before it."""
        self.prevents = rules.self_trade is not SelfTrade.ALLOW
        self._symbol = instrument.symbol
        self._tick, self._lot = float(instrument.tick), float(instrument.lot)
        self._listed = rules.limits
        self._collar = rules.collar
        self._bounds = bounds(self._tick, self._lot, rules.limits, {}, self._symbol)
        self._own_bounds: dict[str, Bounds] = {}
        self.any = False
        """Whether there is any rule that could refuse an order here."""
        self.take({})

    def take(self, own: Mapping[str, Mapping[str, Limits]]) -> None:
        """These participants have limits of their own from now on."""
        self._own_bounds = {
            name: bounds(self._tick, self._lot, self._listed, limits, self._symbol)
            for name, limits in own.items()
        }
        self.any = bool(self._own_bounds or self._collar or self._bounds != NO_BOUNDS)

    def band(self) -> tuple[int, int] | None:
        """The lowest and the highest price of a trade now, None if there is no bound."""
        if self._collar is None or self.last is None:
            return None
        return band(self.last, self._collar)

    def refuse_new(
        self,
        participant: str,
        account: Account | None,
        side: Side,
        price: int | None,
        quantity: int,
        best: int | None,
    ) -> Refused | None:
        """Why an order may not be, if so; `best` is the best opposite price."""
        limits = self._own_bounds.get(participant, self._bounds)
        if quantity > limits.quantity:
            return self._too_much(limits)
        worth = best if price is None else price
        if worth is not None and float(worth) * quantity > limits.value:
            return self._too_dear(limits)
        if price is not None and (refused := self._beyond(side, price)):
            return refused
        return self._too_far(limits, account, side, quantity)

    def refuse_more(self, participant: str, account: Account | None) -> Refused | None:
        """Why it may not have one more order open here, if so."""
        most = self._own_bounds.get(participant, self._bounds).open_orders
        if (0 if account is None else len(account.orders)) < most:
            return None
        text = f"{most:.0f} open orders in {self._symbol} are the limit"
        return Refused(ErrorCode.LIMIT, text, Limit.INSTRUMENT_OPEN_ORDERS)

    def refuse_amended(
        self,
        account: Account,
        side: Side,
        before: tuple[int, int],
        price: int,
        quantity: int,
    ) -> Refused | None:
        """Why an order that is `before` (price, quantity) may not be so, if so.

        Nobody is hindered from making less of it, whatever the limits have become.
        """
        limits = self._own_bounds.get(account.participant, self._bounds)
        old_price, left = before
        if quantity > left and quantity > limits.quantity:
            return self._too_much(limits)
        value = float(price) * quantity
        if value > limits.value and value > float(old_price) * left:
            return self._too_dear(limits)
        if price != old_price and (refused := self._beyond(side, price)):
            return refused
        if quantity > left:
            return self._too_far(limits, account, side, quantity - left)
        return None

    def _beyond(self, side: Side, price: int) -> Refused | None:
        if self.halts:
            return None
        within = self.band()
        if within is None:
            return None
        lower, upper = within
        if price <= upper if side is BUY else price >= lower:
            return None
        ends = max(lower, 1) * self._tick, upper * self._tick
        text = "the price must be from {:.15g} to {:.15g}".format(*ends)
        return Refused(ErrorCode.COLLAR, text)

    def _too_much(self, limits: Bounds) -> Refused:
        text = f"an order may have a quantity of {limits.quantity * self._lot:.15g} at most"
        return Refused(ErrorCode.LIMIT, text, Limit.ORDER_QUANTITY)

    def _too_dear(self, limits: Bounds) -> Refused:
        most = limits.value * self._tick * self._lot
        text = f"an order may have a value of {most:.15g} at most"
        return Refused(ErrorCode.LIMIT, text, Limit.ORDER_VALUE)

    def _too_far(
        self, limits: Bounds, account: Account | None, side: Side, quantity: int
    ) -> Refused | None:
        if account is not None:
            quantity += account.long if side is BUY else account.short
        if quantity <= limits.position:
            return None
        most = limits.position * self._lot
        text = f"the position, with all open orders filled, may be {most:.15g} at most"
        return Refused(ErrorCode.LIMIT, text, Limit.POSITION)
