"""Halts, limits and rates, which every engine keeps alike."""

import pytest

from tests.engines import InMemory, OnRedis, log_in, with_loop
from tests.test_exchange import asking, new
from tests.trading_rules import (
    RulesTests,
    amend,
    cancel,
    change,
    collared,
    fok,
    known,
    limited,
    market,
    order,
    refused,
)
from wood.exchange.sessions import Auth
from wood.model.commands import (
    CancelAll,
    CancelAnonymous,
    Command,
    Heartbeat,
    ListInstruments,
    ListOrders,
    Refuse,
)
from wood.model.errors import ErrorCode, Limit
from wood.model.events import (
    AllCanceled,
    CommandRefused,
    Event,
    HeartbeatAnswered,
    InstrumentsListed,
    LoginRefused,
    OrderAccepted,
    OrderCanceled,
    OrdersListed,
    SessionOpened,
    StateAnswered,
    StateChanged,
)
from wood.model.limits import NONE, Limits
from wood.model.orders import BUY, SELL, Beyond, Reason, Side, State
from wood.model.participants import Participant
from wood.model.trading import NO_RULES, TradingRules

HALTED, OPEN = State.HALTED, State.OPEN
LIMIT, COLLAR = ErrorCode.LIMIT, ErrorCode.COLLAR
NO_TRADING = "trading in WOOD is halted"


def kinds(events: list[Event]) -> list[str]:
    """Refused or accepted, of what was asked; nothing of levels, trades and answers."""
    words = {CommandRefused: "refused", OrderAccepted: "accepted"}
    return [words[type(event)] for event in events if type(event) in words]


def limits_met(events: list[Event]) -> list[Limit | None]:
    """Which limit refused each order, None for one that was taken."""
    found = [event for event in events if isinstance(event, OrderAccepted | CommandRefused)]
    return [event.limit if isinstance(event, CommandRefused) else None for event in found]


class HaltTests(RulesTests):
    def test_while_halted_orders_are_refused_and_cancels_taken(self) -> None:
        events = self.told_both_ways(
            NO_RULES,
            order("A", 1, BUY, 100, 5),
            order("A", 2, BUY, 99, 5),
            change(HALTED),
            order("A", 1, BUY, 100, 5),
            market("B", 1, SELL, 5),
            amend("A", 1, None, 3),
            amend("A", 9, None, 3),
            cancel("A", 9),
            cancel("A", 1),
            asking(CancelAll, "A", None),
            new("A", 7, BUY, 100, 1, "PEAR"),
            change(OPEN),
            order("A", 1, BUY, 100, 5),
        )
        halted = refused("A", 1, ErrorCode.HALTED, NO_TRADING)
        assert events[4:11] == [
            StateChanged(5, "WOOD", HALTED, Reason.OPERATOR),
            StateAnswered("op", "op-session", "WOOD", HALTED),
            halted,
            refused("B", 1, ErrorCode.HALTED, NO_TRADING),
            halted,
            refused("A", 9, ErrorCode.HALTED, NO_TRADING),
            refused("A", 9, ErrorCode.NOT_FOUND, "no open order has this id"),
        ]
        assert events[11:16:2] == [
            OrderCanceled(6, "A", "WOOD", 1, 5),
            OrderCanceled(8, "A", "WOOD", 2, 5),
            AllCanceled("A", "A-session", None, 1),
        ]
        assert events[18:20] == [
            StateChanged(12, "WOOD", OPEN, Reason.OPERATOR),
            StateAnswered("op", "op-session", "WOOD", OPEN),
        ]
        assert type(events[20]) is OrderAccepted

    def test_a_state_that_is_the_same_is_answered_alone(self) -> None:
        events = self.told_both_ways(
            NO_RULES, change(OPEN), change(HALTED), change(HALTED), change(HALTED, "PEAR")
        )
        assert events == [
            StateAnswered("op", "op-session", "WOOD", OPEN),
            StateChanged(1, "WOOD", HALTED, Reason.OPERATOR),
            StateAnswered("op", "op-session", "WOOD", HALTED),
            StateAnswered("op", "op-session", "WOOD", HALTED),
            StateChanged(2, "PEAR", HALTED, Reason.OPERATOR),
            StateAnswered("op", "op-session", "PEAR", HALTED),
        ]

    def test_states_are_listed(self) -> None:
        listing = asking(ListInstruments, "A")
        events = self.told_both_ways(
            NO_RULES, change(HALTED, "PEAR"), listing, change(HALTED), change(OPEN, "PEAR"), listing
        )
        assert [e.states for e in events if isinstance(e, InstrumentsListed)] == [
            {"WOOD": OPEN, "PEAR": HALTED},
            {"WOOD": HALTED, "PEAR": OPEN},
        ]
        halts: list[Command] = [change(HALTED), change(HALTED, "PEAR")]
        [*_, last] = self.told(NO_RULES, halts, [change(OPEN), listing])
        assert isinstance(last, InstrumentsListed)
        assert last.states == {"WOOD": OPEN, "PEAR": HALTED}

    def test_a_snapshot_tells_who_is_halted(self) -> None:
        async def test() -> None:
            async with self.engine() as engine:
                assert (await engine.exchange.snapshot()).halted == frozenset()
                await engine.say(change(HALTED), change(HALTED, "PEAR"), change(OPEN))
                assert (await engine.exchange.snapshot()).halted == {"PEAR"}

        with_loop(test)


class LimitTests(RulesTests):
    def test_the_quantity_of_an_order(self) -> None:
        events = self.told_both_ways(
            limited(order_quantity=5),
            order("A", 1, BUY, 100, 5),
            order("A", 2, BUY, 100, 6),
            market("A", 3, SELL, 6),
            amend("A", 1, None, 6),
            amend("A", 1, 101, None),
        )
        text = "an order may have a quantity of 5 at most"
        much = [refused("A", n, LIMIT, text, Limit.ORDER_QUANTITY) for n in (2, 3, 1)]
        assert events[2:5] == much
        assert not any(isinstance(event, CommandRefused) for event in events[5:])

    def test_the_value_of_an_order(self) -> None:
        """In money: of 100 ticks of 0.01 five lots are 5."""
        events = self.told_both_ways(
            limited(order_value=5),
            order("A", 1, BUY, 100, 5),
            order("A", 2, BUY, 101, 5),
            fok("B", 3, SELL, 100, 6),
            market("B", 4, SELL, 6),
            market("B", 5, BUY, 10**12),
            amend("A", 1, 501, 1),
            amend("A", 1, 90, None),
            amend("A", 1, 100, 6),
        )
        text = "an order may have a value of 5 at most"
        met = [
            Limit.ORDER_VALUE if isinstance(event, CommandRefused) else None
            for event in events
            if isinstance(event, OrderAccepted | CommandRefused)
        ]
        assert met == [None, *[Limit.ORDER_VALUE] * 3, None, *[Limit.ORDER_VALUE] * 2]
        assert events[2] == refused("A", 2, LIMIT, text, Limit.ORDER_VALUE)

    def test_lots_and_ticks_that_no_binary_number_is_are_exact(self) -> None:
        """0.3 is less than three times 0.1 in binary, and means the same."""
        rules = limited(order_quantity=0.05, order_value=0.0005)
        events = self.told_both_ways(rules, order("A", 1, BUY, 100, 1))
        assert events == [
            refused(
                *("A", 1, LIMIT, "an order may have a quantity of 0 at most", Limit.ORDER_QUANTITY)
            )
        ]

    def test_open_orders_in_an_instrument(self) -> None:
        events = self.told_both_ways(
            limited(open_orders=2),
            order("A", 1, BUY, 100, 1),
            order("A", 2, SELL, 200, 1),
            order("A", 3, BUY, 100, 1),
            market("A", 3, BUY, 1),
            order("B", 1, BUY, 100, 1),
            new("A", 3, BUY, 100, 1, "PEAR"),
            amend("A", 1, 101, None),
            cancel("A", 1),
            order("A", 3, BUY, 100, 1),
        )
        [full] = [event for event in events if isinstance(event, CommandRefused)]
        text = "2 open orders in WOOD are the limit"
        assert full == refused("A", 3, LIMIT, text, Limit.INSTRUMENT_OPEN_ORDERS)
        assert kinds(events).count("accepted") == 6

    def test_open_orders_of_a_participant_and_of_all(self) -> None:
        orders: list[Command] = [order("A", n, BUY, 100, 1) for n in range(3)]
        *_, last = self.told(NO_RULES, orders, max_open_orders=2)
        text = "2 open orders are the limit"
        assert last == refused("A", 2, LIMIT, text, Limit.OPEN_ORDERS)
        *_, last = self.told(NO_RULES, orders, max_resting_orders=2)
        text = "the exchange has 2 open orders, its limit"
        assert last == refused("A", 2, LIMIT, text, Limit.RESTING_ORDERS)

    @pytest.mark.parametrize(("side", "other"), [(BUY, SELL), (SELL, BUY)])
    def test_the_position_counts_what_is_open_and_what_was_traded(
        self, side: Side, other: Side
    ) -> None:
        price, further = (100, 50) if side is BUY else (100, 150)
        events = self.told_both_ways(
            limited(position=10),
            order("A", 1, side, price, 6),
            order("A", 2, side, further, 5),  # 11 with the open one
            order("A", 2, side, further, 4),
            order("B", 1, other, price, 6),  # A has 6 and 4 open
            order("A", 3, side, further, 1),
            market("A", 3, side, 1),
            amend("A", 2, None, 5),
            amend("A", 2, None, 4),
            amend("A", 2, None, 3),
            order("A", 3, side, further, 2),
            order("A", 3, side, further, 1),
            cancel("A", 2),
            order("A", 4, side, further, 3),
            cancel("A", 3),
            cancel("A", 4),
            order("A", 5, other, price, 16),  # from 6 on one side to 10 on the other
            order("A", 6, other, price, 1),
            order("C", 1, side, price, 16),
            order("A", 6, other, price, 1),
            order("A", 6, side, price, 10),
            participants={"A": Participant("d" * 64, 1)},
        )
        refusals = [event for event in events if isinstance(event, CommandRefused)]
        text = "the position, with all open orders filled, may be 10 at most"
        of_c = refused("C", 1, LIMIT, text, Limit.POSITION)
        met = [refused("A", n, LIMIT, text, Limit.POSITION) for n in (2, 3, 3, 2, 3, 6)]
        assert refusals == [*met, of_c, met[-1], met[-1]]

    def test_a_position_of_nothing_lets_nobody_begin(self) -> None:
        events = self.told_both_ways(
            limited(position=0), order("A", 1, BUY, 1, 1), order("A", 1, SELL, 1, 1)
        )
        assert limits_met(events) == [Limit.POSITION] * 2

    def test_who_has_no_name_has_a_position_while_orders_are_open(self) -> None:
        who = "~0000000112345678"
        events = self.told_both_ways(
            limited(position=8),
            order("B", 1, SELL, 100, 8),
            market(who, 1, BUY, 4),  # nothing open: forgotten
            order(who, 2, BUY, 100, 2),
            order(who, 3, BUY, 100, 4),  # 2 are traded, and 2 rest
            order("C", 1, SELL, 100, 1),
            order(who, 4, BUY, 30, 2),
            order(who, 5, BUY, 30, 1),
            cancel(who, 3),
            cancel(who, 4),
            order(who, 6, BUY, 30, 5),  # it has 3, and 1 is open
            order(who, 7, BUY, 30, 4),
            asking(CancelAll, who, None),
            order(who, 8, BUY, 30, 9),
            order(who, 9, BUY, 30, 8),
        )
        assert [e.order_id for e in events if isinstance(e, CommandRefused)] == [6, 8]

    def test_limits_of_a_participant_go_before_those_of_the_instrument(self) -> None:
        own = known(
            everywhere=Limits(order_quantity=NONE, position=20, open_orders=3),
            WOOD=Limits(open_orders=2, order_value=NONE, position=7),
        )
        rules = TradingRules(
            limits=Limits(order_quantity=5, order_value=1, position=1, open_orders=1)
        )
        events = self.told_both_ways(
            rules,
            order("own", 1, BUY, 100, 6),
            order("own", 2, BUY, 100, 2),
            order("own", 2, BUY, 100, 1),
            order("own", 3, SELL, 200, 1),
            new("own", 4, BUY, 1, 2, "PEAR"),
            new("own", 5, SELL, 9, 1, "PEAR"),
            participants=own,
        )
        assert limits_met(events) == [
            None,
            Limit.POSITION,
            None,
            Limit.INSTRUMENT_OPEN_ORDERS,
            None,
            Limit.OPEN_ORDERS,
        ]
        events = self.told_both_ways(rules, order("A", 1, BUY, 100, 6), participants=own)
        assert limits_met(events) == [Limit.ORDER_QUANTITY]

    def test_limits_may_change_while_one_trades(self) -> None:
        async def test() -> None:
            async with self.engine() as engine:
                await engine.say(order("own", 1, BUY, 100, 9))
                await engine.have(known(WOOD=Limits(order_quantity=3, order_value=5, position=5)))
                # Nobody is hindered from making less of it.
                for command in (amend("own", 1, None, 8), amend("own", 1, 99, None)):
                    assert not kinds(await engine.say(command))
                [dear] = await engine.say(amend("own", 1, 101, None))
                assert limits_met([dear]) == [Limit.ORDER_VALUE]
                events = await engine.say(amend("own", 1, None, 9), order("own", 2, BUY, 100, 4))
                assert limits_met(events) == [Limit.ORDER_QUANTITY] * 2
                assert limits_met(await engine.say(order("own", 2, SELL, 110, 3))) == [None]
                assert limits_met(await engine.say(order("own", 3, BUY, 90, 1))) == [Limit.POSITION]
                await engine.have(known())
                assert limits_met(await engine.say(order("own", 3, BUY, 90, 100))) == [None]

        with_loop(test)

    def test_the_checks_have_an_order(self) -> None:
        """One order that breaks them all, and less of them each time."""
        rules = TradingRules(
            collar=100,
            reference=100,
            limits=Limits(order_quantity=10, order_value=20, position=5, open_orders=1),
        )
        begin: list[Command] = [order("A", 1, BUY, 99, 1), order("B", 9, BUY, 99, 1)]
        full = 2**53 - 2
        text = "the position, with all open orders filled, may be 5 at most"
        wanted: list[tuple[list[Command], CommandRefused]] = [
            (
                [change(HALTED), order("A", 1, BUY, 500, 11)],
                refused("A", 1, ErrorCode.HALTED, NO_TRADING),
            ),
            (
                [order("A", 1, BUY, 500, 11)],
                refused("A", 1, ErrorCode.DUPLICATE, "an open order has this id"),
            ),
            (
                [order("A", 2, BUY, 500, 11)],
                refused(
                    *("A", 2, LIMIT, "an order may have a quantity of 10 at most"),
                    Limit.ORDER_QUANTITY,
                ),
            ),
            (
                [order("A", 2, BUY, 500, 10)],
                refused(
                    *("A", 2, LIMIT, "an order may have a value of 20 at most"), Limit.ORDER_VALUE
                ),
            ),
            (
                [order("A", 2, BUY, 102, 10)],
                refused("A", 2, COLLAR, "the price must be from 0.99 to 1.01"),
            ),
            ([order("A", 2, BUY, 101, 5)], refused("A", 2, LIMIT, text, Limit.POSITION)),
            (
                [order("A", 2, BUY, 101, 4)],
                refused(
                    *("A", 2, LIMIT, "1 open orders in WOOD are the limit"),
                    Limit.INSTRUMENT_OPEN_ORDERS,
                ),
            ),
        ]
        for commands, refusal in wanted:
            assert self.told(rules, begin, commands)[-1] == refusal
        # The position is for all orders, the open ones only for those that may rest.
        [*_, last] = self.told(rules, begin, [fok("A", 2, BUY, 101, 5)])
        assert last == refused("A", 2, LIMIT, text, Limit.POSITION)
        assert kinds(self.told(rules, begin, [fok("A", 2, BUY, 101, 4)])) == ["accepted"]
        [*_, last] = self.told(
            rules, begin, [order("A", 2, BUY, 101, 4)], max_open_orders=1, max_resting_orders=2
        )
        assert last == refused("A", 2, LIMIT, "1 open orders are the limit", Limit.OPEN_ORDERS)
        [*_, last] = self.told(
            NO_RULES,
            [order("B", 1, BUY, 7, full)],
            [order("A", 2, BUY, 7, 5)],
            max_resting_orders=1,
        )
        text = "the exchange has 1 open orders, its limit"
        assert last == refused("A", 2, LIMIT, text, Limit.RESTING_ORDERS)

    def test_the_checks_of_an_amendment_have_an_order(self) -> None:
        rules = TradingRules(
            collar=100,
            reference=100,
            limits=Limits(order_quantity=10, order_value=20, position=5),
        )
        begin: list[Command] = [order("A", 1, BUY, 99, 2)]
        asked: list[tuple[Command, ErrorCode, Limit | None]] = [
            (amend("A", 1, 500, 11), LIMIT, Limit.ORDER_QUANTITY),
            (amend("A", 1, 500, 10), LIMIT, Limit.ORDER_VALUE),
            (amend("A", 1, 102, 10), COLLAR, None),
            (amend("A", 1, 101, 6), LIMIT, Limit.POSITION),
        ]
        for command, code, limit in asked:
            [event] = self.told(rules, begin, [command])
            assert isinstance(event, CommandRefused)
            assert (event.code, event.limit) == (code, limit)
        assert not kinds(self.told(rules, begin, [amend("A", 1, 101, 5)]))
        [event] = self.told(rules, begin, [amend("A", 2, 500, 11)])
        assert event == refused("A", 2, ErrorCode.NOT_FOUND, "no open order has this id")

    def test_without_a_bound_a_collar_that_halts_lets_any_price_in(self) -> None:
        rules = collared(100, Beyond.HALT)
        assert kinds(self.told(rules, [order("A", 1, BUY, 500, 1)])) == ["accepted"]


class RateTests(RulesTests):
    def test_more_than_a_second_holds_is_refused_with_the_time_to_wait(self) -> None:
        commands: list[Command] = [
            order("A", 1, BUY, 100, 1),
            cancel("A", 7),
            amend("A", 7, None, 1),
            asking(CancelAll, "A", "PEAR"),
            asking(Refuse, "A", ErrorCode.INVALID, "odd", 3, "NONE"),
        ]
        more: list[Command] = [
            order("A", 2, BUY, 100, 1),
            order("A", 1, BUY, 100, 1),
            cancel("A", 1),
            amend("A", 1, None, 1),
            asking(CancelAll, "A", None),
            asking(CancelAll, "A", "PEAR"),
            asking(Refuse, "A", ErrorCode.INVALID, "odd", 3, "NONE"),
            asking(Refuse, "A", ErrorCode.INVALID, "odd"),
        ]
        events = self.told(NO_RULES, [*commands, *more], max_rate=5)
        text, limit = "more than 5 messages per second", Limit.PARTICIPANT_RATE
        named = [(2, "WOOD"), (1, "WOOD"), (1, "WOOD"), (1, "WOOD"), (None, None), (None, "PEAR")]
        assert events[-len(more) :] == [
            refused("A", number, ErrorCode.RATE, text, limit, 200_000, symbol)
            for number, symbol in [*named, (3, "NONE"), (None, None)]
        ]
        assert len(events) == 2 + 4 + len(more)

    def test_an_operator_is_not_held_up(self) -> None:
        """What it does to others is done, however much it is."""
        acts = [
            *(change(HALTED), change(OPEN)),
            *(asking(CancelAll, "op", "WOOD", "A"), asking(CancelAnonymous, "op", 5)),
        ]
        events = self.told(NO_RULES, [*acts * 3, cancel("op", 1), cancel("op", 2)], max_rate=1)
        refusals = [event for event in events if isinstance(event, CommandRefused)]
        assert [event.code for event in refusals] == [ErrorCode.NOT_FOUND, ErrorCode.RATE]

    def test_what_does_not_count(self) -> None:
        """Questions, what shows that one is there, and what was refused for its rate already."""
        slow = asking(Refuse, "A", ErrorCode.RATE, "slow", 1, "WOOD", Limit.CONNECTION_RATE, 5)
        free: list[Command] = [asking(ListOrders, "A", None), asking(ListInstruments, "A"), slow]
        events = self.told(
            NO_RULES,
            [*free * 2, order("A", 1, BUY, 100, 1), *free, asking(Heartbeat, "A")],
            max_rate=1,
        )
        passed = refused("A", 1, ErrorCode.RATE, "slow", Limit.CONNECTION_RATE, 5)
        assert [e for e in events if isinstance(e, CommandRefused)] == [passed] * 3
        assert [type(e) for e in events].count(OrdersListed) == 3
        assert type(events[-1]) is HeartbeatAnswered

    def test_one_at_the_limit_hinders_no_other(self) -> None:
        commands: list[Command] = [order("A", n, BUY, 100, 1) for n in (1, 2)]
        commands += [order("B", 1, BUY, 100, 1), order("~00000001", 1, BUY, 100, 1)]
        commands += [order("~00000001", 2, BUY, 100, 1)]
        events = self.told(NO_RULES, commands, max_rate=1)
        assert kinds(events) == ["accepted", "refused", "accepted", "accepted", "refused"]

    def test_it_is_over_all_batches_and_passes_with_the_time(self) -> None:
        async def test() -> None:
            async with self.engine(max_rate=1) as engine:
                assert kinds(await engine.say(order("A", 1, BUY, 1, 1))) == ["accepted"]
                [event] = await engine.say(order("A", 2, BUY, 1, 1))
                assert isinstance(event, CommandRefused)
                assert event.retry_after is not None
                assert 0 < event.retry_after <= 1_000_000
                await engine.later(1)
                events = await engine.say(order("A", 2, BUY, 1, 1), order("A", 3, BUY, 1, 1))
                assert kinds(events) == ["accepted", "refused"]

        with_loop(test)

    @pytest.mark.parametrize("max_rate", [0, 1])
    def test_a_rate_of_its_own(self, max_rate: int) -> None:
        orders: list[Command] = [order("own", n, BUY, 1, 1) for n in range(4)]
        for rate, taken in ((3.0, 3), (NONE, 4)):
            events = self.told(
                NO_RULES,
                orders,
                participants=known(everywhere=Limits(rate=rate)),
                max_rate=max_rate,
            )
            assert kinds(events).count("accepted") == taken


class CertifiedTests(RulesTests):
    @pytest.mark.parametrize("auth", list(Auth))
    def test_who_has_a_certificate_needs_no_token(self, auth: Auth) -> None:
        async def test() -> None:
            async with self.engine(auth=auth) as engine:
                participants = {
                    "alice": Participant("d" * 64, 1, operator=True),
                    "bob": Participant("d" * 64, 1, disabled=True),
                }
                await engine.have(participants)
                logins = [log_in(name, certified=True) for name in ("alice", "eve", "bob")]
                alice, eve, bob, plain = await engine.say(*logins, log_in("alice"))
                assert isinstance(alice, SessionOpened)
                assert isinstance(eve, SessionOpened)
                assert (alice.participant, alice.operator) == ("alice", True)
                assert (eve.participant, eve.operator) == ("eve", False)
                assert isinstance(bob, LoginRefused)
                assert bob.code is ErrorCode.DISABLED
                assert isinstance(plain, LoginRefused)

        with_loop(test)


class TestHaltsInMemory(InMemory, HaltTests):
    pass


class TestHaltsOnRedis(OnRedis, HaltTests):
    pass


class TestLimitsInMemory(InMemory, LimitTests):
    pass


class TestLimitsOnRedis(OnRedis, LimitTests):
    pass


class TestRatesInMemory(InMemory, RateTests):
    pass


class TestRatesOnRedis(OnRedis, RateTests):
    pass


class TestCertifiedInMemory(InMemory, CertifiedTests):
    pass


class TestCertifiedOnRedis(OnRedis, CertifiedTests):
    pass
