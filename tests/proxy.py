"""A TCP proxy before Redis that can break in ways that Redis itself cannot be made to."""

import asyncio
import threading

from tests.support import eventually


class Proxy:
    """Passes bytes on, in a thread of its own; `lose_replies` cuts instead of passing replies on.

    So that a command has been done and nobody was told.
    """

    def __init__(self, target: int) -> None:
        self.lose_replies = 0
        """How many more replies to scripts are to be lost, each with its connection."""
        self._target = target
        self._port: int | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        eventually(lambda: self._port is not None, "the proxy")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self._port}/0"

    def close(self) -> None:
        """End it, and all connections."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._connected, "127.0.0.1", 0)
        )
        self._port = server.sockets[0].getsockname()[1]
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        server.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        asked: list[bytes] = []

        async def requests() -> None:
            while data := await reader.read(1 << 20):
                asked.append(data)
                back.write(data)
            back.close()

        async def replies() -> None:
            while data := await there.read(1 << 20):
                if self.lose_replies and b"EVALSHA" in b"".join(asked[-3:]) and b"*4" in data[:4]:
                    self.lose_replies -= 1
                    writer.transport.abort()
                    back.close()
                    return
                writer.write(data)
            writer.close()

        await asyncio.gather(requests(), replies(), return_exceptions=True)
