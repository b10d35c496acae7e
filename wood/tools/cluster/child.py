"""A program that is run under a name, again and again if it has to be."""

import asyncio
import os
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from signal import SIGKILL, SIGTERM, Signals

from wood.tools.children import dying_with_parent
from wood.tools.cluster.errors import ClusterFailed

PATIENCE = 10.0
"""Seconds that a child has for an orderly end."""

LAST_WORDS = 0.5
"""Seconds for what it said in the end."""

POLL = 0.05

STEADY = 10.0
"""Seconds after which a start counts as a success."""

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0
"""Seconds before another start of what ended soon after the last one, twice as long each time."""

OWN_SETTINGS = (
    *("SERVE", "MEMBER", "CLIENT", "CLIENT_PORT"),
    *("HOST", "PRIVATE", "PUBLIC", "HEALTH", "REUSE_PORT", "PROXY_PROTOCOL", "NAME"),
)
"""What decides who a child is and who connects to it; whatever the environment says of it, it is
not for a child."""

Say = Callable[[str], None]


class Child:
    """It has a session of its own, so that Ctrl-C does not reach it; on Linux it dies with us."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        shows: Say | None = None,
        quiet: bool = False,
        held: Sequence[int] = (),
        drain: float = 0.0,
        **environment: str,
    ) -> None:
        """`shows` gets each line that it says; if `quiet`, only standard error is listened to.

        `held` are descriptors that it keeps open; `drain` are seconds that it goes on when it is
        told to end, before it begins to; `environment` is added to ours.
        """
        self.name = name
        self.command = command
        self._shows = shows
        self._streams = (DEVNULL, PIPE) if quiet else (PIPE, STDOUT)
        self._held = held
        self._drain = drain
        self._environment = environment
        self._said: deque[str] = deque(maxlen=20)
        self._starting: asyncio.Task[None] | None = None
        self._process: Process | None = None
        self._hearing: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Of the process that runs; None if none does."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else None

    async def start(self) -> None:
        """Run it. Cancelling is safe: `stop` then finds it. Raises `ClusterFailed`."""
        self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        kept = dict(os.environ)
        for name in OWN_SETTINGS:
            kept.pop(f"WOOD_{name}", None)
        out, err = self._streams
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=DEVNULL, stdout=out, stderr=err, env=kept | self._environment,
                start_new_session=True, preexec_fn=dying_with_parent(), pass_fds=self._held,
            )  # fmt: skip
        except OSError as error:
            raise ClusterFailed(f"cannot run {self.command[0]}: {error.strerror}") from None
        self._said.clear()
        heard = self._process.stdout or self._process.stderr
        assert heard is not None
        self._hearing = asyncio.create_task(self._hear(heard))

    async def _hear(self, stream: asyncio.StreamReader) -> None:
        rest = b""
        while piece := await stream.read(65536):
            *lines, rest = (rest[-65536:] + piece).split(b"\n")
            for line in lines:
                self._line(line)
        self._line(rest)

    def _line(self, line: bytes) -> None:
        text = "".join(c if c.isprintable() else " " for c in line.decode(errors="replace"))
        if text.strip():
            self._said.append(text.strip())
            if self._shows:
                self._shows(text.rstrip())

    @property
    def last_words(self) -> str:
        """The last line that it said."""
        return self._said[-1].removeprefix("wood: ") if self._said else "it said nothing"

    async def ended(self) -> str:
        """Wait until it has ended; how it did, as the rest of a sentence."""
        assert self._process is not None
        assert self._hearing is not None
        code = await self._process.wait()
        # Redis may have children of its own, which hold the pipe for a while.
        await asyncio.wait([self._hearing], timeout=LAST_WORDS)
        if code < 0:
            return f"was ended by {Signals(-code).name}"
        return f"ended with code {code} ({self.last_words})"

    async def until(self, ready: Callable[[], Awaitable[bool]]) -> None:
        """Wait until it is `ready`. Raises `ClusterFailed` if it ends first."""
        ended = asyncio.create_task(self.ended())
        try:
            while not await ready() or ended.done():
                if ended.done():
                    raise ClusterFailed(f"{self.name} did not start: {self.last_words}")
                await asyncio.sleep(POLL)
        finally:
            ended.cancel()

    def send(self, number: Signals) -> None:
        """Send a signal, if it runs."""
        if self.pid is not None and self._process:
            self._process.send_signal(number)

    async def stop(self, number: Signals = SIGTERM) -> bool:
        """Let it end, and if it does not, end it. Nobody may start it any more.

        Returns whether it ended when it was told to.
        """
        if self._starting is not None:
            await asyncio.wait([self._starting])
        if self._process is None:
            return True
        self.send(number)
        try:
            async with asyncio.timeout(self._drain + PATIENCE):
                await self._process.wait()
        except TimeoutError:
            self.send(SIGKILL)
            await self._process.wait()
            return False
        return True


async def keep(child: Child, say: Say) -> None:
    """Start it again whenever it ends, for ever. It has been started once."""
    loop = asyncio.get_running_loop()
    began, pause = loop.time(), 0.0
    while True:
        how = await child.ended()
        if loop.time() - began > STEADY:
            pause = 0.0
        say(f"{child.name} {how}: started again" + (f" in {pause:g} s" if pause else ""))
        await asyncio.sleep(pause)
        began, pause = loop.time(), min(max(FIRST_PAUSE, 2 * pause), LONGEST_PAUSE)
        await child.start()
