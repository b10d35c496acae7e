"""What one command does to one book, case by case."""

import pytest

from tests.books import BookTable, check_numbers, describe, rows
from wood.book import matching as module
from wood.book.accounts import OpenOrders
from wood.model.commands import CancelAll
from wood.model.events import Event
from wood.model.orders import BUY, FOK, GTC, IOC, SELL

CHALLENGE = """
                | 156 | 150 C
                | 151 | 1000 A 300 B 1200 B
                | 149 | 500 Z
    100 X 200 Y | 145 |
          300 X | 144 |
         4500 W | 142 |
"""


def test_the_worked_example() -> None:
    book = BookTable(CHALLENGE)
    assert book.new("D", SELL, 144, 350) == [
        "new D1",
        "D1 takes 100 of X1 at 145",
        "D1 takes 200 of Y1 at 145",
        "D1 takes 50 of X2 at 144",
        "bid 145: 0",
        "bid 144: 250",
    ]
    assert book.table() == rows("""
               | 156 | 150 C
               | 151 | 1000 A 300 B 1200 B
               | 149 | 500 Z
         250 X | 144 |
        4500 W | 142 |
    """)


def test_what_is_left_rests_and_is_announced_last() -> None:
    book = BookTable("| 101 | 10 A 5 B")
    assert book.new("C", BUY, 102, 20) == [
        "new C1",
        "C1 takes 10 of A1 at 101",
        "C1 takes 5 of B1 at 101",
        "ask 101: 0",
        "bid 102: 5",
    ]
    assert book.table() == ["5 C | 102 |"]


def test_a_partial_fill_keeps_its_place() -> None:
    book = BookTable("| 101 | 10 A 10 B")
    book.new("C", BUY, 101, 4)
    assert book.table() == ["| 101 | 6 A 10 B"]
    assert book.new("C", BUY, 101, 7)[1:3] == [
        "C2 takes 6 of A1 at 101",
        "C2 takes 1 of B1 at 101",
    ]


def test_one_may_trade_with_oneself() -> None:
    book = BookTable("| 101 | 10 A")
    assert "A2 takes 10 of A1 at 101" in book.new("A", BUY, 101, 10)


@pytest.mark.parametrize("time_in_force", [GTC, IOC])
def test_a_market_order_never_rests(time_in_force: object) -> None:
    book = BookTable("| 101 | 10 A \n | 150 | 10 A")
    assert book.new("C", BUY, None, 25, time_in_force) == [  # type: ignore[arg-type]
        "new C1",
        "C1 takes 10 of A1 at 101",
        "C1 takes 10 of A2 at 150",
        "canceled C1 5",
        "ask 101: 0",
        "ask 150: 0",
    ]
    assert book.new("C", SELL, None, 5) == ["new C2", "canceled C2 5"]


def test_immediate_or_cancel() -> None:
    book = BookTable("| 101 | 10 A \n | 150 | 10 A")
    assert book.new("C", BUY, 149, 25, IOC) == [
        "new C1",
        "C1 takes 10 of A1 at 101",
        "canceled C1 15",
        "ask 101: 0",
    ]
    assert book.new("C", BUY, 149, 25, IOC) == ["new C2", "canceled C2 25"]


def test_fill_or_kill() -> None:
    book = BookTable("| 101 | 10 A \n | 102 | 10 A 10 B")
    assert book.new("C", BUY, 102, 31, FOK) == ["new C1", "canceled C1 31"]
    assert book.new("C", BUY, 101, 11, FOK) == ["new C2", "canceled C2 11"]
    assert book.new("C", BUY, 100, 1, FOK) == ["new C3", "canceled C3 1"]
    assert len(book.new("C", BUY, 102, 30, FOK)) == 6
    assert book.table() == []


def test_post_only() -> None:
    book = BookTable("| 101 | 10 A")
    assert book.new("C", BUY, 101, 5, post_only=True) == ["new C1", "canceled C1 5"]
    assert book.new("C", BUY, 100, 5, post_only=True) == ["new C2", "bid 100: 5"]


def test_cancel() -> None:
    book = BookTable("| 101 | 10 A 5 B 1 C")
    assert book.cancel("B", 1) == ["canceled B1 5", "ask 101: 11"]
    assert book.table() == ["| 101 | 10 A 1 C"]
    assert book.cancel("B", 1) == ["refused not_found"]
    assert book.cancel("A", 1) == ["canceled A1 10", "ask 101: 1"]
    assert book.cancel("C", 1) == ["canceled C1 1", "ask 101: 0"]
    assert book.table() == []


def test_nobody_cancels_what_is_not_theirs() -> None:
    book = BookTable("| 101 | 10 A")
    assert book.cancel("B", 1) == ["refused not_found"]
    assert book.amend("B", 1, quantity=5) == ["refused not_found"]
    assert book.table() == ["| 101 | 10 A"]


def test_a_finished_order_is_not_found() -> None:
    book = BookTable("| 101 | 10 A")
    book.new("B", BUY, 101, 10)
    assert book.cancel("A", 1) == ["refused not_found"]
    assert book.cancel("B", 1) == ["refused not_found"]
    assert book.amend("A", 1, price=5) == ["refused not_found"]


def test_an_id_is_taken_among_open_orders_of_one_participant_only() -> None:
    book = BookTable("| 101 | 10 A")
    assert book.new("A", SELL, 102, 1, order_id=1) == ["refused duplicate"]
    assert book.new("A", BUY, None, 1, order_id=1) == ["refused duplicate"]
    assert book.new("B", BUY, 101, 10, order_id=1)[0] == "new B1"
    assert book.new("A", SELL, 102, 1, order_id=1) == ["new A1", "ask 102: 1"]


class TestAmend:
    def test_smaller_at_the_same_price_keeps_its_place(self) -> None:
        book = BookTable("| 101 | 10 A 10 B")
        assert book.amend("A", 1, quantity=4) == ["amended A1 to 4 at 101", "ask 101: 14"]
        assert book.amend("A", 1, 101, 3) == ["amended A1 to 3 at 101", "ask 101: 13"]
        assert book.table() == ["| 101 | 3 A 10 B"]

    def test_larger_goes_to_the_back(self) -> None:
        book = BookTable("| 101 | 10 A 10 B")
        assert book.amend("A", 1, quantity=11) == ["amended A1 to 11 at 101", "ask 101: 21"]
        assert book.table() == ["| 101 | 10 B 11 A"]

    def test_the_same_goes_to_the_back_and_changes_no_level(self) -> None:
        book = BookTable("| 101 | 10 A 10 B")
        assert book.amend("A", 1, quantity=10) == ["amended A1 to 10 at 101"]
        assert book.table() == ["| 101 | 10 B 10 A"]

    def test_another_price_announces_both_levels_best_first(self) -> None:
        book = BookTable("10 A 10 B | 99 |")
        assert book.amend("A", 1, price=98) == [
            "amended A1 to 10 at 98",
            "bid 99: 10",
            "bid 98: 10",
        ]
        assert book.amend("A", 1, price=100, quantity=1) == [
            "amended A1 to 1 at 100",
            "bid 100: 1",
            "bid 98: 0",
        ]

    def test_trades_if_it_now_crosses(self) -> None:
        book = BookTable("| 101 | 10 B \n 20 A | 99 |")
        assert book.amend("A", 1, price=101) == [
            "amended A1 to 20 at 101",
            "A1 takes 10 of B1 at 101",
            "ask 101: 0",
            "bid 101: 10",
            "bid 99: 0",
        ]
        assert book.table() == ["10 A | 101 |"]

    def test_that_trades_in_full_is_gone(self) -> None:
        book = BookTable("| 101 | 10 B \n 20 A | 99 |")
        assert book.amend("A", 1, 105, 4) == [
            "amended A1 to 4 at 105",
            "A1 takes 4 of B1 at 101",
            "ask 101: 6",
            "bid 99: 0",
        ]
        assert book.cancel("A", 1) == ["refused not_found"]

    def test_post_only_is_cancelled_rather_than_traded(self) -> None:
        book = BookTable("| 101 | 10 B")
        book.new("A", BUY, 99, 20, post_only=True)
        assert book.amend("A", 1, price=101) == [
            "amended A1 to 20 at 101",
            "canceled A1 20",
            "bid 99: 0",
        ]
        assert book.table() == ["| 101 | 10 B"]

    def test_keeps_counting_as_one_open_order(self) -> None:
        book = BookTable("10 A | 99 |", OpenOrders(limit=1))
        book.amend("A", 1, price=98)
        assert book.new("A", BUY, 97, 1) == ["refused openOrders"]


class TestBounds:
    def test_the_numbers_of_the_protocol(self) -> None:
        assert module.MAX_MET == 10_000

    def test_open_orders_of_all(self) -> None:
        book = BookTable("10 A | 99 |", OpenOrders(total_limit=2))
        book.new("B", BUY, 98, 1)
        assert book.new("C", BUY, 97, 1) == ["refused restingOrders"]
        assert book.new("C", SELL, 98, 11, IOC)[-1] == "bid 98: 0"
        assert book.new("C", BUY, 97, 1) == ["new C3", "bid 97: 1"]

    def test_open_orders(self) -> None:
        book = BookTable("10 A | 99 |", OpenOrders(limit=2))
        book.new("A", BUY, 98, 1)
        assert book.new("A", BUY, 97, 1) == ["refused openOrders"]
        assert book.new("B", SELL, 98, 1)[0] == "new B1"
        assert book.new("A", SELL, 200, 1, IOC) == ["new A4", "canceled A4 1"], "it cannot rest"
        book.cancel("A", 2)
        assert book.new("A", BUY, 97, 1)[0] == "new A5"

    def test_a_level_stays_below_2_53_lots(self) -> None:
        book = BookTable()
        most = 2**53 - 1
        assert book.new("A", BUY, 99, most) == ["new A1", f"bid 99: {most}"]
        assert book.new("B", BUY, 99, 1) == ["refused too_large"]
        assert book.new("B", BUY, 98, 1)[0] == "new B2"
        assert book.amend("B", 2, price=99) == ["refused too_large"]
        assert book.amend("A", 1, quantity=most)[0] == f"amended A1 to {most} at 99"
        assert book.amend("A", 1, quantity=most + 1) == ["refused too_large"]

    def test_one_command_meets_so_many_orders(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MAX_MET", 3)
        book = BookTable("| 101 | 1 A 1 A \n | 102 | 1 A 1 A 1 A")
        assert book.new("B", BUY, 102, 4, FOK) == ["new B1", "canceled B1 4"]
        assert book.new("B", BUY, 103, 9) == [
            "new B2",
            "B2 takes 1 of A1 at 101",
            "B2 takes 1 of A2 at 101",
            "B2 takes 1 of A3 at 102",
            "canceled B2 6",
            "ask 101: 0",
            "ask 102: 2",
        ]
        assert book.new("B", BUY, 102, 9)[-1] == "bid 102: 7", "two met, and nothing more crosses"

    def test_fill_or_kill_at_the_very_bound(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MAX_MET", 3)
        book = BookTable("| 101 | 1 A 1 A 1 A 1 A")
        assert book.new("B", BUY, 101, 3, FOK)[-1] == "ask 101: 1"


def test_cancel_all_announces_bids_then_asks_best_first() -> None:
    book = BookTable("""
              | 103 | 1 A
              | 102 | 1 A 1 B
         1 A  | 99  |
         1 A  | 100 |
    """)
    events: list[Event] = []
    seq, count = book.book.cancel_all("A", book.seq, events)
    check_numbers(events, book.seq, seq)
    assert count == 4
    assert [describe(event) for event in events] == [
        "canceled A1 1",
        "canceled A2 1",
        "canceled A3 1",
        "canceled A4 1",
        "bid 100: 0",
        "bid 99: 0",
        "ask 102: 1",
        "ask 103: 0",
    ]
    assert book.table() == ["| 102 | 1 B"]
    assert book.book.cancel_all("A", seq, events) == (seq, 0)


def test_open_orders_are_listed_in_the_order_taken() -> None:
    book = BookTable("10 A | 99 | \n | 105 | 7 A")
    book.new("B", SELL, 99, 4)
    listed = [(o.order_id, o.side, o.price, o.quantity) for o in book.book.open_orders("A")]
    assert listed == [(1, BUY, 99, 6), (2, SELL, 105, 7)]
    assert book.book.open_orders("Z") == []


def test_snapshot() -> None:
    snapshot = BookTable(CHALLENGE).book.snapshot()
    assert snapshot.bids == [(145, 300), (144, 300), (142, 4500)]
    assert snapshot.asks == [(149, 500), (151, 2500), (156, 150)]


def test_another_kind_of_command_fails_loudly() -> None:
    with pytest.raises(TypeError, match="CancelAll"):
        BookTable().book.execute(CancelAll("A", "A", 0), 0, [])  # type: ignore[arg-type]
