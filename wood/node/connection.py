"""What all connections share: reading, pausing, and closing without losing a word."""

import asyncio
import socket
from collections.abc import Set as AbstractSet
from enum import Enum
from random import random
from typing import Protocol, cast

from wood.model.errors import Refusal
from wood.node.addresses import group
from wood.node.connection_log import say_closed, say_opened, say_refused, say_slow
from wood.node.proxy_protocol import Source, plain
from wood.node.throttle import Allowance

TURN = 8 * 1024
"""Bytes that one connection is heard at once; what more it said waits for its next turn."""

LINES_TURN = 128
"""Lines of one connection that are understood in one turn."""

FLUSH = 30.0
"""Seconds in which a client may read what a closing connection still owes it."""

LINGER = 2.0
"""Seconds that a closing connection still reads, and throws away, what the client sends.

A socket that is closed with unread input resets the connection, and the reset can overtake the
last words that the client was sent.
"""

SHORTEST_PAUSE = 0.1
"""Seconds at least that a client is not heard that says more than it may: what it says meanwhile
waits in its own buffers, and a flood costs one portion of messages a pause.
"""

LONGEST_PAUSE = 1.0
"""Seconds at most, whatever an engine says about when to come again."""

FLOOD_TURN, FLOOD_WAIT = 256, 0.005
"""Bytes that a client which said too much within the last second is heard at once, and seconds
until its next turn. The refusal of an engine takes a while to come back: so a client is refused
few times before it is paused again, and many of its kind take little of others' time.
"""

FEW = 8
"""Messages at most in such a turn."""

BAD = 16
"""Messages of one turn that cannot be understood, after which a client is heard like that too: to
say what is wrong with them costs several times what good ones do.
"""

FLOODING = 10.0
"""Seconds that a client may say too much without a break; then its connection is closed."""

BREAK = 0.5
"""Seconds of being heard without a refusal that are one."""

KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""A peer that vanished without a word is noticed after two minutes."""

UNKNOWN = Source("?", 0)
"""Where a connection comes from if the system does not say."""


class Pause(Enum):
    """Why a connection does not read."""

    OUTPUT = "its own output waits to be read"
    QUEUE = "the engine's queue is full"
    ANSWER = "an answer is under way that must come first"
    TURN = "others have their turn"
    RATE = "it said too much in too short a time"


class Owner(Protocol):
    """The node, as far as a connection knows it."""

    def opened(self, connection: "Connection") -> Refusal | None:
        """Count a new connection; or why it may not be."""

    def finished(self, connection: "Connection") -> None:
        """Nothing more will be said on a connection; it may still be read."""

    def closed(self, connection: "Connection") -> None:
        """Forget a connection."""


class Connection(asyncio.Protocol):
    """A client's TCP connection. Subclasses say what is read and what is answered."""

    kind = "connection"

    def __init__(self, name: str, owner: Owner) -> None:
        self.name = name
        self.source = UNKNOWN
        """The client's own address, as a balancer or else the system says it."""
        self.certified: str | None = None
        """The participant that a certificate names, `NOBODY` if it names none; None without one."""
        self.allowance: Allowance | None = None
        """How much may be said."""
        self.finishing = False
        """Whether nothing more will be said or understood, only flushed."""
        self.slow = False
        """Whether it is closed since its client does not read."""
        self._owner = owner
        self._admitted = False
        self._pauses: set[Pause] = set()
        self._early = b""  # what arrived but must wait, since reading is paused
        self._deaf = False  # whether nothing more shall be read than what has arrived
        self._eof = False
        self._reason = "closed by the client"
        self._began = 0.0  # when it was admitted
        self._linger: asyncio.TimerHandle | None = None
        self._slow: asyncio.TimerHandle | None = None
        self._turn: asyncio.Handle | None = None
        self._watched = 0.0  # until when it is heard in small turns
        self._flooding = 0.0  # since when it says too much without a break
        self._heard_again = 0.0  # when its last pause ended

    # What subclasses provide

    def opened(self) -> None:
        """The connection is admitted."""

    def refused(self, refusal: Refusal) -> None:
        """The connection may not be; it is closed next."""

    def received(self, data: bytes) -> None:
        """Bytes arrived."""

    def portion(self, data: bytes) -> int:
        """How many bytes of `data` are to be understood in one turn, at least 1: so many lines at
        most that they take a millisecond or two, whatever they are.
        """
        end = min(len(data), TURN)
        if data.count(b"\n", 0, end) <= LINES_TURN:
            return end
        end = 0
        for _ in range(LINES_TURN):
            end = data.index(b"\n", end) + 1
        return end

    def flooded(self, text: str) -> None:
        """The client says too much for too long: tell it so, and close."""

    def few(self, data: bytes, portion: int) -> int:
        """How many bytes of a portion have no more than `FEW` messages, at least 1."""
        end = 0
        for _ in range(FEW):
            found = data.find(b"\n", end, portion)
            if found < 0:
                return portion
            end = found + 1
        return end

    def ended(self) -> None:
        """The client will send no more; it may still read."""

    def lost(self) -> None:
        """The connection is gone."""

    def room(self) -> None:
        """The output buffer, once full, has room again."""

    def whose(self) -> str | None:
        """The participant, if it is the connection of one."""
        return None

    # What they use

    @property
    def pauses(self) -> AbstractSet[Pause]:
        """Why the connection does not read at the moment."""
        return self._pauses

    def write(self, data: bytes) -> None:
        """Send, or buffer, `data`."""
        if not self.finishing:
            self._transport.write(data)

    def unsent(self) -> int:
        """Bytes that wait for the client to read."""
        return self._transport.get_write_buffer_size()

    def pause(self, reason: Pause) -> None:
        """Read no more until every reason to pause is gone."""
        if not self._pauses and not self._transport.is_closing():
            self._transport.pause_reading()
        self._pauses.add(reason)

    def resume(self, reason: Pause) -> None:
        """A reason to pause is gone."""
        self._pauses.discard(reason)
        if not self._pauses and self._early:
            data, self._early = self._early, b""
            self._hear(data)
        if not self._pauses and not self._deaf and not self._transport.is_closing():
            self._transport.resume_reading()

    def hear_later(self, rest: bytes) -> None:
        """What this turn did not get to comes first in the next."""
        if rest:
            self._early = rest + self._early
            if self._turn is None:
                self.pause(Pause.TURN)
                self._turn = asyncio.get_running_loop().call_soon(self._next_turn)

    def could_not_be_read(self, count: int) -> None:
        """So many messages of this turn could not be understood; in a small turn one is many."""
        if count >= BAD or (count and self._watched):
            self._watched = asyncio.get_running_loop().time() + 1

    def slow_down(self, retry_after: int) -> None:
        """Read no more for `retry_after` microseconds, within `SHORTEST_PAUSE` and `LONGEST_PAUSE`.

        It may be twice as long.
        """
        if self._slow is not None or self._deaf or self.finishing:
            return
        self.pause(Pause.RATE)
        seconds = min(max(SHORTEST_PAUSE, retry_after / 1_000_000), LONGEST_PAUSE)
        # Not all at the same moment: many that are heard again together would be one long turn.
        seconds *= 1 + random()
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._slow = loop.call_later(seconds, self._hear_again)
        self._watched = now + seconds + 1
        if now - self._heard_again > BREAK:
            self._flooding = now
        elif now - self._flooding > FLOODING:
            # Later, since what it said is still being worked off.
            loop.call_soon(self.flooded, "too many messages for too long")

    def _hear_again(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None
            self._heard_again = asyncio.get_running_loop().time()
            self.resume(Pause.RATE)

    def _next_turn(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
            self.resume(Pause.TURN)

    @property
    def address(self) -> str:
        """The client's own, for counting: of IPv6 its network."""
        return group(self.source.host)

    def read_no_more(self) -> None:
        """Understand what has arrived, turn by turn, and then nothing."""
        self._deaf = True
        self._next_turn()
        self._hear_again()  # what has arrived is not long
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def finish(self, reason: str) -> None:
        """Let the client read what it was sent, then close. Safe to call twice."""
        if self.finishing:
            return
        self.finishing = True
        self._reason = reason
        self._pauses.clear()
        self._early = b""
        if self._eof or self._transport.is_closing() or not self._transport.can_write_eof():
            self._transport.close()
        else:
            self._transport.write_eof()
            self._transport.resume_reading()
        loop = asyncio.get_running_loop()
        self._linger = loop.call_later(LINGER, self._stop_lingering, loop.time() + FLUSH)
        self._owner.finished(self)

    def abort(self, reason: str) -> None:
        """Close at once and forget what was not sent."""
        self.finishing = True
        self._reason = reason
        self._early = b""
        self._transport.abort()

    def too_slow(self, reason: str) -> None:
        """Close at once a client that does not read what it is sent, and say so."""
        if not self.slow:
            self.slow = True
            say_slow(self, reason)
        self.abort(f"too slow: {reason}")

    def _stop_lingering(self, deadline: float) -> None:
        """Close if all was read, else go on waiting until the deadline."""
        loop = asyncio.get_running_loop()
        if self.unsent() and loop.time() < deadline:
            self._linger = loop.call_later(LINGER, self._stop_lingering, deadline)
            return
        if self.unsent():
            self.too_slow("its last answers were not read")
        else:
            self._transport.abort()

    def _hear(self, data: bytes) -> None:
        portion, wait = self.portion(data), 0.0
        if self._watched and not self._deaf:
            if asyncio.get_running_loop().time() < self._watched:
                portion, wait = self.few(data, min(portion, FLOOD_TURN)), FLOOD_WAIT
            else:
                self._watched = 0.0
        if portion < len(data) or wait:
            data, self._early = data[:portion], data[portion:]
            self.pause(Pause.TURN)
            loop, next_turn = asyncio.get_running_loop(), self._next_turn
            self._turn = loop.call_later(wait, next_turn) if wait else loop.call_soon(next_turn)
        self.received(data)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection, or say that there is no room."""
        self._transport = cast(asyncio.Transport, transport)
        if self.source is UNKNOWN:
            self.source = source_of(self._transport)
        if refusal := self._owner.opened(self):
            say_refused(self, refusal)
            self.refused(refusal)
            self.finishing = True
            self._transport.close()
            return
        self._admitted = True
        self._began = asyncio.get_running_loop().time()
        _keep_alive(self._transport.get_extra_info("socket"))
        if self.allowance is not None:
            self.allowance.address = self.address
        say_opened(self)
        self.opened()

    def data_received(self, data: bytes) -> None:
        """Pass on what arrived, unless nobody listens any more."""
        if self._pauses and not self.finishing:
            # Not every event loop stops at once: what it had under way keeps its place.
            self._transport.pause_reading()
            self._early += data
        elif not self.finishing:
            self._hear(data)

    def eof_received(self) -> bool:
        """The client may have closed only its half: it still gets its answers."""
        self._eof = True
        if self.finishing:
            return False
        self.ended()
        return True

    def pause_writing(self) -> None:
        """A client that does not read is not heard either."""
        self.pause(Pause.OUTPUT)

    def resume_writing(self) -> None:
        """The client has read."""
        self.resume(Pause.OUTPUT)
        if not self.finishing:
            self.room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._linger is not None:
            self._linger.cancel()
        for timer in (self._slow, self._turn):
            if timer is not None:
                timer.cancel()
        self.finishing = True
        self._early = b""
        if self._admitted:
            if exc is not None:
                self._reason = str(exc)
            say_closed(self, self._reason, asyncio.get_running_loop().time() - self._began)
            self._owner.closed(self)
            self.lost()


def source_of(transport: asyncio.BaseTransport) -> Source:
    """Where the system says that a connection comes from."""
    host, port, *_ = transport.get_extra_info("peername") or UNKNOWN
    return Source(plain(host), port)


def _keep_alive(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):  # not every system has all of them
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
