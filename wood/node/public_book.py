"""The public book, folded from the journal: the total at each price, in price order."""

from collections.abc import Collection

from wood.book.prices import SortedPrices
from wood.model.events import Levels, Snapshot
from wood.model.orders import BUY, SELL, Side


class Totals:
    """One side of one instrument. Prices are ticks, totals lots."""

    def __init__(self, side: Side, levels: Levels) -> None:
        self._sign = 1 if side is BUY else -1
        self._totals: dict[int, int] = {}
        self._prices = SortedPrices()
        for price, total in levels:
            self.set(price, total)

    def __getitem__(self, price: int) -> int:
        return self._totals.get(price, 0)

    def set(self, price: int, total: int) -> None:
        """The total at `price` is now `total`; 0 removes the level."""
        totals = self._totals
        if total:
            if price not in totals:
                self._prices.add(price * self._sign)
            totals[price] = total
        elif price in totals:
            del totals[price]
            self._prices.remove(price * self._sign)

    def prices(self) -> Collection[int]:
        """All prices that have a level, in no order."""
        return self._totals.keys()

    def after(self, price: int | None, count: int) -> Levels:
        """Up to `count` levels, best first, that are worse than `price` (None: from the best)."""
        sign = self._sign
        keys = self._prices.below(None if price is None else price * sign, count)
        return [(key * sign, self._totals[key * sign]) for key in keys]

    def better(self, price: int, than: int) -> bool:
        """Whether `price` comes before `than`, or is the same."""
        return price * self._sign >= than * self._sign


class PublicBook:
    """The totals of all instruments, as they stand after event `seq` of `epoch`."""

    def __init__(self) -> None:
        self.epoch = 0
        self.seq = 0
        self.totals: dict[tuple[str, Side], Totals] = {}

    def reset(self, snapshot: Snapshot) -> list[tuple[str, Side, int]]:
        """Take over the books of `snapshot`; return the levels that are gone with the old ones."""
        old = self.totals
        self.epoch, self.seq = snapshot.epoch, snapshot.seq
        self.totals = {}
        for symbol, book in snapshot.books.items():
            self.totals[symbol, BUY] = Totals(BUY, book.bids)
            self.totals[symbol, SELL] = Totals(SELL, book.asks)
        return [
            (symbol, side, price)
            for (symbol, side), totals in old.items()
            for price in totals.prices()
            if not self.totals[symbol, side][price]
        ]
