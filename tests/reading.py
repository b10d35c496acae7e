"""A durable reader in a thread of its own, that keeps an account of what it was given."""

import asyncio
import threading
from collections.abc import Iterable
from typing import Any

from tests.support import eventually
from wood.exchange.cluster.stored_tail import StoredTail
from wood.exchange.tail import Skipped
from wood.model.events import Batch, Event


def numbered(batches: Iterable[Batch]) -> list[Event]:
    """Their events but for those without a number, which a count of events does not tell of."""
    return [event for batch in batches for event in batch.events if hasattr(event, "seq")]


class Reading:
    """Reads the partition `tag` and keeps each page, until it is stopped.

    What a fork took back is taken off the account, as the count says.
    """

    def __init__(
        self, url: str, prefix: str = "wood", tag: str = "main", reader: str = "reader"
    ) -> None:
        self.batches: list[Batch] = []
        self.skipped: list[Skipped] = []
        self.away: list[Exception | None] = []
        self.journals: list[str] = []
        """Of the pages, each once."""
        self._where = url, prefix, tag, None, reader
        self._failure: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._task: asyncio.Task[None] | None = None
        self._thread.start()

    def __enter__(self) -> "Reading":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def reasons(self) -> list[str]:
        """Of all that was skipped."""
        return [skipped.reason for skipped in self.skipped]

    def until(self, seq: int) -> None:
        """Wait until it has read the event with that number."""
        self.wait(lambda: bool(self.batches) and self.batches[-1].last >= seq, f"event {seq}")

    def wait(self, condition: Any, what: str) -> None:
        """Wait for a condition, or for what broke."""
        eventually(lambda: self._failure is not None or condition(), what)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End it, in the middle of whatever it does."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())
            self._thread.join(20)
            assert not self._thread.is_alive()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._read())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self._failure = error
        finally:
            self._loop.close()

    async def _read(self) -> None:
        async with StoredTail(*self._where, when_away=self.away.append) as tail:
            while True:
                page = await tail.read()
                if page.position.journal not in self.journals:
                    self.journals.append(page.position.journal)
                if page.skipped is not None:
                    self._skip(page.skipped)
                self.batches += page.batches
                await tail.keep(page.position)

    def _skip(self, skipped: Skipped) -> None:
        self.skipped.append(skipped)
        if skipped.reason == "forked":
            last = self.batches[-1].last
            assert last - skipped.count == skipped.seq
            self.batches = [batch for batch in self.batches if batch.last <= skipped.seq]
