"""How many messages may be sent: over one connection, and from one address."""

from collections import OrderedDict
from collections.abc import Callable

from wood.model.errors import ErrorCode, Limit, Refusal

BURST = 1.0
"""Seconds' worth of messages that may come at once."""

SHARE, MOST = 50, 32
"""A connection takes this share of the messages of a second at once, and no more than so many."""


class Throttle:
    """A token bucket: `rate` messages per second on average, and `BURST` seconds' worth at once.

    All that is kept is the time at which the bucket is full again.
    """

    def __init__(self, rate: int, clock: Callable[[], float]) -> None:
        self.rate = rate
        self._interval = 1 / rate
        self._clock = clock
        self._full = clock()

    def wait(self, some: int = 1) -> float:
        """0 if so many more messages are within the rate, and then count; else seconds to wait."""
        now = self._clock()
        full = max(self._full, now) + some * self._interval
        wait = full - now - BURST
        if wait > 1e-9:  # what a sum of fractions may be beside the truth
            return wait
        self._full = full
        return 0.0


class AddressThrottles:
    """A token bucket for each address. One that nobody took from for `BURST` seconds is full
    again, and need not be kept: so nobody gets a new one by connecting anew.
    """

    def __init__(self, rate: int, clock: Callable[[], float]) -> None:
        self.rate = rate
        self._clock = clock
        self._throttles: OrderedDict[str, tuple[Throttle, float]] = OrderedDict()
        """With the time of the last message, the oldest first."""

    def __len__(self) -> int:
        return len(self._throttles)

    def wait(self, address: str, some: int = 1) -> float:
        """As `Throttle.wait` does for messages from `address`."""
        now = self._clock()
        throttle, _ = self._throttles.pop(address, (None, now))
        if throttle is None:
            self._forget(now)
            throttle = Throttle(self.rate, self._clock)
        self._throttles[address] = throttle, now
        return throttle.wait(some)

    def _forget(self, now: float) -> None:
        while self._throttles:
            address, (_, last) = next(iter(self._throttles.items()))
            if now - last <= BURST:
                return
            del self._throttles[address]


class Allowance:
    """What one connection may send: within its own rate, and within that of its address.

    Where rates are high it takes messages from the buckets some at a time, since to look at them
    for each would cost a tenth of all that a node does.
    """

    def __init__(
        self, own: Throttle | None = None, addresses: AddressThrottles | None = None
    ) -> None:
        self.address = ""
        """Known once the connection is made."""
        self.left = 0
        """Messages that have been taken from the buckets and were not sent yet."""
        self._own = own
        self._addresses = addresses
        rates = [each.rate for each in (own, addresses) if each is not None]
        self._some = max(1, min(MOST, min(rates, default=0) // SHARE))

    def check(self) -> None:
        """Count one more message. Raises `Refusal`."""
        if self.left:
            self.left -= 1
            return
        some = self._some
        if self._own is not None and (wait := self._own.wait(some)):
            _refuse(wait, "this connection", Limit.CONNECTION_RATE)
        if self._addresses is not None and (wait := self._addresses.wait(self.address, some)):
            _refuse(wait, "this address", Limit.ADDRESS_RATE)
        self.left = some - 1


def _refuse(wait: float, whose: str, limit: Limit) -> None:
    text = f"too many messages per second from {whose}"
    raise Refusal(ErrorCode.RATE, text, limit=limit, retry_after=max(1, round(wait * 1e6)))
