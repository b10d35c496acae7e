"""What a trader has done so far, counted exactly."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from wood.model.orders import Side


@dataclass
class Tally:
    """Messages by kind, and what was traded: `spent` on what was bought, `earned` on the rest."""

    sent: Counter[str] = field(default_factory=Counter)
    reports: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    bought: Decimal = Decimal(0)
    spent: Decimal = Decimal(0)
    sold: Decimal = Decimal(0)
    earned: Decimal = Decimal(0)

    @property
    def position(self) -> Decimal:
        """What is held; below zero what is owed."""
        return self.bought - self.sold

    @property
    def cash(self) -> Decimal:
        """Money made so far, what is held not counted; below zero money spent."""
        return self.earned - self.spent

    def fill(self, side: Side, price: Decimal, quantity: Decimal) -> None:
        """Add one fill of an order on `side`."""
        if side is Side.BUY:
            self.bought += quantity
            self.spent += price * quantity
        else:
            self.sold += quantity
            self.earned += price * quantity

    def add(self, other: "Tally") -> None:
        """Add everything that `other` counted."""
        self.sent += other.sent
        self.reports += other.reports
        self.errors += other.errors
        self.bought += other.bought
        self.spent += other.spent
        self.sold += other.sold
        self.earned += other.earned


def total(tallies: Iterable[Tally]) -> Tally:
    """All of `tallies` in one."""
    whole = Tally()
    for tally in tallies:
        whole.add(tally)
    return whole
