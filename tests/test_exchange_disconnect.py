"""Cancel on disconnect, participants that are disabled, and operators, in every engine."""

from typing import Any

import pytest

from tests.engines import Engine, EngineTests, InMemory, OnRedis, by, log_in, until, with_loop
from tests.test_exchange import asking, new
from wood.model.commands import (
    SWEEP,
    CancelAll,
    CancelAnonymous,
    CloseSession,
    Heartbeat,
    ListInstruments,
    ListOrders,
    NewOrder,
    OpenSession,
    Refuse,
)
from wood.model.errors import ErrorCode
from wood.model.events import (
    AllCanceled,
    CommandRefused,
    Event,
    HeartbeatAnswered,
    InstrumentsListed,
    LevelChanged,
    LoginRefused,
    OrderCanceled,
    ParticipantDisabled,
    SessionClosed,
    SessionOpened,
)
from wood.model.orders import BUY, SELL
from wood.model.participants import Participant

LONG = 3600.0
"""A grace that ends only when the test says so."""


async def opened(engine: Engine, name: str, cancels: bool = True, **more: Any) -> Event:
    """A session that has one order more in each instrument."""
    [event] = await engine.say(log_in(name, cancel_orders=cancels, **more))
    seq = engine.seq
    orders = [
        NewOrder(*by(event), "PEAR", seq, SELL, 200, 2),
        NewOrder(*by(event), "WOOD", seq, BUY, 100, 1),
    ]
    await engine.say(*orders)
    return event


def canceled(events: list[Event]) -> list[tuple[str, str, int]]:
    return [(e.participant, e.symbol, e.order_id) for e in events if isinstance(e, OrderCanceled)]


class DisconnectTests(EngineTests):
    """The suite."""

    def test_orders_are_cancelled_once_when_the_grace_is_over(self) -> None:
        async def test() -> None:
            async with self.engine(grace=LONG) as engine:
                session = await opened(engine, "alice")
                await engine.say(asking(Refuse, "~2", ErrorCode.INVALID, ""))
                assert await engine.sweep() == [], "nothing is due"
                assert await engine.say(CloseSession(*by(session))) == [
                    SessionClosed(*by(session)[:2])
                ]
                assert await engine.sweep() == []
                assert await engine.sweep(LONG - 60) == []
                assert await engine.sweep(60) == [
                    OrderCanceled(6, "alice", "WOOD", 1, 1),
                    LevelChanged(7, "WOOD", BUY, 100, 0),
                    OrderCanceled(8, "alice", "PEAR", 1, 2),
                    LevelChanged(9, "PEAR", SELL, 200, 0),
                ]
                assert await engine.sweep(LONG) == []

        with_loop(test)

    def test_without_grace_in_the_same_batch(self) -> None:
        async def test() -> None:
            async with self.engine(grace=0) as engine:
                session = await opened(engine, "alice")
                commands = [SWEEP, CloseSession(*by(session)), SWEEP, SWEEP]
                first, *events = await engine.say(*commands, log_in("alice"), SWEEP)
                assert isinstance(first, SessionClosed)
                assert isinstance(events.pop(), SessionOpened)
                assert canceled(events) == [("alice", "WOOD", 1), ("alice", "PEAR", 1)]
                assert await engine.sweep() == []

        with_loop(test)

    def test_who_did_not_ask_for_it_keeps_its_orders(self) -> None:
        async def test() -> None:
            async with self.engine(grace=0) as engine:
                session = await opened(engine, "alice", cancels=False)
                # What a connection says when it closes is for those without a name.
                await engine.say(CloseSession(*by(session), True))
                assert await engine.sweep(LONG) == []

        with_loop(test)

    @pytest.mark.parametrize("together", [True, False])
    def test_the_last_session_that_asked_for_it_decides(self, together: bool) -> None:
        async def test() -> None:
            async with self.engine(grace=0) as engine:
                asked = [True, False, True, False]
                sessions = [await opened(engine, "alice", cancels) for cancels in asked]
                ends = [CloseSession(*by(session)) for session in sessions]
                if together:
                    events = await engine.say(*ends[:2], SWEEP)
                    assert canceled(events) == []
                    assert len(canceled(await engine.say(ends[2], SWEEP))) == 8
                else:
                    for end in ends[:2]:
                        await engine.say(end)
                        assert await engine.sweep() == []
                    await engine.say(ends[2])
                    # Though one is connected still, which did not ask for it.
                    assert len(canceled(await engine.sweep())) == 8
                await engine.say(ends[3])
                assert await engine.sweep() == []

        with_loop(test)

    def test_one_that_comes_as_others_go_guards(self) -> None:
        async def test() -> None:
            async with self.engine(grace=0) as engine:
                one, other = [await opened(engine, "alice") for _ in range(2)]
                ends = [CloseSession(*by(one)), CloseSession(*by(other))]
                new_one = log_in("alice", cancel_orders=True)
                events = await engine.say(ends[0], new_one, ends[1], SWEEP)
                assert canceled(events) == []
                assert len(canceled(await engine.say(CloseSession(*by(events[1])), SWEEP))) == 4

        with_loop(test)

    @pytest.mark.parametrize("cancels", [True, False])
    @pytest.mark.parametrize("resumes", [True, False])
    def test_who_is_back_within_the_grace_keeps_its_orders(
        self, cancels: bool, resumes: bool
    ) -> None:
        async def test() -> None:
            async with self.engine(grace=LONG) as engine:
                session = await opened(engine, "alice")
                await engine.say(CloseSession(*by(session)))
                await engine.later(LONG - 60)
                name = by(session)[1] if resumes else None
                [back] = await engine.say(log_in("alice", cancel_orders=cancels, resumes=name))
                assert await engine.sweep(2 * LONG) == []
                await engine.say(CloseSession(*by(back)))
                assert len(canceled(await engine.sweep(2 * LONG))) == (2 if cancels else 0)

        with_loop(test)

    def test_who_resumes_has_not_left(self) -> None:
        """Not even as one who asks for nothing any more."""

        async def test() -> None:
            async with self.engine(grace=0) as engine:
                session = await opened(engine, "alice")
                resume = log_in("alice", resumes=by(session)[1], last_seq=1)
                [back, *rest] = await engine.say(resume, CloseSession(*by(session)), SWEEP)
                assert rest == [], "the older connection has no say in it"
                await engine.say(CloseSession(*by(back)))
                assert await engine.sweep() == []

        with_loop(test)

    def test_a_login_that_is_refused_does_not_count(self) -> None:
        async def test() -> None:
            async with self.engine(grace=0) as engine:
                await engine.have({"alice": Participant("a" * 64, 1)})
                session = await opened(engine, "alice", token="a" * 64)
                await engine.say(CloseSession(*by(session)))
                [refused] = await engine.say(log_in("alice", token="b" * 64))
                assert isinstance(refused, LoginRefused)
                assert len(canceled(await engine.sweep())) == 2

        with_loop(test)

    def test_several_who_are_due(self) -> None:
        """The longest gone first."""

        async def test() -> None:
            async with self.engine(grace=LONG) as engine:
                names = ["dora", "carl", "bill", "anna"]
                for name in names:
                    session = await opened(engine, name)
                    await engine.say(CloseSession(*by(session)))
                    await engine.later(60)
                assert await engine.sweep(LONG - 270) == []
                events = await engine.sweep(60)
                assert [who for who, *_ in canceled(events)] == ["dora", "dora"]
                events = await engine.sweep(LONG)
                assert [who for who, *_ in canceled(events)[::2]] == names[1:]

        with_loop(test)

    def test_a_connection_without_a_name_that_asked_for_it(self) -> None:
        async def test() -> None:
            async with self.engine(grace=LONG) as engine:
                own = OpenSession("~1", "~1", 0, "~1", cancel_orders=True)
                [event] = await engine.say(own)
                assert event == SessionOpened(1, "~1", "~1", "~1", False, None, None, None)
                await engine.say(NewOrder("~1", "~1", 0, "WOOD", 1, BUY, 100, 1))
                assert await engine.sweep(LONG) == []
                events = await engine.say(CloseSession("~1", "~1", 0, True))
                assert canceled(events) == [("~1", "WOOD", 1)]
                assert await engine.sweep(LONG) == []

        with_loop(test)

    def test_engines_ask_themselves(self) -> None:
        async def test() -> None:
            async with self.engine(grace=0.05, sweeps=True) as engine:
                session = await opened(engine, "alice")
                await engine.say(CloseSession(*by(session)))
                await until(lambda: len(canceled(engine.said.events)) == 2)
                session = await opened(engine, "alice")
                await engine.have({"alice": Participant("a" * 64, 1, disabled=True)})
                disabled = ParticipantDisabled("alice")
                await until(lambda: disabled in engine.said.events)
                await engine.exchange.drain()
                assert len(canceled(engine.said.events)) == 4
                assert engine.said.events.count(disabled) == 1

        with_loop(test)

    @pytest.mark.parametrize("cancels", [True, False])
    def test_a_disabled_participant_is_cut_off(self, cancels: bool) -> None:
        async def test() -> None:
            async with self.engine(grace=LONG) as engine:
                known = {"alice": Participant("a" * 64, 1), "bob": Participant("b" * 64, 2)}
                await engine.have(known)
                sessions = [
                    await opened(engine, "alice", cancels=cancels and n < 2, token="a" * 64)
                    for n in range(3)
                ]
                bob = await opened(engine, "bob", token="b" * 64)
                await engine.have({**known, "alice": Participant("a" * 64, 1, disabled=True)})
                # Whoever of them leaves before it is done: that does not put it off.
                await engine.say(*[CloseSession(*by(session)) for session in sessions[:2]])
                *events, last = await engine.sweep()
                assert last == ParticipantDisabled("alice")
                assert len(canceled(events)) == 6
                assert {who for who, *_ in canceled(events)} == {"alice"}
                for session in sessions:
                    end = CloseSession(*by(session))
                    assert await engine.say(ListOrders(*by(session)), end) == []
                assert await engine.sweep(LONG) == [], "once"
                [refused] = await engine.say(log_in("alice", token="a" * 64))
                assert isinstance(refused, LoginRefused)
                assert refused.code is ErrorCode.DISABLED
                [listed] = await engine.say(ListOrders(*by(bob)))
                assert len(listed.orders) == 2  # type: ignore[attr-defined]
                # And may come back when that is taken back.
                await engine.have(known)
                [event] = await engine.say(log_in("alice", token="a" * 64))
                assert isinstance(event, SessionOpened)

        with_loop(test)

    def test_one_who_is_gone_is_disabled_too(self) -> None:
        async def test() -> None:
            async with self.engine(grace=LONG) as engine:
                session = await opened(engine, "alice", cancels=True)
                await engine.say(CloseSession(*by(session)))
                await engine.have({"alice": Participant("a" * 64, 1, disabled=True)})
                *events, last = await engine.sweep()
                assert (len(canceled(events)), last) == (2, ParticipantDisabled("alice"))

        with_loop(test)

    def test_an_operator_cancels_for_somebody_else(self) -> None:
        async def test() -> None:
            async with self.engine() as engine:
                for name in ("alice", "bob"):
                    await opened(engine, name)
                asker = ("op", "op-session", 0)
                events = await engine.say(CancelAll(*asker, "PEAR", "alice"))
                assert canceled(events) == [("alice", "PEAR", 1)]
                assert events[-1] == AllCanceled("op", "op-session", "PEAR", 1)
                events = await engine.say(
                    CancelAll(*asker, None, "bob"), CancelAll(*asker, None, "nobody")
                )
                assert canceled(events) == [("bob", "WOOD", 6), ("bob", "PEAR", 6)]
                answers = [event for event in events if isinstance(event, AllCanceled)]
                assert answers == [AllCanceled(*asker[:2], None, n) for n in (2, 0)]
                [listed] = await engine.say(ListOrders("alice", "x", 0))
                assert len(listed.orders) == 1  # type: ignore[attr-defined]

        with_loop(test)

    def test_anonymous_orders_that_are_old(self) -> None:
        async def test() -> None:
            async with self.engine() as engine:
                names = [f"~{since:08x}abcdef012345" for since in (9, 10, 11, 2**31)]
                names += ["~zz", "~0000000", "alice", "00000009", "x~00000009"]
                for name in names:
                    await engine.say(new(name, 1, BUY, 100, 1))
                asker = ("op", "op-session", 0)
                here = new(names[0], 2, SELL, 300, 1, "PEAR")
                events = await engine.say(here, CancelAnonymous(*asker, 11))
                assert canceled(events) == [
                    (names[0], "WOOD", 1),
                    (names[0], "PEAR", 2),
                    (names[1], "WOOD", 1),
                ]
                assert events[-1] == AllCanceled(*asker[:2], None, 3)
                for before, count in ((0, 0), (11, 0), (12, 1), (2**31, 0), (2**33, 1)):
                    *_, last = await engine.say(CancelAnonymous(*asker, before))
                    assert last == AllCanceled(*asker[:2], None, count)

        with_loop(test)

    def test_more_anonymous_orders_than_fit_in_a_batch(self) -> None:
        async def test() -> None:
            async with self.engine() as engine:
                names = [f"~{since:08x}" for since in range(1, 1301)]
                orders = [new(name, n, BUY, 1 + n, 1) for name in names for n in range(5)]
                await engine.say(*orders)
                asker = ("op", "op-session", 0)
                found: list[tuple[str, str, int]] = []
                counts: list[int] = []
                while not counts or counts[-1]:
                    batches = len(engine.said.batches)
                    events = await engine.say(CancelAnonymous(*asker, 2**32))
                    assert len(engine.said.batches) == batches + 1
                    assert len(events) < 5000
                    assert isinstance(events[-1], AllCanceled)
                    counts.append(events[-1].count)
                    found += canceled(events)
                    assert len(canceled(events)) == counts[-1]
                assert found == [(name, "WOOD", n) for name in names for n in range(5)]
                assert len(counts) > 2

        with_loop(test)

    def test_more_orders_of_the_gone_than_fit_in_a_batch(self) -> None:
        """A sweep ends early, and the next one goes on."""

        async def test() -> None:
            async with self.engine(grace=0) as engine:
                logins = [log_in(f"p{n:04}", f"~{n}", cancel_orders=True) for n in range(1200)]
                sessions = await engine.say(*logins)
                orders = [
                    NewOrder(*by(session), "WOOD", n, BUY, 1 + n, 1)
                    for session in sessions
                    for n in range(5)
                ]
                await engine.say(*orders)
                assert await engine.sweep() == []
                await engine.say(*[CloseSession(*by(session)) for session in sessions])
                found: list[tuple[str, str, int]] = []
                rounds = 0
                while events := await engine.sweep():
                    assert len(events) < 5000
                    found += canceled(events)
                    rounds += 1
                assert len(found) == len(set(found)) == 6000
                assert rounds > 1

        with_loop(test)

    def test_a_heartbeat_is_answered_in_its_turn(self) -> None:
        async def test() -> None:
            async with self.engine() as engine:
                who = ("~1", "~1", 0)
                [answer] = await engine.say(Heartbeat(*who))
                assert answer == HeartbeatAnswered("~1", "~1")
                [session] = await engine.say(log_in("alice"))
                mine = by(session)
                events = await engine.say(
                    Heartbeat(*who),
                    Refuse(*who, ErrorCode.INVALID, "1"),
                    Heartbeat(*mine),
                    ListInstruments(*mine),
                    Heartbeat(*who),
                    Refuse(*who, ErrorCode.INVALID, "2"),
                    Heartbeat(*mine),
                    Heartbeat(*who),
                )
                kinds = [type(event) for event in events]
                beat, said = HeartbeatAnswered, CommandRefused
                assert kinds == [beat, said, beat, InstrumentsListed, beat, said, beat, beat]
                names = [event.session for event in events]  # type: ignore[attr-defined]
                assert names == ["~1", "~1", *[mine[1]] * 2, "~1", "~1", mine[1], "~1"]
                assert engine.seq == 1, "they have no number"
                # Said while others are under way.
                engine.exchange.submit([Refuse(*who, ErrorCode.INVALID, "3")])
                engine.exchange.submit([Heartbeat(*who)])
                engine.exchange.submit([Heartbeat(*mine), Refuse(*who, ErrorCode.INVALID, "4")])
                before = len(engine.said.events)
                await engine.exchange.drain()
                kinds = [type(event) for event in engine.said.events[before:]]
                assert kinds == [said, beat, beat, said]

        with_loop(test)

    def test_heartbeats_alone_are_not_kept(self) -> None:
        """They would push out what the journal is for."""

        async def test() -> None:
            async with self.engine(kept=10) as engine:
                await engine.say(new("~1", 1, BUY, 100, 1))
                for _ in range(50):
                    assert len(await engine.say(Heartbeat("~1", "~1", 0))) == 1
                batches = [batch async for batch in engine.exchange.events(0)]
                assert [len(batch.events) for batch in batches] == [2]
                assert await engine.exchange.continues(engine.epoch, 0)

        with_loop(test)


class TestDisconnectInMemory(InMemory, DisconnectTests):
    pass


class TestDisconnectOnRedis(OnRedis, DisconnectTests):
    pass
