"""Who gets which report, without a socket."""

from tests.engines import INSTRUMENTS
from wood.model.errors import ErrorCode
from wood.model.events import (
    Batch,
    CommandRefused,
    Event,
    LevelChanged,
    OrderAccepted,
    OrdersListed,
    SessionClosed,
    Snapshot,
    Trade,
)
from wood.model.orders import BUY, GTC
from wood.node.router import Router
from wood.wire.reports import JsonReports, Reports


class Client:
    """A recipient that remembers what happened to it, in order."""

    def __init__(self) -> None:
        self.reports: Reports = JsonReports(INSTRUMENTS)
        self.out: list[bytes] = []
        self.happened: list[str] = []

    def flush(self) -> None:
        self.happened += [_word(line) for line in self.out] + ["flush"]
        self.out.clear()

    def answered(self) -> None:
        self.happened.append("answered")

    def finish(self, reason: str) -> None:
        self.happened.append("finish")


def _word(line: bytes) -> str:
    words = ("NEW", "FILL", "unavailable", "invalid", "orders")
    return next(word for word in words if word.encode() in line)


def accepted(who: str, session: str) -> OrderAccepted:
    return OrderAccepted(1, who, session, "WOOD", 1, BUY, 5, 1, GTC, False)


def tell(router: Router, *events: Event) -> None:
    router.apply(Batch("main", 1, "w", 1, 1, 9, 0, list(events)))


def test_reports_go_to_all_connections_of_a_participant_and_replies_to_the_asker() -> None:
    router = Router()
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
    router = Router()
    first, second = Client(), Client()
    router.add("A", "a1", first)
    router.add("A", "a2", second)
    router.remove("A", "a1")
    tell(router, accepted("A", "a1"), OrdersListed("A", "a1", None, []))
    router.remove("A", "a2")
    tell(router, accepted("A", "a2"))
    assert first.happened == []
    assert second.happened == ["NEW", "flush"]


def test_after_a_fork_nobody_can_be_sure() -> None:
    router, client = Router(), Client()
    router.reset(Snapshot("main", 1, 0, 0, {}))
    router.add("A", "a", client)
    router.reset(Snapshot("main", 2, 0, 0, {}))
    assert client.happened == ["unavailable", "flush", "finish"]
