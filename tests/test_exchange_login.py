"""Login and resume, in every engine."""

from typing import Any

import pytest

from tests.engines import EngineTests, InMemory, OnRedis, by, log_in, with_loop
from tests.test_exchange import asking, new
from wood.exchange.sessions import Auth
from wood.model.commands import (
    AmendOrder,
    CancelAll,
    CancelAnonymous,
    CancelOrder,
    CloseSession,
    Command,
    Heartbeat,
    ListInstruments,
    ListOrders,
    NewOrder,
    OpenSession,
    Refuse,
    Sweep,
)
from wood.model.errors import ErrorCode, JournalTrimmed
from wood.model.events import (
    Event,
    LevelChanged,
    LoginRefused,
    OpenOrder,
    OrderAccepted,
    OrderCanceled,
    SessionClosed,
    SessionOpened,
)
from wood.model.orders import BUY, GTC, SELL
from wood.model.participants import Participant

A, B = "a" * 64, "b" * 64
KNOWN = {
    "alice": Participant(A, 1),
    "bob": Participant(B, 2, disabled=True),
    "op": Participant(B, 3, operator=True),
}


def every_command(participant: str, session: str, generation: int) -> list[Command]:
    """One of each kind that a session may give."""
    who = participant, session, generation
    return [
        NewOrder(*who, "WOOD", 1, BUY, 100, 5),
        AmendOrder(*who, "WOOD", 7, 90, None),
        CancelOrder(*who, "WOOD", 7),
        CancelAll(*who),
        CancelAll(*who, None, "alice"),
        CancelAnonymous(*who, 2**32),
        ListOrders(*who),
        ListInstruments(*who),
        Refuse(*who, ErrorCode.INVALID, "bad"),
        OpenSession(*who, "alice"),
        Sweep(*who),
        CloseSession(*who),
    ]


class LoginTests(EngineTests):
    """The suite."""

    def test_a_login_is_an_event_that_names_the_session(self) -> None:
        async def test() -> None:
            async with self.engine() as engine:
                asked = new("~1", 1, BUY, 99, 1)
                [_, _, opened] = await engine.say(asked, log_in("alice", cancel_orders=True))
                session = f"{engine.epoch}-3"
                assert opened == SessionOpened(3, "alice", session, "~1", False, None, None, None)
                assert await engine.say(NewOrder(*by(opened), "WOOD", 2**64 - 1, BUY, 1, 5)) == [
                    OrderAccepted(4, "alice", session, "WOOD", 2**64 - 1, BUY, 1, 5, GTC, False),
                    LevelChanged(5, "WOOD", BUY, 1, 5),
                ]
                # Another connection of the same participant is another session.
                [other] = await engine.say(log_in("alice", "~2"))
                assert by(other) == ("alice", f"{engine.epoch}-6", 6)
                for each in (opened, other):
                    [answer] = await engine.say(ListOrders(*by(each)))
                    assert len(answer.orders) == 1  # type: ignore[attr-defined]
                assert await engine.say(CloseSession(*by(opened)), CloseSession(*by(other))) == [
                    SessionClosed("alice", session),
                    SessionClosed("alice", f"{engine.epoch}-6"),
                ]

        with_loop(test)

    @pytest.mark.parametrize("auth", Auth)
    @pytest.mark.parametrize("at_once", [True, False])
    def test_who_may_log_in(self, auth: Auth, at_once: bool) -> None:
        """Each login of a batch is proved by its own token."""
        nobody = ErrorCode.UNAUTHORIZED
        unknown = None if auth is Auth.OPEN else nobody
        cases: list[tuple[str, str, ErrorCode | None]] = [
            ("carol", "", unknown),
            ("alice", A, None),
            ("alice", B, nobody),
            ("carol", A, nobody),
            ("alice", "", nobody),
            ("bob", B, ErrorCode.DISABLED),
            ("bob", A, nobody),
            ("op", B, None),
            ("alice", A[:-1] + "b", nobody),
            ("Alice", "", unknown),
            ("~9", "", None),
        ]

        async def test() -> None:
            async with self.engine(auth=auth) as engine:
                await engine.have(KNOWN)
                logins = [
                    OpenSession("~9", f"{n}", 0, name, token)
                    for n, (name, token, _) in enumerate(cases)
                ]
                answers: list[Event] = []
                for commands in [logins] if at_once else [[login] for login in logins]:
                    answers += await engine.say(*commands)
                seq = 0
                for n, (name, _, code) in enumerate(cases):
                    answer = answers[n]
                    if code is None:
                        seq += 1
                        assert isinstance(answer, SessionOpened)
                        session = "10" if name == "~9" else f"{engine.epoch}-{seq}"
                        assert (answer.seq, answer.asker) == (seq, str(n))
                        assert (answer.participant, answer.session) == (name, session)
                        assert answer.operator is (name == "op")
                    else:
                        texts = {
                            nobody: "the participant and its token do not fit",
                            ErrorCode.DISABLED: "this participant is disabled",
                        }
                        assert answer == LoginRefused("~9", str(n), code, texts[code])
                assert len(answers) == len(cases)

        with_loop(test)

    def test_a_login_that_is_not_taken_does_not_lend_its_token(self) -> None:
        async def test() -> None:
            async with self.engine() as engine:
                await engine.have(KNOWN)
                [stale, refused, opened] = await engine.say(
                    log_in("carol"),
                    OpenSession("carol", "gone", 7, "alice", A),
                    log_in("alice"),
                    log_in("alice", token=A),
                )
                assert isinstance(stale, SessionOpened)
                assert isinstance(refused, LoginRefused)
                assert isinstance(opened, SessionOpened)

        with_loop(test)

    @pytest.mark.parametrize("together", [True, False])
    def test_resuming_ends_what_the_older_connection_says(self, together: bool) -> None:
        async def test() -> None:
            async with self.engine() as engine:
                [first] = await engine.say(log_in("alice"))
                await engine.say(NewOrder(*by(first), "WOOD", 7, SELL, 101, 3))
                resume = log_in("alice", "~2", resumes=by(first)[1], last_seq=3)
                late = every_command(*by(first))
                if together:
                    [second, *rest] = await engine.say(resume, *late)
                else:
                    [second] = await engine.say(resume)
                    rest = await engine.say(*late)
                assert by(second) == ("alice", by(first)[1], 4)
                assert rest == [], "not taken, and not answered"
                assert engine.seq == 4
                # The generation alone decides: it is no other session.
                for generation in (1, 3, 5, 2**53 - 1):
                    assert await engine.say(*every_command(*by(second)[:2], generation)) == []
                [listed] = await engine.say(ListOrders(*by(second)))
                orders = listed.orders  # type: ignore[attr-defined]
                assert orders == [OpenOrder("WOOD", 7, SELL, 101, 3)]
                # And once more, from the same connection or another one.
                [third] = await engine.say(log_in("alice", "~3", resumes=by(first)[1]))
                assert by(third) == ("alice", by(first)[1], 5)
                late = every_command(*by(second))
                assert await engine.say(*late, Heartbeat(*by(second))) == []
                assert await engine.say(CloseSession(*by(third))) == [SessionClosed(*by(third)[:2])]

        with_loop(test)

    def test_what_comes_before_the_resume_is_taken_and_the_rest_is_not(self) -> None:
        async def test() -> None:
            async with self.engine() as engine:
                [first] = await engine.say(log_in("alice"))
                orders = [NewOrder(*by(first), "WOOD", n, BUY, 100 + n, 1) for n in range(4)]
                resume = log_in("alice", "~2", resumes=by(first)[1], last_seq=1)
                events = await engine.say(*orders[:2], resume, *orders[2:])
                assert [e.order_id for e in events if isinstance(e, OrderAccepted)] == [0, 1]
                assert isinstance(events[-1], SessionOpened)
                assert (events[-1].seq, events[-1].recovered) == (6, True)

        with_loop(test)

    @pytest.mark.parametrize("together", [True, False])
    def test_a_closed_session_says_nothing_more(self, together: bool) -> None:
        async def test() -> None:
            async with self.engine() as engine:
                [opened] = await engine.say(log_in("alice"))
                close = CloseSession(*by(opened))
                if together:
                    [closed, *rest] = await engine.say(close, *every_command(*by(opened)))
                else:
                    [closed] = await engine.say(close)
                    rest = await engine.say(*every_command(*by(opened)))
                assert closed == SessionClosed(*by(opened)[:2])
                assert rest == []

        with_loop(test)

    def test_a_closed_session_is_resumed_under_its_name(self) -> None:
        async def test() -> None:
            async with self.engine() as engine:
                [first] = await engine.say(log_in("alice"))
                await engine.say(CloseSession(*by(first)))
                [second] = await engine.say(log_in("alice", "~2", resumes=by(first)[1]))
                assert by(second) == ("alice", by(first)[1], 2)
                assert await engine.say(*every_command(*by(first))) == []
                # Opened, closed and opened again in one batch.
                close = CloseSession(*by(second))
                [_, third] = await engine.say(close, log_in("alice", resumes=by(first)[1]))
                assert by(third) == ("alice", by(first)[1], 3)
                [listed] = await engine.say(ListInstruments(*by(third)))
                assert listed.session == by(first)[1]  # type: ignore[attr-defined]

        with_loop(test)

    def test_the_session_of_somebody_else_cannot_be_resumed(self) -> None:
        async def test() -> None:
            async with self.engine() as engine:
                [alice] = await engine.say(log_in("alice"))
                order = NewOrder(*by(alice), "WOOD", 1, BUY, 100, 5)
                [_, _, eve] = await engine.say(
                    order, log_in("eve", "~2", resumes=by(alice)[1], last_seq=1)
                )
                assert isinstance(eve, SessionOpened)
                assert by(eve) == ("eve", f"{engine.epoch}-4", 4)
                assert (eve.recovered, eve.orders) == (True, None), "which tells her nothing new"
                [listed] = await engine.say(ListOrders(*by(alice)))
                assert len(listed.orders) == 1  # type: ignore[attr-defined]
                # Not even when it has ended: then she has its name, and nothing of hers.
                await engine.say(CloseSession(*by(alice)), CloseSession(*by(eve)))
                [eve] = await engine.say(log_in("eve", "~3", resumes=by(alice)[1]))
                assert by(eve) == ("eve", by(alice)[1], 5)
                assert await engine.say(*every_command(*by(alice))) == []
                [back] = await engine.say(log_in("alice", "~4", resumes=by(alice)[1], last_seq=4))
                assert by(back) == ("alice", f"{engine.epoch}-6", 6)
                for each in (eve, back):
                    [listed] = await engine.say(ListInstruments(*by(each)))
                    assert listed.session == by(each)[1]  # type: ignore[attr-defined]

        with_loop(test)

    def test_forged_names(self) -> None:
        def forged(epoch: int, seq: int) -> list[str]:
            names = [f"{epoch}-{seq}", f"{epoch}-{seq + 1}", f"{epoch}-{10**15}"]
            names += [f"{epoch - 1}-1", f"{epoch + 1}-1", "1-1", f"{epoch}1-1", f"{'9' * 16}-1"]
            names += [f"0{epoch}-1", f"{epoch}-01", f"{epoch}-0", f"{epoch}--1", f"{epoch}-1-1"]
            names += [f"{epoch}-1{tail}" for tail in ("\n", " ", "\x00", ".0", "e0", "\u0661")]
            names += [f" {epoch}-1", f"{epoch}- 1", f"+{epoch}-1", f"{epoch}-{'1' * 17}"]
            names += ["", "-", "~1", "alice", "%d", "^", "A B", "*", "\x00", "\U0001f333"]
            return names + [f"{float(epoch)!r}-1", "nil", "2e15-1", f"{epoch:x}-1"]

        async def test() -> None:
            async with self.engine() as engine:
                [first] = await engine.say(log_in("carol"))
                for n in range(len(forged(1, 1))):
                    seq = engine.seq + 1
                    name = forged(engine.epoch, seq)[n]
                    [opened] = await engine.say(log_in("alice", resumes=name))
                    assert isinstance(opened, SessionOpened)
                    assert by(opened) == ("alice", f"{engine.epoch}-{seq}", seq), name
                    assert (opened.recovered, opened.orders) == (False, []), name
                [listed] = await engine.say(ListInstruments(*by(first)))
                assert listed.session == by(first)[1]  # type: ignore[attr-defined]

        with_loop(test)

    def test_open_orders_are_told_once(self) -> None:
        async def test() -> None:
            async with self.engine() as engine:
                [first] = await engine.say(log_in("alice"))
                orders = [
                    NewOrder(*by(first), "PEAR", 2**64 - 1, SELL, 200, 7),
                    NewOrder(*by(first), "WOOD", 2, BUY, 100, 5),
                    NewOrder(*by(first), "WOOD", 1, BUY, 101, 5),
                ]
                cancel = CancelOrder(*by(first), "WOOD", 1)
                again = log_in("alice", "~2", resumes=by(first)[1])
                events = await engine.say(*orders, cancel, again, log_in("eve", last_seq=5))
                *_, opened, eve = events
                assert isinstance(opened, SessionOpened)
                assert isinstance(eve, SessionOpened)
                assert opened.recovered is False
                assert opened.orders == [
                    OpenOrder("WOOD", 2, BUY, 100, 5),
                    OpenOrder("PEAR", 2**64 - 1, SELL, 200, 7),
                ]
                assert eve.orders == []
                kept = [e async for batch in engine.exchange.events(0) for e in batch.events]
                found = [event for event in kept if isinstance(event, SessionOpened)]
                assert [event.seq for event in found] == [1, opened.seq, eve.seq]
                assert [event.recovered for event in found] == [None, False, False]
                assert [event.orders for event in found] == [None, None, None]

        with_loop(test)

    def test_recovered(self) -> None:
        """True only if it is known of all numbers since then that the journal has them."""

        async def test() -> None:
            async with self.engine(grace=0) as engine:

                async def recovered(**said: Any) -> bool | None:
                    [opened] = await engine.say(log_in("alice", "~2", **said))
                    assert isinstance(opened, SessionOpened)
                    assert opened.last_seq == said.get("last_seq")
                    assert (opened.orders is None) is (opened.recovered is not False)
                    return opened.recovered

                await engine.say(new("~1", 1, BUY, 100, 1))
                [first] = await engine.say(log_in("alice"))
                name, epoch, login = by(first)[1], engine.epoch, by(first)[2]
                await engine.say(NewOrder(*by(first), "WOOD", 1, BUY, 100, 1))
                for last in (0, 1, login - 1, login, login + 1, engine.seq):
                    assert await recovered(resumes=name, last_seq=last) is True
                    assert await recovered(last_seq=last, epoch=epoch) is True
                    assert await recovered(resumes=name, last_seq=last, epoch=epoch) is True
                    assert await recovered(resumes="odd", last_seq=last, epoch=epoch) is False
                    # What the client says of the epoch counts, not what the name says.
                    assert await recovered(resumes=name, last_seq=last, epoch=epoch - 1) is False
                    assert await recovered(resumes=name, last_seq=last, epoch=0) is False
                    assert await recovered(resumes="1-1", last_seq=last) is False
                    assert await recovered(last_seq=last) is False
                    assert await recovered(last_seq=last, epoch=epoch + 1) is False
                for beyond in (1, 2, 10**9):
                    assert await recovered(last_seq=engine.seq + beyond, epoch=epoch) is False
                    assert await recovered(resumes=name, last_seq=engine.seq + beyond) is False
                assert await recovered(last_seq=engine.seq, epoch=epoch) is True
                assert await recovered(resumes=name) is False, "nobody knows what it saw"
                assert await recovered(resumes=name, epoch=epoch) is False
                assert await recovered(epoch=epoch) is None, "nobody asked"
                assert await recovered() is None

        with_loop(test)

    def test_recovered_within_a_batch(self) -> None:
        """What has not been written yet is known too."""

        async def test() -> None:
            async with self.engine() as engine:
                orders = [new("~1", n, BUY, 100, 1) for n in range(2)]
                epoch = engine.epoch
                asked = [log_in("a", last_seq=last, epoch=epoch) for last in (0, 3, 6, 8)]
                events = await engine.say(*orders, *asked)
                found = [e.recovered for e in events if isinstance(e, SessionOpened)]
                assert found == [True, True, True, False]

        with_loop(test)

    def test_recovered_from_a_journal_that_was_cut(self) -> None:
        async def test() -> None:
            async with self.engine(kept=10) as engine:
                for n in range(20):
                    await engine.say(new("~1", n, BUY, 100, 1))
                oldest = None
                for last in range(engine.seq + 1):
                    try:
                        [_ async for _ in engine.exchange.events(last)]
                    except JournalTrimmed:
                        continue
                    oldest = last
                    break
                assert oldest is not None
                assert oldest > 20
                # Each login is an event too, and cuts the journal further: so all in one batch.
                numbers = (0, oldest - 1, oldest, oldest + 1, engine.seq)
                logins = [log_in("a", last_seq=last, epoch=engine.epoch) for last in numbers]
                events = await engine.say(*logins)
                found = [event.recovered for event in events if isinstance(event, SessionOpened)]
                assert found == [False, False, True, True, True]

        with_loop(test)

    def test_a_cancelled_order_of_one_who_is_away_is_in_the_journal(self) -> None:
        """All that concerns a participant can be read, whoever caused it."""

        async def test() -> None:
            async with self.engine(grace=0) as engine:
                [first] = await engine.say(log_in("alice", cancel_orders=True))
                await engine.say(NewOrder(*by(first), "WOOD", 1, BUY, 100, 5))
                await engine.say(CloseSession(*by(first)))
                await engine.sweep()
                batches = [b async for b in engine.exchange.events(3, "alice")]
                kept = [event for batch in batches for event in batch.events]
                assert OrderCanceled(4, "alice", "WOOD", 1, 5) in kept

        with_loop(test)

    def test_a_name_without_a_token_has_none_of_an_operator(self) -> None:
        async def test() -> None:
            async with self.engine() as engine:
                [opened] = await engine.say(log_in("root"))
                assert isinstance(opened, SessionOpened)
                assert opened.operator is False

        with_loop(test)

    def test_nothing_is_nothing(self) -> None:
        async def test() -> None:
            async with self.engine() as engine:
                assert await engine.say() == []
                assert await engine.say(asking(ListInstruments, "~1")) != []

        with_loop(test)


class TestLoginInMemory(InMemory, LoginTests):
    pass


class TestLoginOnRedis(OnRedis, LoginTests):
    pass
