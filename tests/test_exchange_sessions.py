"""The rules of sessions, without an engine."""

import pytest

from wood.exchange.sessions import Auth, Sessions, epoch_of
from wood.model.commands import CloseSession, Command, OpenSession
from wood.model.errors import ErrorCode, Refusal
from wood.model.participants import Participant

EPOCH = 1763720000123456
GRACE = 3_000_000  # microseconds
A, B = "a" * 64, "b" * 64


@pytest.fixture
def sessions() -> Sessions:
    found = Sessions(Auth.OPEN, GRACE / 1e6)
    found.participants = {
        "alice": Participant(A, 1),
        "bob": Participant(B, 2, disabled=True),
        "op": Participant(B, 3, operator=True),
    }
    return found


def opening(
    name: str, token: str = "", resumes: str | None = None, cancels: bool = False
) -> OpenSession:
    return OpenSession("~1", "~1", 0, name, token, resumes, cancel_orders=cancels)


def closing(name: str, session: str, generation: int) -> CloseSession:
    return CloseSession(name, session, generation)


@pytest.mark.parametrize(
    ("auth", "name", "token", "code"),
    [
        (Auth.OPEN, "alice", A, None),
        (Auth.OPEN, "alice", B, ErrorCode.UNAUTHORIZED),
        (Auth.OPEN, "alice", A[:-1], ErrorCode.UNAUTHORIZED),
        (Auth.OPEN, "alice", "", ErrorCode.UNAUTHORIZED),
        (Auth.OPEN, "Alice", "", None),
        (Auth.OPEN, "carol", "", None),
        (Auth.OPEN, "carol", A, ErrorCode.UNAUTHORIZED),
        (Auth.OPEN, "bob", B, ErrorCode.DISABLED),
        (Auth.OPEN, "bob", A, ErrorCode.UNAUTHORIZED),
        (Auth.TOKEN, "alice", A, None),
        (Auth.TOKEN, "op", B, None),
        (Auth.TOKEN, "op", A, ErrorCode.UNAUTHORIZED),
        (Auth.TOKEN, "carol", "", ErrorCode.UNAUTHORIZED),
        (Auth.TOKEN, "carol", A, ErrorCode.UNAUTHORIZED),
        # A connection without a name may always guard its orders.
        (Auth.TOKEN, "~1", "", None),
    ],
)
def test_who_may_log_in(
    sessions: Sessions, auth: Auth, name: str, token: str, code: ErrorCode | None
) -> None:
    sessions._auth = auth
    if code is None:
        sessions.check(opening(name, token))
    else:
        with pytest.raises(Refusal) as refused:
            sessions.check(opening(name, token))
        assert refused.value.code is code


def test_operators(sessions: Sessions) -> None:
    assert sessions.is_operator("op")
    assert not sessions.is_operator("alice")
    assert not sessions.is_operator("nobody")


def test_a_session_has_the_name_and_the_generation_of_its_login(sessions: Sessions) -> None:
    session = sessions.open(opening("alice"), EPOCH, 7)
    assert session == f"{EPOCH}-7"
    assert sessions.owns("alice", session)
    assert not sessions.owns("bob", session)
    assert sessions.holds(Command("alice", session, 7))
    assert not sessions.holds(Command("alice", session, 6))
    assert not sessions.holds(Command("alice", session, 8))
    assert not sessions.holds(Command("alice", "other", 7))
    assert sessions.holds(Command("~1", "~1", 0)), "nobody can resume that one"


def test_who_resumes_keeps_the_name_and_takes_a_new_generation(sessions: Sessions) -> None:
    session = sessions.open(opening("alice"), EPOCH, 7)
    assert sessions.open(opening("alice", resumes=session), EPOCH, 9) == session
    assert not sessions.holds(Command("alice", session, 7))
    assert sessions.holds(Command("alice", session, 9))
    sessions.close(closing("alice", session, 9), 0)
    assert not sessions.owns("alice", session)
    assert sessions.open(opening("alice", resumes=session), EPOCH, 11) == session


def test_in_another_epoch_the_name_is_another(sessions: Sessions) -> None:
    session = sessions.open(opening("alice"), EPOCH, 7)
    assert sessions.open(opening("alice", resumes=session), EPOCH + 1, 9) == f"{EPOCH + 1}-9"
    assert not sessions.owns("alice", session), "the older one has ended all the same"


def test_the_session_of_somebody_else_is_left_alone(sessions: Sessions) -> None:
    session = sessions.open(opening("alice"), EPOCH, 7)
    assert sessions.open(opening("eve", resumes=session), EPOCH, 8) == f"{EPOCH}-8"
    assert sessions.holds(Command("alice", session, 7))
    assert sessions.owns("alice", session)


@pytest.mark.parametrize(
    ("name", "epoch"),
    [
        (f"{EPOCH}-7", EPOCH),
        ("1-1", 1),
        ("9" * 16 + "-" + "9" * 16, 9999999999999999),
        ("1" * 17 + "-1", None),
        ("1-" + "1" * 17, None),
        ("01-1", None),
        ("1-01", None),
        ("0-1", None),
        ("1-0", None),
        ("-1-1", None),
        ("1-1\n", None),
        (" 1-1", None),
        ("1-1-1", None),
        ("1_0-1", None),
        ("\u0661-\u0661", None),
        ("", None),
        ("-", None),
    ],
)
def test_names_that_were_never_given(sessions: Sessions, name: str, epoch: int | None) -> None:
    assert epoch_of(name) == epoch
    sessions.open(opening("alice"), EPOCH, 7)
    given = sessions.open(opening("eve", resumes=name), EPOCH, 9)
    assert given == f"{EPOCH}-9"


def test_a_number_to_come_is_no_name(sessions: Sessions) -> None:
    for number in (9, 10, 10**15):
        assert sessions.open(opening("eve", resumes=f"{EPOCH}-{number}"), EPOCH, 9) == f"{EPOCH}-9"
        sessions.close(closing("eve", f"{EPOCH}-9", 9), 0)


def test_the_last_session_that_asked_for_it_begins_the_grace(sessions: Sessions) -> None:
    one, two, three = (
        sessions.open(opening("alice", cancels=cancels), EPOCH, n)
        for n, cancels in ((1, True), (2, True), (3, False))
    )
    assert not sessions.close(closing("alice", one, 1), 100)
    assert sessions.next_due(100) is None
    assert not sessions.close(closing("alice", three, 3), 200)
    assert sessions.next_due(200) is None
    assert not sessions.close(closing("alice", two, 2), 300)
    assert sessions.next_due(300) == 3.0
    assert sessions.next_due(300 + GRACE // 2) == 1.5
    assert sessions.next_due(10**9) == 0.0
    assert sessions.due(300 + GRACE - 1) == []
    assert sessions.due(300 + GRACE) == ["alice"]
    assert not sessions.sweep("alice")
    assert sessions.due(10**9) == []


def test_who_did_not_ask_for_it_does_not_leave(sessions: Sessions) -> None:
    session = sessions.open(opening("alice"), EPOCH, 1)
    sessions.close(closing("alice", session, 1), 100)
    assert sessions.next_due(100) is None


def test_any_login_ends_the_grace(sessions: Sessions) -> None:
    session = sessions.open(opening("alice", cancels=True), EPOCH, 1)
    sessions.close(closing("alice", session, 1), 100)
    sessions.open(opening("alice"), EPOCH, 2)
    assert sessions.next_due(100) is None


def test_who_is_gone_longest_comes_first_and_then_by_name(sessions: Sessions) -> None:
    for n, (name, since) in enumerate({"d": 5, "b": 7, "c": 7, "a": 9}.items(), 1):
        session = sessions.open(opening(name, cancels=True), EPOCH, n)
        sessions.close(closing(name, session, n), since)
    assert sessions.due(GRACE + 8) == ["d", "b", "c"]


def test_a_connection_without_a_name_cancels_at_once(sessions: Sessions) -> None:
    own = OpenSession("~1", "~1", 0, "~1", cancel_orders=True)
    assert sessions.open(own, EPOCH, 1) == "~1"
    assert sessions.close(CloseSession("~1", "~1", 0, True), 100)
    assert not sessions.owns("~1", "~1")
    assert sessions.next_due(100) is None
    assert not sessions.close(CloseSession("~2", "~2", 0, False), 100)


def test_a_disabled_participant_is_due_at_once(sessions: Sessions) -> None:
    one = sessions.open(opening("alice", cancels=True), EPOCH, 1)
    two = sessions.open(opening("alice"), EPOCH, 2)
    known = {**sessions.participants, "alice": Participant(A, 1, disabled=True)}
    sessions.take(known)
    assert sessions.due(GRACE) == ["alice"], "not bob, who was disabled before"
    # Leaving now does not give it a grace.
    sessions.close(closing("alice", one, 1), 10**12)
    assert sessions.next_due(10**12) == 0.0
    assert sessions.due(10**12) == ["alice"]
    assert sessions.sweep("alice")
    assert not sessions.owns("alice", two)
    sessions.take(dict(known))
    assert sessions.next_due(10**12) is None, "once"


def test_one_who_is_new_and_disabled_is_due_too(sessions: Sessions) -> None:
    sessions.open(opening("carol"), EPOCH, 1)
    sessions.take({**sessions.participants, "carol": Participant(A, 1, disabled=True)})
    assert sessions.due(GRACE) == ["carol"]
    assert sessions.sweep("carol") is True


def test_one_who_was_removed_is_cut_off(sessions: Sessions) -> None:
    sessions.open(opening("alice"), EPOCH, 1)
    kept = {name: known for name, known in sessions.participants.items() if name != "alice"}
    sessions.take(kept)
    assert sessions.due(GRACE) == ["alice"]
    assert sessions.sweep("alice") is True
    assert not sessions.owns("alice", f"{EPOCH}-1")


def test_who_was_let_in_again_is_not_cut_off_when_it_leaves(sessions: Sessions) -> None:
    """The exchange is open: the name that was removed is one that has no token."""
    sessions.take({name: known for name, known in sessions.participants.items() if name != "alice"})
    again = opening("alice", cancels=True)
    sessions.check(again)
    kept = sessions.open(opening("alice"), EPOCH, 1)
    guarded = sessions.open(again, EPOCH, 2)
    assert sessions.next_due(0) is None
    sessions.close(closing("alice", guarded, 2), 200)
    assert sessions.due(GRACE + 200) == ["alice"]
    assert sessions.sweep("alice") is False
    assert sessions.owns("alice", kept)
