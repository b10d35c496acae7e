"""The public book, folded from the journal: the total at each price, in price order."""

from collections.abc import Collection, Iterable

from wood.book.prices import SortedPrices
from wood.model.events import Levels, Snapshot
from wood.model.orders import BUY, SELL, Side, State

Change = tuple[int, int, int]
"""A price, the total before, and the total now."""


class Totals:
    """One side of one instrument. Prices are ticks, totals lots."""

    def __init__(self, side: Side, levels: Levels) -> None:
        self._sign = 1 if side is BUY else -1
        self._totals: dict[int, int] = {}
        self._prices = SortedPrices()
        for price, total in levels:
            self.set(price, total)

    def __len__(self) -> int:
        return len(self._totals)

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

    def worst(self) -> int | None:
        """The last price, None if there is no level."""
        key = self._prices.worst()
        return None if key is None else key * self._sign

    def better(self, price: int, than: int) -> bool:
        """Whether `price` comes before `than`, or is the same."""
        return price * self._sign >= than * self._sign


class View(Totals):
    """The best levels of a side, at most `depth` of them."""

    def __init__(self, whole: Totals, side: Side, depth: int) -> None:
        super().__init__(side, whole.after(None, depth))
        self._whole = whole
        self._depth = depth

    def follow(self, prices: Iterable[int]) -> list[Change]:
        """The totals at `prices` have changed: be the best levels again, and say what is new.

        First what left the view, then what is in it, each best first. It costs what the changes
        cost, however large the book and the depth.
        """
        whole, depth, before = self._whole, self._depth, dict[int, int]()
        border = self.worst() if len(self) == depth else None  # levels behind it are not in here
        for price in prices:
            if border is None or self.better(price, border):
                before[price] = self[price]
                self.set(price, whole[price])
        if border is not None and len(self) < depth:
            for price, total in whole.after(border, depth - len(self)):
                before[price] = 0
                self.set(price, total)
        while len(self) > depth and (worst := self.worst()) is not None:
            before.setdefault(worst, self[worst])
            self.set(worst, 0)
        changes = [(price, old, self[price]) for price, old in before.items() if self[price] != old]
        return sorted(changes, key=lambda change: (change[2] > 0, -change[0] * self._sign))


class PublicBook:
    """The totals and states of all instruments, as they stand after event `seq` of `epoch`."""

    def __init__(self) -> None:
        self.epoch = 0
        self.seq = 0
        self.totals: dict[tuple[str, Side], Totals] = {}
        self.halted: frozenset[str] = frozenset()

    def state_changed(self, symbol: str, state: State) -> None:
        """Trading was halted, or goes on."""
        self.halted = self.halted | {symbol} if state is State.HALTED else self.halted - {symbol}

    def reset(self, snapshot: Snapshot) -> list[tuple[str, Side, int]]:
        """Take over the books of `snapshot`; return the levels that are gone with the old ones."""
        old = self.totals
        self.epoch, self.seq = snapshot.epoch, snapshot.seq
        self.halted = snapshot.halted
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
