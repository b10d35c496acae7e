"""A participant's connection: commands to the engine, reports back."""

from collections.abc import Callable, Sequence

from wood.model.commands import Command
from wood.model.errors import ErrorCode
from wood.node.connection import TURN, Connection, Owner, Pause
from wood.node.router import Router
from wood.node.session import QUERIES, Session
from wood.wire.message_pack import FIRST_BYTES
from wood.wire.reports import Reports

LINES_TURN = 128
"""Lines of one connection that are understood in one turn."""

PACKED_TURN = 2048
"""Bytes of MessagePack that are; their borders are not known before they are decoded."""


class PrivateConnection(Connection):
    """The socket of one `Session`."""

    kind = "session"

    def __init__(
        self,
        session: Session,
        owner: Owner,
        router: Router,
        submit: Callable[["PrivateConnection", Sequence[Command]], None],
        encodings: tuple[Reports, Reports],
        output_limit: int,
    ) -> None:
        super().__init__(session.name, owner)
        self.session = session
        self.reports, self._packed_reports = encodings
        """The encoder that the client understands; JSON until its first byte says otherwise."""
        self._router = router
        self._submit = submit
        self._output_limit = output_limit
        self.out: list[bytes] = []
        """What `flush` will send."""
        self._answer_due = False

    def flush(self) -> None:
        """Send what is in `out`, in one write; close a client that lets too much pile up."""
        self.write(b"".join(self.out))
        self.out.clear()
        if Pause.OUTPUT in self.pauses and self.unsent() > self._output_limit:
            self.abort("too slow: its reports pile up unread")

    def answered(self) -> None:
        """The answer to a query was flushed: go on with what was held back."""
        self._answer_due = False
        self._go_on()

    def stop(self) -> None:
        """Read no more; answer what has arrived, then close."""
        self.read_no_more()
        self._end_if_all_is_heard()

    def opened(self) -> None:
        """Begin to get reports."""
        self._router.add(self.session.participant, self.session.name, self)

    def refused(self) -> None:
        """Say why."""
        self._transport.write(self.reports.error(ErrorCode.LIMIT, "too many connections"))

    def received(self, data: bytes) -> None:
        """Understand what can be understood and ask the engine."""
        commands = self.session.receive(data)
        if self.session.packed:
            self.reports = self._packed_reports
        self._say(commands)

    def ended(self) -> None:
        """Answer what was read; the answer to `CloseSession` then closes the connection."""
        self._say(self.session.end())

    def lost(self) -> None:
        """Tell the engine, which may have orders to cancel."""
        self._router.remove(self.session.participant, self.session.name)
        self._say(self.session.close())

    def room(self) -> None:
        """Go on with what was held back, if it was the answer that filled the output buffer."""
        self._go_on()

    def portion(self, data: bytes) -> int:
        """So many messages at most that they take a millisecond or two, whatever they are."""
        if self.session.packed or data[0] in FIRST_BYTES:
            return min(len(data), PACKED_TURN)
        end = min(len(data), TURN)
        if data.count(b"\n", 0, end) <= LINES_TURN:
            return end
        end = 0
        for _ in range(LINES_TURN):
            end = data.index(b"\n", end) + 1
        return end

    def resume(self, reason: Pause) -> None:
        """A reason to pause is gone: what was held back comes before what is read next."""
        super().resume(reason)
        if reason is Pause.QUEUE:
            self._go_on()
        self._end_if_all_is_heard()

    def _end_if_all_is_heard(self) -> None:
        if self._deaf and not self._early and not self.finishing:
            self._say(self.session.end(unfinished=False))

    def _go_on(self) -> None:
        waits = self._answer_due or self.pauses & {Pause.OUTPUT, Pause.QUEUE}
        if self.session.holding and not waits:
            self._say(self.session.answered())
            if not self._answer_due:
                self.resume(Pause.ANSWER)

    def _say(self, commands: Sequence[Command]) -> None:
        if not commands:
            return
        self._submit(self, commands)
        if isinstance(commands[-1], QUERIES):
            self._answer_due = True
            self.pause(Pause.ANSWER)
