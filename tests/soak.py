"""A soak: many who reconnect trade over nodes that break, and in the end all accounts agree."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from tests.accounts import Account, Fate, cash_and_position, differences, ledger, positions
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

    @property
    def options(self) -> list[str]:
        """Those of the nodes; nothing is trimmed off the journal."""
        times = ["--lease", str(self.lease), "--reconnect-grace", str(self.grace)]
        return ["--persist", "--journal", str(max(1_000_000, 100 * self.orders)), *times]


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
    )
    chaos = Chaos(cluster, redis, fleet, addresses, Random(plan.seed), log, forks=plan.forks)
    result, begin = Result(faults=chaos.faults), time.monotonic()
    try:
        for due in _moments(plan, fleet):
            if not fleet.wait(lambda due=due: due() or fleet.sent == plan.orders, SETTLED):  # type: ignore[misc]
                raise AssertionError("nobody sends anything: " + _undone(fleet))
            if fleet.sent == plan.orders:
                break
            chaos.strike()
        chaos.heal()
        book = settle(cluster, fleet)
        result.seconds = time.monotonic() - begin
        log(f"{result.seconds:7.2f} s  settled")
    finally:
        fleet.stop()
    judge(result, cluster, fleet, book, forks=plan.forks)
    return result


def judge(
    result: Result, cluster: Cluster, fleet: Fleet, book: "Book", *, forks: bool = False
) -> None:
    """Compare all accounts, after `settle`, when all have left. The journal must be whole."""
    leftovers = list(_leftovers(cluster, fleet.accounts))
    batches = cluster.journal()
    if check_history(_events(batches)) != cluster.orders():
        leftovers.append("when all have left: the journal leaves other orders open than the book")
    # Who left had its orders cancelled, which its account was not told any more.
    batches = [batch for batch in batches if batch.last <= book.seq]
    result.differences = [*_compare(book, fleet.accounts, batches, forks), *leftovers]
    _count(result.counts, fleet.accounts, batches)


@dataclass(frozen=True)
class Book:
    """What Redis has, when nobody asks for anything."""

    seq: int
    orders: dict[tuple[str, int], int]
    levels: dict[int, int]


def _book(cluster: Cluster) -> Book:
    orders, levels = cluster.orders(), cluster.levels()
    with cluster.redis() as client:
        return Book(int(client.hget(cluster.keys.meta, "seq")), orders, levels)


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


def settle(cluster: Cluster, fleet: Fleet) -> Book:
    """Wait until everybody has all answers, and was told all that the journal has."""
    if not fleet.wait(lambda: all(robot.done for robot in fleet.robots), SETTLED):
        raise AssertionError(_undone(fleet))
    with cluster.redis() as client:
        last = int(client.hget(cluster.keys.meta, "seq"))
    deadline = time.monotonic() + SETTLED
    while late := [robot for robot in fleet.robots if not _told(robot.account, last)]:
        assert time.monotonic() < deadline, f"{late[0].account.name} was not told all up to {last}"
        for robot in late:
            fleet.call(robot.ask, "orders")
            fleet.call(robot.ask, "heartbeat")
        fleet.wait(lambda: all(_told(each.account, last) for each in fleet.robots), 1)
    return _book(cluster)


def _told(account: Account, last: int) -> bool:
    return account.seq >= last and account.said_last.get("message") == "orders"


def _undone(fleet: Fleet) -> str:
    undone = [robot.account for robot in fleet.robots if not robot.done]
    return "; ".join(f"{a.name}: connected {a.connected}, waits for {a.asked[:3]}" for a in undone)


def _compare(
    book: Book, accounts: list[Account], batches: list[Batch], forks: bool
) -> Iterator[str]:
    """Everything that does not agree."""
    by_journal, traded = ledger(batches), positions(batches)
    in_book: dict[str, dict[int, int]] = defaultdict(dict)
    for (who, order_id), left in book.orders.items():
        in_book[who][order_id] = left
    for account in accounts:
        yield from differences(account, by_journal[account.name])
        if account.losses and not forks:
            yield f"{account.name}: was told {account.losses} times that reports were lost"
        if not account.losses and cash_and_position(account) != traded[account.name]:
            ours, is_so = cash_and_position(account), traded[account.name]
            yield f"{account.name}: cash and position {ours}, by the journal {is_so}"
        listed = {o["orderId"]: o["quantity"] for o in account.said_last.get("orders", [])}
        if not account.open == in_book[account.name] == listed:
            places = f"in the book {in_book[account.name]}, listed {listed}"
            yield f"{account.name}: open {account.open}, {places}"
    left_open = check_history(_events(batches))
    if left_open != book.orders:
        yield f"the journal leaves {len(left_open)} orders open, the book has {len(book.orders)}"
    if _levels(batches) != book.levels:
        yield "the levels in the book are not those of the journal"


def _levels(batches: list[Batch]) -> dict[int, int]:
    totals: dict[int, int] = {}
    for event in _events(batches):
        if isinstance(event, LevelChanged):
            totals[-event.price if event.side is BUY else event.price] = event.quantity
    return {key: total for key, total in totals.items() if total}


def _leftovers(cluster: Cluster, accounts: list[Account]) -> Iterator[str]:
    """Nobody is connected any more: no session is left, and no order of who asked for that."""
    keys = cluster.keys
    staying = {
        (account.name, order_id): left
        for account in accounts
        if "cancelOnDisconnect" not in account.options
        for order_id, left in account.open.items()
    }
    with cluster.redis() as client:
        try:
            eventually(lambda: not client.exists(keys.sessions, keys.placed), "no session")
            eventually(lambda: cluster.orders() == staying, "cancelled orders")
        except AssertionError as error:
            yield f"when all have left: {error}; {client.hgetall(keys.sessions)}"


def _count(counts: Counter[str], accounts: list[Account], batches: list[Batch]) -> None:
    fates = Counter(order.fate for account in accounts for order in account.orders.values())
    counts["orders sent"] = fates.total()
    counts["taken"] = fates[Fate.TAKEN]
    counts["cut off, and known not to be taken"] = fates[Fate.NEVER]
    counts["refused"] = fates[Fate.REFUSED]
    if fates[Fate.UNKNOWN]:
        counts["unknown after a fork"] = fates[Fate.UNKNOWN]
    counts["open at the end"] = sum(len(account.open) for account in accounts)
    counts["trades"] = sum(isinstance(event, Trade) for event in _events(batches))
    counts["reports, each told once"] = sum(len(account.reports) for account in accounts)
    counts["events in the journal"] = batches[-1].last
    counts["sessions resumed"] = sum(account.resumed for account in accounts)
