"""How batches of commands and entries of the journal look in Redis: MessagePack.

A *batch* is `[sessions, symbols, commands]`. A session is `[participant, session, generation]`, a
command `[kind, session, ...]`; sessions and instruments are named by their place in the lists, from
1 on. Order ids are strings of digits, since Redis' Lua keeps numbers only up to 2^53. What proves a
login goes beside the batch, in `EncodedBatch.tokens`, so that no journal has it.

An *entry* is what `decide.lua` made of a batch: `[epoch, batch, writer, number, taken, first, last,
time, batch of commands, rows]`. It holds the batch as it was sent, so that the rows need not repeat
what a command says; they are a flat list of a word and its values, see `_Walk`. Events are numbered
in order, so that the numbers need not be said either.

`FORMAT` changes whenever either does, and then nodes of the older one cannot join.
"""

from collections.abc import Callable, Sequence
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
from wood.model.errors import ErrorCode, Limit
from wood.model.events import (
    AllCanceled,
    CommandRefused,
    Event,
    HeartbeatAnswered,
    InstrumentsListed,
    LevelChanged,
    LoginRefused,
    OpenOrder,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    OrdersListed,
    ParticipantDisabled,
    SessionClosed,
    SessionOpened,
    StateAnswered,
    StateChanged,
    Trade,
)
from wood.model.orders import BUY, FOK, GTC, IOC, SELL, Reason, State

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

_LASTS = {GTC: 0, IOC: 1, FOK: 2}
_TIMES_IN_FORCE = (GTC, IOC, FOK)
_CODES = {code.value: code for code in ErrorCode}
_LIMITS = {limit.value: limit for limit in Limit}

_encode = Encoder().encode
_decode: Callable[[bytes | Raw], Any] = Decoder().decode


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


def decode_events(entry: Entry, answers: bytes | None, symbols: Sequence[str]) -> list[Event]:
    """The events of `entry`, and where they belong the `answers` to its queries, if known.

    `symbols` are all that are listed: the answer to `ListInstruments` needs no more.
    """
    return _Walk(entry, answers, symbols).events


class _Walk:
    """One pass over the rows of an entry, and the commands that they answer."""

    def __init__(self, entry: Entry, answers: bytes | None, symbols: Sequence[str]) -> None:
        self._sessions, self._symbols, self._commands = _decode(entry.commands)
        self._listed = symbols
        self._answers = None if answers is None else iter(_decode(answers))
        self.events: list[Event] = []
        self._walk(_decode(entry.rows), entry.first - 1)

    def _walk(self, rows: list[Any], seq: int) -> None:
        """Make events of rows, numbered from `seq` + 1."""
        events, commands = self.events, iter(self._commands)
        sessions, symbols = self._sessions, self._symbols
        command: list[Any] = []
        participant = session = symbol = ""
        order_id = left = at = 0
        side = BUY
        end = len(rows)
        while at < end:
            word = rows[at]
            if word == LEVEL:
                key = rows[at + 1]
                seq += 1
                if key < 0:
                    events.append(LevelChanged(seq, symbol, BUY, -key, rows[at + 2]))
                else:
                    events.append(LevelChanged(seq, symbol, SELL, key, rows[at + 2]))
                at += 3
            elif word == TRADE:
                maker, key, quantity, maker_left = rows[at + 1 : at + 5]
                who, _, maker_id = maker.partition(" ")
                left -= quantity
                price = -key if key < 0 else key
                events.append(
                    Trade(
                        seq + 1,
                        symbol,
                        price,
                        quantity,
                        side,
                        who,
                        int(maker_id),
                        maker_left,
                        participant,
                        order_id,
                        left,
                    )
                )
                seq += 2
                at += 5
            elif word == ACCEPTED:
                _, who, place, name, buys, price, left, lasts, post_only = next(commands)
                participant, session, _ = sessions[who - 1]
                symbol, order_id, side = symbols[place - 1], int(name), BUY if buys else SELL
                seq += 1
                events.append(
                    OrderAccepted(
                        seq,
                        participant,
                        session,
                        symbol,
                        order_id,
                        side,
                        price,
                        left,
                        _TIMES_IN_FORCE[lasts],
                        post_only,
                    )
                )
                at += 1
            elif word == REST_CANCELED:
                seq += 1
                events.append(OrderCanceled(seq, participant, symbol, order_id, rows[at + 1]))
                at += 2
            elif 0 < word <= STALE:
                command = next(commands)
                participant, session, _ = sessions[command[1] - 1]
                if command[0] <= AMEND:
                    symbol, order_id = symbols[command[2] - 1], int(command[3])
                elif command[0] == STATE:
                    symbol = symbols[command[2] - 1]
                if word == CANCELED:
                    seq += 1
                    events.append(OrderCanceled(seq, participant, symbol, order_id, rows[at + 1]))
                    at += 2
                elif word == AMENDED:
                    seq += 1
                    key, left = rows[at + 1 : at + 3]
                    side = BUY if key < 0 else SELL
                    price = -key if key < 0 else key
                    events.append(OrderAmended(seq, participant, symbol, order_id, price, left))
                    at += 3
                elif word == REFUSED:
                    code, text = _CODES[rows[at + 1]], rows[at + 2]
                    if command[0] == OPEN:
                        events.append(LoginRefused(participant, session, code, text))
                    else:
                        named = self._named(command)
                        events.append(CommandRefused(participant, session, code, text, *named))
                    at += 3
                elif word == LIMITED:
                    code, text = _CODES[rows[at + 1]], rows[at + 2]
                    limits = _LIMITS[rows[at + 3]], rows[at + 4] or None
                    named = self._named(command)
                    events.append(CommandRefused(participant, session, code, text, *named, *limits))
                    at += 5
                elif word == OPENED:
                    seq += 1
                    self._opened(seq, command, session, *rows[at + 1 : at + 4])
                    at += 4
                else:
                    self._answer(word, command, participant, session)
                    at += 1
            elif word == ORDER_CANCELED:
                name, quantity = rows[at + 1 : at + 3]
                seq += 1
                events.append(OrderCanceled(seq, participant, symbol, int(name), quantity))
                at += 3
            elif word == SYMBOL:
                symbol = rows[at + 1]
                at += 2
            elif word == DONE:
                self._done(command, sessions[command[1] - 1][0], session, rows[at + 1])
                at += 2
            elif word == OWNER:
                participant = rows[at + 1]
                at += 2
            elif word == MAKER_CANCELED:
                who, _, maker_id = rows[at + 1].partition(" ")
                seq += 1
                events.append(OrderCanceled(seq, who, symbol, int(maker_id), rows[at + 2]))
                at += 3
            elif word == STATE_CHANGED:
                state, reason = State(rows[at + 1]), Reason(rows[at + 2])
                seq += 1
                events.append(StateChanged(seq, symbol, state, reason))
                at += 3
            elif word == DISABLED:
                events.append(ParticipantDisabled(rows[at + 1]))
                at += 2
            else:
                raise ValueError(f"an entry of the journal has the unknown word {word!r}")

    def _named(self, command: list[Any]) -> tuple[int | None, str | None]:
        """The order and the instrument that a command names."""
        if command[0] == REFUSE:
            return None if command[4] is None else int(command[4]), command[5]
        symbol = None
        if command[0] <= ALL or command[0] == STATE:
            symbol = None if command[2] is None else self._symbols[command[2] - 1]
        return int(command[3]) if command[0] <= AMEND else None, symbol

    def _answer(self, word: int, command: list[Any], participant: str, session: str) -> None:
        """What answers a command alone."""
        if word == PASSED:
            _, _, code, text, _, _, limit, wait = command
            named = self._named(command)
            limits = None if limit is None else _LIMITS[limit], wait
            self.events.append(
                CommandRefused(participant, session, _CODES[code], text, *named, *limits)
            )
        elif word == QUERY and self._answers is not None:
            answer = next(self._answers)
            if command[0] == INSTRUMENTS:
                states = dict.fromkeys(self._listed, State.OPEN)
                states |= {symbol: State.HALTED for symbol in answer if symbol in states}
                self.events.append(InstrumentsListed(participant, session, states))
            else:
                asked = None if command[2] is None else self._symbols[command[2] - 1]
                orders = [_open_order(*row) for row in answer]
                self.events.append(OrdersListed(participant, session, asked, orders))

    def _opened(
        self,
        seq: int,
        command: list[Any],
        asker: str,
        session: str,
        operator: bool,
        recovered: int,
    ) -> None:
        orders = None
        if recovered == NOT_RECOVERED and self._answers is not None:
            orders = [_open_order(*row) for row in next(self._answers)]
        self.events.append(
            SessionOpened(
                seq,
                command[2],
                session,
                asker,
                operator,
                command[4],
                None if recovered == NOBODY_ASKED else recovered == RECOVERED,
                orders,
            )
        )

    def _done(self, command: list[Any], participant: str, session: str, count: int) -> None:
        """The answer that follows the events of its command."""
        if command[0] == GONE:
            self.events.append(SessionClosed(participant, session))
        elif command[0] == BEAT:
            self.events.append(HeartbeatAnswered(participant, session))
        elif command[0] == STATE:
            symbol = self._symbols[command[2] - 1]
            state = State.HALTED if command[3] else State.OPEN
            self.events.append(StateAnswered(participant, session, symbol, state))
        elif command[0] != SWEEP:
            named = command[0] == ALL and command[2] is not None
            symbol = self._symbols[command[2] - 1] if named else None
            self.events.append(AllCanceled(participant, session, symbol, count))


def _open_order(symbol: str, name: str, key: int, left: int) -> OpenOrder:
    return OpenOrder(symbol, int(name), BUY if key < 0 else SELL, abs(key), left)
