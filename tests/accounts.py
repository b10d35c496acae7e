"""What a participant knows that logs in, cuts and resumes, and what the journal says of it.

No I/O. An `Account` is told all that its participant says and hears; it fails as soon as it hears
something that the protocol rules out.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple

from wood.model.events import Batch, Event, OrderAccepted, OrderAmended, OrderCanceled, Trade
from wood.model.orders import BUY

TICKS = 100
"""Ticks in a whole price, for instruments with the default tick."""


class Report(NamedTuple):
    """An execution report; `price`, in ticks, and `quantity` are those of fills and amends."""

    seq: int
    what: str
    order_id: int
    price: int | None
    quantity: int | None
    leaves: int


def report_in(message: dict[str, Any]) -> Report:
    """An execution report as it came, from a server of the default instrument."""
    price = message.get("price")
    return Report(
        message["seq"],
        message["report"],
        message["orderId"],
        None if price is None else round(float(price) * TICKS),
        message.get("quantity"),
        message["leaves"],
    )


class Fate(Enum):
    """What a participant knows of an order that it sent."""

    ASKED = auto()
    TAKEN = auto()
    REFUSED = auto()
    NEVER = auto()
    """It was under way when the line was cut, and not in the replay."""
    UNKNOWN = auto()
    """Reports were lost, and it is not open now."""


@dataclass
class Order:
    """An order as its owner sees it; `left` is 0 once it is done with."""

    side: str
    quantity: int
    fate: Fate = Fate.ASKED
    left: int = 0


@dataclass
class Account:
    """One participant's record of its orders, its reports and its place in the journal."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    """What it adds to its logins."""
    session: str | None = None
    epoch: int = 0
    began: int = 0
    """The number of its first login."""
    seq: int = 0
    since: int = 0
    """`reports` are all there are with greater numbers: 0, or where reports were lost last."""
    losses: int = 0
    resumed: int = 0
    reports: list[Report] = field(default_factory=list)
    orders: dict[int, Order] = field(default_factory=dict)
    errors: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    """What it said on this connection and has no answer to."""
    connected: bool = False
    """Whether the present connection has logged in."""
    ended: str | None = None
    """Why the server closes the present connection, if it said so."""
    said_last: dict[str, Any] = field(default_factory=dict)

    def login(self) -> dict[str, Any]:
        """The message by which it logs in, or resumes."""
        message = {"message": "login", "participant": self.name} | self.options
        if self.session is not None:
            message |= {"session": self.session, "lastSeq": self.seq, "epoch": self.epoch}
        return message

    def cut(self) -> None:
        """The connection is gone, and the next one not there yet."""
        self.connected = False
        self.ended = None
        self.asked.clear()

    def say(self, message: dict[str, Any]) -> dict[str, Any]:
        """Note down what is about to be said."""
        assert self.connected, "nothing is said before the login is answered"
        if message["message"] in ("createOrder", "marketOrder"):
            order_id = message["orderId"]
            assert order_id not in self.orders
            self.orders[order_id] = Order(message["side"], message["quantity"])
        self.asked.append(message)
        return message

    def hear(self, message: dict[str, Any]) -> None:
        """Note down what was heard; fail if it cannot be true."""
        match message["message"]:
            case "executionReport":
                self._report(message)
            case "login":
                self._logged_in(message)
            case "heartbeat":
                self._heartbeat(message)
            case "error":
                self._error(message)
            case "cancelAll" | "orders":
                self._answered(message["message"])
                self.said_last = message
            case other:
                raise AssertionError(f"{self.name} did not ask for {other}")

    @property
    def open(self) -> dict[int, int]:
        """What is left of its orders, by id."""
        return {order_id: order.left for order_id, order in self.orders.items() if order.left}

    @property
    def taken(self) -> set[int]:
        """The orders that it knows to have been taken."""
        return {order_id for order_id, o in self.orders.items() if o.fate is Fate.TAKEN}

    def _report(self, message: dict[str, Any]) -> None:
        assert message["seq"] > self.seq, f"{self.name} is at {self.seq} and hears {message}"
        self.seq = message["seq"]
        report = report_in(message)
        self.reports.append(report)
        order_id = report.order_id
        order = self.orders[order_id]
        if report.what == "NEW":
            assert order.fate is Fate.ASKED, f"{self.name}: {order.fate} order {order_id} is taken"
            assert report.leaves == order.quantity
            order.fate = Fate.TAKEN
            self._answered("createOrder", "marketOrder", order_id=order_id)
        else:
            self._change(order, report)
        order.left = report.leaves

    def _change(self, order: Order, report: Report) -> None:
        assert order.left, f"{self.name}: {report} of an order that is not open"
        if report.what == "FILL":
            assert order.left - (report.quantity or 0) == report.leaves >= 0
        elif report.what == "AMENDED":
            assert report.quantity == report.leaves > 0
            self._answered("amendOrder", order_id=report.order_id)
        else:
            assert report.what == "CANCELED"
            assert report.leaves == 0
            self._answered("cancelOrder", order_id=report.order_id)

    def _answered(self, *kinds: str, order_id: int | None = None) -> None:
        """Strike out the question that this answers, if it was one's own and of this connection."""
        for place, message in enumerate(self.asked):
            if message["message"] in kinds and message.get("orderId") == order_id:
                del self.asked[place]
                return

    def _logged_in(self, message: dict[str, Any]) -> None:
        assert not self.connected
        assert message["participant"] == self.name
        self.connected = True
        self.resumed += self.session is not None
        recovered = message.get("recovered")
        assert (recovered is None) == (self.session is None)
        if recovered is False:
            self._lost(message)
        else:
            assert message["seq"] > self.seq
            for order in self.orders.values():
                if order.fate is Fate.ASKED:
                    order.fate = Fate.NEVER
        self.session, self.epoch, self.seq = message["session"], message["epoch"], message["seq"]
        self.began = self.began or self.seq

    def _lost(self, message: dict[str, Any]) -> None:
        """Reports were lost: what is open now is all that is known."""
        self.losses += 1
        self.since = message["seq"]
        self.reports.clear()
        open_now = {order["orderId"]: order["quantity"] for order in message["orders"]}
        assert open_now.keys() <= self.orders.keys()
        for order_id, order in self.orders.items():
            order.left = open_now.get(order_id, 0)
            if order.left:
                order.fate = Fate.TAKEN
            elif order.fate is Fate.ASKED:
                order.fate = Fate.UNKNOWN

    def _heartbeat(self, message: dict[str, Any]) -> None:
        if not self.connected:
            return
        assert message["seq"] >= self.seq
        self.seq, self.epoch = message["seq"], message["epoch"]
        self._answered("heartbeat")

    def _error(self, message: dict[str, Any]) -> None:
        self.errors.append(message)
        order_id = message.get("orderId")
        if order_id is None:
            self.ended = message["code"]
            return
        # Answers come in the order of the questions, so that it is the first that has this id.
        for place, asked in enumerate(self.asked):
            if asked.get("orderId") == order_id:
                del self.asked[place]
                if asked["message"] in ("createOrder", "marketOrder"):
                    self.orders[order_id].fate = Fate.REFUSED
                return
        raise AssertionError(f"{self.name} did not ask for {message}")


Ledger = dict[str, list[Report]]


def ledger(batches: Iterable[Batch]) -> Ledger:
    """What the journal says that each participant is to be told."""
    found: Ledger = defaultdict(list)
    for event in (event for batch in batches for event in batch.events):
        for who, report in _reports(event):
            found[who].append(report)
    return found


def _reports(event: Event) -> Iterator[tuple[str, Report]]:
    match event:
        case OrderAccepted(seq=seq, participant=who, order_id=order_id, quantity=quantity):
            yield who, Report(seq, "NEW", order_id, None, None, quantity)
        case Trade():
            yield from _fills(event)
        case OrderAmended(seq=seq, participant=who, order_id=order_id, quantity=quantity):
            yield who, Report(seq, "AMENDED", order_id, event.price, quantity, quantity)
        case OrderCanceled(seq=seq, participant=who, order_id=order_id):
            yield who, Report(seq, "CANCELED", order_id, None, None, 0)


def _fills(event: Trade) -> Iterator[tuple[str, Report]]:
    what = (event.price, event.quantity)
    maker, taker = event.maker_order_id, event.taker_order_id
    yield event.maker, Report(event.seq, "FILL", maker, *what, event.maker_leaves)
    yield event.taker, Report(event.seq + 1, "FILL", taker, *what, event.taker_leaves)


def differences(account: Account, theirs: list[Report]) -> Iterator[str]:
    """What in a participant's record is not as in the journal, for a person."""
    who = account.name
    expected = [report for report in theirs if report.seq > account.since]
    if account.reports != expected:
        pairs = enumerate(zip(account.reports, expected, strict=False))
        at = next((n for n, (told, is_so) in pairs if told != is_so), None)
        at = min(len(account.reports), len(expected)) if at is None else at
        yield (
            f"{who}: {len(account.reports)} reports told, {len(expected)} in the journal; from "
            f"place {at} on told {account.reports[at : at + 3]}, not {expected[at : at + 3]}"
        )
    taken = {report.order_id for report in theirs if report.what == "NEW"}
    unsure = {order_id for order_id, o in account.orders.items() if o.fate is Fate.UNKNOWN}
    if account.losses:
        # What it was told before may be in no journal now.
        certain = {r.order_id for r in account.reports if r.what == "NEW"} | account.open.keys()
    else:
        certain = account.taken
    if not certain <= taken:
        yield f"{who}: took for taken and were not: {sorted(certain - taken)[:5]}"
    if not taken <= account.taken | unsure:
        yield f"{who}: were taken unknown to it: {sorted(taken - account.taken - unsure)[:5]}"
    undecided = [order_id for order_id, o in account.orders.items() if o.fate is Fate.ASKED]
    if undecided:
        yield f"{who}: it still does not know of orders {undecided[:5]}"


def cash_and_position(account: Account) -> tuple[int, int]:
    """What its fills brought it, as far as it was told: ticks times lots, and lots."""
    cash = position = 0
    for report in account.reports:
        if report.what == "FILL":
            sign = 1 if account.orders[report.order_id].side == "BUY" else -1
            position += sign * (report.quantity or 0)
            cash -= sign * (report.quantity or 0) * (report.price or 0)
    return cash, position


def positions(batches: Iterable[Batch]) -> dict[str, tuple[int, int]]:
    """The cash and the position of everybody, by the trades in the journal."""
    found: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for event in (event for batch in batches for event in batch.events):
        if isinstance(event, Trade):
            bought = event.quantity if event.side is BUY else -event.quantity
            for who, lots in ((event.taker, bought), (event.maker, -bought)):
                cash, position = found[who]
                found[who] = cash - lots * event.price, position + lots
    return found
