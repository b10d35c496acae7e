"""What all nodes of a cluster must agree on, as the first of them wrote it into Redis."""

import json

from wood.exchange.cluster.formats import FORMAT
from wood.exchange.sessions import GRACE, Auth
from wood.model.instruments import Instrument, Instruments


def rules_text(
    instruments: Instruments,
    max_open_orders: int,
    max_resting_orders: int,
    kept: int,
    lease: float,
    auth: Auth = Auth.OPEN,
    grace: float = GRACE,
) -> str:
    """The rules as JSON: two nodes agree if these are the same text."""
    rules = {
        **_market(instruments),
        "max_open_orders": max_open_orders,
        "max_resting_orders": max_resting_orders,
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


def symbols_in(rules: str) -> list[str]:
    """The instruments that rules list, in their order."""
    return [symbol for symbol, _, _ in json.loads(rules)["instruments"]] if rules else []


def instruments_in(rules: str) -> Instruments:
    """The instruments themselves."""
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
        "max_open_orders": "--max-open-orders",
        "max_resting_orders": "--max-resting-orders",
        "journal": "--journal",
        "lease": "--lease",
        "auth": "--auth",
        "grace": "--reconnect-grace",
    }
    return "; ".join(
        f"{name}: {_short(theirs.get(key))} there, {_short(ours.get(key))} here"
        for key, name in names.items()
        if ours.get(key) != theirs.get(key)
    )


def _short(value: object) -> str:
    if isinstance(value, list):
        return " ".join(":".join(map(str, each)) for each in value)
    return str(value)
