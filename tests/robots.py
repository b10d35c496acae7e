"""Participants that trade at random and come back whatever happens, and keep exact accounts.

A `Line` is all that they need of a client library: to send, to be told what is heard and when the
connection is gone. Every second one goes through `wood.client`; the others speak the wire by
themselves, and share no mistakes with it.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, Protocol

from tests.accounts import Account, Fate
from tests.client_line import ClientLine
from tests.wires import Wire

Address = tuple[str, int]

DEAF = 3
"""Heartbeats after which a line on which nothing is heard is given up."""

BACK_OFF = 0.02, 0.5
"""Seconds until another address is tried: at first, and at most."""


class Line(Protocol):
    """A participant's way to the exchange, which outlives its connections."""

    async def run(self) -> None:
        """Be connected, and connect again, until `close`."""

    def send(self, messages: list[dict[str, Any]]) -> None:
        """Send on the present connection; lost if there is none."""

    def drop(self) -> None:
        """Break the present connection, as a fault of the net would."""

    def close(self) -> None:
        """Have `run` end."""


class Superseded(AssertionError):
    """Somebody else has the session, and nobody else may."""


class WireLine:
    """A `Line` that speaks JSON or MessagePack by itself and tells an `Account` what it hears."""

    def __init__(
        self,
        account: Account,
        addresses: list[Address],
        random: Random,
        heartbeat: float,
        heard: Callable[[], None],
        *,
        packed: bool = False,
    ) -> None:
        self._account = account
        self._addresses = addresses
        self._place = random.randrange(1000)
        self._random = random
        self._heartbeat = heartbeat
        self._heard = heard
        self._packed = packed
        self._closed = False
        self._writer: asyncio.StreamWriter | None = None
        self._wire = Wire()
        self._said_at = 0.0
        self._given_up = 0
        """Logins that were never answered, times the partitions: each may still be decided, and
        supersede us once in each."""

    async def run(self) -> None:
        """Be connected, and connect again, until `close`."""
        wait = BACK_OFF[0]
        while not self._closed:
            address = self._addresses[self._place % len(self._addresses)]
            self._place += 1
            if await self._visit(address):
                wait = BACK_OFF[0]
            await asyncio.sleep(wait * self._random.uniform(0.5, 1))
            wait = min(2 * wait, BACK_OFF[1])

    def send(self, messages: list[dict[str, Any]]) -> None:
        """Send on the present connection; lost if there is none."""
        if self._writer is not None:
            self._said_at = time.monotonic()
            self._writer.write(self._wire.encode(*messages))

    def drop(self) -> None:
        """Break the present connection."""
        if self._writer is not None:
            self._writer.transport.abort()

    def close(self) -> None:
        """Have `run` end."""
        self._closed = True
        self.drop()

    async def _visit(self, address: Address) -> bool:
        """Log in at an address and stay there as long as it goes; whether the login succeeded."""
        account = self._account
        try:
            async with asyncio.timeout(DEAF * self._heartbeat):
                reader, self._writer = await asyncio.open_connection(*address)
        except (OSError, TimeoutError):
            return False
        self._wire = Wire(self._packed)
        self.send([account.login()])
        try:
            await self._listen(reader)
        except OSError:
            pass
        finally:
            self._writer.transport.abort()
            self._writer = None
        succeeded, ended = account.connected, account.ended
        account.cut()
        if ended == "superseded":
            if not self._given_up:
                raise Superseded(account.name)
            self._given_up -= 1
        elif not succeeded:
            self._given_up += len(account.places)
        return succeeded

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        """Hear until the end, or for so long nothing that there must be something wrong."""
        silence = 0
        while silence < DEAF:
            try:
                async with asyncio.timeout(self._heartbeat):
                    data = await reader.read(1 << 16)
            except TimeoutError:
                silence += 1
            else:
                if not data:
                    return
                silence = 0
                for message in self._wire.feed(data):
                    self._account.hear(message)
                if self._account.ended is not None:
                    return
                if self._account.connected:
                    self._heard()
            if time.monotonic() - self._said_at > self._heartbeat and self._account.connected:
                self.send([{"message": "heartbeat"}])


class Robot:
    """Sends `count` orders round a price of 100, and cancels and amends some of them.

    In one of `symbols` each; without any, in the default instrument.
    """

    def __init__(
        self,
        account: Account,
        count: int,
        random: Random,
        window: int,
        symbols: Sequence[str] = (),
    ) -> None:
        self._symbols = symbols
        self.account = account
        self.line: Line
        self.allowed = count
        """How many of its orders it may send by now."""
        self._count = count
        self._random = random
        self._window = window
        self._next_id = 1
        self._passing: set[int] = set()
        """Its market orders: what is cancelled of one between two reports answers no question."""

    @property
    def done(self) -> bool:
        """Whether it knows the fate of each of its orders, and has no question open."""
        account = self.account
        if self._next_id <= self._count or not account.connected or account.asked:
            return False
        return all(order.fate is not Fate.ASKED for order in account.orders.values())

    def act(self) -> None:
        """Say as much as may be under way at once."""
        account, said = self.account, []
        while len(account.asked) < self._window and self._next_id <= self.allowed:
            said.append(account.say(self._decide()))
        if said:
            self.line.send(said)

    def allow(self, share: float) -> None:
        """Send that share of all orders, and then wait."""
        self.allowed = round(self._count * share)
        if self.account.connected:
            self.act()

    def ask(self, what: str) -> None:
        """Ask for one's orders, or how far all is told."""
        if self.account.connected:
            self.line.send([{"message": what}])

    def _decide(self) -> dict[str, Any]:
        random, what = self._random, self._random.random()
        busy = {message.get("orderId", 0) for message in self.account.asked}
        if what < 0.25 and 0 not in busy:  # not while all are being cancelled
            taboo = busy | self._passing
            free = [order_id for order_id in self.account.open if order_id not in taboo]
            if free:
                return self._touch(random.choice(free), what)
        if what > 0.998 and not busy:
            of_all = not self._symbols or random.random() < 0.5
            return {"message": "cancelAll"} | ({} if of_all else self._symbol())
        order_id, self._next_id = self._next_id, self._next_id + 1
        message = {
            "message": "marketOrder",
            "orderId": order_id,
            "side": random.choice(["BUY", "SELL"]),
            "quantity": random.randint(1, 20),
        }
        if what < 0.95:
            message |= {"message": "createOrder", "price": self._price()}
        else:
            self._passing.add(order_id)
        return message | self._symbol()

    def _symbol(self) -> dict[str, Any]:
        return {"symbol": self._random.choice(self._symbols)} if self._symbols else {}

    def _touch(self, order_id: int, what: float) -> dict[str, Any]:
        symbol = self.account.orders[order_id].symbol
        order = {"orderId": order_id} | ({} if symbol is None else {"symbol": symbol})
        if what < 0.15:
            return {"message": "cancelOrder", **order}
        change: dict[str, Any] = {"quantity": self._random.randint(1, 20)}
        if what < 0.2:
            change["price"] = self._price()
        return {"message": "amendOrder", **order, **change}

    def _price(self) -> str:
        cents = round(self._random.gauss(10_000, 8))
        return f"{cents // 100}.{cents % 100:02d}"


class Fleet:
    """Robots in a thread of their own. Every fifth has its orders cancelled when it is gone."""

    def __init__(
        self,
        addresses: list[Address],
        clients: int,
        orders: int,
        seed: int,
        *,
        heartbeat: float,
        share: float = 1.0,
        window: int = 8,
        symbols: Sequence[str] = (),
    ) -> None:
        """`share` of the orders may be sent from the beginning."""
        self.robots: list[Robot] = []
        self._lines: list[Line] = []
        for number in range(clients):
            random = Random(seed * 10_000 + number)
            options: dict[str, Any] = {"heartbeat": heartbeat}
            if number % 5 == 0:
                options["cancelOnDisconnect"] = True
            count = orders // clients + (number < orders % clients)
            robot = Robot(Account(f"robot-{number}", options), count, random, window, symbols)
            robot.allow(share)
            robot.line = self._line(robot, addresses, random, number, heartbeat)
            self.robots.append(robot)
            self._lines.append(robot.line)
        self._failure: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def accounts(self) -> list[Account]:
        """The record of each."""
        return [robot.account for robot in self.robots]

    @property
    def sent(self) -> int:
        """Orders that were sent so far."""
        return sum(len(account.orders) for account in self.accounts)

    @property
    def failure(self) -> BaseException | None:
        """What one of them broke on."""
        return self._failure

    def call(self, function: Callable[..., None], *arguments: object) -> None:
        """Have something done in the thread of the robots."""
        if self._failure is not None:
            raise self._failure
        self._loop.call_soon_threadsafe(function, *arguments)

    def drop(self, places: list[int]) -> None:
        """Break the connections of some."""
        for place in places:
            self.call(self._lines[place].drop)

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for a condition, or for what broke; whether it came true in time."""
        deadline, pause = time.monotonic() + seconds, threading.Event()
        while not condition():
            if self._failure is not None:
                raise self._failure
            if time.monotonic() > deadline:
                return False
            pause.wait(0.02)
        return True

    def stop(self) -> None:
        """Close all connections."""
        if self._failure is None:
            for line in self._lines:
                self._loop.call_soon_threadsafe(line.close)
        self._thread.join(20)
        if self._failure is not None:
            raise self._failure

    def _line(
        self,
        robot: Robot,
        addresses: list[Address],
        random: Random,
        number: int,
        heartbeat: float,
    ) -> Line:
        packed, account = number % 3 == 2, robot.account
        if number % 2:
            seconds = DEAF * heartbeat
            return ClientLine(
                account, addresses, random, robot.act, login_seconds=seconds, packed=packed
            )
        return WireLine(account, addresses, random, heartbeat, robot.act, packed=packed)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main([line.run for line in self._lines]))
        except BaseException as error:
            self._failure = error
        finally:
            self._loop.close()

    async def _main(self, work: list[Callable[[], Awaitable[None]]]) -> None:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(_awaited(each))


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()
