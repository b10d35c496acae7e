"""A local order book: totals by price, folded from the public feed."""

from bisect import bisect_left
from decimal import Decimal

from wood.model.orders import BUY, Side, State

Levels = list[tuple[Decimal, Decimal]]
"""(price, total quantity), best price first."""


class Book:
    """The totals of one instrument, and whether it is traded."""

    def __init__(self) -> None:
        self.state = State.OPEN
        """Only who subscribed to symbols is told of halts."""
        self._totals: dict[Side, dict[Decimal, Decimal]] = {side: {} for side in Side}
        self._prices: dict[Side, list[Decimal]] = {side: [] for side in Side}  # ascending

    @property
    def bids(self) -> Levels:
        """All levels of the buyers, best price first."""
        totals = self._totals[Side.BUY]
        return [(price, totals[price]) for price in reversed(self._prices[Side.BUY])]

    @property
    def asks(self) -> Levels:
        """All levels of the sellers, best price first."""
        totals = self._totals[Side.SELL]
        return [(price, totals[price]) for price in self._prices[Side.SELL]]

    def best(self, side: Side) -> tuple[Decimal, Decimal] | None:
        """The best price of `side` and its total, None if there is none; quicker than a list."""
        prices = self._prices[side]
        if not prices:
            return None
        price = prices[-1 if side is BUY else 0]
        return price, self._totals[side][price]

    def change(self, side: Side, price: Decimal, quantity: Decimal) -> None:
        """Set the total at `price`; 0 removes the level."""
        totals, prices = self._totals[side], self._prices[side]
        if quantity:
            if price not in totals:
                prices.insert(bisect_left(prices, price), price)
            totals[price] = quantity
        elif totals.pop(price, None) is not None:
            del prices[bisect_left(prices, price)]
