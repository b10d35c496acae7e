"""What stops an order when it meets others, in every engine: self-trade prevention, collars."""

import pytest

from tests.engines import InMemory, OnRedis
from tests.test_exchange import new
from tests.trading_rules import (
    Row,
    RulesTests,
    amend,
    change,
    collared,
    fok,
    market,
    order,
    preventing,
    refused,
    rows,
)
from wood.model.commands import Command
from wood.model.errors import ErrorCode
from wood.model.events import (
    OrderAccepted,
)
from wood.model.orders import BUY, IOC, SELL, Beyond, SelfTrade, Side, State
from wood.model.trading import TradingRules

ALLOW, NEWEST = SelfTrade.ALLOW, SelfTrade.CANCEL_NEWEST
OLDEST, BOTH = SelfTrade.CANCEL_OLDEST, SelfTrade.CANCEL_BOTH
HALT = Beyond.HALT


class PreventionTests(RulesTests):
    @pytest.mark.parametrize(
        ("mode", "wanted"),
        [
            (
                ALLOW,
                [("trade", "B", 1, 2), ("trade", "A", 1, 3), ("trade", "B", 2, 1)]
                + [("level", 100, 0), ("level", 101, 3)],
            ),
            (NEWEST, [("trade", "B", 1, 2), ("canceled", "A", 9, 4), ("level", 100, 3)]),
            (
                OLDEST,
                [("trade", "B", 1, 2), ("canceled", "A", 1, 3), ("trade", "B", 2, 4)]
                + [("level", 100, 0), ("level", 101, 0)],
            ),
            (
                BOTH,
                [("trade", "B", 1, 2), ("canceled", "A", 1, 3), ("canceled", "A", 9, 4)]
                + [("level", 100, 0)],
            ),
        ],
    )
    def test_an_order_that_meets_one_of_its_own(self, mode: SelfTrade, wanted: list[Row]) -> None:
        begin: list[Command] = [order("B", 1, SELL, 100, 2), order("A", 1, SELL, 100, 3)]
        begin.append(order("B", 2, SELL, 101, 4))
        found = self.after(preventing(mode), begin, order("A", 9, BUY, 101, 6))
        assert found == [("accepted", "A", 9), *wanted]

    def test_the_levels_of_cancelled_orders_are_told_and_the_rest_rests(self) -> None:
        begin: list[Command] = [order("A", n, SELL, price, 3) for n, price in ((1, 100), (2, 101))]
        found = self.after(
            preventing(OLDEST), [*begin, order("B", 1, SELL, 101, 1)], order("A", 9, BUY, 105, 6)
        )
        assert found == [
            ("accepted", "A", 9),
            ("canceled", "A", 1, 3),
            ("canceled", "A", 2, 3),
            ("trade", "B", 1, 1),
            ("level", 100, 0),
            ("level", 101, 0),
            ("level", 105, 5),
        ]

    def test_with_both_cancelled_nothing_rests_even_if_nothing_is_left_to_cross(self) -> None:
        found = self.after(
            preventing(BOTH), [order("A", 1, SELL, 100, 3)], order("A", 9, BUY, 105, 6)
        )
        cancels = [("canceled", "A", 1, 3), ("canceled", "A", 9, 6)]
        assert found == [("accepted", "A", 9), *cancels, ("level", 100, 0)]

    @pytest.mark.parametrize("mode", [NEWEST, OLDEST, BOTH])
    def test_nothing_is_prevented_once_all_is_filled(self, mode: SelfTrade) -> None:
        begin: list[Command] = [order("B", 1, SELL, 100, 2), order("A", 1, SELL, 100, 3)]
        for last in (order("A", 9, BUY, 100, 2), fok("A", 9, BUY, 100, 2)):
            found = self.after(preventing(mode), begin, last)
            assert found == [("accepted", "A", 9), ("trade", "B", 1, 2), ("level", 100, 3)]

    @pytest.mark.parametrize("mode", [NEWEST, OLDEST, BOTH])
    def test_orders_of_others_trade_as_ever(self, mode: SelfTrade) -> None:
        begin: list[Command] = [order("B", 1, SELL, 100, 2), new("A", 1, SELL, 100, 3, "PEAR")]
        found = self.after(preventing(mode), begin, new("A", 2, BUY, 100, 2, "PEAR"))
        assert ("trade", "A", 1, 2) in found, "PEAR has no rules"
        found = self.after(preventing(mode), begin, order("A", 9, BUY, 100, 3))
        assert found[1:] == [("trade", "B", 1, 2), ("level", 100, 0), ("level", 100, 1)]

    @pytest.mark.parametrize(
        ("mode", "quantity", "fills"),
        [
            (ALLOW, 9, True),
            *((mode, 2, True) for mode in (NEWEST, OLDEST, BOTH)),
            *((mode, 3, False) for mode in (NEWEST, BOTH)),
            (OLDEST, 6, True),
            (OLDEST, 7, False),
        ],
    )
    def test_fill_or_kill(self, mode: SelfTrade, quantity: int, fills: bool) -> None:
        """One that cannot be filled changes nothing, and no resting order is cancelled for it."""
        begin: list[Command] = [order("B", 1, SELL, 100, 2), order("A", 1, SELL, 100, 3)]
        begin.append(order("B", 2, SELL, 101, 4))
        found = self.after(preventing(mode), begin, fok("A", 9, BUY, 101, quantity))
        canceled = ("canceled", "A", 9, quantity)
        if fills:
            assert canceled not in found
            assert sum(int(str(row[3])) for row in found if row[0] == "trade") == quantity
        else:
            assert found == [("accepted", "A", 9), canceled]

    @pytest.mark.parametrize("mode", list(SelfTrade))
    def test_post_only_that_would_cross_its_own(self, mode: SelfTrade) -> None:
        last = order("A", 9, BUY, 100, 6, post_only=True)
        found = self.after(preventing(mode), [order("A", 1, SELL, 100, 3)], last)
        assert found == [("accepted", "A", 9), ("canceled", "A", 9, 6)]

    @pytest.mark.parametrize(
        ("mode", "wanted"),
        [
            (NEWEST, [("canceled", "A", 2, 5), ("level", 95, 0)]),
            (
                OLDEST,
                [("canceled", "A", 1, 3), ("level", 100, 0), ("level", 100, 5), ("level", 95, 0)],
            ),
            (
                BOTH,
                [("canceled", "A", 1, 3), ("canceled", "A", 2, 5), ("level", 100, 0)]
                + [("level", 95, 0)],
            ),
        ],
    )
    def test_an_amended_order_meets_its_own(self, mode: SelfTrade, wanted: list[Row]) -> None:
        begin: list[Command] = [order("A", 1, SELL, 100, 3), order("A", 2, BUY, 95, 4)]
        found = self.after(preventing(mode), begin, amend("A", 2, 100, 5))
        assert found == [("amended", 2, 100, 5), *wanted]

    @pytest.mark.parametrize("mode", [OLDEST, BOTH])
    def test_what_was_cancelled_counts_no_more(self, mode: SelfTrade) -> None:
        """Among its open orders, and in its position."""
        begin: list[Command] = [order("A", n, SELL, 100, 3) for n in (1, 2)]
        last = order("A", 9, BUY, 100, 6, IOC)
        again = [order("A", n, SELL, 100, 3) for n in (1, 2)]
        events = self.told_both_ways(preventing(mode), *begin, last, *again, max_open_orders=2)
        codes = [getattr(event, "code", None) for event in events]
        wanted = None if mode is OLDEST else ErrorCode.DUPLICATE
        assert codes.count(ErrorCode.DUPLICATE) == (wanted is not None)
        assert codes.count(ErrorCode.LIMIT) == 0


class CollarTests(RulesTests):
    @pytest.mark.parametrize(
        ("side", "price", "taken"),
        [
            *((BUY, price, price <= 105) for price in (1, 94, 95, 105, 106, 1000)),
            *((SELL, price, price >= 95) for price in (1, 94, 95, 105, 106, 1000)),
        ],
    )
    def test_a_price_beyond_it_is_refused(self, side: Side, price: int, taken: bool) -> None:
        [first, *_] = self.told(collared(500), [order("A", 1, side, price, 1)])
        text = "the price must be from 0.95 to 1.05"
        if taken:
            assert type(first) is OrderAccepted
        else:
            assert first == refused("A", 1, ErrorCode.COLLAR, text)

    def test_it_is_round_the_last_trade_once_there_is_one(self) -> None:
        commands = [order("A", 1, BUY, 105, 1), order("B", 1, SELL, 105, 1)]
        commands += [order("A", n, BUY, price, 1) for n, price in ((2, 110), (3, 111))]
        events = self.told_both_ways(collared(500), *commands)
        text = "the price must be from 1 to 1.1"
        assert events[-1] == refused("A", 3, ErrorCode.COLLAR, text)

    def test_without_a_trade_or_a_reference_there_is_none(self) -> None:
        rules = collared(500, reference=None)
        commands = [order("A", 1, BUY, 10**6, 1), order("B", 1, SELL, 10**6, 1)]
        [*_, last] = self.told_both_ways(rules, *commands, order("A", 1, BUY, 1_100_000, 1))
        text = "the price must be from 9500 to 10500"
        assert last == refused("A", 1, ErrorCode.COLLAR, text)

    def test_no_price_is_less_than_a_tick(self) -> None:
        [event] = self.told(collared(20_000), [order("A", 1, BUY, 301, 1)])
        text = "the price must be from 0.01 to 3"
        assert event == refused("A", 1, ErrorCode.COLLAR, text)

    @pytest.mark.parametrize("rules", [collared(500), collared(500, HALT)])
    def test_trades_stop_where_it_ends(self, rules: TradingRules) -> None:
        """What is left would cross, and is cancelled; that halts the instrument, or not."""
        halted = [("halted",)] * (rules.beyond is HALT)
        begin: list[Command] = [order("B", 1, SELL, 105, 2), order("B", 2, SELL, 106, 5)]
        found = self.after(rules, begin, market("A", 9, BUY, 4))
        trade = [("accepted", "A", 9), ("trade", "B", 1, 2)]
        assert found == [*trade, ("canceled", "A", 9, 2), ("level", 105, 0), *halted]
        if halted:
            found = self.after(rules, begin, order("A", 9, BUY, 200, 4))
            assert found == [*trade, ("canceled", "A", 9, 2), ("level", 105, 0), *halted]
        found = self.after(rules, begin, order("A", 9, BUY, 105, 4))
        assert found == [*trade, ("level", 105, 0), ("level", 105, 2)]
        found = self.after(rules, begin[:1], market("A", 9, BUY, 4))
        assert found == [*trade, ("canceled", "A", 9, 2), ("level", 105, 0)]
        found = self.after(rules, begin, market("A", 9, BUY, 2))
        assert found == [*trade, ("level", 105, 0)]

    @pytest.mark.parametrize("side", [BUY, SELL])
    def test_nothing_trades_if_the_best_is_beyond_it_on_either_side(self, side: Side) -> None:
        """Resting orders can be too good as well, since the market went away from them."""
        other, near = (SELL, 90) if side is BUY else (BUY, 110)
        begin: list[Command] = [
            order("B", 1, other, 100, 1),
            order("C", 1, side, 100, 1),
            *(order("B", n, other, 100 - 5 * n * (1 if side is BUY else -1), 5) for n in (1, 2)),
        ]
        rules = TradingRules(collar=500, reference=100, beyond=HALT)
        assert begin[-1].price == near  # type: ignore[attr-defined]
        found = self.after(rules, begin, market("A", 9, side, 3))
        assert found == [("accepted", "A", 9), ("canceled", "A", 9, 3), ("halted",)]
        found = self.after(rules, begin, fok("A", 9, side, 100, 3))
        assert found == [("accepted", "A", 9), ("canceled", "A", 9, 3)]

    def test_the_collar_of_a_command_is_that_before_it(self) -> None:
        """It does not follow the trades of the command itself."""
        begin: list[Command] = [order("B", n, SELL, 100 + n, 1) for n in range(1, 9)]
        found = self.after(collared(500, HALT), begin, market("A", 9, BUY, 8))
        assert [row for row in found if row[0] == "trade"] == [
            ("trade", "B", n, 1) for n in range(1, 6)
        ]
        assert found[6] == ("canceled", "A", 9, 3)
        assert found[-1] == ("halted",)

    def test_fill_or_kill_fills_within_it_or_not_and_never_halts(self) -> None:
        begin: list[Command] = [order("B", 1, SELL, 105, 2), order("B", 2, SELL, 106, 5)]
        for quantity, wanted in (
            (2, [("trade", "B", 1, 2), ("level", 105, 0)]),
            (3, [("canceled", "A", 9, 3)]),
        ):
            found = self.after(collared(500, HALT), begin, fok("A", 9, BUY, 200, quantity))
            assert found == [("accepted", "A", 9), *wanted]

    def test_post_only_knows_no_collar(self) -> None:
        begin: list[Command] = [order("B", 2, SELL, 106, 5)]
        last = order("A", 9, BUY, 106, 1, post_only=True)
        found = self.after(collared(500, HALT), begin, last)
        assert found == [("accepted", "A", 9), ("canceled", "A", 9, 1)]

    def test_an_amended_order_halts_too_after_all_levels(self) -> None:
        begin: list[Command] = [order("B", 1, SELL, 105, 2), order("B", 2, SELL, 106, 5)]
        begin.append(order("A", 9, BUY, 90, 1))
        found = self.after(collared(500, HALT), begin, amend("A", 9, 107, 4))
        assert found == [
            ("amended", 9, 107, 4),
            ("trade", "B", 1, 2),
            ("canceled", "A", 9, 2),
            ("level", 105, 0),
            ("level", 90, 0),
            ("halted",),
        ]
        [event] = self.told(collared(500), begin, [amend("A", 9, 107, 4)])
        text = "the price must be from 0.95 to 1.05"
        assert event == refused("A", 9, ErrorCode.COLLAR, text)
        assert self.told(collared(500), [order("A", 9, BUY, 90, 1)], [amend("A", 9, 90, 4)])

    def test_what_the_collar_halted_is_halted(self) -> None:
        begin: list[Command] = [order("B", 2, SELL, 106, 5), market("A", 9, BUY, 1)]
        found = self.after(collared(500, HALT), begin, order("A", 1, BUY, 100, 1))
        assert found == [(refused("A", 1, ErrorCode.HALTED, "trading in WOOD is halted"),)]
        events = self.told_both_ways(
            collared(500, HALT), *begin, change(State.OPEN), order("A", 1, BUY, 100, 1)
        )
        assert rows(events[-2:]) == [("accepted", "A", 1), ("level", 100, 1)]

    @pytest.mark.parametrize("mode", [NEWEST, BOTH])
    def test_whom_its_own_order_stopped_halts_nothing(self, mode: SelfTrade) -> None:
        rules = TradingRules(self_trade=mode, collar=500, beyond=HALT, reference=100)
        begin: list[Command] = [order("A", 1, SELL, 105, 2), order("B", 2, SELL, 106, 5)]
        found = self.after(rules, begin, market("A", 9, BUY, 4))
        assert ("canceled", "A", 9, 4) in found
        assert ("halted",) not in found

    def test_the_oldest_of_its_own_are_cancelled_within_the_collar_only(self) -> None:
        rules = TradingRules(self_trade=OLDEST, collar=500, beyond=HALT, reference=100)
        begin: list[Command] = [order("A", 1, SELL, 105, 2), order("A", 2, SELL, 106, 5)]
        found = self.after(rules, begin, market("A", 9, BUY, 4))
        assert found == [
            ("accepted", "A", 9),
            ("canceled", "A", 1, 2),
            ("canceled", "A", 9, 4),
            ("level", 105, 0),
            ("halted",),
        ]


class TestPreventionInMemory(InMemory, PreventionTests):
    pass


class TestPreventionOnRedis(OnRedis, PreventionTests):
    pass


class TestCollarsInMemory(InMemory, CollarTests):
    pass


class TestCollarsOnRedis(OnRedis, CollarTests):
    pass
