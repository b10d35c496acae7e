"""What a run showed, as a table for a person or as JSON with stable keys for a program."""

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from wood.tools.bench.conditions import Conditions
from wood.tools.bench.server import Measured
from wood.tools.bench.settings import Settings
from wood.tools.bench.spread import Spread, spread
from wood.tools.bench.store import Kind


class Side(Struct, frozen=True, kw_only=True):
    """What the rounds of one server showed; a latency is from the write to the read.

    `messages_per_second` counts requests answered, errors included. `refused_share` is errors per
    request; `errors` has their number by code. `fills_per_order` is fills received per order
    accepted: a trade gives two, one to each side. `generator_cores` is the processor time of the
    generator per second: near 1 it was the generator that was measured.
    """

    messages_per_second: Spread
    p50_ms: Spread
    p99_ms: Spread
    p99_9_ms: Spread
    fills_per_order: float
    refused_share: float
    errors: dict[str, int]
    public_lines_per_second: float
    generator_cores: Spread


class Report(Struct, frozen=True, kw_only=True):
    """A whole run. `ceiling` and `ratio` (target to ceiling, by pairs) are None without one.

    `redis` is what the nodes shared that were measured, None if a server without was.
    `refusal` is None, or what the target said first where it refused and took no order at all.
    """

    conditions: Conditions
    settings: Settings
    redis: Kind | None
    interrupted: bool
    rounds: int
    target: Side
    ceiling: Side | None
    ratio: Spread | None
    refusal: str | None


def report(
    now: Conditions,
    settings: Settings,
    redis: Kind | None,
    target: Sequence[Measured],
    ceiling: Sequence[Measured],
    interrupted: bool,
) -> Report:
    """Sum up one round at least; `ceiling` is empty or has a round for each of `target`."""
    ratios = [t.rate / c.rate for t, c in zip(target, ceiling, strict=bool(ceiling))]
    return Report(
        conditions=now,
        settings=settings.for_all(),
        redis=redis,
        interrupted=interrupted,
        rounds=len(target),
        target=_side(target),
        ceiling=_side(ceiling) if ceiling else None,
        ratio=spread(ratios, 4) if ratios else None,
        refusal=_refusal(target),
    )


def _side(rounds: Sequence[Measured]) -> Side:
    p50, p99, p99_9 = (
        spread((each.quantiles[index] * 1000 for each in rounds), 4) for index in range(3)
    )
    errors = sum((each.errors for each in rounds), Counter[str]())
    messages = sum(each.messages for each in rounds)
    seconds = sum(each.seconds for each in rounds)
    return Side(
        messages_per_second=spread((each.rate for each in rounds), 0),
        p50_ms=p50,
        p99_ms=p99,
        p99_9_ms=p99_9,
        fills_per_order=_ratio(sum(r.fills for r in rounds), sum(r.accepted for r in rounds)),
        refused_share=_ratio(errors.total(), messages),
        errors=dict(errors.most_common()),
        public_lines_per_second=round(sum(each.public_lines for each in rounds) / seconds),
        generator_cores=spread((each.cpu / each.seconds for each in rounds), 2),
    )


def _refusal(rounds: Sequence[Measured]) -> str | None:
    return None if any(each.accepted for each in rounds) else rounds[0].refusal


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
