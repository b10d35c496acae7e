"""Who gets which report, without a socket."""

from tests.engines import INSTRUMENTS
from wood.model.errors import ErrorCode, Limit
from wood.model.events import (
    Batch,
    CommandRefused,
    Event,
    HeartbeatAnswered,
    LevelChanged,
    LoginRefused,
    OrderAccepted,
    OrdersListed,
    ParticipantDisabled,
    Places,
    SessionClosed,
    SessionOpened,
    Snapshot,
    StateAnswered,
    StateChanged,
    Trade,
)
from wood.model.orders import BUY, GTC, Reason, State
from wood.node.router import Router
from wood.wire.reports import Reports
from wood.wire.session_reports import SessionJson

REPORTS = SessionJson(INSTRUMENTS)


class Client:
    """A recipient that remembers what happened to it, in order."""

    def __init__(self) -> None:
        self.reports: Reports = REPORTS
        self.out: list[bytes] = []
        self.happened: list[str] = []
        self.replays = False

    def flush(self) -> None:
        self.happened += [_word(line) for line in self.out] + ["flush"]
        self.out.clear()

    def answered(self) -> None:
        self.happened.append("answered")

    def finish(self, reason: str) -> None:
        self.happened.append("finish")

    def dismiss(self, code: ErrorCode, text: str) -> None:
        self.happened += [_word(line) for line in self.out] + [code.value]
        self.out.clear()

    def logged_in(self, event: SessionOpened, places: Places) -> bytes | None:
        return None if self.replays else REPORTS.login(event, places)

    def login_refused(self, event: LoginRefused) -> None:
        self.happened.append(f"refused: {event.code}")

    def limited(self, limit: Limit, symbol: str | None) -> None:
        self.happened.append(f"limited: {limit} {symbol}")

    def slow_down(self, retry_after: int) -> None:
        self.happened.append(f"slow down: {retry_after}")


def _word(line: bytes) -> str:
    words = (
        "NEW",
        "FILL",
        "invalid",
        "orders",
        "login",
        "heartbeat",
        "rate",
        "unavailable",
        "halt",
    )
    word = next(word for word in words if word.encode() in line)
    return line.decode().partition('"epoch":')[2][:-2] if word == "heartbeat" else word


def accepted(who: str, session: str, seq: int = 1) -> OrderAccepted:
    return OrderAccepted(seq, who, session, "WOOD", 1, BUY, 5, 1, GTC, False)


def opened(who: str, session: str, asker: str, seq: int = 1) -> SessionOpened:
    return SessionOpened(seq, who, session, asker, False, None, None, None)


def tell(router: Router, *events: Event, epoch: int = 1, first: int = 1, last: int = 9) -> None:
    router.apply(Batch("main", epoch, "w", 1, first, last, 0, list(events)))


def started(**clients: Client) -> Router:
    """A router at the start of epoch 1, with anonymous clients of these names."""
    router = Router()
    router.reset(Snapshot("main", 1, 0, 0, {}))
    for name, client in clients.items():
        router.add(name, name, client)
    return router


def test_reports_go_to_all_connections_of_a_participant_and_replies_to_the_asker() -> None:
    router = started()
    first, second, other = Client(), Client(), Client()
    router.add("A", "a1", first)
    router.add("A", "a2", second)
    router.add("B", "b", other)
    tell(
        router,
        accepted("A", "a1"),
        Trade(2, "WOOD", 5, 1, BUY, "B", 7, 0, "A", 1, 0),
        LevelChanged(4, "WOOD", BUY, 5, 0),
        CommandRefused("A", "a2", ErrorCode.INVALID, "x", None, None),
        OrdersListed("A", "a1", None, []),
        SessionClosed("B", "b"),
    )
    assert first.happened == ["NEW", "FILL", "orders", "flush", "answered"]
    assert second.happened == ["NEW", "FILL", "invalid", "flush"]
    assert other.happened == ["FILL", "flush", "finish"]


def test_who_left_gets_nothing() -> None:
    router = started()
    first, second = Client(), Client()
    router.add("A", "a1", first)
    router.add("A", "a2", second)
    router.remove(first)
    tell(router, accepted("A", "a1"), OrdersListed("A", "a1", None, []))
    router.remove(second)
    tell(router, accepted("A", "a2"))
    assert first.happened == []
    assert second.happened == ["NEW", "flush"]


def test_after_a_fork_nobody_can_be_sure() -> None:
    router, client = started(), Client()
    router.add("A", "a", client)
    router.reset(Snapshot("main", 2, 0, 0, {}))
    assert client.happened == ["unavailable"]


class TestLogins:
    def test_from_there_on_reports_go_to_the_name(self) -> None:
        client, other = Client(), Client()
        router = started(x=client, y=other)
        tell(router, accepted("A", "s"), opened("A", "s", "x", 2), accepted("A", "s", 3))
        assert client.happened == ["login", "NEW", "flush", "answered"]
        assert other.happened == []

    def test_an_answer_that_waits_for_a_replay(self) -> None:
        client = Client()
        client.replays = True
        router = started(x=client)
        tell(router, opened("A", "s", "x"), accepted("A", "s", 2))
        assert client.happened == ["NEW", "flush"], "the replay answers when it is done"

    def test_refused(self) -> None:
        client = Client()
        router = started(x=client)
        tell(router, LoginRefused("x", "x", ErrorCode.UNAUTHORIZED, "no"), accepted("A", "s"))
        assert client.happened == ["refused: unauthorized"]

    def test_the_older_connection_is_told_after_what_was_its_own(self) -> None:
        before, after = Client(), Client()
        router = started(x=before, y=after)
        tell(router, opened("A", "s", "x"))
        before.happened.clear()
        tell(
            router,
            accepted("A", "s", 2),
            CommandRefused("A", "s", ErrorCode.INVALID, "x", None, None),
            opened("A", "s", "y", 3),
            accepted("A", "s", 4),
        )
        assert before.happened == ["NEW", "invalid", "superseded", "flush"]
        assert after.happened == ["login", "NEW", "flush", "answered"]
        # What is left of the older one does the newer one no harm.
        router.remove(before)
        tell(router, accepted("A", "s", 5))
        assert after.happened[4:] == ["NEW", "flush"]

    def test_resumed_through_another_node(self) -> None:
        client = Client()
        router = started(x=client)
        tell(router, opened("A", "s", "x"))
        tell(router, opened("A", "s", "elsewhere", 10))
        assert client.happened[3:] == ["superseded"]
        tell(router, accepted("A", "s", 11))
        assert client.happened[3:] == ["superseded"]

    def test_one_without_a_name_that_only_tells_the_engine_that_it_is_there(self) -> None:
        client = Client()
        router = started(x=client)
        tell(router, opened("x", "x", "x"), accepted("x", "x", 2))
        assert client.happened == ["NEW", "flush"]

    def test_disabled_means_every_connection(self) -> None:
        first, second, other = Client(), Client(), Client()
        router = started(x=first, y=second, z=other)
        tell(router, opened("A", "s", "x"), opened("A", "t", "y", 2), opened("B", "u", "z", 3))
        tell(router, ParticipantDisabled("A"))
        assert [first.happened[3:], second.happened[3:], other.happened[3:]] == [
            ["disabled"],
            ["disabled"],
            [],
        ]


class TestHeartbeats:
    def test_tell_only_what_has_been_told_for_sure(self) -> None:
        """What is in the same batch may come after the heartbeat."""
        client = Client()
        router = started(x=client)
        tell(router, HeartbeatAnswered("x", "x"), accepted("x", "x", 6), first=6, last=6)
        assert client.happened == ['1,"seq":5', "NEW", "flush"]
        assert router.places == {"main": (1, 6)}

    def test_the_number_of_a_login_may_be_one_of_another_partition(self) -> None:
        """The last partition to answer has the answer of all in its batch."""
        client, other = Client(), Client()
        router = started(x=client, y=other)
        login = opened("A", "s", "y", seq=77_000)
        tell(router, accepted("x", "x", 4), login, HeartbeatAnswered("x", "x"), first=4, last=5)
        assert client.happened == ["NEW", '1,"seq":4', "flush"]

    def test_a_new_epoch_is_told_first_and_once_to_those_with_a_name(self) -> None:
        named, nameless = Client(), Client()
        router = started(x=named, y=nameless)
        tell(router, opened("A", "s", "x"), last=1)
        tell(router, accepted("A", "s", 2), accepted("y", "y", 3), epoch=7, first=2, last=3)
        tell(router, accepted("A", "s", 4), epoch=7, first=4, last=4)
        assert named.happened[3:] == ['7,"seq":1', "NEW", "flush", "NEW", "flush"]
        assert nameless.happened == ["NEW", "flush"]

    def test_a_batch_that_is_about_nobody_here_tells_it_too(self) -> None:
        client = Client()
        router = started(x=client)
        tell(router, opened("A", "s", "x"), last=1)
        tell(router, accepted("B", "b", 2), epoch=7, first=2, last=2)
        assert client.happened[3:] == ['7,"seq":1', "flush"]

    def test_who_left_is_told_nothing(self) -> None:
        client = Client()
        router = started(x=client)
        tell(router, opened("A", "s", "x"), last=1)
        router.remove(client)
        tell(router, epoch=7, first=2, last=1)
        assert client.happened[3:] == []

    def test_who_logs_in_when_an_epoch_begins(self) -> None:
        client = Client()
        router = started(x=client)
        tell(router, opened("A", "s", "x", 2), epoch=7, first=2, last=2)
        assert client.happened == ["login", "flush", "answered"]


def test_the_answer_to_a_halt_goes_to_the_asker() -> None:
    first, second = Client(), Client()
    router = started()
    router.add("A", "a1", first)
    router.add("A", "a2", second)
    tell(
        router,
        StateChanged(1, "WOOD", State.HALTED, Reason.OPERATOR),
        StateAnswered("A", "a2", "WOOD", State.HALTED),
        HeartbeatAnswered("A", "a2"),
    )
    assert first.happened == []
    assert second.happened == ["halt", '1,"seq":1', "flush"]


def test_one_over_its_rate_is_slowed_down() -> None:
    client = Client()
    router = started(A=client)
    refused = CommandRefused("A", "A", ErrorCode.RATE, "x", 7, None, Limit.PARTICIPANT_RATE, 250)
    tell(router, refused, CommandRefused("A", "A", ErrorCode.RATE, "x", 7, None))
    assert client.happened == [
        "limited: participantRate None",
        "slow down: 250",
        "rate",
        "rate",
        "flush",
    ]


def test_a_query_that_could_not_be_taken_holds_nobody_up() -> None:
    client = Client()
    router = started(A=client)
    tell(router, CommandRefused("A", "A", ErrorCode.UNAVAILABLE, "x", None, None))
    assert client.happened == ["unavailable", "flush", "answered"]
    client.happened.clear()
    tell(
        router,
        CommandRefused("A", "A", ErrorCode.UNAVAILABLE, "x", 7, None),
        CommandRefused("A", "A", ErrorCode.INVALID, "x", None, None),
    )
    assert client.happened == ["unavailable", "invalid", "flush"]
