"""The client of the private port: a participant, or an anonymous trader."""

import asyncio
import secrets
import ssl
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from decimal import Decimal

from wood.client.addresses import Address
from wood.client.codec import Encoding, codec
from wood.client.errors import ClientClosed, QueryRefused
from wood.client.line import Line
from wood.client.replies import Instrument, OpenOrder
from wood.client.reports import Report
from wood.client.requests import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    Command,
    CreateOrder,
    Halt,
    Instruments,
    Login,
    MarketOrder,
    Orders,
    Query,
    Resume,
    exact,
)
from wood.client.session import Answer, Heard, Session
from wood.client.shell import Shell
from wood.model.orders import GTC, Side, State, TimeInForce

Number = Decimal | int | str
"""A price or a quantity. Floats are refused: they are not the numbers that they look like."""

LOGIN_SECONDS = 30.0
"""How long a server may be silent before it has answered a login."""

CLOSE_SECONDS = 3.0
"""How long `close` waits for the answers to what is under way."""


class Client(Shell[Report]):
    """One who trades: ``async with Client(["localhost:7001"], participant="alice") as client``.

    Commands return when they are on their way, and raise what ended the client. What became of them
    comes as reports, from ``async for report in client``: of each command that was sent one tells
    its fate. It is `New`, `Amended`, `Canceled` or `AllCanceled`; `Refused`; or, if the connection
    broke, `NotTaken`, `Unknown`, or that the order is among those of `ReportsLost`. No command is
    ever sent twice.

    A command waits while there is no connection, and while the server takes no more. If it raises,
    or is cancelled while it waits, it was not sent and never will be. Commands of one task go
    out in the order of its calls. Reports wait to be read up to a bound (1,000), past which
    nothing is taken from the server any more, and at last it takes no more commands: so read them
    in a task beside the one that trades, or in turns with it.

    With a `participant` the client logs in, and when the connection breaks it goes through
    `addresses`, for ever or for `give_up_after` seconds, until it can resume: it tells
    `Disconnected`, then what was missed, then `Resumed` or `ReportsLost`, then the fate of each
    command that was under way. Every `heartbeat` seconds it shows that it lives, and a server
    silent for two of them it takes for dead; None does neither. `cancel_on_disconnect` has the
    server cancel the participant's orders when it is gone.

    Without a `participant` the client is anonymous: nothing can be resumed, so a lost connection
    ends it with `ConnectionLost`.

    `trace` is called with each message as it is sent (`>`) or received (`<`), a login with its
    token too. `tls`, from `client_tls`, is how to speak TLS; a certificate in it takes the place of
    a token.
    """

    def __init__(
        self,
        addresses: Sequence[str | Address],
        participant: str | None = None,
        token: str | None = None,
        *,
        heartbeat: float | None = 5.0,
        cancel_on_disconnect: bool = False,
        encoding: Encoding = "json",
        give_up_after: float | None = None,
        trace: Callable[[str, bytes], None] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if participant is None and (token is not None or cancel_on_disconnect):
            raise ValueError("token and cancel_on_disconnect are for a participant: name it")
        reconnects = participant is not None
        super().__init__(addresses, reconnects=reconnects, give_up_after=give_up_after, tls=tls)
        login = None
        if participant is not None:
            login = Login(
                participant=participant,
                token=token,
                heartbeat=heartbeat,
                cancel_on_disconnect=cancel_on_disconnect,
            )
        self._session = Session(codec(encoding), login, trace)
        self._interval = None if participant is None else heartbeat
        self._all_answered = asyncio.Event()  # whether nothing was under way after the last reply
        self._answers: dict[int, asyncio.Future[object]] = {}  # by the `id` of the query

    @property
    def under_way(self) -> list[Command]:
        """The commands that were sent and whose fate was not heard yet, oldest first."""
        return [each for each in self._session.under_way if not isinstance(each, Query)]

    async def create(
        self,
        side: Side | str,
        price: Number,
        quantity: Number,
        *,
        order_id: int | None = None,
        symbol: str | None = None,
        time_in_force: TimeInForce | str = GTC,
        post_only: bool = False,
    ) -> int:
        """Send a limit order; returns its id, drawn at random unless it is given.

        No report of the order can be read before this has returned. Raises `ValueError` for an id
        that a command under way names: which answer is whose could not be told then.
        """
        force = TimeInForce(time_in_force)
        order = CreateOrder(
            order_id=_order_id(order_id),
            symbol=symbol,
            side=Side(side),
            price=exact(price, "price"),
            quantity=exact(quantity, "quantity"),
            time_in_force=None if force is GTC else force,
            post_only=post_only,
        )
        await self.send(order)
        return order.order_id

    async def market(
        self,
        side: Side | str,
        quantity: Number,
        *,
        order_id: int | None = None,
        symbol: str | None = None,
    ) -> int:
        """Send an order that trades at once or not at all; otherwise as `create`."""
        order = MarketOrder(
            order_id=_order_id(order_id),
            symbol=symbol,
            side=Side(side),
            quantity=exact(quantity, "quantity"),
        )
        await self.send(order)
        return order.order_id

    async def cancel(self, order_id: int, symbol: str | None = None) -> None:
        """Ask that what is left of an order be cancelled."""
        await self.send(CancelOrder(order_id=_checked_id(order_id), symbol=symbol))

    async def amend(
        self,
        order_id: int,
        price: Number | None = None,
        quantity: Number | None = None,
        symbol: str | None = None,
    ) -> None:
        """Ask that the price, what shall remain, or both be changed."""
        if price is None and quantity is None:
            raise ValueError("give price, quantity or both")
        amendment = AmendOrder(
            order_id=_checked_id(order_id),
            symbol=symbol,
            price=None if price is None else exact(price, "price"),
            quantity=None if quantity is None else exact(quantity, "quantity"),
        )
        await self.send(amendment)

    async def cancel_all(self, symbol: str | None = None) -> None:
        """Ask that every open order be cancelled, in `symbol` if given."""
        await self.send(CancelAll(symbol=symbol))

    async def orders(self, symbol: str | None = None) -> list[OpenOrder]:
        """The open orders after all that was sent before, in `symbol` if given.

        Raises `QueryRefused`. If the connection breaks, it is asked again on the next one.
        """
        return await self._ask(Orders(symbol=symbol))  # type: ignore[return-value]

    async def instruments(self) -> list[Instrument]:
        """What is traded, the default instrument first; otherwise as `orders`."""
        return await self._ask(Instruments())  # type: ignore[return-value]

    async def halt(self, symbol: str | None = None) -> State:
        """Halt trading in an instrument, as an operator; returns the state that it has then.

        Otherwise as `orders`. Raises `QueryRefused` (`forbidden`) for others.
        """
        return await self._ask(Halt(symbol=symbol))  # type: ignore[return-value]

    async def resume(self, symbol: str | None = None) -> State:
        """Let trading in an instrument go on; otherwise as `halt`."""
        return await self._ask(Resume(symbol=symbol))  # type: ignore[return-value]

    async def send(self, request: Command | Query) -> None:
        """Send a command that was made by hand, as the methods above do with theirs."""
        while True:
            await self._until_ready()
            line = self._line
            if line is None:
                raise ClientClosed("the client is closed")
            has_room = await line.drained()
            if self._closing:
                raise ClientClosed("the client is closed")
            if line is not self._line or not self._session.ready:
                continue
            if has_room:
                line.write(self._session.send(request))
                return
            self._ready.clear()  # until the loss is noticed and made good

    async def _ask(self, query: Query) -> object:
        answer: object = None
        # What is asked comes after reports that may be more than anybody wants to keep.
        with self._inbox.unlimited():
            while answer is None:
                future = asyncio.get_running_loop().create_future()
                self._answers[id(query)] = future
                try:
                    await self.send(query)
                    answer = await future
                finally:
                    del self._answers[id(query)]
        if isinstance(answer, QueryRefused):
            raise answer
        return answer

    async def _converse(self, line: Line) -> str:
        session = self._session
        line.write(session.connected())
        line.pulse.patience = LOGIN_SECONDS
        self._note_ready(line)
        while True:
            piece, reason = await self._hear(line)
            if not piece:
                return reason
            self._deliver(session.receive(piece))
            # Even if it ends with the next word: what was resumed is to be told as lost then.
            self._note_ready(line)
            if session.over is not None:
                raise session.over
            if session.lost is not None:
                return session.lost

    def _note_ready(self, line: Line) -> None:
        """Let the heartbeats, and at last the commands, go out once the server takes them."""
        if self._session.accepted:
            line.pulse.interval = self._interval
        if not self._session.ready or line.served:
            return
        line.served = True
        line.pulse.patience = None if self._interval is None else 2 * self._interval
        self._ready.set()

    def _deliver(self, heard: Iterable[Heard]) -> None:
        reports: list[Report] = []
        for each in heard:
            if isinstance(each, Report):
                reports.append(each)
            else:
                self._resolve(each)
        self._inbox.put(reports)
        if not self.under_way:
            self._all_answered.set()

    def _resolve(self, answer: Answer) -> None:
        future = self._answers.get(id(answer.query))
        if future is not None and not future.done():
            future.set_result(answer.result)

    def _lost(self, reason: str) -> list[Report]:
        reports: list[Report] = []
        for each in self._session.disconnected(reason):
            if isinstance(each, Report):
                reports.append(each)
            else:
                self._resolve(each)
        return reports

    def _left(self) -> list[Report]:
        for future in self._answers.values():
            if not future.done():
                future.set_exception(self._error or ClientClosed("the client is closed"))
        return self._session.ended()

    async def _last_words(self, task: asyncio.Task[None]) -> None:
        """Hear the answers to what is under way: the server closes after the last of them."""
        if self._line is None or not self._session.ready or not self.under_way:
            return
        with self._inbox.unlimited(), suppress(TimeoutError):
            half_closed = self._line.end()
            async with asyncio.timeout(CLOSE_SECONDS):
                if half_closed:
                    await asyncio.wait([task])
                else:
                    await self._until_answered(task)

    async def _until_answered(self, task: asyncio.Task[None]) -> None:
        """As the server cannot tell that nothing more will come, it does not close."""
        self._all_answered.clear()
        answered = asyncio.create_task(self._all_answered.wait())
        await asyncio.wait([task, answered], return_when=asyncio.FIRST_COMPLETED)
        answered.cancel()

    def _heartbeat(self) -> bytes:
        return self._session.heartbeat()


def _order_id(order_id: int | None) -> int:
    return secrets.randbits(64) if order_id is None else _checked_id(order_id)


def _checked_id(order_id: int) -> int:
    if isinstance(order_id, bool) or not isinstance(order_id, int):
        raise TypeError(f"order_id must be an int, not {type(order_id).__name__}")
    if not 0 <= order_id < 1 << 64:
        raise ValueError("order_id must be from 0 to 2^64 - 1")
    return order_id
