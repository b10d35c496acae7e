"""What a participant knows that logs in, cuts and resumes, and what the journals say of it.

No I/O. Each partition has a journal; where there is only one, its name here is `ONLY`. An `Account`
is told all that its participant says and hears; it fails as soon as it hears something that the
protocol rules out.
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


ONLY = ""
"""The partition of a server that has one, and names none."""


def by_partition(value: Any) -> dict[str, Any]:
    """What stands on the wire, bare if there is one partition."""
    return value if isinstance(value, dict) else {ONLY: value}


def symbols_of(login: dict[str, Any]) -> dict[str | None, str]:
    """The partition of each symbol by the reply to a login; None is the default instrument."""
    partitions: dict[str, list[str]] = login.get("partitions", {})
    named: dict[str | None, str] = {s: p for p, listed in partitions.items() for s in listed}
    return named | {None: next(iter(partitions), ONLY)}


class Report(NamedTuple):
    """An execution report; `price`, in ticks, and `quantity` are those of fills and amends."""

    seq: int
    what: str
    order_id: int
    price: int | None
    quantity: int | None
    leaves: int
    symbol: str


def report_in(message: dict[str, Any]) -> Report:
    """An execution report as it came, of an instrument with the default tick."""
    price = message.get("price")
    return Report(
        message["seq"],
        message["report"],
        message["orderId"],
        None if price is None else round(float(price) * TICKS),
        message.get("quantity"),
        message["leaves"],
        message["symbol"],
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
    symbol: str | None = None


@dataclass
class Place:
    """How far a participant has heard the journal of a partition."""

    seq: int = 0
    epoch: int = 0
    began: int = 0
    """The number of its first login."""
    since: int = 0
    """All reports are there that have greater numbers: 0, or where reports were lost last."""


@dataclass
class Account:
    """One participant's record of its orders, its reports and its places in the journals."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    """What it adds to its logins."""
    session: str | None = None
    places: dict[str, Place] = field(default_factory=dict)
    partitions: dict[str | None, str] = field(default_factory=dict)
    """By symbol, where there are several."""
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
            message |= {"session": self.session, "lastSeq": self._said("seq")}
            message |= {"epoch": self._said("epoch")}
        return message

    def _said(self, what: str) -> Any:
        numbers = {name: getattr(place, what) for name, place in self.places.items()}
        return numbers.get(ONLY, numbers)

    @property
    def place(self) -> Place:
        """That in the only partition."""
        return self.places[ONLY]

    @property
    def seq(self) -> int:
        """The number in the only partition."""
        return self.place.seq

    def of(self, symbol: str | None) -> str:
        """The partition of an instrument."""
        return self.partitions.get(symbol, ONLY)

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
            order = Order(message["side"], message["quantity"], symbol=message.get("symbol"))
            self.orders[order_id] = order
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
        place = self.places[self.of(message["symbol"])]
        assert message["seq"] > place.seq, f"{self.name} is at {place.seq} and hears {message}"
        place.seq = message["seq"]
        report = report_in(message)
        self.reports.append(report)
        order_id = report.order_id
        order = self.orders[order_id]
        assert order.symbol in (None, report.symbol)
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
        recovered = by_partition(message["recovered"]) if "recovered" in message else {}
        assert recovered.keys() == self.places.keys(), "all are said in which it has a place"
        self.session, self.partitions = message["session"], symbols_of(message)
        seqs, epochs = by_partition(message["seq"]), by_partition(message["epoch"])
        assert seqs.keys() == epochs.keys()
        lost = {name for name, whole in recovered.items() if not whole}
        for name, seq in seqs.items():
            place = self.places.setdefault(name, Place(began=seq))
            assert name in lost or seq > place.seq
            place.seq, place.epoch = seq, epochs[name]
        for order in self.orders.values():
            if order.fate is Fate.ASKED and self.of(order.symbol) not in lost:
                order.fate = Fate.NEVER
        if lost:
            self._lost(lost, message)

    def _lost(self, lost: set[str], message: dict[str, Any]) -> None:
        """Reports were lost: what is open now is all that is known in these partitions."""
        self.losses += 1
        for name in lost:
            self.places[name].since = self.places[name].seq
        self.reports = [each for each in self.reports if self.of(each.symbol) not in lost]
        open_now = {order["orderId"]: order["quantity"] for order in message["orders"]}
        concerned = {n: order for n, order in self.orders.items() if self.of(order.symbol) in lost}
        assert open_now.keys() <= concerned.keys()
        for order_id, order in concerned.items():
            order.left = open_now.get(order_id, 0)
            if order.left:
                order.fate = Fate.TAKEN
            elif order.fate is Fate.ASKED:
                order.fate = Fate.UNKNOWN

    def _heartbeat(self, message: dict[str, Any]) -> None:
        if "epoch" not in message:
            return  # it has not logged in
        # Before the replay it tells of which epoch the numbers are that follow.
        epochs = by_partition(message["epoch"])
        for name, seq in by_partition(message["seq"]).items():
            place = self.places[name]
            assert seq >= place.seq, f"{self.name} is at {place.seq} and hears {message}"
            place.seq, place.epoch = seq, epochs[name]
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
    """What the journals say that each participant is to be told."""
    found: Ledger = defaultdict(list)
    for event in (event for batch in batches for event in batch.events):
        for who, report in _reports(event):
            found[who].append(report)
    return found


def _reports(event: Event) -> Iterator[tuple[str, Report]]:
    match event:
        case OrderAccepted(seq=seq, participant=who, order_id=order_id, quantity=quantity):
            yield who, Report(seq, "NEW", order_id, None, None, quantity, event.symbol)
        case Trade():
            yield from _fills(event)
        case OrderAmended(seq=seq, participant=who, order_id=order_id, quantity=quantity):
            what = (event.price, quantity, quantity)
            yield who, Report(seq, "AMENDED", order_id, *what, event.symbol)
        case OrderCanceled(seq=seq, participant=who, order_id=order_id):
            yield who, Report(seq, "CANCELED", order_id, None, None, 0, event.symbol)


def _fills(event: Trade) -> Iterator[tuple[str, Report]]:
    what = (event.price, event.quantity)
    maker, taker = event.maker_order_id, event.taker_order_id
    yield event.maker, Report(event.seq, "FILL", maker, *what, event.maker_leaves, event.symbol)
    yield event.taker, Report(event.seq + 1, "FILL", taker, *what, event.taker_leaves, event.symbol)


def differences(account: Account, theirs: list[Report]) -> Iterator[str]:
    """What in a participant's record is not as in the journals, for a person."""
    who = account.name
    for name, place in account.places.items():
        ours = [report for report in account.reports if account.of(report.symbol) == name]
        expected = [r for r in theirs if account.of(r.symbol) == name and r.seq > place.since]
        if ours != expected:
            pairs = enumerate(zip(ours, expected, strict=False))
            at = next((n for n, (told, is_so) in pairs if told != is_so), None)
            at = min(len(ours), len(expected)) if at is None else at
            yield (
                f"{who}: {len(ours)} reports told, {len(expected)} in the journal {name}; from "
                f"place {at} on told {ours[at : at + 3]}, not {expected[at : at + 3]}"
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


def cash_and_position(account: Account, symbol: str) -> tuple[int, int]:
    """What its fills brought it, as far as it was told: ticks times lots, and lots."""
    cash = position = 0
    for report in account.reports:
        if (report.what, report.symbol) == ("FILL", symbol):
            sign = 1 if account.orders[report.order_id].side == "BUY" else -1
            position += sign * (report.quantity or 0)
            cash -= sign * (report.quantity or 0) * (report.price or 0)
    return cash, position


def positions(batches: Iterable[Batch]) -> dict[str, tuple[int, int]]:
    """The cash and the position of everybody, by the trades in a journal of one instrument."""
    found: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for event in (event for batch in batches for event in batch.events):
        if isinstance(event, Trade):
            bought = event.quantity if event.side is BUY else -event.quantity
            for who, lots in ((event.taker, bought), (event.maker, -bought)):
                cash, position = found[who]
                found[who] = cash - lots * event.price, position + lots
    return found
