"""A tiny exchange that knows login and resume, with faults on demand: what a client is tried on.

It matches nothing: an order stands until it is cancelled, a market order is filled at 100 at once.
Its journal outlives connections. `cut` ends each connection after so many bytes, sent or received,
so that a client can be broken off at any place of a dialogue.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

import msgpack

Message = dict[str, Any]


class Engine:
    """What the exchange decides, for one participant; `reports` is the journal, from number 1."""

    def __init__(self) -> None:
        self.reports: list[Message] = []
        self.open: dict[int, Message] = {}
        self.taken: list[Message] = []
        self.generation = 0
        self.epoch = 1_763_720_000_123_456
        self.forget = False
        """Answer whoever resumes that reports may be lost."""

    def ask(self, message: Message) -> list[Message]:
        """What is said to `message`, reports first entered into the journal."""
        kind = message["message"]
        if kind == "orders":
            return [{"message": "orders", "orders": list(self.open.values())}]
        if kind == "instruments":
            row = {"symbol": "WOOD", "tick": "0.01", "lot": 1, "state": "open"}
            return [{"message": "instruments", "instruments": [row]}]
        if kind in ("halt", "resume"):
            return [message | {"state": "halted" if kind == "halt" else "open"}]
        self.taken.append(message)
        if kind == "cancelAll":
            canceled = [self._ended(order_id) for order_id in list(self.open)]
            return [*canceled, {"message": "cancelAll", "canceled": len(canceled)}]
        return self._order(kind, message)

    def _order(self, kind: str, message: Message) -> list[Message]:
        order_id = message["orderId"]
        if kind == "marketOrder":
            new = self._report(order_id, "NEW", message["quantity"])
            fill = self._report(order_id, "FILL", 0, price=100, quantity=message["quantity"])
            return [new, fill]
        if kind == "createOrder":
            if order_id in self.open:
                return [_error("duplicate", order_id)]
            if Decimal(str(message["price"])) <= 0:
                return [_error("invalid", order_id)]
            kept = {"orderId": order_id, "symbol": "WOOD", "side": message["side"]}
            self.open[order_id] = kept | {k: message[k] for k in ("price", "quantity")}
            return [self._report(order_id, "NEW", message["quantity"])]
        if order_id not in self.open:
            return [_error("not_found", order_id)]
        if kind == "cancelOrder":
            return [self._ended(order_id)]
        order = self.open[order_id]
        order |= {k: message[k] for k in ("price", "quantity") if k in message}
        now = {k: order[k] for k in ("price", "quantity")}
        return [self._report(order_id, "AMENDED", order["quantity"], **now)]

    def fill(self, order_id: int) -> Message:
        """Somebody else takes all of an order."""
        order = self.open.pop(order_id)
        now = {k: order[k] for k in ("price", "quantity")}
        return self._report(order_id, "FILL", 0, **now)

    def cancel(self, order_id: int) -> Message:
        """An operator cancels an order."""
        return self._ended(order_id)

    def _ended(self, order_id: int) -> Message:
        del self.open[order_id]
        return self._report(order_id, "CANCELED", 0)

    def _report(self, order_id: int, kind: str, leaves: object, **more: object) -> Message:
        seq = len(self.reports) + 1
        about = {"message": "executionReport", "orderId": order_id, "report": kind}
        told = {"seq": seq, "symbol": "WOOD", "time": 1461763950.5, "leaves": leaves}
        trade = {"trade": seq} if kind == "FILL" else {}
        self.reports.append(about | more | told | trade)
        return self.reports[-1]

    def login(self, message: Message) -> list[Message]:
        """What comes before the reply, and the reply."""
        self.generation += 1
        reply = {
            "message": "login",
            "participant": message["participant"],
            "session": f"{self.epoch}-{self.generation}",
            "epoch": self.epoch,
            "seq": len(self.reports),
        }
        if "lastSeq" not in message:
            return [reply]
        if self.forget or message["epoch"] != self.epoch:
            return [reply | {"recovered": False, "orders": list(self.open.values())}]
        missed = self.reports[message["lastSeq"] :]
        return [*missed, reply | {"recovered": True}]


def _error(code: str, order_id: int | None = None) -> Message:
    about = {} if order_id is None else {"orderId": order_id}
    return {"message": "error", "error": f"it is {code}", "code": code, **about}


class FakeExchange:
    """The engine behind a port, for one participant. Use it in `async with`.

    `logins` are those asked for, `heartbeats` counts those heard. `refuse` is a code with which
    the next logins are refused. While `mute`, nothing is answered.
    """

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine = engine or Engine()
        self.logins: list[Message] = []
        self.connections = 0
        self.heartbeats = 0
        self.refuse: str | None = None
        self.mute = False
        self.cut: Callable[[], int | None] = lambda: None
        """Asked at each new connection: after how many bytes, both ways, it ends; None is never."""
        self._writers: set[_Writer] = set()
        self._news = asyncio.Condition()

    async def __aenter__(self) -> "FakeExchange":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Listen no more, and end all connections."""
        self._server.close()
        self.drop()

    def drop(self) -> None:
        """End all connections, as a dying node does."""
        for writer in list(self._writers):
            writer.abort()

    def say(self, *messages: Message | bytes) -> None:
        """Tell every connection something that nobody asked for."""
        for writer in self._writers:
            for message in messages:
                writer.say(message)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that was heard makes `condition` true."""
        async with asyncio.timeout(20), self._news:
            await self._news.wait_for(condition)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, stream: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer = _Writer(stream, self.cut())
        self._writers.add(writer)
        try:
            with suppress(OSError):
                await self._talk(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: "_Writer") -> None:
        unpacker = msgpack.Unpacker()
        data = b""
        while writer.left is None or writer.left > 0:
            piece = await reader.read(65536 if writer.left is None else writer.left)
            if not piece:
                return
            writer.count(len(piece))
            if (data + piece)[:1] != b"{":
                writer.packed = True
                unpacker.feed(piece)
                messages = list(unpacker)
            else:
                *lines, data = (data + piece).split(b"\n")
                data = data or b""
                messages = [json.loads(line) for line in lines]
                if not data:
                    data = b""
            for message in messages:
                self._hear(message, writer)
            async with self._news:
                self._news.notify_all()

    def _hear(self, message: Message, writer: "_Writer") -> None:
        kind = message["message"]
        if kind == "login":
            self.logins.append(message)
        if kind == "heartbeat":
            self.heartbeats += 1
        if self.mute:
            return
        if kind == "login" and self.refuse:
            said = [_error(self.refuse)]
        elif kind == "login":
            said = self.engine.login(message)
        elif kind == "heartbeat":
            seq = {"epoch": self.engine.epoch, "seq": len(self.engine.reports)}
            said = [{"message": "heartbeat", **seq}]
        else:
            said = self.engine.ask(message)
        for each in said:
            writer.say(each)


class _Writer:
    """Says messages in the client's encoding, up to the place where the connection is cut."""

    def __init__(self, stream: asyncio.StreamWriter, cut: int | None) -> None:
        self.left = cut
        self.packed = False
        self._stream = stream

    def say(self, message: Message | bytes) -> None:
        if isinstance(message, bytes):
            data = message
        elif self.packed:
            data = msgpack.packb(message)
        else:
            data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self._stream.write(data if self.left is None else data[: self.left])
        self.count(len(data))

    def count(self, size: int) -> None:
        if self.left is not None:
            self.left = max(0, self.left - size)

    def abort(self) -> None:
        self._stream.transport.abort()

    def close(self) -> None:
        """What was said still arrives, so that the cut is where it was meant to be."""
        self._stream.close()
