"""Who fails to log in waits for the answer, longer each time."""

from collections import Counter, OrderedDict
from collections.abc import Callable

SHORTEST, LONGEST = 0.25, 8.0
"""Seconds that the answer to a refused login waits: after the first failure, and at most."""

FORGOTTEN = 300.0
"""Seconds without a failure after which those before are forgotten."""

KEPT = 10_000
"""Addresses that are remembered; the oldest failure is forgotten first."""


WAITING = 16
"""Answers that may wait for one address: each keeps a connection, whether the client is there or
not, for that shows only when it is written to.
"""


class Failures:
    """Counts failed logins by the address that they came from, as `Connection.address` has it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_address: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._waiting: Counter[str] = Counter()

    def delay(self, address: str) -> float:
        """Count one more failure; the seconds that its answer shall wait."""
        now = self._clock()
        count, last = self._by_address.pop(address, (0, now))
        if now - last > FORGOTTEN:
            count = 0
        self._by_address[address] = count + 1, now
        if len(self._by_address) > KEPT:
            self._by_address.popitem(last=False)
        return min(SHORTEST * 2.0 ** min(count, 10), LONGEST)

    def wait(self, address: str) -> bool:
        """One more answer is to wait; False if as many do as may. Each is to be `answered`."""
        if self._waiting.get(address, 0) >= WAITING:
            return False
        self._waiting[address] += 1
        return True

    def answered(self, address: str) -> None:
        """One waits no more."""
        self._waiting[address] -= 1
        if not self._waiting[address]:
            del self._waiting[address]
