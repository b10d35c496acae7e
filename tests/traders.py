"""Clients under load that keep an account of every word they were told, and who check it."""

import asyncio
import json
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from tests.support import eventually
from wood.model.events import Batch, Event, OrderAccepted, OrderAmended, OrderCanceled, Trade

Told = tuple[Any, ...]
"""One report: ("NEW", id), ("FILL", id, price in ticks, quantity) or ("CANCELED", id)."""


class Life:
    """One connection, and so one participant: what it said and what it was told."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.told: list[Told] = []
        self.errors: list[dict[str, Any]] = []
        self.asked: deque[tuple[str, int]] = deque()
        """Questions without an answer yet: ("create" or "cancel", id)."""
        self.sent: dict[int, tuple[str, int]] = {}
        """Order id -> side and quantity."""
        self.open: dict[int, int] = {}
        """Order id -> what is left, as far as this client can know."""
        self.ended = False

    @property
    def unavailable(self) -> bool:
        """Whether it was told that something may be lost."""
        return any(error["code"] == "unavailable" for error in self.errors)

    def hear(self, message: dict[str, Any]) -> None:
        """Write down a message; answers must come in the order of the questions."""
        if message["message"] == "error":
            self.errors.append(message)
            if "orderId" in message:
                assert self.asked.popleft()[1] == message["orderId"]
            return
        order_id, report = message["orderId"], message["report"]
        if report == "NEW":
            assert self.asked.popleft() == ("create", order_id)
            self.told.append(("NEW", order_id))
            self.open[order_id] = self.sent[order_id][1]
        elif report == "FILL":
            price, quantity = round(message["price"] * 100), message["quantity"]
            self.told.append(("FILL", order_id, price, quantity))
            self.open[order_id] -= quantity
            assert self.open[order_id] >= 0, "an order traded more than its quantity"
            if not self.open[order_id]:
                del self.open[order_id]
        else:
            self.told.append(("CANCELED", order_id))
            del self.open[order_id]
            if self.asked and self.asked[0] == ("cancel", order_id):
                self.asked.popleft()


class Traders:
    """`count` clients that trade on `addresses` until told to stop, in a thread of their own.

    Who loses its connection begins a new life at the next address. Prices lie close together, so
    that there are many fills.
    """

    def __init__(
        self, addresses: Iterable[tuple[str, int]], count: int = 12, window: int = 8, seed: int = 1
    ) -> None:
        self.addresses = list(addresses)
        self.lives: list[Life] = []
        self._count = count
        self._window = window
        self._seed = seed
        self._next_id = 1
        self._quiet = False
        self._stopped = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Traders":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def accepted(self) -> int:
        """Orders that were acknowledged so far."""
        return sum(told[0] == "NEW" for life in list(self.lives) for told in list(life.told))

    def go_on(self, orders: int) -> None:
        """Wait until so many more orders are acknowledged."""
        before = self.accepted
        self.wait(lambda: self.accepted >= before + orders, f"{orders} more orders")

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition, or for what broke."""
        eventually(lambda: self._failure is not None or condition(), what)
        if self._failure is not None:
            raise self._failure

    def settle(self) -> None:
        """Ask nothing more, and wait until all who are connected have their answers."""
        self._quiet = True
        self.wait(lambda: not any(x.asked for x in self.lives if not x.ended), "all answers")

    def resume(self) -> None:
        """Trade again."""
        self._quiet = False

    def stop(self) -> None:
        """Close all connections."""
        self._stopped = True
        self._thread.join(20)
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self._failure = error

    async def _main(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._trade(number))

    async def _trade(self, number: int) -> None:
        random = Random(self._seed * 1000 + number)
        place = number
        while not self._stopped:
            address = self.addresses[place % len(self.addresses)]
            place += 1
            try:
                reader, writer = await asyncio.open_connection(*address)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            life = Life(address)
            self.lives.append(life)
            hearing = asyncio.create_task(self._hear(life, reader))
            while not self._stopped and not hearing.done():
                if not self._quiet and len(life.asked) < self._window:
                    writer.write(self._say(life, random))
                await asyncio.sleep(0)
                if self._quiet or len(life.asked) >= self._window:
                    await asyncio.sleep(0.001)
            writer.close()
            await hearing
            life.ended = not self._stopped

    async def _hear(self, life: Life, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                if not line.endswith(b"\n"):
                    return
                life.hear(json.loads(line))
        except ConnectionError:
            pass

    def _say(self, life: Life, random: Random) -> bytes:
        """A new order, or a cancel of one that may still be open."""
        cancels = {order_id for what, order_id in life.asked if what == "cancel"}
        open_orders = [order_id for order_id in life.open if order_id not in cancels]
        if open_orders and random.random() < 0.25:
            order_id = random.choice(open_orders)
            life.asked.append(("cancel", order_id))
            return _line(message="cancelOrder", orderId=order_id)
        order_id, self._next_id = self._next_id, self._next_id + 1
        side, quantity = random.choice(["BUY", "SELL"]), random.randint(1, 20)
        life.sent[order_id] = side, quantity
        life.asked.append(("create", order_id))
        if random.random() < 0.1:
            return _line(message="marketOrder", orderId=order_id, side=side, quantity=quantity)
        price = random.randint(9_990, 10_010) / 100
        return _line(
            message="createOrder", orderId=order_id, side=side, price=price, quantity=quantity
        )


def _line(**message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"


def reports(batches: Iterable[Batch]) -> dict[int, list[Told]]:
    """What the journal says that each participant was to be told, by the ids of its orders.

    The participants have random names, but no two orders of these traders share an id.
    """
    by_participant: dict[str, list[Told]] = defaultdict(list)
    owner: dict[int, str] = {}
    for event in (event for batch in batches for event in batch.events):
        match event:
            case OrderAccepted():
                owner[event.order_id] = event.participant
                by_participant[event.participant].append(("NEW", event.order_id))
            case Trade():
                for who, order_id in (
                    (event.maker, event.maker_order_id),
                    (event.taker, event.taker_order_id),
                ):
                    by_participant[who].append(("FILL", order_id, event.price, event.quantity))
            case OrderCanceled():
                by_participant[event.participant].append(("CANCELED", event.order_id))
    return {order_id: by_participant[who] for order_id, who in owner.items()}


def check_accounts(
    traders: Traders, batches: list[Batch], *, forked: bool = False
) -> dict[tuple[str, int], int]:
    """Everybody who is connected was told all the journal says, in its order; others a part.

    If history `forked`, who was told that reports may be lost may have been told more than the
    journal has, but from there on nothing that it has. And no order traded more than its quantity.
    Returns what is left of the open orders.
    """
    history = reports(batches)
    for life in traders.lives:
        if not life.told:
            continue
        theirs = history.get(life.told[0][1], [])
        if not life.ended:
            # What others did to its orders may still be on its way.
            eventually(lambda life=life, theirs=theirs: len(life.told) >= len(theirs), "reports")  # type: ignore[misc]
        told = life.told
        at = next((n for n, report in enumerate(told) if theirs[n : n + 1] != [report]), len(told))
        lost = told[at:]
        if forked and life.unavailable:
            assert not [report for report in lost if report[0] == "NEW" and report[1] in history]
        elif lost:
            raise AssertionError(
                f"{len(told)} reports told on port {life.address[1]}, {len(theirs)} in the journal;"
                f" after {told[max(0, at - 2) : at]} told {lost[:3]}, not {theirs[at : at + 3]};"
                f" errors {life.errors}, unanswered {life.asked}"
            )
    return check_history([event for batch in batches for event in batch.events])


def check_history(events: Iterable[Event]) -> dict[tuple[str, int], int]:
    """The numbers have no gap, and no order trades more than it may.

    Returns what is left of the open orders, by participant and id.
    """
    left: dict[tuple[str, int], int] = {}
    seq = None
    for event in events:
        number = getattr(event, "seq", None)
        if number is None:
            continue
        assert seq is None or number == seq, "the numbers have a gap"
        seq = number + (2 if isinstance(event, Trade) else 1)
        match event:
            case OrderAccepted():
                left[event.participant, event.order_id] = event.quantity
            case OrderAmended():
                left[event.participant, event.order_id] = event.quantity
            case OrderCanceled():
                assert left.pop((event.participant, event.order_id)) == event.quantity
            case Trade():
                for who, order_id, remains in (
                    (event.maker, event.maker_order_id, event.maker_leaves),
                    (event.taker, event.taker_order_id, event.taker_leaves),
                ):
                    left[who, order_id] -= event.quantity
                    assert left[who, order_id] == remains >= 0
                    if not remains:
                        del left[who, order_id]
    return left


def bought_and_sold(lives: Iterable[Life]) -> tuple[int, int]:
    """How much all together were told that they bought, and sold."""
    total: Counter[str] = Counter()
    for life in lives:
        for told in life.told:
            if told[0] == "FILL":
                total[life.sent[told[1]][0]] += told[3]
    return total["BUY"], total["SELL"]
