"""One private connection's side of the conversation: bytes in, commands out, no I/O."""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from wood.model import commands
from wood.model.commands import CloseSession, Command, ListInstruments, ListOrders, NewOrder, Refuse
from wood.model.errors import ErrorCode, Refusal
from wood.model.instruments import Instrument, Instruments
from wood.model.orders import FOK, GTC, IOC
from wood.node.throttle import Throttle
from wood.wire import messages
from wood.wire.checks import numeric_id
from wood.wire.json_lines import LINE_LIMIT, private_json
from wood.wire.message_pack import FIRST_BYTES, MessagePack
from wood.wire.messages import MAX_ORDER_ID, NOTHING, Message, Unreadable

QUERIES = (ListOrders, ListInstruments)
"""Commands with answers far longer than themselves. A session has one of them under way and holds
back what was said after it, so that a read full of them cannot fill the memory with answers."""


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
        throttle: Throttle | None = None,
        cancel_on_close: bool = False,
    ) -> None:
        self.name = name
        self.participant = name
        self.generation = 1
        self.packed = False
        """Whether the client speaks MessagePack; known from its first byte on."""
        self._instruments = instruments
        self._line_limit = line_limit
        self._decoder = private_json(line_limit)
        self._packs: MessagePack | None = None
        self._throttle = throttle
        self._cancel_on_close = cancel_on_close
        self._began = False
        self._next_seq = 1
        self._held: Iterator[Message | Unreadable] | None = None
        self._ended = False
        self._closed = False

    @property
    def holding(self) -> bool:
        """Whether a query is under way: read no more until `answered`."""
        return self._held is not None

    def receive(self, data: bytes) -> list[Command]:
        """The commands in `data` and what came before it; none once the session has ended."""
        if self._ended:
            return []
        if not self._began:
            self._begin(data)
        said = (self._packs or self._decoder).feed(data)
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
            out.append(command)
            if isinstance(command, QUERIES):
                self._held = said
                return out
            if type(message) is Unreadable and message.fatal:
                self._ended = True
                break
        if self._ended and not self._closed:
            self._closed = True
            out.append(
                CloseSession(self.participant, self.name, self.generation, self._cancel_on_close)
            )
        return out

    def _command(self, message: Message | Unreadable) -> Command:
        if message.seq is not None:
            self._count(message.seq)
        if self._throttle is not None and not self._throttle.allow():
            raise Refusal(ErrorCode.RATE, "too many messages per second")
        if type(message) is messages.CreateOrder:
            return self._create_order(message)
        return _COMMANDS[type(message)](self, message)

    def _count(self, seq: int) -> None:
        if seq != self._next_seq:
            raise Refusal(ErrorCode.SEQUENCE, f"seq {self._next_seq} was expected")
        self._next_seq += 1

    def _refuse(self, message: Message | Unreadable, refusal: Refusal) -> Refuse:
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

    def _cancel_all(self, message: messages.CancelAll) -> commands.CancelAll:
        return commands.CancelAll(
            self.participant, self.name, self.generation, self._symbol(message.symbol)
        )

    def _orders(self, message: messages.Orders) -> ListOrders:
        return ListOrders(
            self.participant, self.name, self.generation, self._symbol(message.symbol)
        )

    def _list_instruments(self, message: messages.Instruments) -> ListInstruments:
        return ListInstruments(self.participant, self.name, self.generation)

    def _unreadable(self, message: Unreadable) -> Command:
        raise Refusal(message.code, message.text)

    def _instrument(self, symbol: str | None) -> Instrument:
        if symbol is None:
            return self._instruments.default
        if symbol not in self._instruments:
            raise Refusal(ErrorCode.UNKNOWN_SYMBOL, "no instrument has this symbol")
        return self._instruments[symbol]

    def _symbol(self, symbol: str | None) -> str | None:
        return None if symbol is None else self._instrument(symbol).symbol


_COMMANDS: dict[type, Callable[[Session, Any], Command]] = {
    messages.MarketOrder: Session._market_order,
    messages.CancelOrder: Session._cancel_order,
    messages.AmendOrder: Session._amend_order,
    messages.CancelAll: Session._cancel_all,
    messages.Orders: Session._orders,
    messages.Instruments: Session._list_instruments,
    Unreadable: Session._unreadable,
}
