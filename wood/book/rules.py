"""What an order may be, before it meets any other: limits, and the price collar of an instrument.

The rules are checked in a fixed order, see docs/protocol.md; whoever is refused learns the first
that refuses.
"""

from collections.abc import Mapping
from math import isfinite
from typing import NamedTuple

from wood.book.accounts import Account
from wood.model.errors import ErrorCode, Limit
from wood.model.instruments import MAX_TICKS, Instrument
from wood.model.limits import Bounds, Limits, bounds
from wood.model.orders import BUY, Beyond, SelfTrade, Side
from wood.model.trading import WHOLE

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
        self.lower, self.upper = 0, MAX_TICKS
        """The lowest and the highest price at which orders may meet now, in ticks."""
        self.prevents = rules.self_trade is not SelfTrade.ALLOW
        self._symbol = instrument.symbol
        self._tick, self._lot = float(instrument.tick), float(instrument.lot)
        self._listed = rules.limits
        self.has_collar = rules.collar is not None
        self._collar = float(rules.collar or 0)
        self.last = rules.reference
        """The price that the collar is round: of the last trade, or the reference before it."""
        self.move_collar()
        self._bounds = bounds(self._tick, self._lot, rules.limits, {}, self._symbol)
        self._own_bounds: dict[str, Bounds] = {}
        self.any = False
        """Whether there is any rule that could refuse an order here."""
        self.counts = False
        """Whether open orders here have a limit of their own."""
        self.surely = 0, 0, 0
        """The quantity, value and position that are within the limits of everybody."""
        self.take({})

    def take(self, own: Mapping[str, Mapping[str, Limits]]) -> None:
        """These participants have limits of their own from now on."""
        self._own_bounds = {
            name: bounds(self._tick, self._lot, self._listed, limits, self._symbol)
            for name, limits in own.items()
        }
        self.any = bool(self._own_bounds or self._collar or self._bounds != NO_BOUNDS)
        everybody = [self._bounds, *self._own_bounds.values()]
        self.counts = any(isfinite(each.open_orders) for each in everybody)
        self.surely = (
            _whole(min(each.quantity for each in everybody)),
            _whole(min(each.value for each in everybody)),
            _whole(min(each.position for each in everybody)),
        )

    def move_collar(self) -> None:
        """Put the collar round the last price."""
        price = self.last
        if self.has_collar and price is not None:
            width = int(price * self._collar / WHOLE)
            self.lower, self.upper = price - width, price + width

    def refuse(
        self,
        participant: str,
        price: int | None,
        worth: int,
        quantity: int,
        held: int,
        beyond: bool,
    ) -> Refused | None:
        """Why an order that does not `surely` fit may not be, if so.

        `worth` is the price to reckon with, `held` the position if it and all open ones are filled,
        and `beyond` tells whether that price is beyond the collar.
        """
        limits = self._own_bounds.get(participant, self._bounds)
        if quantity > limits.quantity:
            return self._too_much(limits)
        if float(worth) * quantity > limits.value:
            return self._too_dear(limits)
        if beyond and price is not None and not self.halts:
            return self._beyond()
        return self._too_far(limits) if held > limits.position else None

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
        buys = side is BUY
        beyond = price > self.upper if buys else price < self.lower
        if beyond and price != old_price and not self.halts:
            return self._beyond()
        if quantity > left:
            quantity += (account.long if buys else account.short) - left
            return self._too_far(limits) if quantity > limits.position else None
        return None

    def _beyond(self) -> Refused:
        ends = max(self.lower, 1) * self._tick, self.upper * self._tick
        text = "the price must be from {:.15g} to {:.15g}".format(*ends)
        return Refused(ErrorCode.COLLAR, text)

    def _too_much(self, limits: Bounds) -> Refused:
        text = f"an order may have a quantity of {limits.quantity * self._lot:.15g} at most"
        return Refused(ErrorCode.LIMIT, text, Limit.ORDER_QUANTITY)

    def _too_dear(self, limits: Bounds) -> Refused:
        most = limits.value * self._tick * self._lot
        text = f"an order may have a value of {most:.15g} at most"
        return Refused(ErrorCode.LIMIT, text, Limit.ORDER_VALUE)

    def _too_far(self, limits: Bounds) -> Refused:
        most = limits.position * self._lot
        text = f"the position, with all open orders filled, may be {most:.15g} at most"
        return Refused(ErrorCode.LIMIT, text, Limit.POSITION)


def _whole(bound: float) -> int:
    """As a number that compares fast, and exactly with a product; at most the bound itself."""
    return int(min(bound, MAX_TICKS))
