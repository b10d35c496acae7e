"""A soak: many who reconnect trade over nodes that break, and in the end all accounts agree."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType

from tests.accounts import (
    ONLY,
    Account,
    Fate,
    cash_and_position,
    differences,
    ledger,
    positions,
)
from tests.chaos import Chaos
from tests.cluster import Cluster, Start
from tests.redis_server import RedisServer
from tests.robots import Fleet
from tests.support import eventually
from tests.traders import check_history
from wood.model.events import Batch, Event, LevelChanged, Trade
from wood.model.orders import BUY

ENOUGH = 0.7
"""The share of the orders that may be sent by now, after which the next fault comes."""

SETTLED = 120.0
"""Seconds after the last fault within which all must have their answers."""

MARKETS = {"main": "WOOD", "metals": "GOLD", "grain": "RYE"}
"""The instrument in each partition that there can be."""

MARKET = MappingProxyType({"main": "WOOD"})
"""The one that is there if nothing is said."""


@dataclass(frozen=True)
class Plan:
    """What a soak does."""

    orders: int
    clients: int
    nodes: int
    seed: int
    seconds: float = 0.0
    """From fault to fault, on average; 0 if `faults` says when."""
    faults: int = 0
    """How many, spread evenly over the orders."""
    lease: float = 5.0
    grace: float = 3.0
    heartbeat: float = 1.0
    forks: bool = False
    partitions: int = 1

    @property
    def markets(self) -> dict[str, str]:
        """The instrument in each partition."""
        return dict(list(MARKETS.items())[: self.partitions])

    @property
    def options(self) -> list[str]:
        """Those of the nodes; nothing is trimmed off the journals."""
        listed = [f"--instrument={symbol}@{name}" for name, symbol in self.markets.items()]
        times = ["--lease", str(self.lease), "--reconnect-grace", str(self.grace)]
        return ["--persist", "--journal", str(max(1_000_000, 100 * self.orders)), *times, *listed]


@dataclass
class Result:
    """What came of it."""

    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """Lines for a person, or for docs/operations.md."""
        counts = [f"{name:34}{count:>10,}" for name, count in self.counts.items()]
        faults = [f"{name:34}{count:>10,}" for name, count in sorted(self.faults.items())]
        end = self.differences or ["all accounts agree"]
        return "\n".join([*counts, f"{'seconds':34}{self.seconds:>10,.0f}", "", *faults, "", *end])


def soak(plan: Plan, start: Start, redis: RedisServer, log: Callable[[str], None]) -> Result:
    """Run one on a Redis of its own; `start` starts a node."""
    cluster = Cluster(start, redis.url, "wood", *plan.options, nodes=plan.nodes)
    addresses = cluster.private
    fleet = Fleet(
        addresses,
        plan.clients,
        plan.orders,
        plan.seed,
        heartbeat=plan.heartbeat,
        share=0.0 if plan.faults else 1.0,
        symbols=[*plan.markets.values()] if plan.partitions > 1 else (),
    )
    chaos = Chaos(
        *(cluster, redis, fleet, addresses, Random(plan.seed), log),
        forks=plan.forks,
        partitions=[*plan.markets],
    )
    result, begin = Result(faults=chaos.faults), time.monotonic()
    try:
        for due in _moments(plan, fleet):
            if not fleet.wait(lambda due=due: due() or fleet.sent == plan.orders, SETTLED):  # type: ignore[misc]
                raise AssertionError("nobody sends anything: " + _undone(fleet))
            if fleet.sent == plan.orders:
                break
            chaos.strike()
        chaos.heal()
        books = settle(cluster, fleet, plan.markets)
        result.seconds = time.monotonic() - begin
        log(f"{result.seconds:7.2f} s  settled")
    except BaseException:
        with suppress(BaseException):  # what broke first is what is to be told
            fleet.stop()
        raise
    fleet.stop()
    judge(result, cluster, fleet, books, forks=plan.forks)
    return result


class Load:
    """Robots that log in and trade in steps, while a test does to the cluster what it likes."""

    def __init__(
        self,
        cluster: Cluster,
        orders: int,
        *,
        clients: int = 8,
        seed: int = 1,
        markets: dict[str, str] | None = None,
    ) -> None:
        """`markets` are the instruments by partition, if there are several."""
        self._markets = markets or MARKET
        symbols = [*markets.values()] if markets else ()
        self.fleet = Fleet(
            cluster.private, clients, orders, seed, heartbeat=0.2, share=0.0, symbols=symbols
        )
        self._cluster = cluster
        self._orders = orders
        self._share = 0.0
        self._finished = False

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None and not self._finished:
            self.fleet.stop()

    def allow(self, share: float) -> None:
        """Let them send so much more of the orders, without waiting for it."""
        self._share = min(1.0, self._share + share)
        for robot in self.fleet.robots:
            self.fleet.call(robot.allow, self._share)

    def go_on(self, share: float) -> None:
        """Let them send so much more, and wait until most of it was sent."""
        self.allow(share)
        goal = ENOUGH * self._share * self._orders
        assert self.fleet.wait(lambda: self.fleet.sent >= goal, SETTLED), _undone(self.fleet)

    @property
    def told(self) -> int:
        """How often anybody was told that reports were lost."""
        return sum(account.losses for account in self.fleet.accounts)

    def finish(self, *, forks: bool = False) -> Result:
        """Let them send the rest; wait until all have their answers, and compare everything."""
        self.allow(1.0)
        result = Result()
        try:
            books = settle(self._cluster, self.fleet, self._markets)
        finally:
            self._finished = True
            self.fleet.stop()
        judge(result, self._cluster, self.fleet, books, forks=forks)
        return result


def judge(
    result: Result, cluster: Cluster, fleet: Fleet, books: "Books", *, forks: bool = False
) -> None:
    """Compare all accounts, after `settle`, when all have left. The journals must be whole."""
    leftovers: list[str] = []
    journals: Journals = {}
    for name, book in books.items():
        leftovers += _leftovers(cluster, name, book.symbol, fleet.accounts)
        batches = cluster.journal(name)
        if check_history(_events(batches)) != cluster.orders(book.symbol, name):
            leftovers.append(f"when all have left: the journal {name} leaves other orders open")
        # Who left had its orders cancelled, which its account was not told any more.
        journals[name] = [batch for batch in batches if batch.last <= book.seq]
    result.differences = [*_compare(books, fleet.accounts, journals, forks), *leftovers]
    _count(result.counts, fleet.accounts, journals)


@dataclass(frozen=True)
class Book:
    """What Redis has of a partition, when nobody asks for anything."""

    symbol: str
    seq: int
    orders: dict[tuple[str, int], int]
    levels: dict[int, int]


Books = dict[str, Book]
Journals = dict[str, list[Batch]]
"""By partition."""


def _book(cluster: Cluster, name: str, symbol: str) -> Book:
    orders, levels = cluster.orders(symbol, name), cluster.levels(symbol, name)
    return Book(symbol, _last(cluster, name), orders, levels)


def _last(cluster: Cluster, name: str) -> int:
    with cluster.redis() as client:
        return int(client.hget(cluster.of(name).meta, "seq"))


def _events(batches: list[Batch]) -> Iterator[Event]:
    return (event for batch in batches for event in batch.events)


def _moments(plan: Plan, fleet: Fleet) -> Iterator[Callable[[], bool]]:
    """What to wait for before each fault, the last time for the end of the orders."""
    random = Random(-plan.seed)
    for number in range(1, plan.faults + 1):
        share = number / plan.faults
        for robot in fleet.robots:
            fleet.call(robot.allow, share)
        # Not all of them: some are cut off, and shall be when the next fault comes.
        yield lambda share=share: fleet.sent >= ENOUGH * share * plan.orders  # type: ignore[misc]
    while plan.seconds:
        moment = time.monotonic() + plan.seconds * random.uniform(0.5, 1.5)
        yield lambda moment=moment: time.monotonic() >= moment  # type: ignore[misc]
    yield lambda: False


def settle(cluster: Cluster, fleet: Fleet, markets: Mapping[str, str] = MARKET) -> Books:
    """Wait until everybody has all answers, and was told all that the journal has."""
    if not fleet.wait(lambda: all(robot.done for robot in fleet.robots), SETTLED):
        raise AssertionError(_undone(fleet))
    last = {name: _last(cluster, name) for name in markets}
    deadline = time.monotonic() + SETTLED
    while late := [robot for robot in fleet.robots if not _told(robot.account, last)]:
        assert time.monotonic() < deadline, f"{late[0].account.name} was not told all up to {last}"
        for robot in late:
            fleet.call(robot.ask, "orders")
            fleet.call(robot.ask, "heartbeat")
        fleet.wait(lambda: all(_told(each.account, last) for each in fleet.robots), 1)
    return {name: _book(cluster, name, symbol) for name, symbol in markets.items()}


def _told(account: Account, last: dict[str, int]) -> bool:
    if account.said_last.get("message") != "orders":
        return False
    if ONLY in account.places:
        return account.seq >= max(last.values())
    return all(account.places[name].seq >= seq for name, seq in last.items())


def _undone(fleet: Fleet) -> str:
    undone = [robot.account for robot in fleet.robots if not robot.done]
    return "; ".join(f"{a.name}: connected {a.connected}, waits for {a.asked[:3]}" for a in undone)


def _compare(
    books: Books, accounts: list[Account], journals: Journals, forks: bool
) -> Iterator[str]:
    """Everything that does not agree."""
    by_journal = ledger(batch for batches in journals.values() for batch in batches)
    traded = {books[name].symbol: positions(batches) for name, batches in journals.items()}
    in_book: dict[str, dict[int, int]] = defaultdict(dict)
    for book in books.values():
        for (who, order_id), left in book.orders.items():
            in_book[who][order_id] = left
    for account in accounts:
        yield from differences(account, by_journal[account.name])
        if account.losses and not forks:
            yield f"{account.name}: was told {account.losses} times that reports were lost"
        for symbol, by_name in traded.items():
            ours, is_so = cash_and_position(account, symbol), by_name[account.name]
            if not account.losses and ours != is_so:
                yield f"{account.name}: cash and position {ours} in {symbol}, by trades {is_so}"
        listed = {o["orderId"]: o["quantity"] for o in account.said_last.get("orders", [])}
        if not account.open == in_book[account.name] == listed:
            places = f"in the book {in_book[account.name]}, listed {listed}"
            yield f"{account.name}: open {account.open}, {places}"
    for name, book in books.items():
        left_open = check_history(_events(journals[name]))
        if left_open != book.orders:
            they = f"{len(left_open)} orders open, the book has {len(book.orders)}"
            yield f"the journal {name} leaves {they}"
        if _levels(journals[name]) != book.levels:
            yield f"the levels in the book are not those of the journal {name}"


def _levels(batches: list[Batch]) -> dict[int, int]:
    totals: dict[int, int] = {}
    for event in _events(batches):
        if isinstance(event, LevelChanged):
            totals[-event.price if event.side is BUY else event.price] = event.quantity
    return {key: total for key, total in totals.items() if total}


def _leftovers(cluster: Cluster, name: str, symbol: str, accounts: list[Account]) -> Iterator[str]:
    """Nobody is connected any more: no session is left, and no order of who asked for that."""
    keys = cluster.of(name)
    staying = {
        (account.name, order_id): left
        for account in accounts
        if "cancelOnDisconnect" not in account.options
        for order_id, left in account.open.items()
        if account.orders[order_id].symbol in (None, symbol)
    }
    with cluster.redis() as client:
        try:
            eventually(lambda: not client.exists(keys.sessions, keys.placed), "no session")
            eventually(lambda: cluster.orders(symbol, name) == staying, "cancelled orders")
        except AssertionError as error:
            yield f"when all have left: {error}; {client.hgetall(keys.sessions)}"


def _count(counts: Counter[str], accounts: list[Account], journals: Journals) -> None:
    fates = Counter(order.fate for account in accounts for order in account.orders.values())
    counts["orders sent"] = fates.total()
    counts["taken"] = fates[Fate.TAKEN]
    counts["cut off, and known not to be taken"] = fates[Fate.NEVER]
    counts["refused"] = fates[Fate.REFUSED]
    if fates[Fate.UNKNOWN]:
        counts["unknown after a fork"] = fates[Fate.UNKNOWN]
    counts["open at the end"] = sum(len(account.open) for account in accounts)
    counts["trades"] = sum(
        isinstance(event, Trade) for batches in journals.values() for event in _events(batches)
    )
    counts["reports, each told once"] = sum(len(account.reports) for account in accounts)
    counts["events in the journal"] = sum(batches[-1].last for batches in journals.values())
    counts["sessions resumed"] = sum(account.resumed for account in accounts)
