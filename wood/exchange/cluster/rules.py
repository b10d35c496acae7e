"""What all nodes of a cluster must agree on, as the first of them wrote it into Redis."""

import json
from typing import Any

from msgspec import to_builtins

from wood.exchange.cluster.formats import FORMAT
from wood.exchange.sessions import GRACE, Auth
from wood.model.instruments import Instrument, Instruments
from wood.model.limits import NONE


def rules_text(
    instruments: Instruments,
    max_open_orders: int,
    max_resting_orders: int,
    kept: int,
    lease: float,
    auth: Auth = Auth.OPEN,
    grace: float = GRACE,
    max_rate: int = 0,
) -> str:
    """The rules as JSON: two nodes agree if these are the same text."""
    rules = {
        **_market(instruments),
        "trading": {symbol: _trading(i) for symbol, i in instruments.items()},
        "max_open_orders": max_open_orders,
        "max_resting_orders": max_resting_orders,
        "max_rate": max_rate,
        "journal": kept,
        "lease": float(lease),
        "auth": auth,
        "grace": float(grace),
    }
    return json.dumps(rules)


def market_text(instruments: Instruments) -> str:
    """What of the rules a book cannot survive if it changes, as JSON."""
    return json.dumps(_market(instruments))


def _market(instruments: Instruments) -> dict[str, object]:
    listed = [[i.symbol, i.tick, i.lot] for i in instruments.values()]
    return {"format": FORMAT, "instruments": listed}


def _trading(instrument: Instrument) -> dict[str, object]:
    """The rules of one instrument in the words in which an operator writes them, where it has any.

    The collar is in hundredths of a percent, the reference in ticks.
    """
    rules = instrument.rules
    limits: dict[str, Any] = to_builtins(rules.limits)
    return {
        "self_trade": rules.self_trade,
        "collar": rules.collar,
        "beyond_collar": rules.beyond,
        "reference": rules.reference,
        **{f"max_{name}": limit for name, limit in limits.items()},
    }


def symbols_in(rules: str) -> list[str]:
    """The instruments that rules list, in their order."""
    return [symbol for symbol, _, _ in json.loads(rules)["instruments"]] if rules else []


def instruments_in(rules: str) -> Instruments:
    """The instruments themselves, without the rules by which they are traded."""
    return Instruments(Instrument(*each) for each in json.loads(rules)["instruments"])


def difference(mine: str, persist: bool, stored: str, stored_persist: bool) -> str:
    """What differs, for a person."""
    if persist != stored_persist:
        now, here = ("with", "without") if stored_persist else ("without", "with")
        return f"the cluster runs {now} --persist and this node {here}"
    ours, theirs = json.loads(mine), json.loads(stored)
    names = {
        "format": "the format of the data",
        "instruments": "the instruments",
        "trading": "",
        "max_open_orders": "--max-open-orders",
        "max_resting_orders": "--max-resting-orders",
        "max_rate": "--max-participant-rate",
        "journal": "--journal",
        "lease": "--lease",
        "auth": "--auth",
        "grace": "--reconnect-grace",
    }
    found: list[str] = []
    for key, name in names.items():
        there, here = theirs.get(key), ours.get(key)
        if key == "trading":
            found += _trading_differences(there or {}, here)
        elif there != here:
            found.append(f"{name}: {_short(there)} there, {_short(here)} here")
    return "; ".join(found)


def _trading_differences(theirs: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    """For each instrument that both list: what of its rules is another."""
    found = []
    for symbol, here in ours.items():
        there = theirs.get(symbol, here)
        names = [name for name in {**here, **there} if here.get(name) != there.get(name)]
        if names:
            one, other = (
                ", ".join(f"{name} {_word(rules.get(name))}" for name in names)
                for rules in (there, here)
            )
            found.append(f"the trading rules of {symbol}: {one} there, {other} here")
    return found


def _short(value: object) -> str:
    if isinstance(value, list):
        return " ".join(":".join(map(str, each)) for each in value)
    return str(value)


def _word(value: object) -> str:
    if isinstance(value, float):
        return "none" if value == NONE else f"{value:g}"
    return "none" if value is None else str(value)
