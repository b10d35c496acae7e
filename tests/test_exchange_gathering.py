"""One session over two partitions: who is asked what, and one answer out of two."""

from typing import Any

import pytest

from wood.exchange.gathering import Gathering, names_in
from wood.model.commands import (
    CancelAll,
    CancelOrder,
    ChangeState,
    CloseSession,
    Command,
    Heartbeat,
    ListInstruments,
    ListOrders,
    OpenSession,
    Refuse,
    Seen,
)
from wood.model.errors import ErrorCode, Limit
from wood.model.events import (
    AllCanceled,
    Batch,
    CommandRefused,
    Event,
    HeartbeatAnswered,
    InstrumentsListed,
    LoginRefused,
    OpenOrder,
    OrderCanceled,
    OrdersListed,
    ParticipantDisabled,
    SessionClosed,
    SessionOpened,
    StateAnswered,
    StateChanged,
)
from wood.model.instruments import Instrument, Instruments
from wood.model.orders import BUY, Reason, State

METALS = "metals"
INSTRUMENTS = Instruments(
    [Instrument("WOOD"), Instrument("GOLD", partition=METALS), Instrument("PEAR")]
)
ALICE = "main:1-5_metals:2-9"


class Desk:
    """A gathering, and what each partition was told."""

    def __init__(self) -> None:
        self.gathering = Gathering(INSTRUMENTS)
        self.last = {"main": 0, METALS: 0}

    def ask(self, *commands: Command) -> dict[str, list[Command]]:
        return self.gathering.spread(commands)

    def tell(self, partition: str, *events: Event, last: int = 0) -> list[Event]:
        last = self.last[partition] = max(last, self.last[partition])
        return self.gathering.gather(Batch(partition, 1, "w", 1, 1, last, 0, list(events))).events

    def due(self) -> list[tuple[str, Command]]:
        due, self.gathering.due = self.gathering.due, []
        return due

    def log_in(self, asker: str = "~1") -> SessionOpened:
        """alice is 1-5 in main and 2-9 in metals."""
        self.ask(OpenSession(asker, asker, 0, "alice"))
        assert self.tell("main", opened("1-5", 5, asker), last=5) == []
        (event,) = self.tell(METALS, opened("2-9", 9, asker), last=9)
        assert isinstance(event, SessionOpened)
        return event


def opened(session: str, seq: int, asker: str = "~1", **more: Any) -> SessionOpened:
    fields = {"operator": False, "last_seq": None, "recovered": None, "orders": None} | more
    return SessionOpened(seq, "alice", session, asker, **fields)


def as_alice(kind: type[Command], *more: Any, generation: int = 5) -> Any:
    return kind("alice", ALICE, generation, *more)


class TestOrders:
    def test_go_to_the_partition_of_their_instrument(self) -> None:
        desk = Desk()
        orders = [CancelOrder("~1", "~1", 0, symbol, 1) for symbol in ("GOLD", "WOOD", "GOLD")]
        assert desk.ask(*orders) == {METALS: [orders[0], orders[2]], "main": [orders[1]]}

    def test_of_one_who_logged_in_name_the_session_as_the_partition_knows_it(self) -> None:
        desk = Desk()
        desk.log_in()
        asked = desk.ask(as_alice(CancelOrder, "GOLD", 1), as_alice(CancelOrder, "WOOD", 2))
        assert asked == {
            METALS: [CancelOrder("alice", "2-9", 9, "GOLD", 1)],
            "main": [CancelOrder("alice", "1-5", 5, "WOOD", 2)],
        }

    def test_of_an_older_generation_are_not_taken(self) -> None:
        desk = Desk()
        desk.log_in()
        assert desk.ask(as_alice(CancelOrder, "GOLD", 1, generation=4)) == {}

    def test_that_are_refused_find_their_session(self) -> None:
        desk = Desk()
        desk.log_in()
        refused = CommandRefused("alice", "2-9", ErrorCode.NOT_FOUND, "x", 7, "GOLD")
        canceled = OrderCanceled(10, "alice", "GOLD", 1, 5)
        told = desk.tell(METALS, canceled, refused)
        assert told == [
            canceled,
            CommandRefused("alice", ALICE, ErrorCode.NOT_FOUND, "x", 7, "GOLD"),
        ]


class TestStates:
    def test_are_asked_of_the_partition_of_the_instrument(self) -> None:
        desk = Desk()
        desk.log_in()
        asked = desk.ask(as_alice(ChangeState, "GOLD", State.HALTED))
        assert asked == {METALS: [ChangeState("alice", "2-9", 9, "GOLD", State.HALTED)]}
        changed = StateChanged(10, "GOLD", State.HALTED, Reason.OPERATOR)
        answer = StateAnswered("alice", "2-9", "GOLD", State.HALTED)
        told = desk.tell(METALS, changed, answer)
        assert told == [changed, StateAnswered("alice", ALICE, "GOLD", State.HALTED)]
        other = StateAnswered("root", "2-7", "GOLD", State.HALTED)
        assert desk.tell(METALS, other) == [other], "asked at another node"

    def test_that_are_refused_find_their_session(self) -> None:
        desk = Desk()
        desk.log_in()
        desk.ask(as_alice(CancelAll), as_alice(ChangeState, "WOOD", State.OPEN))
        why = ErrorCode.RATE, "x", None, "WOOD", Limit.PARTICIPANT_RATE, 7
        assert desk.tell("main", CommandRefused("alice", "1-5", *why)) == [
            CommandRefused("alice", ALICE, *why)
        ]


class TestRates:
    """Each partition counts for itself, so that one may refuse what another has done."""

    def test_a_refusal_by_one_is_the_answer(self) -> None:
        desk = Desk()
        desk.log_in()
        desk.ask(as_alice(CancelAll))
        assert desk.tell("main", AllCanceled("alice", "1-5", None, 2)) == []
        why = ErrorCode.RATE, "x", None, None, Limit.PARTICIPANT_RATE, 7
        assert desk.tell(METALS, CommandRefused("alice", "2-9", *why)) == [
            CommandRefused("alice", ALICE, *why)
        ]

    def test_of_two_the_longer_one_is(self) -> None:
        desk = Desk()
        desk.log_in()
        for first, second in ((7, 9), (9, 7)):
            desk.ask(as_alice(CancelAll))
            why = ErrorCode.RATE, "x", None, None, Limit.PARTICIPANT_RATE
            assert desk.tell("main", CommandRefused("alice", "1-5", *why, first)) == []
            (event,) = desk.tell(METALS, CommandRefused("alice", "2-9", *why, second))
            assert event == CommandRefused("alice", ALICE, *why, 9)


@pytest.mark.parametrize("kind", [ListOrders, ListInstruments])
def test_a_query_that_a_partition_cannot_take_is_answered_all_the_same(kind: type[Command]) -> None:
    desk = Desk()
    desk.log_in()
    desk.ask(as_alice(kind))
    refused = CommandRefused("alice", "1-5", ErrorCode.UNAVAILABLE, "x", None, None)
    assert desk.tell("main", refused) == []
    answer: Event = OrdersListed("alice", "2-9", None, [])
    if kind is ListInstruments:
        answer = InstrumentsListed("alice", "2-9", {"GOLD": State.OPEN})
    (event,) = desk.tell(METALS, answer)
    assert event == CommandRefused("alice", ALICE, ErrorCode.UNAVAILABLE, "x", None, None)


class TestLogin:
    def test_is_told_once_all_have_granted_it(self) -> None:
        event = Desk().log_in()
        assert (event.participant, event.session, event.asker) == ("alice", ALICE, "~1")
        assert event.generation == 5
        assert event.recovered is None
        assert event.parts is not None
        assert {name: part.seq for name, part in event.parts.items()} == {"main": 5, METALS: 9}

    def test_says_what_a_partition_told_while_another_was_waited_for(self) -> None:
        desk = Desk()
        desk.ask(OpenSession("~1", "~1", 0, "alice"))
        desk.tell("main", opened("1-5", 5), last=7)
        desk.tell("main", OrderCanceled(8, "alice", "WOOD", 1, 5), last=8)
        (event,) = desk.tell(METALS, opened("2-9", 9), last=11)
        assert isinstance(event, SessionOpened)
        assert event.parts is not None
        assert {name: part.seq for name, part in event.parts.items()} == {"main": 5, METALS: 9}
        assert event.told == {"main": 8}
        assert desk.ask(CancelOrder("alice", event.session, 5, "WOOD", 1)) == {
            "main": [CancelOrder("alice", "1-5", 5, "WOOD", 1)]
        }

    def test_of_a_partition_that_lost_reports_what_it_told_meanwhile_follows_its_orders(
        self,
    ) -> None:
        desk = Desk()
        desk.ask(OpenSession("~1", "~1", 0, "alice"))
        desk.tell("main", opened("1-5", 5, last_seq=90, recovered=False, orders=[]), last=7)
        (event,) = desk.tell(METALS, opened("2-9", 9, last_seq=3, recovered=True), last=11)
        assert isinstance(event, SessionOpened)
        assert event.parts is not None
        assert {name: part.seq for name, part in event.parts.items()} == {"main": 5, METALS: 9}
        assert event.told == {"main": 7}

    def test_asks_each_for_what_the_client_had_there(self) -> None:
        desk = Desk()
        had: dict[str, Seen] = {"main": ("1-5", 7, 1)}
        login = OpenSession("~1", "~1", 0, "alice", "t", "1-5", 7, 1, True, had)
        assert desk.ask(login) == {
            "main": [OpenSession("~1", "~1", 0, "alice", "t", "1-5", 7, 1, True)],
            METALS: [OpenSession("~1", "~1", 0, "alice", "t", None, None, None, True)],
        }

    @pytest.mark.parametrize("in_metals", [True, False, None])
    def test_is_recovered_if_all_that_were_asked_are(self, in_metals: bool | None) -> None:
        desk = Desk()
        desk.ask(OpenSession("~1", "~1", 0, "alice"))
        order = OpenOrder("GOLD", 3, BUY, 5, 1)
        orders = [order] if in_metals is False else None
        desk.tell("main", opened("1-5", 5, recovered=True, last_seq=3))
        (event,) = desk.tell(METALS, opened("2-9", 9, recovered=in_metals, orders=orders))
        assert isinstance(event, SessionOpened)
        assert event.recovered is (in_metals is not False)
        assert event.orders == (orders or [])

    @pytest.mark.parametrize("first", ["main", METALS])
    def test_that_one_refuses_is_refused_and_taken_back_elsewhere(self, first: str) -> None:
        desk = Desk()
        desk.ask(OpenSession("~1", "~1", 0, "alice"))
        other = METALS if first == "main" else "main"
        assert desk.tell(first, opened("3-3", 3)) == []
        refusal = LoginRefused("~1", "~1", ErrorCode.UNAUTHORIZED, "no")
        assert desk.tell(other, refusal) == [refusal]
        assert desk.due() == [(first, CloseSession("alice", "3-3", 3))]
        assert desk.tell(first, SessionClosed("alice", "3-3")) == []

    def test_is_refused_for_what_is_wrong_for_good(self) -> None:
        desk = Desk()
        desk.ask(OpenSession("~1", "~1", 0, "alice"))
        desk.tell("main", LoginRefused("~1", "~1", ErrorCode.UNAVAILABLE, "later"))
        wrong = LoginRefused("~1", "~1", ErrorCode.UNAUTHORIZED, "no")
        assert desk.tell(METALS, wrong) == [wrong]
        assert desk.due() == []

    @pytest.mark.parametrize("how", ["superseded", "disabled"])
    def test_that_is_void_in_one_before_another_grants_it_is_refused(self, how: str) -> None:
        desk = Desk()
        desk.ask(OpenSession("~1", "~1", 0, "alice"))
        desk.tell("main", opened("1-5", 5))
        void = opened("1-5", 8, "~other") if how == "superseded" else ParticipantDisabled("alice")
        desk.tell("main", void)
        (told,) = desk.tell(METALS, opened("2-9", 9))
        assert isinstance(told, LoginRefused)
        assert told.code == how
        assert desk.due() == [(METALS, CloseSession("alice", "2-9", 9))]

    def test_elsewhere_ends_the_session_here(self) -> None:
        desk = Desk()
        desk.log_in()
        foreign = opened("2-9", 20, "~other")
        assert desk.tell(METALS, foreign) == [opened(ALICE, 20, "")]
        # The connection is told so and closes: only the partition that it still has hears of it.
        assert desk.ask(as_alice(CloseSession)) == {"main": [CloseSession("alice", "1-5", 5)]}
        assert desk.tell("main", SessionClosed("alice", "1-5")) == [SessionClosed("alice", ALICE)]

    def test_elsewhere_that_overtakes_an_answer_leaves_nothing_waiting(self) -> None:
        desk = Desk()
        desk.log_in()
        desk.ask(as_alice(Heartbeat))
        desk.tell("main", HeartbeatAnswered("alice", "1-5"))
        desk.tell(METALS, opened("2-9", 20, "~other"))
        assert not desk.gathering._open[METALS]
        assert not desk.gathering._open["main"]

    def test_of_the_same_session_here_takes_the_place_of_the_older(self) -> None:
        desk = Desk()
        desk.log_in("~1")
        desk.ask(OpenSession("~2", "~2", 0, "alice"))
        assert desk.tell("main", opened("1-5", 15, "~2")) == [opened(ALICE, 15, "")]
        desk.ask(as_alice(CloseSession))
        told = desk.tell(METALS, opened("2-9", 19, "~2"))
        assert [type(event) for event in told] == [SessionOpened]
        (event,) = told
        assert isinstance(event, SessionOpened)
        assert (event.session, event.asker, event.generation) == (ALICE, "~2", 15)
        assert desk.ask(as_alice(CancelOrder, "GOLD", 1, generation=15)) == {
            METALS: [CancelOrder("alice", "2-9", 19, "GOLD", 1)]
        }

    def test_of_a_nameless_one_who_wants_its_orders_cancelled(self) -> None:
        desk = Desk()
        guard = OpenSession("~1", "~1", 0, "~1", cancel_orders=True)
        assert desk.ask(guard) == {"main": [guard], METALS: [guard]}
        mine = SessionOpened(5, "~1", "~1", "~1", False, None, None, None)
        assert desk.tell("main", mine) == []
        assert [type(event) for event in desk.tell(METALS, mine)] == [SessionOpened]
        assert not desk.gathering._seats


class TestAnswersOfAll:
    def test_come_once_and_as_one(self) -> None:
        desk = Desk()
        desk.log_in()
        asked = desk.ask(as_alice(CancelAll), as_alice(Heartbeat))
        assert asked["main"] == [CancelAll("alice", "1-5", 5), Heartbeat("alice", "1-5", 5)]
        assert asked[METALS] == [CancelAll("alice", "2-9", 9), Heartbeat("alice", "2-9", 9)]
        beat = HeartbeatAnswered("alice", "2-9")
        assert desk.tell(METALS, AllCanceled("alice", "2-9", None, 3), beat) == []
        told = desk.tell("main", AllCanceled("alice", "1-5", None, 4))
        assert told == [AllCanceled("alice", ALICE, None, 7)]
        told = desk.tell("main", HeartbeatAnswered("alice", "1-5"))
        assert told == [HeartbeatAnswered("alice", ALICE)]

    def test_list_by_instrument(self) -> None:
        desk = Desk()
        desk.ask(ListOrders("~1", "~1", 0))
        orders = [OpenOrder(s, n, BUY, 5, 1) for n, s in enumerate(["WOOD", "PEAR", "PEAR"])]
        desk.tell("main", OrdersListed("~1", "~1", None, orders))
        gold = OpenOrder("GOLD", 9, BUY, 5, 1)
        (listed,) = desk.tell(METALS, OrdersListed("~1", "~1", None, [gold]))
        assert listed == OrdersListed("~1", "~1", None, [orders[0], gold, *orders[1:]])

    def test_list_instruments_in_their_order(self) -> None:
        desk = Desk()
        desk.ask(ListInstruments("~1", "~1", 0))
        desk.tell(METALS, InstrumentsListed("~1", "~1", {"GOLD": State.OPEN}))
        (listed,) = desk.tell(
            "main", InstrumentsListed("~1", "~1", {"WOOD": State.OPEN, "PEAR": State.HALTED})
        )
        assert isinstance(listed, InstrumentsListed)
        assert list(listed.states.items()) == [
            *(("WOOD", State.OPEN), ("GOLD", State.OPEN), ("PEAR", State.HALTED))
        ]

    def test_about_one_instrument_come_from_its_partition_alone(self) -> None:
        desk = Desk()
        desk.log_in()
        assert list(desk.ask(as_alice(CancelAll, "GOLD"), as_alice(ListOrders, "GOLD"))) == [METALS]
        told = desk.tell(
            METALS, AllCanceled("alice", "2-9", "GOLD", 1), OrdersListed("alice", "2-9", "GOLD", [])
        )
        assert told == [
            AllCanceled("alice", ALICE, "GOLD", 1),
            OrdersListed("alice", ALICE, "GOLD", []),
        ]

    def test_that_one_refuses_are_one_refusal(self) -> None:
        """An error that says nothing of an order is told apart from that of a bad message."""
        desk = Desk()
        bad = Refuse("~1", "~1", 0, ErrorCode.INVALID, "bad")
        asked = desk.ask(bad, CancelAll("~1", "~1", 0), bad)
        assert asked["main"] == [bad, CancelAll("~1", "~1", 0), bad]
        refused = CommandRefused("~1", "~1", ErrorCode.INVALID, "bad", None, None)
        no = CommandRefused("~1", "~1", ErrorCode.UNAVAILABLE, "no", None, None)
        assert desk.tell("main", refused, no, refused) == [refused, refused]
        assert desk.tell(METALS, AllCanceled("~1", "~1", None, 3)) == [no]

    def test_of_another_nodes_client_are_nobodys(self) -> None:
        desk = Desk()
        beat = HeartbeatAnswered("bob", "7-7")
        assert desk.tell("main", beat, AllCanceled("bob", "7-7", None, 1)) == []

    def test_end_a_session_that_all_have_closed(self) -> None:
        desk = Desk()
        desk.log_in()
        desk.ask(as_alice(CloseSession))
        assert desk.tell("main", SessionClosed("alice", "1-5")) == []
        assert desk.tell(METALS, SessionClosed("alice", "2-9")) == [SessionClosed("alice", ALICE)]
        assert desk.ask(as_alice(CancelOrder, "GOLD", 1)) == {}
        gathering = desk.gathering
        assert not any((gathering._seats, *gathering._seats_in.values(), *gathering._open.values()))


class TestWhenAPartitionLosesTheThread:
    def test_nobody_waits_for_it(self) -> None:
        desk = Desk()
        desk.log_in()
        desk.ask(as_alice(Heartbeat))
        desk.gathering.lost("main", 0)
        assert desk.tell(METALS, HeartbeatAnswered("alice", "2-9")) == []
        assert not any(desk.gathering._open.values())

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_a_login_that_another_grants_is_taken_back(self, when: str) -> None:
        desk = Desk()
        desk.ask(OpenSession("~1", "~1", 0, "alice"))
        if when == "before":
            desk.tell(METALS, opened("2-9", 9))
        desk.gathering.lost("main", 0)
        if when == "after":
            assert desk.tell(METALS, opened("2-9", 9)) == []
        assert desk.due() == [(METALS, CloseSession("alice", "2-9", 9))]
        assert not any(desk.gathering._open.values())

    def test_what_it_tells_later_is_after_the_snapshot(self) -> None:
        desk = Desk()
        desk.gathering.lost("main", 40)
        desk.ask(OpenSession("~1", "~1", 0, "alice"))
        desk.tell("main", opened("1-41", 41), last=41)
        (event,) = desk.tell(METALS, opened("2-9", 9), last=9)
        assert isinstance(event, SessionOpened)
        assert event.parts is not None
        assert event.told == {"main": 41}


def test_a_disabled_participant_waits_for_no_answer() -> None:
    desk = Desk()
    desk.log_in()
    desk.ask(as_alice(Heartbeat))
    gone = ParticipantDisabled("alice")
    assert desk.tell("main", gone) == [gone]
    assert desk.ask(as_alice(CloseSession)) == {METALS: [CloseSession("alice", "2-9", 9)]}
    assert desk.tell(METALS, gone) == [gone]
    gathering = desk.gathering
    assert not any((gathering._seats, *gathering._seats_in.values(), *gathering._open.values()))


def test_names_of_a_session() -> None:
    assert names_in(ALICE, "main") == {"main": "1-5", METALS: "2-9"}
    assert names_in("1-5", "main") == {"main": "1-5"}
