"""One private connection's side of the conversation: bytes in, commands out, no I/O."""

import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from wood.exchange.gathering import names_in
from wood.model import commands
from wood.model.commands import (
    CloseSession,
    Command,
    ListInstruments,
    ListOrders,
    NewOrder,
    OpenSession,
    Refuse,
    Seen,
)
from wood.model.errors import ErrorCode, Refusal
from wood.model.events import SessionOpened
from wood.model.instruments import Instrument, Instruments
from wood.model.orders import FOK, GTC, IOC, State
from wood.model.participants import NAME_RULE, digest, is_name
from wood.node.certificates import NOBODY
from wood.node.throttle import Allowance
from wood.wire import messages
from wood.wire.checks import by_partition, numeric_id, unserved
from wood.wire.json_lines import LINE_LIMIT, private_json
from wood.wire.message_pack import FIRST_BYTES, MessagePack
from wood.wire.messages import MAX_ORDER_ID, NOTHING, Message, Unreadable

QUERIES = (ListOrders, ListInstruments, OpenSession)
"""A session has one of these under way and holds back what was said after it: a read full of
commands with answers far longer than themselves cannot fill the memory, and what is said after a
login is said under the new name."""

MIN_HEARTBEAT, MAX_HEARTBEAT = 0.1, 3600.0
"""Seconds that a client may ask for."""

MAX_SESSION = 40
"""Characters of the name of a session in one partition."""


class Session:
    """Turns what a participant says into commands.

    Everything it is told becomes exactly one command, what cannot be understood a `Refuse`, so
    that the engine's answers come in the order of the questions. The last one is `CloseSession`,
    whose answer says that all others have been given.
    """

    def __init__(
        self,
        name: str,
        instruments: Instruments,
        *,
        line_limit: int = LINE_LIMIT,
        allowance: Allowance | None = None,
        cancel_on_close: bool = False,
        must_log_in: bool = False,
        must_prove: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.participant = name
        self.generation = 0
        """0 until it has logged in."""
        self.heartbeat: float | None = None
        """Seconds after which the client wants to hear something, if it asked for that."""
        self.epochs: dict[str, int | None] = {}
        """That of the last number of each partition that the client saw, as it said."""
        self.certified: str | None = None
        """The participant that the client's certificate names, `NOBODY` if it names none; None
        without one.
        """
        self.claimed: str | None = None
        """Who it said last that it is, whether or not that is so."""
        self.packed = False
        """Whether the client speaks MessagePack; known from its first byte on."""
        self._instruments = instruments
        self._line_limit = line_limit
        self._decoder = private_json(line_limit)
        self._packs: MessagePack | None = None
        self.retry_after: int | None = None
        """Microseconds that the client shall wait, if a rate refused something of what it said."""
        self.unreadable = 0
        """How many messages of the last bytes could not be read."""
        self._allowance = allowance
        self._cancel_on_close = cancel_on_close
        self._must_log_in = must_log_in
        self._must_prove = must_prove
        self._clock = clock
        self._operator = False
        self._began = False
        self._ordered = False
        self._guarded = False
        self._next_seq = 1
        self._held: Iterator[Message | Unreadable] | None = None
        self._ended = False
        self._closed = False

    @property
    def holding(self) -> bool:
        """Whether a query is under way: read no more until `answered`."""
        return self._held is not None

    @property
    def locked(self) -> bool:
        """Whether nothing but a login is understood yet, so that all else is refused."""
        return self._must_log_in and not self.generation

    def logged_in(self, event: SessionOpened) -> None:
        """Go on under the name, and as the session, that the login gave."""
        self.participant, self.name = event.participant, event.session
        self.generation = event.generation
        self._operator = event.operator

    def unguarded(self) -> None:
        """The engine could not be told that there are orders to cancel: tell it with the next."""
        self._guarded = False

    @property
    def rest(self) -> bytes:
        """What was not looked at of the last bytes, to be received again."""
        return b"" if self._packs is None else self._packs.rest

    def receive(self, data: bytes) -> list[Command]:
        """The commands in `data` and what came before it; none once the session has ended."""
        if self._ended:
            return []
        if not self._began:
            self._begin(data)
        said = (self._packs or self._decoder).feed(data)
        self.unreadable = 0
        if self._held is not None:
            self._held = chain(self._held, said)
            return []
        return self._translate(iter(said))

    def answered(self) -> list[Command]:
        """Go on after the answer to a query: the commands that were held back."""
        held = self._held
        self._held = None
        return [] if held is None else self._translate(held)

    def end(self, *, unfinished: bool = True) -> list[Command]:
        """The client will send no more, or shall not be heard; `CloseSession` comes last.

        With `unfinished` a message that has no end yet is answered with an error.
        """
        if self._ended:
            return []
        self._ended = True
        rest = (self._packs or self._decoder).end() if unfinished else []
        if self._held is not None:
            self._held = chain(self._held, rest)
            return []
        return self._translate(iter(rest))

    def close(self) -> list[Command]:
        """The connection is gone: what was held back is forgotten."""
        self._ended = True
        self._held = None
        return self._translate(iter([]))

    def _begin(self, data: bytes) -> None:
        self._began = True
        if data[0] in FIRST_BYTES:
            self.packed = True
            self._packs = MessagePack(self._line_limit)

    def _translate(self, said: Iterator[Message | Unreadable]) -> list[Command]:
        out: list[Command] = []
        for message in said:
            try:
                command = self._command(message)
            except Refusal as refusal:
                command = self._refuse(message, refusal)
            if not self._guarded and type(command) is NewOrder:
                self._ordered = self._guarded = True
                if self._cancel_on_close and not self.generation:
                    out.append(self._guard())
            out.append(command)
            if isinstance(command, QUERIES):
                self._held = said
                return out
            if type(message) is Unreadable and message.fatal:
                self._ended = True
                break
        if self._ended and not self._closed:
            self._closed = True
            cancels = self._cancel_on_close and not self.generation
            out.append(CloseSession(self.participant, self.name, self.generation, cancels))
        return out

    def _guard(self) -> OpenSession:
        """Have the orders cancelled also when it is the node that goes."""
        name = self.name
        return OpenSession(self.participant, name, 0, name, cancel_orders=True)

    def _command(self, message: Message | Unreadable) -> Command:
        if message.seq is not None:
            self._count(message.seq)
        allowance = self._allowance
        if allowance is not None:
            if allowance.left:
                allowance.left -= 1
            else:
                allowance.check()
        if self.locked and type(message) not in (messages.Login, Unreadable):
            raise Refusal(ErrorCode.UNAUTHORIZED, "log in first")
        if type(message) is messages.CreateOrder:
            return self._create_order(message)
        return _COMMANDS[type(message)](self, message)

    def _count(self, seq: int) -> None:
        if seq != self._next_seq:
            raise Refusal(ErrorCode.SEQUENCE, f"seq {self._next_seq} was expected")
        self._next_seq += 1

    def _refuse(self, message: Message | Unreadable, refusal: Refusal) -> Refuse:
        if refusal.code is ErrorCode.RATE:
            self.retry_after = refusal.retry_after or 0
        order_id = getattr(message, "order_id", None)
        try:
            order_id = None if order_id is None else numeric_id(order_id)
        except Refusal:
            order_id = None
        symbol = getattr(message, "symbol", None)
        return Refuse(
            self.participant,
            self.name,
            self.generation,
            refusal.code,
            refusal.text,
            order_id,
            symbol if symbol in self._instruments else None,
            refusal.limit,
            refusal.retry_after,
        )

    def _create_order(self, message: messages.CreateOrder) -> NewOrder:
        order_id = message.order_id
        if not 0 <= order_id <= MAX_ORDER_ID:
            numeric_id(order_id)
        symbol = message.symbol
        instrument = self._instruments.default if symbol is None else self._instrument(symbol)
        time_in_force = message.time_in_force
        if message.post_only and time_in_force is not GTC:
            raise Refusal(ErrorCode.INVALID, f"postOnly does not go with {IOC} or {FOK}")
        return NewOrder(
            self.participant,
            self.name,
            self.generation,
            instrument.symbol,
            order_id,
            message.side,
            instrument.price.units[bytes(message.price)],
            instrument.quantity.units[bytes(message.quantity)],
            time_in_force,
            message.post_only,
        )

    def _market_order(self, message: messages.MarketOrder) -> NewOrder:
        order_id = numeric_id(message.order_id)
        instrument = self._instrument(message.symbol)
        quantity = instrument.quantity.units[bytes(message.quantity)]
        return NewOrder(
            self.participant,
            self.name,
            self.generation,
            instrument.symbol,
            order_id,
            message.side,
            None,
            quantity,
            IOC,
        )

    def _cancel_order(self, message: messages.CancelOrder) -> commands.CancelOrder:
        order_id = numeric_id(message.order_id)
        symbol = self._instrument(message.symbol).symbol
        return commands.CancelOrder(self.participant, self.name, self.generation, symbol, order_id)

    def _amend_order(self, message: messages.AmendOrder) -> commands.AmendOrder:
        order_id = numeric_id(message.order_id)
        instrument = self._instrument(message.symbol)
        price, quantity = bytes(message.price), bytes(message.quantity)
        nothing = bytes(NOTHING)
        if price == nothing and quantity == nothing:
            raise Refusal(ErrorCode.INVALID, "give price, quantity or both")
        return commands.AmendOrder(
            self.participant,
            self.name,
            self.generation,
            instrument.symbol,
            order_id,
            None if price == nothing else instrument.price.units[price],
            None if quantity == nothing else instrument.quantity.units[quantity],
        )

    def _cancel_all(self, message: messages.CancelAll) -> Command:
        whose, age = message.participant, message.anonymous_older_than
        if (whose is not None or age is not None) and not self._operator:
            raise Refusal(ErrorCode.FORBIDDEN, "only an operator may cancel orders of others")
        who = self.participant, self.name, self.generation
        if age is not None:
            if whose is not None or message.symbol is not None or age < 0:
                raise Refusal(ErrorCode.INVALID, "anonymousOlderThan is a number of seconds, alone")
            return commands.CancelAnonymous(*who, max(0, int(self._clock()) - age))
        if whose is not None and not is_name(whose.removeprefix("~")):
            raise Refusal(ErrorCode.INVALID, f"participant must be {NAME_RULE}")
        return commands.CancelAll(*who, self._symbol(message.symbol), whose)

    def _halt(self, message: messages.Halt) -> commands.ChangeState:
        return self._change_state(message.symbol, State.HALTED)

    def _resume(self, message: messages.Resume) -> commands.ChangeState:
        return self._change_state(message.symbol, State.OPEN)

    def _change_state(self, symbol: str | None, state: State) -> commands.ChangeState:
        if not self._operator:
            raise Refusal(ErrorCode.FORBIDDEN, "only an operator may halt or resume trading")
        who = self.participant, self.name, self.generation
        return commands.ChangeState(*who, self._instrument(symbol).symbol, state)

    def _login(self, message: messages.Login) -> OpenSession:
        if self.generation:
            raise Refusal(ErrorCode.INVALID, "this connection has logged in already")
        if self._ordered:
            raise Refusal(ErrorCode.INVALID, "log in before the first order")
        name, heartbeat = message.participant, message.heartbeat
        if not is_name(name):
            raise Refusal(ErrorCode.INVALID, f"participant must be {NAME_RULE}")
        self.claimed = name
        if self.certified == NOBODY:
            raise Refusal(ErrorCode.UNAUTHORIZED, "the certificate names no participant")
        if self.certified is not None and self.certified != name:
            raise Refusal(ErrorCode.UNAUTHORIZED, "the certificate names another participant")
        if self._must_prove and self.certified is None and message.token is None:
            # A name that has no token may be that of one who comes with a certificate.
            raise Refusal(ErrorCode.UNAUTHORIZED, "a login needs a certificate or a token here")
        partitions = self._instruments.partitions
        if heartbeat is not None and not MIN_HEARTBEAT <= heartbeat <= MAX_HEARTBEAT:
            text = f"heartbeat must be from {MIN_HEARTBEAT} to {MAX_HEARTBEAT:.0f} seconds"
            raise Refusal(ErrorCode.INVALID, text)
        seen = _seen(message, tuple(partitions))
        self.heartbeat = heartbeat
        self.epochs = {partition: epoch for partition, (_, _, epoch) in seen.items()}
        first = seen.get(next(iter(partitions)), (None, None, None))
        return OpenSession(
            self.participant,
            self.name,
            0,
            name,
            "" if message.token is None or self.certified else digest(message.token),
            *first,
            message.cancel_on_disconnect,
            seen if len(partitions) > 1 else {},
            certified=self.certified is not None,
        )

    def _heartbeat(self, message: messages.Heartbeat) -> commands.Heartbeat:
        return commands.Heartbeat(self.participant, self.name, self.generation)

    def _orders(self, message: messages.Orders) -> ListOrders:
        return ListOrders(
            self.participant, self.name, self.generation, self._symbol(message.symbol)
        )

    def _list_instruments(self, message: messages.Instruments) -> ListInstruments:
        return ListInstruments(self.participant, self.name, self.generation)

    def _unreadable(self, message: Unreadable) -> Command:
        self.unreadable += 1
        raise Refusal(message.code, message.text)

    def _instrument(self, symbol: str | None) -> Instrument:
        if symbol is None:
            return self._instruments.default
        if symbol not in self._instruments:
            raise Refusal(ErrorCode.UNKNOWN_SYMBOL, "no instrument has this symbol")
        return self._instruments[symbol]

    def _symbol(self, symbol: str | None) -> str | None:
        return None if symbol is None else self._instrument(symbol).symbol


def _seen(message: messages.Login, partitions: tuple[str, ...]) -> dict[str, Seen]:
    """What one who logs in had in each partition. A bare number is one of the first."""
    home = partitions[0]
    sessions = {} if message.session is None else names_in(message.session, home)
    if any(len(name) > MAX_SESSION or not name.isascii() for name in sessions.values()):
        raise Refusal(ErrorCode.INVALID, "session is none that this exchange names")
    for partition in sessions.keys() - set(partitions):
        raise Refusal(ErrorCode.UNAVAILABLE, unserved(partition))
    numbers = by_partition("lastSeq", message.last_seq, partitions)
    epochs = by_partition("epoch", message.epoch, partitions)
    return {
        partition: (sessions.get(partition), numbers.get(partition), epochs.get(partition))
        for partition in partitions
        if partition in sessions or partition in numbers
    }


_COMMANDS: dict[type, Callable[[Session, Any], Command]] = {
    messages.MarketOrder: Session._market_order,
    messages.CancelOrder: Session._cancel_order,
    messages.AmendOrder: Session._amend_order,
    messages.CancelAll: Session._cancel_all,
    messages.Halt: Session._halt,
    messages.Resume: Session._resume,
    messages.Orders: Session._orders,
    messages.Instruments: Session._list_instruments,
    messages.Login: Session._login,
    messages.Heartbeat: Session._heartbeat,
    Unreadable: Session._unreadable,
}
