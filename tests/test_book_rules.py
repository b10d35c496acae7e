"""What an instrument's rules make of orders: self-trade prevention, collars, halts, limits."""

import pytest

from tests.books import BookTable, rows
from wood.book import matching as module
from wood.book.accounts import OpenOrders
from wood.model.limits import Limits
from wood.model.orders import BUY, FOK, IOC, SELL, Beyond, Reason, SelfTrade, State
from wood.model.trading import TradingRules

NEWEST = TradingRules(SelfTrade.CANCEL_NEWEST)
OLDEST = TradingRules(SelfTrade.CANCEL_OLDEST)
BOTH = TradingRules(SelfTrade.CANCEL_BOTH)
REFUSE = TradingRules(collar=500, reference=100)
HALT = TradingRules(collar=500, reference=100, beyond=Beyond.HALT)


def limited(**limits: float) -> TradingRules:
    return TradingRules(limits=Limits(**limits))


class TestSelfTrade:
    ASKS = """
        | 102 | 10 C
        | 101 | 4 B 5 A 6 C
    """

    def test_is_allowed_unless_forbidden(self) -> None:
        book = BookTable("| 101 | 5 A")
        assert book.new("A", BUY, 101, 5) == ["new A2", "A2 takes 5 of A1 at 101", "ask 101: 0"]

    def test_cancel_newest(self) -> None:
        """What was there stays, and keeps its place."""
        book = BookTable(self.ASKS, rules=NEWEST)
        assert book.new("A", BUY, 103, 20) == [
            "new A2",
            "A2 takes 4 of B1 at 101",
            "canceled A2 16",
            "ask 101: 11",
        ]
        assert book.table() == rows("""
            | 102 | 10 C
            | 101 | 5 A 6 C
        """)

    def test_cancel_newest_that_meets_nobody_else(self) -> None:
        book = BookTable("| 101 | 5 A 6 C", rules=NEWEST)
        assert book.new("A", BUY, 103, 20) == ["new A2", "canceled A2 20"]

    def test_cancel_oldest(self) -> None:
        """The new one goes on, and rests."""
        book = BookTable(self.ASKS, rules=OLDEST)
        assert book.new("A", BUY, 103, 25) == [
            "new A2",
            "A2 takes 4 of B1 at 101",
            "canceled A1 5",
            "A2 takes 6 of C2 at 101",
            "A2 takes 10 of C1 at 102",
            "ask 101: 0",
            "ask 102: 0",
            "bid 103: 5",
        ]
        assert book.table() == ["5 A | 103 |"]

    def test_cancel_oldest_of_a_level_of_ones_own(self) -> None:
        book = BookTable(
            """
            | 102 | 5 B
            | 101 | 5 A 3 A
            """,
            rules=OLDEST,
        )
        assert book.new("A", BUY, 102, 2) == [
            "new A3",
            "canceled A1 5",
            "canceled A2 3",
            "A3 takes 2 of B1 at 102",
            "ask 101: 0",
            "ask 102: 3",
        ]

    def test_cancel_both(self) -> None:
        book = BookTable(self.ASKS, rules=BOTH)
        assert book.new("A", BUY, 103, 20) == [
            "new A2",
            "A2 takes 4 of B1 at 101",
            "canceled A1 5",
            "canceled A2 16",
            "ask 101: 6",
        ]
        assert book.table() == rows("""
            | 102 | 10 C
            | 101 | 6 C
        """)

    @pytest.mark.parametrize("rules", [NEWEST, OLDEST, BOTH])
    def test_an_order_that_is_filled_before_meets_nothing(self, rules: TradingRules) -> None:
        book = BookTable(self.ASKS, rules=rules)
        filled = ["new A2", "A2 takes 4 of B1 at 101", "ask 101: 11"]
        assert book.new("A", BUY, 101, 4) == filled

    @pytest.mark.parametrize("rules", [NEWEST, BOTH])
    def test_fok_that_would_be_stopped_changes_nothing(self, rules: TradingRules) -> None:
        book = BookTable(self.ASKS, rules=rules)
        before = book.table()
        assert book.new("A", BUY, 103, 5, FOK) == ["new A2", "canceled A2 5"]
        assert book.table() == before
        assert book.new("A", BUY, 103, 4, FOK)[1] == "A3 takes 4 of B1 at 101"

    def test_fok_counts_without_what_would_be_cancelled(self) -> None:
        book = BookTable(self.ASKS, rules=OLDEST)
        before = book.table()
        assert book.new("A", BUY, 103, 21, FOK) == ["new A2", "canceled A2 21"]
        assert book.table() == before
        assert book.new("A", BUY, 103, 20, FOK) == [
            "new A3",
            "A3 takes 4 of B1 at 101",
            "canceled A1 5",
            "A3 takes 6 of C2 at 101",
            "A3 takes 10 of C1 at 102",
            "ask 101: 0",
            "ask 102: 0",
        ]

    def test_post_only_is_cancelled_first(self) -> None:
        book = BookTable("| 101 | 5 A", rules=OLDEST)
        assert book.new("A", BUY, 101, 1, post_only=True) == ["new A2", "canceled A2 1"]

    def test_an_amendment_that_crosses(self) -> None:
        for rules, said in (
            (NEWEST, ["canceled A2 7", "bid 99: 0"]),
            (OLDEST, ["canceled A1 5", "ask 101: 0", "bid 101: 7", "bid 99: 0"]),
            (BOTH, ["canceled A1 5", "canceled A2 7", "ask 101: 0", "bid 99: 0"]),
        ):
            book = BookTable(
                """
                    | 101 | 5 A
                7 A | 99  |
                """,
                rules=rules,
            )
            assert book.amend("A", 2, price=101) == ["amended A2 to 7 at 101", *said]

    def test_what_is_cancelled_counts_among_those_met(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MAX_MET", 2)
        book = BookTable("| 101 | 1 A 1 A 1 B", rules=OLDEST)
        said = ["new A3", "canceled A1 1", "canceled A2 1", "canceled A3 1", "ask 101: 1"]
        assert book.new("A", BUY, 101, 1) == said
        assert book.new("A", BUY, 101, 1, FOK)[-2:] == ["A4 takes 1 of B1 at 101", "ask 101: 0"]


class TestCollar:
    def test_a_price_beyond_it_is_refused(self) -> None:
        book = BookTable(rules=REFUSE)
        assert book.new("A", BUY, 106, 1) == ["refused collar"]
        assert book.events[0].text == "the price must be from 95 to 105"  # type: ignore[attr-defined]
        assert book.new("A", SELL, 94, 1) == ["refused collar"]
        assert book.new("A", BUY, 105, 1)[0] == "new A3"
        book = BookTable(rules=REFUSE)
        assert book.new("A", SELL, 95, 1)[0] == "new A1"
        assert book.new("B", BUY, 1, 1)[0] == "new B1", "far away from the other side is no harm"

    def test_it_follows_the_last_trade(self) -> None:
        book = BookTable("| 104 | 1 A", rules=REFUSE)
        assert book.new("B", BUY, 109, 1) == ["refused collar"]
        book.new("B", BUY, 104, 1)
        assert book.new("B", BUY, 109, 1) == ["new B3", "bid 109: 1"]
        assert book.new("B", BUY, 110, 1) == ["refused collar"]

    def test_there_is_none_without_a_price(self) -> None:
        book = BookTable(rules=TradingRules(collar=500))
        book.new("A", SELL, 1000, 1)
        book.new("A", SELL, 1100, 1)
        assert book.new("B", BUY, 2000, 1)[1] == "B1 takes 1 of A1 at 1000"
        assert book.new("B", BUY, 1100, 1) == ["refused collar"]

    @pytest.mark.parametrize("rules", [REFUSE, HALT])
    def test_a_market_order_stops_at_it(self, rules: TradingRules) -> None:
        book = BookTable(
            """
            | 106 | 5 C
            | 105 | 5 B
            | 101 | 5 A
            """,
            rules=rules,
        )
        said = [
            "new D1",
            "D1 takes 5 of A1 at 101",
            "D1 takes 5 of B1 at 105",
            "canceled D1 2",
            "ask 101: 0",
            "ask 105: 0",
        ]
        halted = ["halted by collar"] if rules is HALT else []
        assert book.new("D", BUY, None, 12, IOC) == [*said, *halted]
        assert book.book.state is (State.HALTED if halted else State.OPEN)

    def test_what_rests_beyond_it_is_not_traded_with(self) -> None:
        """An ask that was there before the first trade, far below it, say."""
        for rules in (TradingRules(collar=500), TradingRules(collar=500, beyond=Beyond.HALT)):
            book = BookTable("10 A | 100 |", rules=rules)
            book.new("B", SELL, 50, 15)
            assert book.book.rules.last == 100
            assert book.table() == ["| 50 | 5 B"]
            halted = ["halted by collar"] if rules.beyond is Beyond.HALT else []
            assert book.new("C", BUY, 100, 1) == ["new C1", "canceled C1 1", *halted]
            assert book.table() == ["| 50 | 5 B"]

    def test_halting_takes_any_price(self) -> None:
        """Only a trade beyond it is harm."""
        book = BookTable("| 104 | 5 A", rules=HALT)
        assert book.new("B", BUY, 500, 7) == [
            "new B1",
            "B1 takes 5 of A1 at 104",
            "ask 104: 0",
            "bid 500: 2",
        ]
        assert book.new("C", SELL, 90, 1) == ["new C1", "canceled C1 1", "halted by collar"]

    @pytest.mark.parametrize("rules", [REFUSE, HALT])
    def test_fok_within_it_or_not_at_all(self, rules: TradingRules) -> None:
        book = BookTable(
            """
            | 106 | 5 B
            | 105 | 5 A
            """,
            rules=rules,
        )
        price = 105 if rules is REFUSE else 106
        assert book.new("C", BUY, price, 6, FOK) == ["new C1", "canceled C1 6"]
        assert book.book.state is State.OPEN
        assert book.new("C", BUY, price, 5, FOK)[1] == "C2 takes 5 of A1 at 105"

    def test_an_amendment(self) -> None:
        book = BookTable("5 A | 99 |", rules=REFUSE)
        assert book.amend("A", 1, price=106) == ["refused collar"]
        assert book.amend("A", 1, price=105)[0] == "amended A1 to 5 at 105"
        book = BookTable(
            """
                | 106 | 5 B
            5 A | 99  |
            """,
            rules=HALT,
        )
        assert book.amend("A", 1, price=107) == [
            "amended A1 to 5 at 107",
            "canceled A1 5",
            "bid 99: 0",
            "halted by collar",
        ]

    def test_self_trade_prevention_that_stops_first_halts_nothing(self) -> None:
        rules = TradingRules(SelfTrade.CANCEL_NEWEST, 500, Beyond.HALT, 100)
        book = BookTable(
            """
            | 106 | 5 B
            | 105 | 5 A
            """,
            rules=rules,
        )
        assert book.new("A", BUY, 106, 9) == ["new A2", "canceled A2 9"]
        assert book.book.state is State.OPEN


class TestHalt:
    def test_only_cancels_are_taken(self) -> None:
        book = BookTable("5 A | 99 |")
        assert book.book.change_state(State.HALTED, Reason.OPERATOR, book.seq, []) == book.seq + 1
        book.seq += 1
        assert book.new("B", SELL, 99, 1) == ["refused halted"]
        assert book.new("B", SELL, None, 1, IOC) == ["refused halted"]
        assert book.amend("A", 1, quantity=1) == ["refused halted"]
        assert book.amend("A", 9, quantity=1) == ["refused halted"]
        assert book.cancel("A", 9) == ["refused not_found"]
        assert book.cancel("A", 1) == ["canceled A1 5", "bid 99: 0"]
        book.seq = book.book.change_state(State.OPEN, Reason.OPERATOR, book.seq, [])
        assert book.new("B", SELL, 99, 1) == ["new B3", "ask 99: 1"]

    def test_twice_is_once(self) -> None:
        book = BookTable()
        book.book.change_state(State.HALTED, Reason.OPERATOR, 0, [])
        assert book.book.change_state(State.HALTED, Reason.OPERATOR, 7, []) == 7


class TestLimits:
    def test_quantity(self) -> None:
        book = BookTable(rules=limited(order_quantity=10))
        assert book.new("A", BUY, 9, 11) == ["refused orderQuantity"]
        assert book.new("A", BUY, None, 11, IOC) == ["refused orderQuantity"]
        assert book.new("A", BUY, 9, 10)[0] == "new A3"
        assert book.amend("A", 3, quantity=11) == ["refused orderQuantity"]
        assert book.amend("A", 3, price=8)[0] == "amended A3 to 10 at 8"

    def test_value(self) -> None:
        book = BookTable("| 10 | 1 B", rules=limited(order_value=100))
        assert book.new("A", BUY, 9, 12) == ["refused orderValue"]
        assert book.new("A", BUY, None, 11, IOC) == ["refused orderValue"], "by the best price"
        assert book.new("A", BUY, None, 10, IOC)[0] == "new A3"
        assert book.new("A", BUY, None, 99, IOC) == ["new A4", "canceled A4 99"], "no price there"
        assert book.new("A", BUY, 5, 20)[0] == "new A5"
        assert book.amend("A", 5, price=6) == ["refused orderValue"]
        assert book.amend("A", 5, price=6, quantity=16)[0] == "amended A5 to 16 at 6"

    def test_position(self) -> None:
        book = BookTable("| 10 | 6 B", rules=limited(position=10))
        book.new("A", BUY, 10, 8)  # long 6, and 2 open
        assert book.new("A", BUY, 9, 3) == ["refused position"]
        assert book.new("A", BUY, 9, 2)[0] == "new A3"
        assert book.new("A", BUY, None, 1, IOC) == ["refused position"]
        assert book.new("A", SELL, 20, 17) == ["refused position"], "to be short 11"
        assert book.new("A", SELL, 20, 16)[0] == "new A6"
        assert book.amend("A", 3, quantity=3) == ["refused position"]
        assert book.amend("A", 3, price=8)[0] == "amended A3 to 2 at 8"
        book.cancel("A", 1)
        assert book.amend("A", 3, quantity=4)[0] == "amended A3 to 4 at 8"

    def test_position_is_kept_without_orders(self) -> None:
        book = BookTable(rules=limited(position=6))
        book.book.take_participants({"A", "B"})
        book.new("B", SELL, 10, 6)
        book.new("A", BUY, 10, 6)
        assert book.new("A", BUY, 10, 1) == ["refused position"]
        assert book.new("B", SELL, 10, 1) == ["refused position"]
        assert book.new("B", BUY, 1, 12)[0] == "new B3"
        book.cancel("B", 3)
        book.book.take_participants({"A"})
        assert book.book.accounts.keys() == {"A"}, "nobody knows B any more"

    @pytest.mark.parametrize("name", ["~a", "stranger"])
    def test_position_of_one_without_a_record(self, name: str) -> None:
        """It is kept as long as something is open; it can come under another name in any case."""
        book = BookTable("| 10 | 6 ~b", rules=limited(position=6))
        book.new(name, BUY, 10, 6)
        assert not book.book.accounts
        assert book.new(name, BUY, 10, 6)[0] == f"new {name}2"

    def test_open_orders_in_the_instrument(self) -> None:
        book = BookTable(rules=limited(open_orders=1))
        book.new("A", BUY, 9, 1)
        assert book.new("A", BUY, 9, 1) == ["refused instrumentOpenOrders"]
        assert book.new("A", BUY, None, 1, IOC)[0] == "new A3", "it will not rest"
        book.cancel("A", 1)
        assert book.new("A", BUY, 9, 1)[0] == "new A4"

    def test_ones_own_limits_come_first(self) -> None:
        own = {
            "A": {"WOOD": Limits(order_quantity=20), "*": Limits(position=30)},
            "B": {"*": Limits(order_quantity=-1)},
        }
        book = BookTable(rules=limited(order_quantity=10, position=15))
        book.book.rules.take(own)
        assert book.new("A", BUY, 9, 21) == ["refused orderQuantity"]
        assert book.new("A", BUY, 9, 20)[0] == "new A2"
        assert book.new("A", BUY, 9, 11) == ["refused position"]
        assert book.new("B", BUY, 9, 15)[0] == "new B1"
        assert book.new("B", BUY, 9, 1) == ["refused position"]
        assert book.new("C", BUY, 9, 11) == ["refused orderQuantity"]
        book.book.rules.take({})
        assert book.new("A", BUY, 9, 11) == ["refused orderQuantity"]

    def test_open_orders_of_one_over_all(self) -> None:
        book = BookTable(open_orders=OpenOrders(limit=1, own_limits={"A": 2}))
        for who, taken in (("A", 2), ("B", 1)):
            for _ in range(taken):
                assert book.new(who, BUY, 9, 1)[0].startswith("new")
            assert book.new(who, BUY, 9, 1) == ["refused openOrders"]


def test_the_first_rule_that_refuses_is_told() -> None:
    """In the order of docs/protocol.md."""
    limits = Limits(order_quantity=10, order_value=1000, position=5, open_orders=1)
    rules = TradingRules(collar=500, reference=100, limits=limits)
    book = BookTable(rules=rules, open_orders=OpenOrders(limit=1))
    book.new("A", BUY, 100, 5)
    refused = [
        (book.new("A", BUY, 106, 11, order_id=1), "duplicate"),
        (book.new("A", BUY, 106, 11), "orderQuantity"),
        (book.new("A", BUY, 106, 10), "orderValue"),
        (book.new("A", BUY, 106, 9), "collar"),
        (book.new("A", BUY, 100, 9), "position"),
        (book.new("A", SELL, 110, 2), "openOrders"),
    ]
    assert [said for said, _ in refused] == [[f"refused {word}"] for _, word in refused]
    book.book.state = State.HALTED
    assert book.new("A", BUY, 106, 11, order_id=1) == ["refused halted"]
