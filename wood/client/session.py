"""The private port without sockets and without a clock: bytes in, reports and bytes out.

A `Session` outlives its connections. To the shell round it each connection is: `connected`, then
`receive` for what arrives, `heartbeat` once it is `accepted` and `send` while it is `ready`, then
`disconnected`; or, after the last one, `ended`. Two attributes say that the connection must end:
`lost`, to be replaced by another one, or `over`, for good.
"""

from collections.abc import Callable

import msgspec
from msgspec import Struct

from wood.client.codec import Codec
from wood.client.errors import (
    ClientError,
    Disabled,
    LoginRefused,
    ProtocolError,
    QueryRefused,
    Rejected,
    Superseded,
)
from wood.client.places import Partition, Places, by_partition, places_in
from wood.client.replies import (
    CancelAllReply,
    ErrorReply,
    ExecutionReport,
    HaltReply,
    HeartbeatReply,
    Instrument,
    InstrumentsReply,
    LoginReply,
    OpenOrder,
    OrdersReply,
    Private,
    ResumeReply,
)
from wood.client.reports import (
    AllCanceled,
    Disconnected,
    NotTaken,
    Refused,
    Report,
    ReportsLost,
    Resumed,
    Unknown,
    order_report,
)
from wood.client.requests import (
    CancelAll,
    CancelOrder,
    Command,
    CreateOrder,
    Halt,
    Heartbeat,
    Instruments,
    Login,
    MarketOrder,
    Message,
    Orders,
    Query,
    Resume,
)
from wood.client.under_way import UnderWay
from wood.model.orders import State
from wood.model.text import printable

PASSING = frozenset({"unavailable", "silent", "limit", "rate", "too_long"})
"""Codes with which a connection can end, or a login be refused, and another one may do better."""

ENDING: dict[str, type[Rejected]] = {"superseded": Superseded, "disabled": Disabled}
"""Codes with which it has ended for good."""


class Answer(Struct, frozen=True):
    """The reply to `query`; None if that got lost with the connection."""

    query: Query
    result: list[OpenOrder] | list[Instrument] | State | QueryRefused | None


Heard = Report | Answer


class Session:
    """One participant, or an anonymous one if there is no `login`.

    What is given back by `receive`, `disconnected` and `ended` tells the fate of each command that
    was handed to `send`, exactly once. `trace` is called with each message that is sent (`>`) or
    received (`<`).
    """

    def __init__(
        self, codec: Codec, login: Login | None, trace: Callable[[str, bytes], None] | None = None
    ) -> None:
        self.ready = False
        self.accepted = False
        self.lost: str | None = None
        self.over: ClientError | None = None
        self._places = Places()
        self.under_way = UnderWay(self._places.of)
        self._codec = codec
        self._frames = codec.frames()
        self._login = login
        self._trace = trace or (lambda mark, message: None)
        self._login_open = False
        self._doubtful: ErrorReply | None = None
        """What may be a refusal, or the last word on this connection."""
        self._abandoned = 0
        """How often logins that were given up before they were answered may yet supersede the
        connection that was made instead: each may still arrive, once in each partition."""
        self._session: str | None = None

    def connected(self) -> bytes:
        """A new connection is there. Returns what to say first."""
        self._frames = self._codec.frames()
        self.lost = self._doubtful = None
        self.ready = self.accepted = self._login is None
        if self._login is None:
            return b""
        if self._login_open and self._session is not None:
            self._abandoned += len(self._places)
        self._login_open = True
        if self._session is None:
            return self._say(self._login)
        places = self._places
        seen = {"session": self._session, "last_seq": places.seq, "epoch": places.epoch}
        return self._say(msgspec.structs.replace(self._login, **seen))

    def send(self, request: Command | Query) -> bytes:
        """The bytes of `request`, which from now on is under way. Only while `ready`.

        Raises `ValueError` for a new order with an id that a command under way names.
        """
        if isinstance(request, CreateOrder | MarketOrder) and self.under_way.names(
            request.order_id, request.symbol
        ):
            raise ValueError(f"order id {request.order_id} is that of a command under way")
        self.under_way.add(request)
        return self._say(request)

    def heartbeat(self) -> bytes:
        """The bytes that show that one lives."""
        return self._say(Heartbeat())

    def receive(self, piece: bytes) -> list[Heard]:
        """What the next bytes of the server say. After `lost` or `over` nothing more is read."""
        self._frames.feed(piece)
        heard: list[Heard] = []
        try:
            while self.lost is None and self.over is None:
                frame = self._frames.next()
                if frame is None:
                    break
                self._trace("<", frame)
                reply = self._codec.decode(frame)
                if self._doubtful is not None:
                    doubtful, self._doubtful = self._doubtful, None
                    heard += self._refused(doubtful)
                heard += self._understand(reply)
        except ProtocolError as error:
            self.over = error
        return heard

    def disconnected(self, reason: str) -> list[Heard]:
        """The connection is gone and another one will come. Needed only if it was `ready`."""
        self.ready = False
        commands = []
        heard: list[Heard] = [Disconnected(reason)]
        for request in self.under_way.clear():
            if isinstance(request, Query):
                heard.append(Answer(request, None))
            else:
                commands.append(request)
        for command in commands:
            self.under_way.add(command)
        return heard

    def ended(self) -> list[Report]:
        """No other connection will come."""
        self.ready = False
        return [Unknown(each) for each in self.under_way.clear() if not isinstance(each, Query)]

    def _say(self, message: Message) -> bytes:
        said = self._codec.encode(message)
        self._trace(">", said)
        return said

    def _understand(self, reply: Private) -> list[Heard]:
        match reply:
            case ExecutionReport():
                return self._report(reply)
            case ErrorReply(error=text):
                return self._error(msgspec.structs.replace(reply, error=printable(text)))
            case LoginReply():
                return self._logged_in(reply)
            case HeartbeatReply():
                self._sent_up_to(reply)
                return []
            case CancelAllReply():
                self.under_way.replied(CancelAll)
                return [AllCanceled(count=reply.canceled, symbol=reply.symbol)]
            case OrdersReply():
                return self._answer(Orders, reply.orders)
            case HaltReply():
                return self._decided(Halt, reply)
            case ResumeReply():
                return self._decided(Resume, reply)
            case InstrumentsReply():
                return self._answer(Instruments, reply.instruments)

    def _report(self, said: ExecutionReport) -> list[Heard]:
        if said.seq is not None:
            self.accepted = True
            if not self._places.goes_on(self._places.of(said.symbol), said.seq):
                return []
        report = order_report(said)
        self.under_way.reported(report)
        return [report]

    def _sent_up_to(self, heartbeat: HeartbeatReply) -> None:
        if heartbeat.epoch is not None and heartbeat.seq is not None:
            for partition, place in places_in(heartbeat.seq, heartbeat.epoch).items():
                self._places.reached(partition, *place)

    def _answer(self, kind: type[Query], result: list[OpenOrder] | list[Instrument]) -> list[Heard]:
        query = self.under_way.replied(kind)
        return [Answer(query, result)] if isinstance(query, Query) else []

    def _decided(self, kind: type[Query], reply: HaltReply | ResumeReply) -> list[Heard]:
        query = self.under_way.replied(kind, reply.symbol)
        return [Answer(query, reply.state)] if isinstance(query, Query) else []

    def _error(self, error: ErrorReply) -> list[Heard]:
        if error.order_id is None and self._ends(error):
            return []
        return self._refused(error)

    def _refused(self, error: ErrorReply) -> list[Heard]:
        request = self.under_way.refused(error, blind=self._login is None)
        if isinstance(request, Query):
            why = QueryRefused(error.error, error.code, error.limit, error.retry_after)
            return [Answer(request, why)]
        refused = Refused(
            request=request,
            code=error.code,
            text=error.error,
            order_id=error.order_id,
            symbol=error.symbol,
            limit=error.limit,
            retry_after=error.retry_after,
        )
        return [refused]

    def _ends(self, error: ErrorReply) -> bool:
        """Whether `error` is about the connection, which ends with it, and not about a request."""
        code, text = error.code, error.error
        logging_in = self._login is not None and not self.ready
        self._login_open = False
        if code == "superseded" and self._abandoned:
            self._abandoned -= 1
            self.lost = f"{text} (by a login of its own that came late)"
        elif code in ENDING:
            self.over = ENDING[code](text, code)
        elif code == "unavailable" and any(isinstance(e, CancelAll) for e in self.under_way):
            # Perhaps its refusal: what is heard next shows that this was not the end.
            self._doubtful = error
        elif code in ("unavailable", "silent", "too_long") or (logging_in and code in PASSING):
            self.lost = f"{text} ({code})"
        elif logging_in or (code == "unauthorized" and not self.under_way):
            self.over = LoginRefused(text, code)
        elif code == "limit" and not self.under_way:
            self.lost = f"{text} ({code})"
        else:
            return False
        return True

    def _logged_in(self, reply: LoginReply) -> list[Heard]:
        if self._login is None or self.ready:
            raise ProtocolError("the server confirms a login that was not asked for")
        resumed = self._session is not None
        places = places_in(reply.seq, reply.epoch)
        self._session = reply.session
        self._places.know(reply.partitions)
        for partition, place in places.items():
            self._places.begin(partition, *place)
        self._login_open = False
        self.ready = self.accepted = True
        if not resumed:
            return []
        asked = [each for each in self.under_way.clear() if not isinstance(each, Query)]
        recovered = by_partition(reply.recovered)
        lost = {partition for partition in places if not recovered.get(partition, True)}
        fates = [self._fate(command, lost, reply.orders) for command in asked]
        heard: list[Heard] = [each for each in fates if each is not None]
        if not lost:
            return [Resumed(), *heard]
        symbols = None if lost == places.keys() else self._places.symbols(lost)
        return [ReportsLost(orders=tuple(reply.orders), symbols=symbols), *heard]

    def _fate(
        self, command: Command, lost: set[Partition], orders: list[OpenOrder]
    ) -> Report | None:
        """What is known of a command that no report tells of; None if an open order tells it.

        `orders` are those that are open in the partitions that lost reports.
        """
        if isinstance(command, CancelAll):
            return Unknown(command)
        if self._places.of(command.symbol) not in lost:
            return NotTaken(command)
        is_open = any(
            order.order_id == command.order_id and self.under_way.same(command.symbol, order.symbol)
            for order in orders
        )
        if is_open and isinstance(command, CreateOrder):
            return None
        if is_open and isinstance(command, CancelOrder):
            return NotTaken(command)
        return Unknown(command)
