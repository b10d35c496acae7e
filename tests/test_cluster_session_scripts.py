"""What becomes of sessions in Redis when nodes die, answers get lost, or there are very many."""

import asyncio
from contextlib import AsyncExitStack
from itertools import chain
from typing import Any

import pytest
import redis

from tests.engines import (
    INSTRUMENTS,
    ClusterEngine,
    Recorder,
    by,
    log_in,
    until,
    with_loop,
    write_participants,
)
from tests.raw_writer import LEASE, Raw, raw_test
from tests.redis_books import stored_books, stored_sessions
from tests.test_exchange import asking, new
from wood.exchange.cluster.exchange import ClusterExchange
from wood.exchange.cluster.formats import decode_entry
from wood.exchange.cluster.keys import Keys
from wood.model.commands import (
    SWEEP,
    CancelAll,
    CloseSession,
    Command,
    Heartbeat,
    NewOrder,
    OpenSession,
)
from wood.model.events import (
    Event,
    HeartbeatAnswered,
    LoginRefused,
    OpenOrder,
    OrderCanceled,
    ParticipantDisabled,
    SessionOpened,
)
from wood.model.orders import BUY
from wood.model.participants import Participant

MANY = (20_000, 100_000, 1_000_000)
"""Limits that nothing here meets."""
AT_ONCE = 512
"""Commands in a batch."""
LONG = 3600.0


async def opened(raw: Raw, name: str, cancels: bool = True) -> Event:
    """A session with one order."""
    [event] = await raw.say(log_in(name, cancel_orders=cancels))
    seq = int(raw.sync.hget(raw.keys.meta, "seq"))
    await raw.say(NewOrder(*by(event), "WOOD", seq, BUY, 100, 1))
    return event


def canceled(events: list[Event]) -> list[str]:
    return [event.participant for event in events if isinstance(event, OrderCanceled)]


def sessions(raw: Raw) -> dict[str, tuple[str, int, bool]]:
    return stored_sessions(raw.sync, raw.prefix).sessions


async def dies(victim: Raw, heir: Raw) -> None:
    """Be silent for longer than a lease, while the other one is not."""
    await heir.membership.beat()
    victim.silent_for(LEASE + 1, victim.writer)
    await heir.membership.beat()
    assert victim.writer.encode() not in victim.sync.hkeys(victim.keys.writers)


def test_of_a_hundred_nodes_that_ask_at_once_one_cancels(redis_url: str, prefix: str) -> None:
    async def test(victim: Raw) -> None:
        for name in ("alice", "bob"):
            await opened(victim, name)
        await opened(victim, "carol", cancels=False)
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(victim.another()) for _ in range(100)]
            assert not any([await node.is_due() for node in nodes])
            victim.silent_for(LEASE + 1, victim.writer)
            assert all(await asyncio.gather(*(node.is_due() for node in nodes)))
            answers = await asyncio.gather(*(node.say(SWEEP) for node in nodes))
            assert sorted(canceled(list(chain(*answers)))) == ["alice", "bob"]
            assert [len(answer) for answer in answers].count(0) == 99
            assert not any([await node.is_due() for node in nodes])
            assert sessions(victim) == {}
            assert victim.leaving() == {}
            [order] = stored_books(victim.sync, prefix, INSTRUMENTS)["WOOD"].bids
            assert order[1] == "carol"
            # What the dead one has still to say is not taken.
            assert await victim.decide(7, SWEEP) == [b"fenced"]

    raw_test(redis_url, prefix, test)


def test_the_grace_began_when_the_lease_did(redis_url: str, prefix: str) -> None:
    async def test(victim: Raw) -> None:
        alice = await opened(victim, "alice")
        async with victim.another() as heir:
            await dies(victim, heir)
            assert await heir.is_due(), "there is a session to end"
            assert await heir.say(SWEEP) == []
            assert LEASE <= victim.leaving()["alice"] < LEASE + 60
            assert not await heir.is_due()
            assert await heir.say(CloseSession(*by(alice))) == []
            [back] = await heir.say(log_in("alice", "~2", resumes=by(alice)[1]))
            assert by(back)[:2] == by(alice)[:2]
            assert victim.leaving() == {}

    raw_test(redis_url, prefix, test, grace=LONG)


def test_connections_without_a_name_have_no_grace(redis_url: str, prefix: str) -> None:
    async def test(victim: Raw) -> None:
        for name, cancels in (("~1", True), ("~2", False)):
            await victim.say(
                OpenSession(name, name, 0, name, cancel_orders=cancels),
                NewOrder(name, name, 0, "WOOD", 1, BUY, 100, 1),
            )
        async with victim.another() as heir:
            assert canceled(await heir.say(SWEEP)) == []
            await dies(victim, heir)
            assert canceled(await heir.say(SWEEP)) == ["~1"]
            assert sessions(victim) == {}
            assert not await heir.is_due()

    raw_test(redis_url, prefix, test, grace=LONG)


@pytest.mark.parametrize("when", ["before", "after", "in the batch"])
def test_who_resumes_elsewhere_has_not_left(redis_url: str, prefix: str, when: str) -> None:
    async def test(victim: Raw) -> None:
        alice = await opened(victim, "alice")
        async with victim.another() as heir:
            resume = log_in("alice", "~2", resumes=by(alice)[1], cancel_orders=True)
            if when == "before":
                await heir.say(resume)
            await dies(victim, heir)
            if when == "after":
                await heir.say(resume)
            assert await heir.is_due() is (when == "in the batch")
            events = await heir.say(*([resume, SWEEP] if when == "in the batch" else [SWEEP]))
            assert canceled(events) == []
            assert [who for who, *_ in sessions(victim).values()] == ["alice"]
            assert not await heir.is_due()
            # The new one guards them now.
            async with victim.another() as last:
                await dies(heir, last)
                assert canceled(await last.say(SWEEP)) == ["alice"]

    raw_test(redis_url, prefix, test, grace=0)


def test_another_session_elsewhere_still_guards(redis_url: str, prefix: str) -> None:
    async def test(victim: Raw) -> None:
        await opened(victim, "alice")
        async with victim.another() as heir:
            other = await opened(heir, "alice")
            await dies(victim, heir)
            assert await heir.say(SWEEP) == []
            assert list(sessions(victim)) == [by(other)[1]]
            events = await heir.say(CloseSession(*by(other)), SWEEP)
            assert canceled(events) == ["alice", "alice"]

    raw_test(redis_url, prefix, test, grace=0)


@pytest.mark.parametrize("joins", [True, False])
def test_after_an_outage_there_is_grace_again(redis_url: str, prefix: str, joins: bool) -> None:
    async def test(raw: Raw) -> None:
        write_participants(raw.sync, raw.keys, {"bob": Participant("b" * 64, 1)})
        for name in ("alice", "carol"):
            await raw.say(CloseSession(*by(await opened(raw, name))))
        raw.sync.zadd(raw.keys.leaving, {"bob": 0})
        for name in ("alice", "carol"):
            raw.sync.zincrby(raw.keys.leaving, -2 * LONG * 1e6, name)
        # Nobody was heard for two beats.
        raw.silent_for(2 * raw.membership.interval + 0.1, raw.writer)
        if joins:
            async with raw.another():
                pass
        assert await raw.is_due(), "bob"
        assert await raw.say(SWEEP) == []
        gone = raw.leaving()
        assert gone.keys() == {"alice", "carol"}
        assert max(gone.values()) < 60
        assert not await raw.is_due()
        raw.sync.zincrby(raw.keys.leaving, -2 * LONG * 1e6, "carol")
        assert await raw.is_due()
        assert canceled(await raw.say(SWEEP)) == ["carol"]

    raw_test(redis_url, prefix, test, grace=LONG)


def test_a_login_that_is_sent_again_is_taken_once(redis_url: str, prefix: str) -> None:
    async def test(raw: Raw) -> None:
        alice = await opened(raw, "alice")
        resume = log_in("alice", "~2", resumes=by(alice)[1], last_seq=1)
        again = [resume, log_in("bob", cancel_orders=True), SWEEP]
        word, taken, data, _ = await raw.decide(3, *again)
        entry = decode_entry(data)
        before, held = raw.dump(), sessions(raw)
        assert held[by(alice)[1]] == ("alice", entry.first, False)
        for _ in range(3):
            answer = [b"again", taken, entry.position.encode()]
            assert await raw.decide(3, *again) == answer
        assert raw.dump() == before
        assert (word, sessions(raw)) == (b"ok", held)
        # A batch that is fenced opens nothing either.
        assert await raw.decide(9, log_in("eve")) == [b"fenced"]
        assert await raw.decide(4, log_in("eve"), writer="nobody") == [b"fenced"]
        assert raw.dump() == before

    raw_test(redis_url, prefix, test)


@pytest.mark.parametrize("at_once", [True, False])
def test_what_was_seen_of_a_history_that_was_lost(
    redis_url: str, prefix: str, at_once: bool
) -> None:
    """The server is another one, and its epoch begins where that of the client had gone on."""

    async def test(raw: Raw) -> None:
        alice = await opened(raw, "alice", cancels=False)
        epoch, session = int(raw.sync.hget(raw.keys.meta, "epoch")), by(alice)[1]
        raw.sync.hset(raw.keys.meta, "server", "f00")
        asked = [
            log_in("alice", "~2", resumes=session, last_seq=last) for last in (9, 3, 4, 2, 0, 5)
        ]
        events = await raw.say(*asked) if at_once else [(await raw.say(a))[0] for a in asked]
        found = [event for event in events if isinstance(event, SessionOpened)]
        assert [event.recovered for event in found] == [False, True, False, True, True, False]
        present = int(raw.sync.hget(raw.keys.meta, "epoch"))
        assert present > epoch
        assert {event.session for event in found} == {session}, "it was connected all the time"
        assert sessions(raw)[session] == ("alice", found[-1].generation, False)
        # Who was not connected gets a name of the present epoch, and keeps that.
        await raw.say(CloseSession("alice", session, found[-1].generation))
        for resumes, last_seq in ((session, 9), (f"{present}-10", 10)):
            again = log_in("alice", "~2", resumes=resumes, last_seq=last_seq, epoch=present)
            [back] = await raw.say(again)
            assert isinstance(back, SessionOpened)
            assert (back.session, back.recovered) == (f"{present}-10", True)

    raw_test(redis_url, prefix, test)


def test_no_token_is_in_redis_but_that_of_the_participant(redis_url: str, prefix: str) -> None:
    async def test(raw: Raw) -> None:
        right, wrong = "a" * 64, "f" * 64
        write_participants(raw.sync, raw.keys, {"alice": Participant(right, 1)})
        [one, other, third] = await raw.say(
            log_in("alice", token=right), log_in("alice", token=wrong), log_in("bob", token=wrong)
        )
        assert isinstance(one, SessionOpened)
        assert isinstance(other, LoginRefused)
        assert isinstance(third, LoginRefused)
        assert not any(wrong.encode() in text for text in raw.texts())
        [kept] = [text for text in raw.texts() if right.encode() in text]
        assert kept == raw.sync.hget(raw.keys.participants, "alice")

    raw_test(redis_url, prefix, test)


def test_tokens_of_a_batch_that_ends_early(redis_url: str, prefix: str) -> None:
    """What is sent again has its own tokens again."""

    async def test() -> None:
        exchange, said = ClusterExchange(INSTRUMENTS, redis_url, prefix), Recorder()
        exchange.attach(said)
        await exchange.start()
        with redis.Redis.from_url(redis_url) as client:
            known = {name: Participant(name * 64, 1) for name in ("a", "b", "c")}
            write_participants(client, Keys(prefix), known)
        exchange.submit([new("A", n, BUY, 1 + n, 1) for n in range(4200)])
        await exchange.drain()
        before = len(said.batches)
        exchange.submit(
            [
                log_in("a", token="a" * 64, cancel_orders=True),
                log_in("b", token="a" * 64),
                SWEEP,
                asking(CancelAll, "A"),
                log_in("b", token="b" * 64),
                log_in("c", token="a" * 64),
                SWEEP,
                log_in("c", token="c" * 64, last_seq=0),
            ]
        )
        await exchange.drain()
        assert len(said.batches) == before + 2
        events = [event for batch in said.batches[before:] for event in batch.events]
        kinds = [type(event) for event in (*events[:2], *events[-3:])]
        assert kinds == [SessionOpened, LoginRefused, SessionOpened, LoginRefused, SessionOpened]
        await exchange.close()

    with_loop(test)


def test_a_login_whose_answer_was_lost(redis_url: str, prefix: str) -> None:
    """It was taken once; what the open orders were is not known any more."""

    async def test() -> None:
        async with ClusterEngine(redis_url, prefix) as engine:
            await engine.say(new("alice", 1, BUY, 100, 5))
            fast = engine.cluster._fast
            execute, lost = fast.execute_command, 0

            async def lose(*command: Any, **options: Any) -> Any:
                nonlocal lost
                answer = await execute(*command, **options)
                if lost < 3:
                    lost += 1
                    raise redis.ConnectionError("the answer is lost")
                return answer

            fast.execute_command = lose
            events = await engine.say(
                log_in("alice", last_seq=0),
                Heartbeat("~1", "~1", 0),
                log_in("bob", "~2", last_seq=2, epoch=engine.epoch),
            )
            assert lost == 3
            events += await engine.say(Heartbeat("~1", "~1", 0), log_in("alice", "~3", last_seq=0))
            found = [event for event in events if isinstance(event, SessionOpened)]
            assert [(e.participant, e.recovered, e.orders) for e in found] == [
                ("alice", False, None),
                ("bob", True, None),
                ("alice", False, [OpenOrder("WOOD", 1, BUY, 100, 5)]),
            ]
            beat = HeartbeatAnswered("~1", "~1")
            assert [event for event in events if event not in found] == [beat, beat]
            held = stored_sessions(engine.redis, prefix).sessions
            assert held == {e.session: (e.participant, e.seq, False) for e in found}

    with_loop(test)


def test_a_heartbeat_alone_writes_nothing(redis_url: str, prefix: str) -> None:
    async def test() -> None:
        exchange, said = ClusterExchange(INSTRUMENTS, redis_url, prefix), Recorder()
        exchange.attach(said)
        await exchange.start()
        with redis.Redis.from_url(redis_url) as client:
            journal = Keys(prefix).journal
            for n in range(3):
                exchange.submit([Heartbeat("~1", "~1", 0)] * 2)
                await exchange.drain()
                assert len(said.events) == 2 * (n + 1)
            assert client.xlen(journal) == 0
            exchange.submit([Heartbeat("~1", "~1", 0), log_in("alice"), Heartbeat("~1", "~1", 0)])
            await exchange.drain()
            assert client.xlen(journal) == 1
            assert [type(event) for event in said.events[6:]] == [
                HeartbeatAnswered,
                SessionOpened,
                HeartbeatAnswered,
            ]
            # Nor does one that was said while others were under way.
            exchange.submit([log_in("alice")])
            await until(lambda: not exchange._writer._queue)
            exchange.submit([Heartbeat("~1", "~1", 0)])
            await exchange.drain()
            assert client.xlen(journal) == 2
            assert isinstance(said.events[-1], HeartbeatAnswered)
        await exchange.close()

    with_loop(test)


async def log_many_in(raw: Raw, names: list[str], cancels: bool = True) -> list[Event]:
    found: list[Event] = []
    for start in range(0, len(names), AT_ONCE):
        logins = [log_in(name, cancel_orders=cancels) for name in names[start : start + AT_ONCE]]
        found += await raw.say(*logins)
    return found


def test_more_sessions_of_a_dead_node_than_one_sweep_ends(redis_url: str, prefix: str) -> None:
    async def test(victim: Raw) -> None:
        names = [f"p{n:04}" for n in range(2500)]
        found = await log_many_in(victim, names)
        for start in range(0, len(names), AT_ONCE):
            orders: list[Command] = [
                NewOrder(*by(each), "WOOD", 1, BUY, 100, 1)
                for each in found[start : start + AT_ONCE]
            ]
            await victim.say(*orders)
        async with victim.another() as heir:
            await dies(victim, heir)
            rounds: list[list[str]] = []
            while await heir.is_due():
                rounds.append(canceled(await heir.say(SWEEP)))
                assert len(rounds) < 10
            assert sorted(chain(*rounds)) == names
            assert len(rounds) > 2
            assert sessions(victim) == {}
            assert victim.leaving() == {}

    raw_test(redis_url, prefix, test, limits=MANY, grace=0)


def test_very_many_sessions_of_one_participant(redis_url: str, prefix: str) -> None:
    """More than Lua can unpack, on a node that dies and on one that is well."""

    async def test(victim: Raw) -> None:
        await opened(victim, "alice")
        await log_many_in(victim, ["alice"] * 9000)
        async with victim.another() as heir:
            kept = await log_many_in(heir, ["alice"] * 9000)
            for start in range(0, 2 * AT_ONCE, AT_ONCE):
                closings = [CloseSession(*by(each)) for each in kept[start : start + AT_ONCE]]
                assert len(await heir.say(*closings)) == AT_ONCE
            await dies(victim, heir)
            while await heir.is_due():
                assert await heir.say(SWEEP) == []
            assert len(sessions(victim)) == 9000 - 2 * AT_ONCE
            alice = Participant("a" * 64, 1, disabled=True)
            write_participants(victim.sync, victim.keys, {"alice": alice})
            events = await heir.say(SWEEP)
            assert canceled(events) == ["alice"]
            assert events[-1] == ParticipantDisabled("alice")
            assert sessions(victim) == {}

    raw_test(redis_url, prefix, test, limits=MANY, grace=0)


def test_very_many_who_leave_at_once(redis_url: str, prefix: str) -> None:
    async def test(raw: Raw) -> None:
        names = [f"p{n:05}" for n in range(9000)]
        found = await log_many_in(raw, names)
        for start in range(0, len(names), AT_ONCE):
            await raw.say(*[CloseSession(*by(each)) for each in found[start : start + AT_ONCE]])
        await raw.say(new("p08999", 1, BUY, 100, 1))
        assert len(raw.leaving()) == 9000
        raw.silent_for(10, raw.writer)
        assert not await raw.is_due(), "it was an outage"
        assert max(raw.leaving().values()) < 60
        raw.sync.zadd(raw.keys.leaving, dict.fromkeys(names, 1))
        rounds: list[list[str]] = []
        while await raw.is_due():
            rounds.append(canceled(await raw.say(SWEEP)))
            assert len(rounds) < 50
        assert list(chain(*rounds)) == ["p08999"]
        assert raw.leaving() == {}

    raw_test(redis_url, prefix, test, limits=MANY, grace=LONG)


@pytest.mark.parametrize("way", ["leaves", "dies"])
def test_those_of_a_writer_that_is_gone_have_their_grace_since_it_was_heard_of(
    redis_url: str, prefix: str, way: str
) -> None:
    """A node that leaves without closing its sessions, after a fork say, was there until then.

    One that is silent may have lived until its next beat was due.
    """

    async def test(victim: Raw) -> None:
        await opened(victim, "alice")
        meta, interval = victim.keys.meta, round(victim.membership.interval * 1e6)
        async with victim.another() as heir:
            beat = victim.sync.zscore(victim.keys.beats, victim.writer)
            if way == "leaves":
                await victim.membership.leave()
            else:
                await dies(victim, heir)
            assert await heir.is_due()
            await heir.say(SWEEP)
            if way == "leaves":
                assert heir.leaving()["alice"] < 5
            else:
                since = beat - (LEASE + 1) * 1e6 + interval
                assert heir.sync.zscore(heir.keys.leaving, "alice") == since
            assert not any(b"gone:" in field for field in heir.sync.hkeys(meta))

    raw_test(redis_url, prefix, test, limits=MANY, grace=600)
