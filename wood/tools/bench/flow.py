"""The orders that a benchmark sends: drawn from a seed, the same for every server."""

import os
from array import array
from collections.abc import Iterator
from random import Random

from wood.book.book import Book
from wood.model.commands import CancelOrder, NewOrder
from wood.model.events import Event
from wood.model.instruments import Instrument
from wood.model.orders import BUY, SELL

SYMBOL = "BENCH"
"""The instrument of the commands. It does not show on the wire: there it is the default one."""

MID = 1000
"""The price around which buyers and sellers meet, in units of the wire."""

MAX_QUANTITY = 20
"""Quantities are 1 to this, all equally likely.

With the default spread and share of cancels that makes orders trade 1.5 times each.
"""

MAX_OPEN = 8_000
"""Open orders of one connection from which on it cancels its oldest instead of adding another.

A server may bound them (this one at 10,000 unless told otherwise), and the orders that really are
open there are some more or fewer than in the flow's own book; see `Flow`.
"""

Request = NewOrder | CancelOrder


def unused_id() -> int:
    """An order id from which on none is in use: 19 digits, and never near 2^64.

    A former run may have left orders open on the same server, and not every server tells one
    participant's ids from another's. So ids are counted from a random one, whatever the seed.
    """
    return (1 << 62) + int.from_bytes(os.urandom(7), "big")


class Flow:
    """An endless sequence of requests by `participants` who take turns, one request each.

    Prices are normal around `MID` with a deviation of `spread` units; sides are even, or, if they
    are to be `apart`, participants in turn only buy and only sell; a share of `cancel_share` of the
    requests cancels the participant's own oldest open order. What is open is known from a book in
    which the flow is played as it is drawn. A server sees the requests of different connections in
    a slightly different order, so that a few cancels come too late there, as they do in any market.
    """

    def __init__(
        self,
        participants: int,
        cancel_share: float,
        spread: float,
        seed: int,
        first_id: int | None = None,
        *,
        apart: bool = False,
    ) -> None:
        self.participants = [f"bench-{number}" for number in range(participants)]
        self._cancel_share = cancel_share
        self._spread = spread
        self._sides = (
            {name: SELL if number % 2 else BUY for number, name in enumerate(self.participants)}
            if apart
            else {}
        )
        self._random = Random(seed)
        self._next_id = unused_id() if first_id is None else first_id
        self._turn = 0
        self._book = Book(Instrument(SYMBOL))
        self._ids = {name: array("Q") for name in self.participants}
        self._passed = dict.fromkeys(self.participants, 0)  # of them, those known to be over

    def take(self, count: int) -> list[Request]:
        """The next `count` requests."""
        requests: list[Request] = []
        events: list[Event] = []
        for _ in range(count):
            request = self._draw(self.participants[self._turn])
            self._turn = (self._turn + 1) % len(self.participants)
            self._book.execute(request, 0, events)
            events.clear()
            requests.append(request)
        return requests

    def cancel_all(self) -> Iterator[Request]:
        """Cancel every order there ever was, so that a run leaves nothing behind.

        Which of them rest is known only to a server, whose book differs a little from this one's.
        """
        for participant, ids in self._ids.items():
            for order_id in ids:
                yield _cancel(participant, order_id)

    def _draw(self, participant: str) -> Request:
        mine = self._book.orders_of(participant)
        if mine and (self._random.random() < self._cancel_share or len(mine) >= MAX_OPEN):
            return _cancel(participant, self._oldest(participant))
        return self._order(participant)

    def _oldest(self, participant: str) -> int:
        # The book's own dictionary is in this order too, but to look for the first key of a
        # dictionary that has lost many is slow.
        mine, ids = self._book.orders_of(participant), self._ids[participant]
        at = self._passed[participant]
        while ids[at] not in mine:
            at += 1
        self._passed[participant] = at + 1
        return ids[at]

    def _order(self, participant: str) -> NewOrder:
        random, order_id = self._random, self._next_id
        self._next_id += 1
        self._ids[participant].append(order_id)
        side = BUY if random.random() < 0.5 else SELL
        side = self._sides.get(participant, side)
        price = max(1, round(random.gauss(MID, self._spread)))
        quantity = 1 + int(random.random() * MAX_QUANTITY)
        return NewOrder(participant, "", 0, SYMBOL, order_id, side, price, quantity)


def _cancel(participant: str, order_id: int) -> CancelOrder:
    return CancelOrder(participant, "", 0, SYMBOL, order_id)
