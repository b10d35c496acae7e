"""A `Line` that goes through `wood.client`, as the programs of participants do.

The account is told what the library's typed reports say. Where the library tells a fate itself, it
must be the one that the account comes to. What only stands on the wire, the numbers of logins and
heartbeats, is taken from the client's `trace`; and there no report may be told twice, of which
the library would make nothing.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple

import msgpack

from tests.accounts import ONLY, Account, Fate, by_partition, symbols_of
from wood.client import (
    AllCanceled,
    Amended,
    Canceled,
    Client,
    ClientClosed,
    Command,
    CreateOrder,
    Disconnected,
    Fill,
    New,
    NotTaken,
    OpenOrder,
    OrderReport,
    Refused,
    Report,
    ReportsLost,
    Resumed,
    Unknown,
)
from wood.client.line import Line
from wood.client.requests import AmendOrder, CancelAll, CancelOrder, MarketOrder

Address = tuple[str, int]
Message = dict[str, Any]


class ClientLine:
    """A `Line` by `Client`."""

    def __init__(
        self,
        account: Account,
        addresses: list[Address],
        random: Random,
        heard: Callable[[], None],
        *,
        login_seconds: float,
        packed: bool = False,
    ) -> None:
        self._account = account
        self._random = random
        self._heard = heard
        self._packed = packed
        self._client = _Client(addresses, account, random, login_seconds, self._trace, packed)
        self._closed: asyncio.Task[None] | None = None
        self._waiting: deque[Message] = deque()
        """What was said and not sent yet."""
        self._said = asyncio.Event()
        self._speech: asyncio.Task[None] | None = None
        self._listing: asyncio.Task[None] | None = None
        self._under_way: list[Message] = []
        """What had no answer when the connection broke, and was not answered in the replay yet."""
        self._fates: deque[tuple[type[Report], Message]] = deque()
        """What the library has to tell next."""
        self._logins: deque[Message] = deque()
        self._heartbeats: deque[_Heartbeat] = deque()
        self._heard_login = False
        """Whether the connection that the client has now has logged in."""
        self._login = 0
        """The logins that the client has heard the answers of."""
        self._told_login = 0
        """Of these, how many the account was told of."""
        self._seqs: dict[str, int] = {}
        """The number that the client has heard last, by partition."""
        self._partitions: dict[str | None, str] = {}

    async def run(self) -> None:
        """Be connected, as the library keeps it, until `close`."""
        if self._closed is not None:
            return
        with suppress(ClientClosed):  # by `close`
            async with self._client as client:
                self._log_in()
                self._speak_from_now_on()
                self._heard()
                try:
                    async for report in client:
                        self._tell(report)
                        if self._account.connected and not self._fates:
                            self._heard()
                finally:
                    await self._fall_silent()
        assert self._closed is not None

    def send(self, messages: list[Message]) -> None:
        """Send as soon as the client may."""
        commands = [each for each in messages if each["message"] not in ("orders", "heartbeat")]
        if len(commands) < len(messages):
            self._list()  # heartbeats come by themselves
        self._waiting += commands
        self._said.set()

    def drop(self) -> None:
        """Break the present connection, as a fault of the net would."""
        self._client.drop()

    def close(self) -> None:
        """Have `run` end."""
        if self._closed is None:
            self._closed = asyncio.create_task(self._client.close())

    def _speak_from_now_on(self) -> None:
        self._speech = asyncio.create_task(self._speak())

    async def _speak(self) -> None:
        while True:
            while self._waiting:
                await _send(self._client, self._waiting[0])
                self._waiting.popleft()
            self._said.clear()
            await self._said.wait()

    async def _fall_silent(self) -> None:
        for task in (self._speech, self._listing):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError, ClientClosed):
                    await task

    def _list(self) -> None:
        if self._listing is None or self._listing.done():
            self._listing = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        orders = await self._client.orders()
        self._account.hear({"message": "orders", "orders": _listed(orders)})

    def _trace(self, mark: str, frame: bytes) -> None:
        packed = self._packed and not frame.startswith(b"{")
        message = msgpack.unpackb(frame) if packed else json.loads(frame)
        what = message["message"]
        if mark == ">":
            self._heard_login = self._heard_login and what != "login"
        elif what == "login":
            self._heard_login = True
            self._logins.append(message)
            self._login += 1
            self._partitions = symbols_of(message)
            self._seqs = {**by_partition(message["seq"])}
        elif what == "executionReport":
            name = self._partitions.get(message["symbol"], ONLY)
            assert message["seq"] > self._seqs[name], f"{self._account.name} hears {message} again"
            self._seqs[name] = message["seq"]
        elif what == "heartbeat" and self._heard_login:
            self._heartbeats.append(_Heartbeat(self._login, {**self._seqs}, message))
            self._seqs |= by_partition(message["seq"])
            self._beat()

    def _beat(self) -> None:
        """Tell of the heartbeats that came after nothing that is still to be read."""
        account = self._account
        while self._heartbeats:
            login, after, message = self._heartbeats[0]
            if login != self._told_login or not account.connected:
                return
            if any(account.places[name].seq < seq for name, seq in after.items()):
                return
            self._heartbeats.popleft()
            account.hear(message)

    def _tell(self, report: Report) -> None:
        account = self._account
        assert not self._fates or isinstance(report, NotTaken | Unknown), f"not yet {report}"
        match report:
            case OrderReport():
                message = _execution_report(report)
                account.hear(message)
                if not account.connected:
                    self._strike_out(report)
            case Refused():
                self._refused(report)
            case AllCanceled():
                account.hear({"message": "cancelAll", "canceled": report.count})
            case Disconnected():
                self._cut()
            case Resumed() | ReportsLost():
                self._resumed(report)
            case NotTaken() | Unknown():
                self._fate(report)
            case other:
                raise AssertionError(f"a report of no kind: {other}")
        self._beat()

    def _refused(self, report: Refused) -> None:
        account = self._account
        assert report.request is not None
        assert report.order_id is not None, f"{account.name}: {report}"
        asked = next((m for m in account.asked if m.get("orderId") == report.order_id), None)
        assert asked is not None, f"{account.name} did not ask for {report}"
        assert _is(report.request, asked), f"{account.name}: {report} of {asked}"
        error = {"message": "error", "code": report.code, "error": report.text}
        account.hear(error | {"orderId": report.order_id})

    def _cut(self) -> None:
        """The connection is gone. What waits to be sent waits on, or is never sent."""
        account = self._account
        self._under_way = [m for m in account.asked if not any(m is w for w in self._waiting)]
        account.cut()
        if self._waiting and self._random.random() < 0.5:
            self._waiting.clear()
            if self._speech is not None:
                self._speech.cancel()
            self._speak_from_now_on()

    def _strike_out(self, report: OrderReport) -> None:
        """A report in the replay answers what was under way."""
        kinds: dict[type[OrderReport], tuple[str, ...]] = {
            New: ("createOrder", "marketOrder"),
            Amended: ("amendOrder",),
            Canceled: ("cancelOrder",),
        }
        for place, message in enumerate(self._under_way):
            fits = message["message"] in kinds.get(type(report), ())
            if fits and message["orderId"] == report.order_id:
                del self._under_way[place]
                return

    def _resumed(self, report: Resumed | ReportsLost) -> None:
        account = self._account
        # What was not sent can still be: as if it had not been said before.
        for message in filter(_makes, self._waiting):
            del account.orders[message["orderId"]]
        told = self._log_in()
        recovered = by_partition(told["recovered"])
        lost = {name for name, whole in recovered.items() if not whole}
        assert isinstance(report, ReportsLost) == bool(lost)
        if isinstance(report, ReportsLost):
            assert _left(_listed(report.orders)) == _left(told["orders"])
            concerned = [s for name in lost for s in told.get("partitions", {}).get(name, ())]
            assert report.symbols == (None if lost == recovered.keys() else tuple(concerned))
        for message in self._waiting:
            account.say(message)
        for message in self._under_way:
            fate = self._expected(message, lost=lost)
            if fate is not None:
                self._fates.append((fate, message))
        self._under_way = []

    def _expected(self, message: Message, *, lost: set[str]) -> type[Report] | None:
        """What becomes of what was under way, by what the account knows now."""
        account, what = self._account, message["message"]
        if what == "cancelAll":
            return Unknown
        order = account.orders[message["orderId"]]
        if _makes(message):
            by_account = {Fate.NEVER: NotTaken, Fate.UNKNOWN: Unknown, Fate.TAKEN: None}
            return by_account[order.fate]
        is_known = account.of(order.symbol) not in lost or (what == "cancelOrder" and order.left)
        return NotTaken if is_known else Unknown

    def _fate(self, report: NotTaken | Unknown) -> None:
        if self._closed is not None and not self._fates:
            assert any(_is(report.request, asked) for asked in self._account.asked)
            return
        ended = self._client.ended_by
        assert ended is None, f"{self._account.name}: the client ended with {ended!r}"
        assert self._fates, f"{self._account.name} did not ask what became of {report}"
        kind, message = self._fates.popleft()
        assert type(report) is kind, f"{self._account.name}: {report}, not {kind} of {message}"
        assert _is(report.request, message), f"{self._account.name}: {report}, not of {message}"

    def _log_in(self) -> Message:
        message = self._logins.popleft()
        self._account.hear(message)
        self._told_login += 1
        self._beat()
        return message


class _Heartbeat(NamedTuple):
    """One that came after that login, and after the reports up to `after` in each partition."""

    login: int
    after: dict[str, int]
    message: Message


class _Client(Client):
    """A client whose net can fail; and nodes that start anew at another port it finds again.

    It gives up a login early, which then may come late.
    """

    def __init__(
        self,
        addresses: list[Address],
        account: Account,
        random: Random,
        login_seconds: float,
        trace: Callable[[str, bytes], None],
        packed: bool,
    ) -> None:
        super().__init__(
            addresses,
            account.name,
            heartbeat=account.options["heartbeat"],
            cancel_on_disconnect=account.options.get("cancelOnDisconnect", False),
            encoding="msgpack" if packed else "json",
            trace=trace,
        )
        self._login_seconds = login_seconds
        self._rotation.addresses = addresses
        for _ in range(random.randrange(len(addresses))):
            self._rotation.next()  # so that not all begin with the same

    @property
    def ended_by(self) -> Exception | None:
        """What ended it, before that is raised: first it tells of what was under way."""
        return self._error

    def drop(self) -> None:
        """Break the connection."""
        if self._line is not None:
            self._line.abort()

    def _note_ready(self, line: Line) -> None:
        if not line.served:
            line.pulse.patience = self._login_seconds
        super()._note_ready(line)


async def _send(client: Client, message: Message) -> None:
    order_id, quantity = message.get("orderId", 0), message.get("quantity")
    side, price, symbol = message.get("side", ""), message.get("price"), message.get("symbol")
    match message["message"]:
        case "createOrder":
            assert price is not None
            await client.create(side, price, quantity or 0, order_id=order_id, symbol=symbol)
        case "marketOrder":
            await client.market(side, quantity or 0, order_id=order_id, symbol=symbol)
        case "cancelOrder":
            await client.cancel(order_id, symbol)
        case "amendOrder":
            await client.amend(order_id, price, quantity, symbol)
        case "cancelAll":
            await client.cancel_all(symbol)
        case other:
            raise AssertionError(f"robots do not say {other}")


def _makes(message: Message) -> bool:
    return message["message"] in ("createOrder", "marketOrder")


def _is(request: Command | None, message: Message) -> bool:
    """Whether a request of the library is what the robot said."""
    price, quantity = message.get("price"), message.get("quantity")
    same = (None if price is None else Decimal(price), quantity)
    found: tuple[object, ...]
    match request:
        case CreateOrder():
            found = ("createOrder", request.order_id, request.price, request.quantity)
        case MarketOrder():
            found = ("marketOrder", request.order_id, None, request.quantity)
        case AmendOrder():
            found = ("amendOrder", request.order_id, request.price, request.quantity)
        case CancelOrder():
            found = ("cancelOrder", request.order_id, None, None)
        case CancelAll():
            found = ("cancelAll", None, None, None)
        case _:
            return False
    if any(getattr(request, each, None) != message.get(each) for each in ("side", "symbol")):
        return False
    return found == (message["message"], message.get("orderId"), *same)


def _execution_report(report: OrderReport) -> Message:
    """What the report was on the wire."""
    assert report.leaves is not None
    words = {New: "NEW", Fill: "FILL", Amended: "AMENDED", Canceled: "CANCELED"}
    message: Message = {
        "message": "executionReport",
        "report": words[type(report)],
        "seq": report.seq,
        "orderId": report.order_id,
        "leaves": _whole(report.leaves),
        "symbol": report.symbol,
    }
    if isinstance(report, Fill | Amended):
        message |= {"price": report.price, "quantity": _whole(report.quantity)}
    return message


def _listed(orders: Sequence[OpenOrder]) -> list[Message]:
    return [
        {"orderId": order.order_id, "quantity": _whole(order.quantity), "price": order.price}
        for order in orders
    ]


def _left(orders: list[Message]) -> list[tuple[int, int]]:
    return [(order["orderId"], order["quantity"]) for order in orders]


def _whole(quantity: Decimal) -> int:
    assert quantity == int(quantity)
    return int(quantity)
