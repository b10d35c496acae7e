"""When to show that one lives, and when to take the other side for dead; the time is handed in."""

from math import inf


class Pulse:
    """The two clocks of a connection, in seconds of any clock that does not run backwards.

    `interval` is the longest that one may be silent, `patience` how long the other side may be;
    None is for ever. Both may be changed at any time.
    """

    def __init__(self, now: float, interval: float | None, patience: float | None) -> None:
        self.interval = interval
        self.patience = patience
        self._spoken = self._heard = now

    def spoke(self, now: float) -> None:
        """Something was sent."""
        self._spoken = now

    def heard(self, now: float) -> None:
        """Something arrived, or could not arrive, since nobody was reading."""
        self._heard = now

    def next(self, *, listening: bool) -> float | None:
        """When to look again, if nothing happens before; None is never."""
        speak = inf if self.interval is None else self._spoken + self.interval
        die = inf if self.patience is None or not listening else self._heard + self.patience
        return None if (due := min(speak, die)) == inf else due

    def must_speak(self, now: float) -> bool:
        """Whether one has been silent for the interval."""
        return self.interval is not None and now >= self._spoken + self.interval

    def is_dead(self, now: float) -> bool:
        """Whether the other side has been silent for longer than anyone has patience."""
        return self.patience is not None and now >= self._heard + self.patience
