import json
from typing import Any

import pytest

from tests.engines import with_loop
from wood.exchange.cluster.exchange import ClusterExchange
from wood.exchange.cluster.formats import FORMAT
from wood.exchange.cluster.rules import difference, instruments_in, rules_text, symbols_in
from wood.exchange.sessions import Auth
from wood.model.errors import ConfigError
from wood.model.instruments import Instrument, Instruments
from wood.model.limits import Limits
from wood.model.orders import Beyond, SelfTrade
from wood.model.trading import TradingRules

LISTED = Instruments([Instrument("WOOD"), Instrument("PEAR", "0.5", "10")])
RULES = rules_text(LISTED, 100, 1000, 5000, 5)
NOTHING = {"self_trade": "allow", "collar": None, "beyond_collar": "refuse", "reference": None}
STRICT = TradingRules(SelfTrade.CANCEL_OLDEST, 500, Beyond.HALT, 42, Limits(order_quantity=2.5))
WATCHED = Instruments([Instrument("WOOD", rules=STRICT), Instrument("PEAR", "0.5", "10")])


def test_the_text() -> None:
    assert json.loads(RULES) == {
        "format": FORMAT,
        "instruments": [["WOOD", "0.01", "1"], ["PEAR", "0.5", "10"]],
        "trading": {"WOOD": NOTHING, "PEAR": NOTHING},
        "max_open_orders": 100,
        "max_resting_orders": 1000,
        "max_rate": 0,
        "journal": 5000,
        "lease": 5.0,
        "auth": "open",
        "grace": 3.0,
    }


def test_the_same_rules_are_the_same_text() -> None:
    same = Instruments([Instrument("WOOD", "0.010", "1.0"), Instrument("PEAR", "5e-1", "1e1")])
    assert rules_text(same, 100, 1000, 5000, 5) == RULES


@pytest.mark.parametrize(
    "other",
    [
        rules_text(Instruments([Instrument("WOOD")]), 100, 1000, 5000, 5),
        rules_text(Instruments(reversed(list(LISTED.values()))), 100, 1000, 5000, 5),
        rules_text(LISTED, 101, 1000, 5000, 5),
        rules_text(LISTED, 100, 1001, 5000, 5),
        rules_text(LISTED, 100, 1000, 5001, 5),
        rules_text(LISTED, 100, 1000, 5000, 6),
        rules_text(LISTED, 100, 1000, 5000, 5, Auth.TOKEN),
        rules_text(LISTED, 100, 1000, 5000, 5, grace=3.5),
        rules_text(LISTED, 100, 1000, 5000, 5, max_rate=1),
        rules_text(WATCHED, 100, 1000, 5000, 5),
    ],
)
def test_other_rules_are_another_text(other: str) -> None:
    assert other != RULES


def test_read_back() -> None:
    assert symbols_in(RULES) == ["WOOD", "PEAR"]
    assert symbols_in("") == []
    assert repr(list(instruments_in(RULES).values())) == repr(list(LISTED.values()))
    assert instruments_in(RULES).default.symbol == "WOOD"


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (
            rules_text(Instruments([Instrument("GOLD", "5", "2")]), 100, 1000, 5000, 5),
            "the instruments: GOLD:5:2 there, WOOD:0.01:1 PEAR:0.5:10 here",
        ),
        (rules_text(LISTED, 7, 1000, 5000, 5), "--max-open-orders: 7 there, 100 here"),
        (
            rules_text(LISTED, 100, 8, 9, 5),
            "--max-resting-orders: 8 there, 1000 here; --journal: 9 there, 5000 here",
        ),
        (
            RULES.replace(f'"format": {FORMAT}', '"format": 99'),
            f"the format of the data: 99 there, {FORMAT} here",
        ),
        (
            rules_text(LISTED, 100, 1000, 5000, 5, Auth.TOKEN, 0),
            "--auth: token there, open here; --reconnect-grace: 0.0 there, 3.0 here",
        ),
        (
            rules_text(LISTED, 100, 1000, 5000, 5, max_rate=7),
            "--max-participant-rate: 7 there, 0 here",
        ),
        (
            rules_text(WATCHED, 100, 1000, 5000, 5),
            "the trading rules of WOOD: self_trade cancel-oldest, collar 500, beyond_collar halt, "
            "reference 42, max_order_quantity 2.5 there, self_trade allow, collar none, "
            "beyond_collar refuse, reference none, max_order_quantity none here",
        ),
        # Rules of a version to come may lack what this one has.
        (RULES.replace("max_open_orders", "open"), "--max-open-orders: None there, 100 here"),
    ],
)
def test_what_differs_is_said(stored: str, said: str) -> None:
    assert difference(RULES, True, stored, True) == said


def test_persist_is_said_first() -> None:
    other = rules_text(LISTED, 7, 8, 9, 5)
    without = "the cluster runs without --persist and this node with"
    assert difference(RULES, True, other, False) == without
    assert difference(RULES, False, other, True) == (
        "the cluster runs with --persist and this node without"
    )


def test_rules_that_no_version_wrote_are_no_instruments() -> None:
    with pytest.raises(ConfigError):
        instruments_in('{"instruments": [["a b", "1", "1"]]}')


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"auth": Auth.TOKEN}, "--auth: open there, token here"),
        ({"max_rate": 9}, "--max-participant-rate: 0 there, 9 here"),
        ({"grace": 2.5}, "--reconnect-grace: 3.0 there, 2.5 here"),
        ({"auth": Auth.TOKEN, "grace": 0.0}, "--auth: .*; --reconnect-grace: 3.0 there, 0.0 here"),
    ],
)
def test_a_node_that_differs_refuses_to_start(
    redis_url: str, prefix: str, other: dict[str, Any], said: str
) -> None:
    async def test() -> None:
        first = ClusterExchange(LISTED, redis_url, prefix)
        await first.start()
        second = ClusterExchange(LISTED, redis_url, prefix, **other)
        with pytest.raises(ConfigError, match=said):
            await second.start()
        await second.close()
        third = ClusterExchange(LISTED, redis_url, prefix, auth=Auth.OPEN, grace=3)
        await third.start()
        await third.close()
        await first.close()

    with_loop(test)
