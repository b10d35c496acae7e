"""A session of the client library and an exchange, without sockets."""

import json
from decimal import Decimal

import msgpack

from tests.fake_exchange import Engine, Message
from wood.client import (
    NotTaken,
    Refused,
    Report,
    Unknown,
)
from wood.client.codec import codec
from wood.client.requests import (
    AmendOrder,
    CancelOrder,
    Command,
    CreateOrder,
    Login,
)
from wood.client.session import Heard, Session
from wood.model.orders import BUY

ALICE = Login(participant="alice", heartbeat=5.0)
LOGIN: Message = {
    "message": "login",
    "participant": "alice",
    "session": "s1",
    "epoch": 7,
    "seq": 4,
}

PARTITIONS: Message = {"main": ["WOOD", "PEAR"], "metals": ["GOLD"]}
LOGIN_TO_TWO: Message = LOGIN | {
    "session": "main:s1_metals:s2",
    "epoch": {"main": 7, "metals": 17},
    "seq": {"main": 4, "metals": 40},
    "partitions": PARTITIONS,
}


def create(order_id: int, price: int = 145, symbol: str | None = None) -> CreateOrder:
    return CreateOrder(
        order_id=order_id, side=BUY, price=Decimal(price), quantity=Decimal(10), symbol=symbol
    )


def cancel(order_id: int, symbol: str | None = None) -> CancelOrder:
    return CancelOrder(order_id=order_id, symbol=symbol)


def amend(order_id: int, quantity: int) -> AmendOrder:
    return AmendOrder(order_id=order_id, quantity=Decimal(quantity))


def logged_in(reply: Message = LOGIN) -> Session:
    session = Session(codec("json"), ALICE)
    session.connected()
    before = session.ready
    assert session.receive(line(reply)) == []
    assert (before, session.ready) == (False, True)
    return session


class Wire:
    """A session, an exchange, and the bytes under way between them, which a cut destroys.

    `outcomes` says of each command, by the place in which it was sent, what the exchange did with
    it: None if it never got there.
    """

    def __init__(self, encoding: str = "json") -> None:
        self.packed = encoding == "msgpack"
        self.engine = Engine()
        self.session = Session(codec(encoding), ALICE)
        self.heard: list[Heard] = []
        self.sent: list[Command] = []
        self.outcomes: list[str | None] = []
        self._here: list[int] = []  # places of those sent on this connection and not decided
        self._half = self._up = self._down = b""
        self._unpacker = msgpack.Unpacker()
        self._open()
        self.settle()

    def send(self, command: Command) -> None:
        self._up += self.session.send(command)
        self._here.append(len(self.sent))
        self.sent.append(command)
        self.outcomes.append(None)

    def to_exchange(self, size: int) -> None:
        """Let `size` bytes arrive."""
        if self.packed:
            self._unpacker.feed(self._up[:size])
            messages = list(self._unpacker)
        else:
            *lines, rest = (self._half + self._up[:size]).split(b"\n")
            self._half = rest
            messages = [json.loads(line) for line in lines]
        self._up = self._up[size:]
        for message in messages:
            self._decide(message)

    def to_client(self, size: int) -> None:
        """Let `size` bytes arrive."""
        self.heard += self.session.receive(self._down[:size])
        self._down = self._down[size:]
        assert self.session.over is None

    def tell(self, *messages: Message) -> None:
        """The exchange says something."""
        for message in messages:
            self._down += msgpack.packb(message) if self.packed else line(message)

    def cut(self) -> None:
        """All bytes under way are gone; there is a new connection."""
        self.heard += self.session.disconnected("cut")
        self._open()

    def settle(self) -> None:
        """Let everything arrive."""
        self.to_exchange(len(self._up))
        self.to_client(len(self._down))

    def reports(self, kind: type[Report]) -> list[Report]:
        return [each for each in self.heard if isinstance(each, kind)]

    def _open(self) -> None:
        self._here = []
        self._half = b""
        self._unpacker = msgpack.Unpacker()
        self._down = b""
        self._up = self.session.connected()

    def _decide(self, message: Message) -> None:
        if message["message"] == "login":
            self.tell(*self.engine.login(message))
            return
        said = self.engine.ask(message)
        if self._here:
            refused = said[-1]["message"] == "error"
            self.outcomes[self._here.pop(0)] = "refused" if refused else "taken"
        self.tell(*said)


def line(message: Message) -> bytes:
    return json.dumps(message).encode() + b"\n"


def told(wire: Wire, command: Command) -> Report | None:
    """What was said of `command` itself, at most once."""
    said = [
        each
        for each in wire.heard
        if isinstance(each, NotTaken | Unknown | Refused) and each.request is command
    ]
    assert len(said) <= 1
    return said[0] if said else None
