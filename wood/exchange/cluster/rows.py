"""The events that an entry of the journal tells: its rows, beside the commands that they answer."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Raw
from msgspec.msgpack import Decoder

from wood.exchange.cluster.formats import (
    ACCEPTED,
    ALL,
    AMEND,
    AMENDED,
    BEAT,
    CANCELED,
    DISABLED,
    DONE,
    GONE,
    INSTRUMENTS,
    LEVEL,
    LIMITED,
    MAKER_CANCELED,
    NOBODY_ASKED,
    NOT_RECOVERED,
    OPEN,
    OPENED,
    ORDER_CANCELED,
    OWNER,
    PASSED,
    QUERY,
    RECOVERED,
    REFUSE,
    REFUSED,
    REST_CANCELED,
    STALE,
    STATE,
    STATE_CHANGED,
    SWEEP,
    SYMBOL,
    TIMES_IN_FORCE,
    TRADE,
    Entry,
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
from wood.model.orders import BUY, SELL, Reason, State

_CODES = {code.value: code for code in ErrorCode}
_LIMITS = {limit.value: limit for limit in Limit}

_decode: Callable[[bytes | Raw], Any] = Decoder().decode


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
                        TIMES_IN_FORCE[lasts],
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
