"""Counting what a replay sent and what came of it."""

from collections import Counter
from decimal import Decimal

from wood.tools.errors import NothingTaken
from wood.tools.replay.lobster import Kind

NAMES = {
    Kind.NEW: "new order",
    Kind.PARTIAL_CANCEL: "partial cancel",
    Kind.DELETE: "delete",
    Kind.EXECUTION: "execution",
    Kind.HIDDEN_EXECUTION: "hidden execution",
    Kind.CROSS: "cross trade",
    Kind.HALT: "halt",
}


class Tally:
    """The figures of one replay.

    An execution is counted once it is over: `hit_named` if exactly the order that the recording
    names was hit, in full; `hit_seeded` if it names an order from before the recording and a
    seeded one stood in for it. `value` is in dollars, `elapsed` in seconds.
    """

    def __init__(self) -> None:
        self.sent: Counter[Kind] = Counter()
        self.passed_over: Counter[Kind] = Counter()
        self.seeds = 0
        self.accepted = 0
        self.refused: Counter[str] = Counter()
        self.first_refusal = ""
        self.hit_named = 0
        self.hit_seeded = 0
        self.trades = 0
        self.quantity = Decimal(0)
        self.value = Decimal(0)
        self.elapsed = 0.0

    def refuse(self, code: str, text: str) -> None:
        """Count a message that the server refused."""
        self.first_refusal = self.first_refusal or text
        self.refused[code] += 1

    def check_taken(self) -> None:
        """Raise `NothingTaken` if the server refused, and took no order."""
        if self.refused and not self.accepted:
            raise NothingTaken(self.first_refusal)

    def traded(self, price: Decimal, quantity: Decimal) -> None:
        """Count one trade."""
        self.trades += 1
        self.quantity += quantity
        self.value += price * quantity

    def summary(self) -> str:
        """The figures as lines for a person."""
        return "\n".join([self._pace(), *self._kinds(), self._orders(), *self._executions()])

    def _pace(self) -> str:
        messages = self.sent.total() + self.seeds
        rate = messages / self.elapsed if self.elapsed else 0
        return f"{messages:,} messages sent in {self.elapsed:.2f} s, {rate:,.0f} a second"

    def _kinds(self) -> list[str]:
        seen = [kind for kind in Kind if self.sent[kind] or self.passed_over[kind]]
        rows = [("", "sent", "passed over")]
        rows += [(NAMES[k], f"{self.sent[k]:,}", f"{self.passed_over[k]:,}") for k in seen]
        if self.seeds:
            rows.append(("seeded order", f"{self.seeds:,}", ""))
        return [f"  {name:<17}{sent:>11}{passed:>13}".rstrip() for name, sent, passed in rows]

    def _orders(self) -> str:
        by_code = ", ".join(f"{count:,} {code}" for code, count in sorted(self.refused.items()))
        refused = f"{self.refused.total():,}" + (f" ({by_code})" if by_code else "")
        return f"orders accepted {self.accepted:,}, messages refused {refused}"

    def _executions(self) -> list[str]:
        count = self.sent[Kind.EXECUTION]
        seeded = f", {self.hit_seeded:,} a seeded order in its place" if self.hit_seeded else ""
        return [
            f"executions {count:,}, of which {self.hit_named:,} hit the order named{seeded}",
            f"trades {self.trades:,}, quantity {self.quantity:,f}, value {self.value:,f}",
        ]
