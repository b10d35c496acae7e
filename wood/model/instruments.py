"""What is traded: a symbol, the tick of its price and the lot of its quantity."""

import re
from collections.abc import Iterable, Iterator, Mapping

from wood.model.errors import ConfigError, Refusal
from wood.model.scale import Scale
from wood.model.trading import NO_RULES, TradingRules

MAX_TICKS = 2**53 - 1
"""The highest price, in ticks: what a sorted-set score of Redis holds exactly."""

MAX_LOTS = 10**12
"""The largest quantity of one order, in lots."""

MAX_LEVEL_LOTS = 2**53
"""No level's total reaches this many lots."""

PARTITION = "main"
"""The partition of all instruments for which no other is named."""

_SYMBOL = re.compile(r"[A-Za-z0-9_.-]{1,32}", re.ASCII)
_PARTITION = re.compile(r"[a-z0-9]{1,16}", re.ASCII)


class Instrument:
    """One tradable thing. `price` and `quantity` convert between the wire and whole units.

    Instruments of the same `partition` share a journal.
    """

    def __init__(
        self,
        symbol: str,
        tick: str = "0.01",
        lot: str = "1",
        partition: str = PARTITION,
        *,
        rules: TradingRules = NO_RULES,
    ) -> None:
        if not _SYMBOL.fullmatch(symbol):
            raise ConfigError(
                f"instrument {symbol!r}: a symbol is 1 to 32 of the characters A-Z a-z 0-9 _ . -"
            )
        try:
            self.price = Scale("price", tick, MAX_TICKS)
            self.quantity = Scale("quantity", lot, MAX_LOTS)
        except Refusal as refusal:
            raise ConfigError(f"instrument {symbol}: {refusal.text}") from None
        if not _PARTITION.fullmatch(partition):
            raise ConfigError(
                f"instrument {symbol}: a partition is 1 to 16 of the characters a-z 0-9, "
                f"not {partition!r}"
            )
        self.symbol = symbol
        self.partition = partition
        self.rules = rules

    @property
    def tick(self) -> str:
        """The smallest step of the price, a decimal."""
        return self.price.step

    @property
    def lot(self) -> str:
        """The smallest step of the quantity, a decimal."""
        return self.quantity.step

    def __repr__(self) -> str:
        return f"Instrument({self.symbol!r}, {self.tick!r}, {self.lot!r})"


class Instruments(Mapping[str, Instrument]):
    """The instruments of an exchange by symbol, in the order listed; the first is the default."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._by_symbol: dict[str, Instrument] = {}
        for instrument in instruments:
            if instrument.symbol in self._by_symbol:
                raise ConfigError(f"instrument {instrument.symbol} is listed twice")
            self._by_symbol[instrument.symbol] = instrument
        if not self._by_symbol:
            raise ConfigError("an exchange needs at least one instrument")
        self.default = next(iter(self._by_symbol.values()))
        self.partitions: dict[str, tuple[str, ...]] = {}
        """The symbols of each partition; that of the default instrument comes first."""
        for symbol, instrument in self._by_symbol.items():
            same = self.partitions.get(instrument.partition, ())
            self.partitions[instrument.partition] = (*same, symbol)

    def of(self, partition: str) -> "Instruments":
        """Those of one partition."""
        return Instruments(self._by_symbol[symbol] for symbol in self.partitions[partition])

    def __getitem__(self, symbol: str) -> Instrument:
        return self._by_symbol[symbol]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_symbol)

    def __len__(self) -> int:
        return len(self._by_symbol)
