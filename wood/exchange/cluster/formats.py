"""How batches of commands and entries of the journal look in Redis: MessagePack.

A *batch* is `[sessions, symbols, commands]`. A session is `[participant, session, generation]`, a
command `[kind, session, ...]`; sessions and instruments are named by their place in the lists, from
1 on. Order ids are strings of digits, since Redis' Lua keeps numbers only up to 2^53. What proves a
login goes beside the batch, in `EncodedBatch.tokens`, so that no journal has it.

An *entry* is what `decide.lua` made of a batch: `[epoch, batch, writer, number, taken, first, last,
time, batch of commands, rows]`. It holds the batch as it was sent, so that the rows need not repeat
what a command says; they are a flat list of a word and its values, see rows.py. Events are numbered
in order, so that the numbers need not be said either.

`FORMAT` changes whenever either does, and then nodes of the older one cannot join.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Raw, Struct
from msgspec.msgpack import Decoder, Encoder

from wood.model.commands import (
    AmendOrder,
    CancelAll,
    CancelAnonymous,
    CancelOrder,
    ChangeState,
    CloseSession,
    Command,
    Heartbeat,
    ListInstruments,
    ListOrders,
    NewOrder,
    OpenSession,
    OrderCommand,
    Refuse,
    Sweep,
)
from wood.model.orders import BUY, FOK, GTC, IOC, State

FORMAT = 3

NEW, CANCEL, AMEND, ALL, LIST, INSTRUMENTS, REFUSE, GONE = range(1, 9)
OPEN, BEAT, SWEEP, ANONYMOUS, STATE = range(9, 14)
"""What a command is."""

ACCEPTED, REFUSED, CANCELED, AMENDED, CANCEL_ALL, CLOSE, PASSED, QUERY = range(1, 9)
OPENED, LIMITED, STALE = range(9, 12)
"""The words that begin the rows of the next command."""
TRADE, REST_CANCELED, LEVEL, SYMBOL, ORDER_CANCELED, DONE, OWNER, DISABLED = range(12, 20)
MAKER_CANCELED, STATE_CHANGED = range(20, 22)
"""The words that follow them."""

NOBODY_ASKED, RECOVERED, NOT_RECOVERED = range(3)
"""What `OPENED` says of the reports since the last one that the client saw."""

TIMES_IN_FORCE = (GTC, IOC, FOK)
"""Named by their place, from 0 on."""
_LASTS = {each: place for place, each in enumerate(TIMES_IN_FORCE)}

_encode = Encoder().encode


class EncodedBatch(Struct, frozen=True):
    """A batch on its way: its bytes, and the instruments that it is about, in its order.

    `tokens` has the digest of a token for each login in it, or true for one who is certified.
    """

    data: bytes
    symbols: tuple[str, ...]
    tokens: bytes


class Entry(Struct, frozen=True, array_like=True, gc=False):
    """An entry of the journal, its commands and rows not yet looked at.

    `batch` counts the entries of the partition without gaps; `number` is the one that `writer`
    gave its batch, and `taken` how many of the commands were taken. The others are as in `Batch`.
    """

    epoch: int
    batch: int
    writer: str
    number: int
    taken: int
    first: int
    last: int
    time: int
    commands: Raw
    rows: Raw

    @property
    def position(self) -> str:
        """Its id in the stream."""
        return f"{self.last}-{self.batch}"

    def concerns(self, participant: str) -> bool:
        """False only if nothing in it is about that participant: its bytes do not hold the name."""
        name = participant.encode()
        return name in bytes(self.commands) or name in bytes(self.rows)


decode_entry = Decoder(Entry).decode


def encode_batch(commands: Sequence[Command], symbols: Sequence[str]) -> EncodedBatch:
    """Encode commands; `symbols` are all that are listed, in their order."""
    places: dict[str, int] = {}
    if any(type(c) in _PERHAPS_FOR_ALL and _is_for_all(c) for c in commands):
        places = {symbol: place for place, symbol in enumerate(symbols, 1)}
    sessions: dict[tuple[str, str, int], int] = {}
    rows: list[tuple[Any, ...]] = []
    for command in commands:
        key = (command.participant, command.session, command.generation)
        session = sessions.get(key)
        if session is None:
            session = sessions[key] = len(sessions) + 1
        if isinstance(command, OrderCommand):
            place = places.get(command.symbol)
            if place is None:
                place = places[command.symbol] = len(places) + 1
            rows.append(_order_row(command, session, place))
        else:
            rows.append(_other_row(command, session, places))
    logins = [command for command in commands if isinstance(command, OpenSession)]
    tokens = [login.certified or login.token for login in logins]
    data = _encode((list(sessions), list(places), rows))
    return EncodedBatch(data, tuple(places), _encode(tokens))


_PERHAPS_FOR_ALL = {CancelAll, CancelAnonymous, ListOrders, OpenSession, CloseSession, Sweep}


def _is_for_all(command: Command) -> bool:
    if isinstance(command, CancelAll | ListOrders):
        return command.symbol is None
    if isinstance(command, OpenSession):
        return command.is_resuming
    return not isinstance(command, CloseSession) or command.cancel_orders


def _order_row(command: OrderCommand, session: int, place: int) -> tuple[Any, ...]:
    order_id = str(command.order_id)
    if type(command) is NewOrder:
        return (
            NEW,
            session,
            place,
            order_id,
            command.side is BUY,
            command.price,
            command.quantity,
            _LASTS[command.time_in_force],
            command.post_only,
        )
    if type(command) is CancelOrder:
        return CANCEL, session, place, order_id
    assert type(command) is AmendOrder
    return AMEND, session, place, order_id, command.price, command.quantity


def _other_row(command: Command, session: int, places: dict[str, int]) -> tuple[Any, ...]:
    match command:
        case Refuse(code=code, text=text, order_id=order_id):
            name = None if order_id is None else str(order_id)
            more = command.symbol, command.limit, command.retry_after
            return REFUSE, session, code, text, name, *more
        case CancelAll(symbol=symbol, whose=whose):
            return ALL, session, _place(places, symbol), whose
        case ListOrders(symbol=symbol):
            return LIST, session, _place(places, symbol)
        case ListInstruments():
            return INSTRUMENTS, session
        case OpenSession(name=name, resumes=resumes, last_seq=last_seq, epoch=epoch):
            return OPEN, session, name, resumes, last_seq, epoch, command.cancel_orders
        case CloseSession(cancel_orders=cancel_orders):
            return GONE, session, None, cancel_orders
        case Heartbeat():
            return BEAT, session
        case Sweep():
            return SWEEP, session
        case CancelAnonymous(before=before):
            return ANONYMOUS, session, before
        case ChangeState(symbol=symbol, state=state):
            return STATE, session, _place(places, symbol), state is State.HALTED
    raise TypeError(f"an exchange does not take {type(command).__name__}")


def _place(places: dict[str, int], symbol: str | None) -> int | None:
    return None if symbol is None else places.setdefault(symbol, len(places) + 1)
