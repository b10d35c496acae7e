"""Several partitions as one exchange: who is asked what, and one answer out of several. No I/O.

What is about one instrument goes to its partition. What is about the participant (logging in,
cancelling all, listing, a heartbeat, leaving) goes to all, and is answered once all have answered.
Each partition knows a session by a name and a generation of its own; here the session has one name
that is made of these. A partition answers in the order in which it is asked, so that each answer
belongs to the oldest question that waits for one.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from wood.model.commands import (
    CancelAll,
    CancelAnonymous,
    CloseSession,
    Command,
    Heartbeat,
    ListInstruments,
    ListOrders,
    OpenSession,
    Refuse,
    Seen,
)
from wood.model.errors import ErrorCode
from wood.model.events import (
    AllCanceled,
    Batch,
    CommandRefused,
    Event,
    HeartbeatAnswered,
    InstrumentsListed,
    LoginRefused,
    OrdersListed,
    ParticipantDisabled,
    SessionClosed,
    SessionOpened,
    StateAnswered,
)
from wood.model.instruments import Instruments

_OF_ALL = (
    *(OpenSession, CloseSession, Heartbeat, CancelAll),
    *(CancelAnonymous, ListOrders, ListInstruments),
)
_ANSWERS: dict[type[Event], tuple[type[Command], ...]] = {
    SessionOpened: (OpenSession,),
    LoginRefused: (OpenSession,),
    SessionClosed: (CloseSession,),
    HeartbeatAnswered: (Heartbeat,),
    OrdersListed: (ListOrders,),
    InstrumentsListed: (ListInstruments,),
    AllCanceled: (CancelAll, CancelAnonymous),
    CommandRefused: (CancelAll, CancelAnonymous, ListOrders, ListInstruments, Refuse),
}
"""What each event can be the answer to."""

_NAMED = frozenset({ParticipantDisabled, StateAnswered, *_ANSWERS})
"""Events that may have to be changed; all others pass as they are."""

_SUPERSEDED = ErrorCode.SUPERSEDED, "the session was resumed through another connection"
_DISABLED = ErrorCode.DISABLED, "this participant is disabled"

_BETWEEN, _OF = "_", ":"


@dataclass(eq=False)
class _Question:
    command: Command
    waiting: set[str]
    """The partitions that have not answered yet."""
    answers: dict[str, Event] = field(default_factory=dict)
    void: bool = False
    """Whether nobody waits for the answer any more."""


@dataclass(eq=False)
class _Seat:
    """One who has logged in: its name and generation here, and in each partition."""

    name: str
    participant: str
    generation: int
    places: dict[str, tuple[str, int]]
    """Where it is still connected, as far as is known."""
    lost: set[str] = field(default_factory=set)
    """Partitions that lost the thread: whether they answer once more is not known."""
    closing: bool = False
    """Whether it has said its last word; answers to what it said before may still come."""


class Gathering:
    """The sessions of one node's clients in the partitions of `instruments`."""

    def __init__(self, instruments: Instruments) -> None:
        self._partitions = tuple(instruments.partitions)
        self._home = self._partitions[0]
        self._of = {symbol: i.partition for symbol, i in instruments.items()}
        self._order = {symbol: place for place, symbol in enumerate(instruments)}
        self._seats: dict[tuple[str, int], _Seat] = {}
        """By name and generation: one who resumes has the name of one who has not gone yet."""
        self._seats_in: dict[str, dict[str, _Seat]] = {name: {} for name in self._partitions}
        """By the session's name in the partition."""
        self._open: dict[str, dict[str, deque[_Question]]] = {n: {} for n in self._partitions}
        """Questions that wait for an answer, by partition and the session's name there."""
        self._granted: dict[tuple[str, str], _Question] = {}
        """Logins that wait for others, by a partition that has granted it and the session there."""
        self._granted_to: dict[tuple[str, str], dict[_Question, None]] = {}
        """The same by partition and participant."""
        self._told = dict.fromkeys(self._partitions, 0)
        self.due: list[tuple[str, Command]] = []
        """What a partition must be told, because another one refused a login that it granted."""

    # Commands

    def spread(self, commands: Sequence[Command]) -> dict[str, list[Command]]:
        """What each partition is to be told, in order."""
        told: dict[str, list[Command]] = {}
        for command in commands:
            symbol: str | None = getattr(command, "symbol", None)
            if symbol is None and isinstance(command, _OF_ALL):
                self._ask_all(command, told)
                continue
            partition = self._home if symbol is None else self._of[symbol]
            known = self._known_as(command, partition)
            if known is None:
                continue
            told.setdefault(partition, []).append(known)
            if isinstance(command, Refuse) and symbol is None and command.order_id is None:
                # Its answer looks like that of a `CancelAll` that was refused.
                self._expect(_Question(command, {partition}), partition, known.session)
        return told

    def _ask_all(self, command: Command, told: dict[str, list[Command]]) -> None:
        question = _Question(command, set())
        for partition in self._partitions:
            known = self._known_as(command, partition)
            if known is None:
                continue
            if isinstance(known, OpenSession) and isinstance(command, OpenSession):
                known = _login(known, command.seen.get(partition))
            told.setdefault(partition, []).append(known)
            question.waiting.add(partition)
            self._expect(question, partition, known.session)
        if isinstance(command, CloseSession):
            self._close(command)

    def _known_as(self, command: Command, partition: str) -> Command | None:
        """The command under the session's name there; None if it has no session there any more."""
        if not command.generation:
            return command
        seat = self._seats.get((command.session, command.generation))
        place = None if seat is None or seat.closing else seat.places.get(partition)
        if place is None:
            return None
        return replace(command, session=place[0], generation=place[1])

    def _expect(self, question: _Question, partition: str, session: str) -> None:
        self._open[partition].setdefault(session, deque()).append(question)

    def abandon(self, asker: str) -> bool:
        """Nobody waits for a login any more; what is granted to it is taken back.

        Returns False if there is none under way.
        """
        found = False
        for by_session in self._open.values():
            for question in by_session.get(asker, ()):
                if isinstance(question.command, OpenSession):
                    found = True
                    self._void(question)
        return found

    def _close(self, command: CloseSession) -> None:
        seat = self._seats.get((command.session, command.generation))
        if seat is not None:
            seat.closing = True
            for partition in seat.lost & seat.places.keys():
                self._leave(seat, partition)
            self._forget_if_gone(seat)

    def _leave(self, seat: _Seat, partition: str) -> None:
        """It has no session in that partition any more, and gets no answer from there."""
        session, _ = seat.places.pop(partition)
        if self._seats_in[partition].get(session) is seat:
            del self._seats_in[partition][session]
            self._stop_waiting(partition, session)
        self._forget_if_gone(seat)

    def _forget_if_gone(self, seat: _Seat) -> None:
        if seat.closing and not seat.places:
            self._seats.pop((seat.name, seat.generation), None)

    def _stop_waiting(self, partition: str, session: str) -> None:
        for question in self._open[partition].pop(session, ()):
            question.waiting.discard(partition)

    # Events

    def gather(self, batch: Batch) -> Batch:
        """The batch as the node's clients are to hear of it."""
        events = batch.events
        if any(type(event) in _NAMED for event in events):
            partition = batch.partition
            heard: list[Event] = []
            for event in events:
                if type(event) in _NAMED:
                    heard += self._heard(partition, event)
                else:
                    heard.append(event)
            batch = replace(batch, events=heard)
        self._told[batch.partition] = batch.last
        return batch

    def lost(self, partition: str, seq: int) -> None:
        """That partition will not answer what it was asked, and all clients are told so."""
        self._told[partition] = seq
        for by_session in self._open.values():
            for questions in by_session.values():
                for question in questions:
                    question.waiting.discard(partition)
                    self._void(question)
        self._open[partition].clear()
        for seat in self._seats.values():
            seat.lost.add(partition)

    def _heard(self, partition: str, event: Event) -> list[Event]:
        match event:
            case SessionOpened():
                return self._opened(partition, event)
            case ParticipantDisabled():
                self._disabled(partition, event.participant)
                return [event]
            case LoginRefused():
                return self._answered(partition, event.session, event)
            case CommandRefused(order_id=None, symbol=None):
                return self._answered(partition, event.session, event)
            case AllCanceled(symbol=None) | OrdersListed(symbol=None):
                return self._answered(partition, event.session, event)
            case InstrumentsListed() | HeartbeatAnswered() | SessionClosed():
                return self._answered(partition, event.session, event)
            case CommandRefused() | AllCanceled() | OrdersListed() | StateAnswered():
                seat = self._seats_in[partition].get(event.session)
                return [event if seat is None else replace(event, session=seat.name)]
        return [event]

    def _opened(self, partition: str, event: SessionOpened) -> list[Event]:
        """Somebody logged in, here or at another node; who had the session has it no more."""
        told: list[Event] = []
        if event.session != event.asker:
            self._stop_waiting(partition, event.session)
            if (granted := self._granted.get((partition, event.session))) is not None:
                self._revoke(granted, partition, _SUPERSEDED)
            seat = self._seats_in[partition].get(event.session)
            if seat is not None:
                self._leave(seat, partition)
                if not seat.closing:
                    told.append(replace(event, session=seat.name, asker=""))
        return told + self._answered(partition, event.asker, event)

    def _disabled(self, partition: str, participant: str) -> None:
        for seat in list(self._seats_in[partition].values()):
            if seat.participant == participant:
                self._leave(seat, partition)
        for question in list(self._granted_to.get((partition, participant), ())):
            self._revoke(question, partition, _DISABLED)

    def _answered(self, partition: str, session: str, event: Event) -> list[Event]:
        questions = self._open[partition].get(session, ())
        kinds = _ANSWERS[type(event)]
        question = next((each for each in questions if isinstance(each.command, kinds)), None)
        if question is None:
            return []  # of another node's client, or of one that is gone
        if isinstance(event, SessionClosed):
            self._stop_waiting(partition, session)  # also for what will never be answered
            seat = self._seats_in[partition].get(session)
            if seat is not None:
                self._leave(seat, partition)
        else:
            self._strike_out(question, partition, session)
        question.answers[partition] = event
        if question.void:
            self._void(question)
            return []
        if question.waiting:
            self._note(question, partition, event)
            return []
        return [self._whole(question, partition)]

    def _strike_out(self, question: _Question, partition: str, session: str) -> None:
        questions = self._open[partition][session]
        questions.remove(question)
        if not questions:
            del self._open[partition][session]
        question.waiting.discard(partition)

    # Logins that one partition has granted, and another not yet

    def _note(self, question: _Question, partition: str, event: Event) -> None:
        if isinstance(event, SessionOpened) and event.session != event.asker:
            self._granted[partition, event.session] = question
            self._granted_to.setdefault((partition, event.participant), {})[question] = None

    def _forget_grants(self, question: _Question) -> None:
        for partition, event in question.answers.items():
            if isinstance(event, SessionOpened):
                if self._granted.get((partition, event.session)) is question:
                    del self._granted[partition, event.session]
                same = self._granted_to.get((partition, event.participant), {})
                same.pop(question, None)
                if not same:
                    self._granted_to.pop((partition, event.participant), None)

    def _revoke(self, question: _Question, partition: str, why: tuple[ErrorCode, str]) -> None:
        """What a partition granted to a login that still waits for others is void."""
        self._forget_grants(question)
        who = question.command.participant, question.command.session
        question.answers[partition] = LoginRefused(*who, *why)
        for other, event in question.answers.items():
            self._note(question, other, event)

    def _void(self, question: _Question) -> None:
        """Nobody waits for it: end the sessions that it was granted."""
        question.void = True
        self._forget_grants(question)
        for partition, event in question.answers.items():
            if isinstance(event, SessionOpened) and event.session != event.asker:
                close = CloseSession(event.participant, event.session, event.generation)
                self.due.append((partition, close))
        question.answers.clear()

    def _whole(self, question: _Question, partition: str) -> Event:
        """One answer out of those of the partitions, the last of which was `partition`."""
        self._forget_grants(question)
        command = question.command
        answers = [question.answers[name] for name in self._partitions if name in question.answers]
        who = command.participant, command.session
        refused = [each for each in answers if isinstance(each, CommandRefused | LoginRefused)]
        if refused:
            self._void(question)
            return replace(min(refused, key=_says_less), session=command.session)
        match command:
            case OpenSession():
                return self._logged_in(question, partition)
            case CancelAll() | CancelAnonymous():
                count = sum(each.count for each in answers if isinstance(each, AllCanceled))
                return AllCanceled(*who, None, count)
            case ListOrders():
                orders = [o for each in answers for o in getattr(each, "orders", ())]
                orders.sort(key=lambda order: self._order[order.symbol])
                return OrdersListed(*who, None, orders)
            case ListInstruments():
                states = {
                    symbol: state
                    for each in answers
                    for symbol, state in getattr(each, "states", {}).items()
                }
                return InstrumentsListed(*who, {s: states[s] for s in self._order if s in states})
        return replace(answers[0], session=command.session)

    def _logged_in(self, question: _Question, partition: str) -> Event:
        opened = {
            name: event
            for name in self._partitions
            if isinstance(event := question.answers[name], SessionOpened)
        }
        home = opened[self._home]
        if home.session == home.asker:
            return home  # one without a name, which only told that it is there
        places = {name: (event.session, event.generation) for name, event in opened.items()}
        name = _BETWEEN.join(f"{name}{_OF}{session}" for name, (session, _) in places.items())
        seat = _Seat(name, home.participant, home.generation, places)
        self._seats[name, home.generation] = seat
        for each, (session, _) in places.items():
            self._seats_in[each][session] = seat
        recovered = [each.recovered for each in opened.values() if each.recovered is not None]
        return replace(
            home,
            session=name,
            recovered=all(recovered) if recovered else None,
            orders=[order for each in opened.values() for order in each.orders or ()],
            parts=opened,
            told={each: number for each, number in self._told.items() if each != partition},
        )


def _says_less(refused: CommandRefused | LoginRefused) -> tuple[bool, int]:
    """What is wrong for good says more than what is wrong for now, and that more for long."""
    wait = getattr(refused, "retry_after", None) or 0
    return refused.code is ErrorCode.UNAVAILABLE, -wait


def _login(command: OpenSession, seen: Seen | None) -> OpenSession:
    """A login as one partition is asked for it, whose events the client has seen so far."""
    if seen is None:
        return replace(command, resumes=None, last_seq=None, epoch=None, seen={})
    session, last_seq, epoch = seen
    return replace(command, resumes=session, last_seq=last_seq, epoch=epoch, seen={})


def names_in(session: str, home: str) -> Mapping[str, str]:
    """The names of a session by partition; one that names none is of the partition `home`.

    Of what is no name of a session something comes out that no partition takes for one.
    """
    if _OF not in session:
        return {home: session}
    pairs = [part.partition(_OF) for part in session.split(_BETWEEN)]
    return {partition: name for partition, _, name in pairs}
