"""How many messages a connection may send."""

from collections.abc import Callable


class Throttle:
    """A token bucket: `rate` messages per second on average, and one second's worth at once."""

    def __init__(self, rate: int, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._tokens = float(rate)
        self._last = clock()

    def allow(self) -> bool:
        """Whether one more message is within the rate; it then counts."""
        now = self._clock()
        self._tokens = min(self._rate, self._tokens + (now - self._last) * self._rate)
        self._last = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
