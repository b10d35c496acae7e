"""A node in front of two partitions, whose engines are in memory: what its clients see."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from tests.engines import with_loop
from wood.exchange.gathering import Gathering
from wood.exchange.memory import MemoryExchange
from wood.exchange.partitioned import PartitionedExchange
from wood.model.commands import CloseSession, Command, OpenSession
from wood.model.events import Batch, Event, SessionOpened, Snapshot
from wood.model.instruments import Instrument, Instruments
from wood.node.node import Node
from wood.node.session import Session
from wood.node.settings import Settings

LONG = Instruments(Instrument(f"I{n}", partition=f"{n}" + "x" * 15) for n in range(4))
INSTRUMENTS = Instruments([Instrument("WOOD"), Instrument("GOLD", "0.05", partition="metals")])


class Line:
    """One client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, message: str, **fields: Any) -> None:
        self.writer.write(json.dumps({"message": message, **fields}).encode() + b"\n")

    def create(self, order_id: int, side: str, symbol: str, quantity: int = 1) -> None:
        about = {"orderId": order_id, "side": side, "symbol": symbol, "quantity": quantity}
        self.say("createOrder", price=5, **about)

    async def heard(self) -> Any:
        return json.loads(await self.reader.readline())

    async def asked(self, message: str, **fields: Any) -> Any:
        self.say(message, **fields)
        return await self.heard()


Make = Callable[[str, Instruments], MemoryExchange]


class Hall:
    """The exchange, its node, and clients of it."""

    def __init__(self, make: Make, settings: dict[str, Any]) -> None:
        self.exchange = PartitionedExchange(INSTRUMENTS, make)
        self.gathering = self.exchange._gathering
        self.node = Node(self.exchange, Settings(private=0, public=0, **settings), 100)
        self.lines: list[Line] = []

    async def connect(self, kind: str = "private") -> Line:
        streams = await asyncio.open_connection("127.0.0.1", self.node.port(kind))
        self.lines.append(Line(*streams))
        return self.lines[-1]

    async def fork(self, partition: str) -> None:
        """That partition lost the thread."""
        engine: Any = self.exchange.partitions[partition]
        snapshot: Snapshot = await engine.snapshot()
        for reader in engine._readers:
            reader.reset(snapshot)


def in_a_hall(
    scene: Callable[[Hall], Awaitable[None]],
    make: Make = lambda name, of: MemoryExchange(of, grace=0.2),
    **settings: Any,
) -> None:
    async def test() -> None:
        hall = Hall(make, settings)
        await hall.node.start()
        try:
            await scene(hall)
        finally:
            for line in hall.lines:
                line.writer.close()
            await hall.node.stop()

    with_loop(test)


def words(reports: list[Any]) -> list[tuple[Any, ...]]:
    return [(r["orderId"], r["report"], r["symbol"]) for r in reports]


def test_an_anonymous_client_sees_one_exchange() -> None:
    async def scene(hall: Hall) -> None:
        line = await hall.connect()
        line.create(1, "BUY", "WOOD")
        line.create(2, "BUY", "GOLD", 3)
        assert sorted([str(await line.heard()) for _ in "ab"]) == [
            "{'message': 'executionReport', 'orderId': 1, 'report': 'NEW'}",
            "{'message': 'executionReport', 'orderId': 2, 'report': 'NEW', 'symbol': 'GOLD'}",
        ]
        listed = (await line.asked("orders"))["orders"]
        assert [(o["symbol"], o["orderId"], o["quantity"]) for o in listed] == [
            *(("WOOD", 1, 1), ("GOLD", 2, 3))
        ]
        listed = (await line.asked("instruments"))["instruments"]
        assert [(i["symbol"], i["tick"]) for i in listed] == [("WOOD", 0.01), ("GOLD", 0.05)]
        assert await line.asked("heartbeat") == {"message": "heartbeat"}
        line.say("cancelAll")
        told = [await line.heard() for _ in "abc"]
        assert told[2] == {"message": "cancelAll", "canceled": 2}
        assert {(t["orderId"], t["report"]) for t in told[:2]} == {(1, "CANCELED"), (2, "CANCELED")}
        assert (await line.asked("nonsense"))["code"] == "invalid"
        line.writer.write_eof()
        assert await line.reader.read() == b""

    in_a_hall(scene)


def test_a_session_is_resumed_in_every_partition() -> None:
    async def scene(hall: Hall) -> None:
        alice = await hall.connect()
        first = await alice.asked("login", participant="alice", cancelOnDisconnect=False)
        assert first["partitions"] == {"main": ["WOOD"], "metals": ["GOLD"]}
        assert first["seq"] == {"main": 1, "metals": 1}
        assert "recovered" not in first
        alice.create(1, "BUY", "WOOD", 5)
        alice.create(1, "BUY", "GOLD", 5)
        seen = [await alice.heard() for _ in "ab"]
        assert {(r["symbol"], r["seq"]) for r in seen} == {("WOOD", 2), ("GOLD", 2)}
        beat = await alice.asked("heartbeat")
        assert beat == {"message": "heartbeat", "epoch": first["epoch"], "seq": beat["seq"]}
        assert beat["seq"] == {"main": 3, "metals": 3}
        alice.writer.transport.abort()
        other = await hall.connect()
        for symbol in ("WOOD", "GOLD", "WOOD"):
            other.create(7, "SELL", symbol)
            await other.heard()
            await other.heard()
        again = await hall.connect()
        place = {"session": first["session"], "epoch": first["epoch"], "lastSeq": beat["seq"]}
        again.say("login", participant="alice", **place)
        told = [await again.heard() for _ in range(4)]
        assert words(told[:3]) == [(1, "FILL", "WOOD"), (1, "FILL", "WOOD"), (1, "FILL", "GOLD")]
        assert told[3]["session"] == first["session"]
        assert told[3]["recovered"] == {"main": True, "metals": True}
        assert told[3]["seq"]["main"] > told[1]["seq"]
        again.say("cancelOrder", orderId=1, symbol="GOLD")
        assert words([await again.heard()]) == [(1, "CANCELED", "GOLD")]

    in_a_hall(scene)


def test_only_the_partition_that_lost_something_tells_the_open_orders() -> None:
    async def scene(hall: Hall) -> None:
        alice = await hall.connect()
        first = await alice.asked("login", participant="alice")
        for symbol in ("WOOD", "GOLD"):
            alice.create(1, "BUY", symbol, 5)
            await alice.heard()
        alice.writer.transport.abort()
        again = await hall.connect()
        epochs = first["epoch"] | {"metals": 5}  # a history that is no more
        place = {"session": first["session"], "epoch": epochs, "lastSeq": first["seq"]}
        again.say("login", participant="alice", **place)
        told = [await again.heard() for _ in "ab"]
        assert words(told[:1]) == [(1, "NEW", "WOOD")]
        assert told[1]["recovered"] == {"main": True, "metals": False}
        assert [(o["symbol"], o["orderId"]) for o in told[1]["orders"]] == [("GOLD", 1)]

    in_a_hall(scene)


class Slow(MemoryExchange):
    """Decides nothing before `go`, as if its Redis were away."""

    def __init__(self, instruments: Instruments) -> None:
        super().__init__(instruments, grace=0.2)
        self.held: list[Command] | None = None

    def submit(self, commands: Sequence[Command]) -> str | None:
        if self.held is None:
            return super().submit(commands)
        self.held += commands
        return None

    def go(self) -> None:
        held, self.held = self.held, None
        self.submit(held or [])


def in_a_slow_hall(
    scene: Callable[[Hall, dict[str, Slow]], Awaitable[None]], **settings: Any
) -> None:
    slow: dict[str, Slow] = {}

    def make(name: str, instruments: Instruments) -> Slow:
        slow[name] = Slow(instruments)
        return slow[name]

    in_a_hall(lambda hall: scene(hall, slow), make, **settings)


@pytest.mark.parametrize("how", ["half-close", "the node stops"])
def test_what_was_said_before_the_end_is_answered(how: str) -> None:
    async def scene(hall: Hall, slow: dict[str, Slow]) -> None:
        alice = await hall.connect()
        await alice.asked("login", participant="alice")
        for engine in slow.values():
            engine.held = []
        for n in range(50):
            for symbol in ("WOOD", "GOLD"):
                alice.say("cancelOrder", orderId=n, symbol=symbol)
        alice.say("cancelAll", symbol="GOLD")
        alice.say("cancelAll")
        if how == "half-close":
            alice.writer.write_eof()
        while sum(len(engine.held or ()) for engine in slow.values()) < 103:
            await asyncio.sleep(0)
        stopping = None
        if how == "the node stops":
            stopping = asyncio.create_task(hall.node.stop())
        while any(
            not each.held or type(each.held[-1]) is not CloseSession for each in slow.values()
        ):
            await asyncio.sleep(0)
        for engine in slow.values():
            engine.go()
        told = [json.loads(line) for line in (await alice.reader.read()).splitlines()]
        refused = [(t["orderId"], t.get("symbol")) for t in told if t.get("code") == "not_found"]
        assert sorted(refused, key=str) == sorted(
            [(n, symbol) for n in range(50) for symbol in ("GOLD", None)], key=str
        )
        assert {"message": "cancelAll", "canceled": 0, "symbol": "GOLD"} in told
        assert {"message": "cancelAll", "canceled": 0} in told
        if stopping is not None:
            await stopping
        assert not hall.gathering._seats
        assert not any(hall.gathering._open.values())

    in_a_slow_hall(scene)


def test_who_goes_while_a_login_waits_is_not_held_for_connected() -> None:
    """Its orders are cancelled in the partition that is well; in the other when that is back."""

    async def scene(hall: Hall, slow: dict[str, Slow]) -> None:
        alice = await hall.connect()
        first = await alice.asked("login", participant="alice", cancelOnDisconnect=True)
        alice.create(1, "BUY", "WOOD")
        await alice.heard()
        slow["metals"].held = []
        alice.writer.transport.abort()
        again = await hall.connect()
        place = {"session": first["session"], "lastSeq": first["seq"], "epoch": first["epoch"]}
        again.say("login", participant="alice", cancelOnDisconnect=True, **place)
        while not hall.gathering._granted:
            await asyncio.sleep(0)
        again.writer.transport.abort()
        while (await slow["main"].snapshot()).books["WOOD"].bids:
            await asyncio.sleep(0.01)
        slow["metals"].go()
        await hall.exchange.drain()
        await hall.exchange.drain()  # what was taken back
        assert not any(hall.gathering._open.values())
        assert not hall.gathering._granted
        assert not hall.node.private_connections()
        for engine in slow.values():
            assert not engine._sessions._open

    # Who is not read is found to be gone only when it is given up.
    in_a_slow_hall(scene, login_timeout=0.2)


def test_a_login_that_a_partition_does_not_answer_is_refused_in_time() -> None:
    async def scene(hall: Hall, slow: dict[str, Slow]) -> None:
        slow["metals"].held = []
        alice = await hall.connect()
        refused = await alice.asked("login", participant="alice")
        assert refused["code"] == "unavailable"
        slow["metals"].go()
        assert "session" in await alice.asked("login", participant="alice")

    in_a_slow_hall(scene, login_timeout=0.2)


def test_the_longest_name_of_a_session_can_be_resumed() -> None:
    gathering = Gathering(LONG)
    gathering.spread([OpenSession("~1", "~1", 0, "alice")])
    told: list[Event] = []
    for partition in LONG.partitions:
        name = f"{2**53 - 1}-{2**53 - 1}"
        granted = SessionOpened(2**53 - 1, "alice", name, "~1", False, None, None, None)
        told += gathering.gather(Batch(partition, 1, "w", 1, 1, 1, 0, [granted])).events
    (event,) = told
    assert isinstance(event, SessionOpened)
    login = {"message": "login", "participant": "alice", "session": event.session}
    (command,) = Session("~1", LONG).receive(json.dumps(login).encode() + b"\n")
    assert isinstance(command, OpenSession)
    assert command.seen.keys() == LONG.partitions.keys()


def test_a_place_in_a_partition_that_there_is_not_is_refused() -> None:
    async def scene(hall: Hall) -> None:
        line = await hall.connect()
        wrongs: list[dict[str, Any]] = [
            {"lastSeq": {}},
            {"epoch": {"main": -1}},
            {"lastSeq": {"main": "1"}},
            {"session": "main:" + "1" * 41},
            {"session": "main:1-\u00e4"},
        ]
        for wrong in wrongs:
            refused = await line.asked("login", participant="alice", **wrong)
            assert refused["code"] == "invalid", wrong
        # Another node may know it: one is being added.
        elsewhere: list[dict[str, Any]] = [
            {"lastSeq": {"plum": 1}},
            {"epoch": {"main": 1, "plum": 1}},
            {"session": "main:1-1_plum:1-1"},
        ]
        for place in elsewhere:
            refused = await line.asked("login", participant="alice", **place)
            assert refused["code"] == "unavailable", place
            assert "plum" in refused["error"]
        assert "seq" in await line.asked("login", participant="alice", lastSeq=0)

    in_a_hall(scene)


def test_all_hear_of_it_if_one_partition_loses_the_thread() -> None:
    async def scene(hall: Hall) -> None:
        alice, watcher = await hall.connect(), await hall.connect("public")
        await alice.asked("login", participant="alice", cancelOnDisconnect=True)
        alice.create(1, "BUY", "WOOD", 5)
        await alice.heard()
        watcher.say("subscribe", symbols=["GOLD"])
        while (await watcher.heard())["type"] != "snapshot":
            pass
        await hall.fork("metals")
        assert (await alice.heard())["code"] == "unavailable"
        assert await alice.reader.read() == b""
        assert (await watcher.heard())["partition"] == "metals"

    in_a_hall(scene)


def test_a_subscriber_has_books_of_several_partitions_and_resumes_in_each() -> None:
    async def scene(hall: Hall) -> None:
        alice, watcher = await hall.connect(), await hall.connect("public")
        for symbol in ("WOOD", "GOLD"):
            alice.create(1, "BUY", symbol, 5)
            await alice.heard()
        assert (await watcher.heard())["price"] == 5  # the default book, which everybody gets
        reply = await watcher.asked("subscribe", symbols=["GOLD", "WOOD"])
        assert reply["symbols"] == ["GOLD", "WOOD"]
        assert reply["partitions"] == {"metals": ["GOLD"], "main": ["WOOD"]}
        told = [await watcher.heard() for _ in range(4)]
        assert [line.get("symbol", line.get("partition")) for line in told] == [
            *("GOLD", "metals", "WOOD", "main")
        ]
        epochs = {line["partition"]: line["epoch"] for line in told if line["type"] == "snapshot"}
        seen = {line["partition"]: line["seq"] for line in told if line["type"] == "snapshot"}
        watcher.writer.transport.abort()
        for symbol in ("WOOD", "GOLD"):
            alice.create(2, "SELL", symbol, 2)
            await alice.heard()
            await alice.heard()
            await alice.heard()
        again = await hall.connect("public")
        await again.heard()
        both = {"symbols": ["WOOD", "GOLD"], "lastSeq": seen}
        reply = await again.asked("subscribe", **both, epoch=epochs)
        assert reply["recovered"] == {"main": True, "metals": True}
        told = [await again.heard() for _ in range(6)]
        trades = [line["symbol"] for line in told if line["type"] == "trade"]
        assert sorted(trades) == ["GOLD", "WOOD"]
        levels = {line["symbol"]: line["quantity"] for line in told if line["type"] == "orderbook"}
        assert levels == {"WOOD": 3, "GOLD": 3}
        reply = await again.asked("subscribe", **both, epoch=epochs | {"metals": 3})
        assert reply["recovered"] == {"main": True, "metals": False}
        again.say("subscribe", symbols=["GOLD"], lastSeq=0)  # a bare number is of the first one
        while (reply := await again.heard())["type"] != "subscribed":
            pass
        assert reply["recovered"] == {"metals": False}

    in_a_hall(scene)


def test_orders_of_one_who_is_gone_are_cancelled_in_every_partition() -> None:
    async def scene(hall: Hall) -> None:
        alice = await hall.connect()
        await alice.asked("login", participant="alice", cancelOnDisconnect=True)
        for symbol in ("WOOD", "GOLD"):
            alice.create(1, "BUY", symbol, 5)
            await alice.heard()
        alice.writer.close()

        async def open_orders() -> int:
            books = [await each.snapshot() for each in hall.exchange.partitions.values()]
            return sum(len(book.bids) for each in books for book in each.books.values())

        while await open_orders():
            await asyncio.sleep(0.05)

    in_a_hall(scene)


def test_what_happens_between_the_open_orders_and_the_answer_of_others_is_told() -> None:
    """One partition lost reports and tells the open orders; another one lets the login wait."""

    async def scene(hall: Hall) -> None:
        alice, bob = await hall.connect(), await hall.connect()
        first = await alice.asked("login", participant="alice")
        alice.create(1, "BUY", "WOOD", 5)
        await alice.heard()
        metals: Any = hall.exchange.partitions["metals"]
        held: list[Any] = []
        submit, metals.submit = metals.submit, held.extend
        again = await hall.connect()
        epoch = first["epoch"] | {"main": 5}
        place = {"session": first["session"], "lastSeq": first["seq"], "epoch": epoch}
        again.say("login", participant="alice", **place)
        assert (await alice.heard())["code"] == "superseded"
        bob.create(2, "SELL", "WOOD", 2)
        assert [(await bob.heard())["report"] for _ in "ab"] == ["NEW", "FILL"]
        metals.submit = submit
        submit(held)
        reply, fill = await again.heard(), await again.heard()
        assert reply["recovered"] == {"main": False, "metals": True}
        assert [order["quantity"] for order in reply["orders"]] == [5]
        assert (fill["report"], fill["leaves"]) == ("FILL", 3)
        assert fill["seq"] > reply["seq"]["main"]
        beat = await again.asked("heartbeat")
        assert beat["message"] == "heartbeat"

    in_a_hall(scene)
