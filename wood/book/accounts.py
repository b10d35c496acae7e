"""What the participants have: their open orders, and how far they are long or short."""

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from wood.book.levels import Order

MAX_OPEN_ORDERS = 10_000
"""Orders that one participant may have open at once, unless the operator says otherwise."""

MAX_RESTING_ORDERS = 2_000_000
"""Orders that may rest over all participants, unless the operator says otherwise."""


class Account(Struct, gc=False):
    """One participant in one instrument.

    `long` is what it would hold with all its open buys filled, `short` what it would owe with all
    its open sells filled, both in lots and without the other: what it bought less what it sold,
    plus open buys; and the negative of that, plus open sells. So a fill of a resting order changes
    only the one of the other side.
    """

    participant: str
    orders: "dict[int, Order]" = {}
    """By id, oldest first."""
    long: int = 0
    short: int = 0
    has_record: bool = False
    """Whether somebody added it; all others may come back under another name."""

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to remember: a position only of those who have a record."""
        return not self.orders and not (self.long and self.has_record)


class OpenOrders(Struct, gc=False):
    """How many orders are open over all books that share this, and how many may be."""

    limit: int = MAX_OPEN_ORDERS
    """For one participant."""
    total_limit: int = MAX_RESTING_ORDERS
    count: dict[str, int] = {}
    """By participant."""
    total: int = 0
    own_limits: dict[str, float] = {}
    """Of participants who have another one; may be infinite."""
