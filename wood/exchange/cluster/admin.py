"""What an operator does to a partition from outside: clear it, or write out its journal."""

from collections.abc import AsyncIterator

from wood.exchange.cluster.client import check_server, connect
from wood.exchange.cluster.journal import StoredJournal
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.membership import LEASE
from wood.exchange.cluster.rules import instruments_in, symbols_in
from wood.exchange.cluster.scripts import RESET
from wood.model.errors import ConfigError
from wood.model.events import Batch


class Partition:
    """A partition in the Redis at `url`, for one who is no node of it. Close it in the end."""

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._prefix = prefix
        self._keys = Keys(prefix)
        self._client = connect(url)

    async def resting(self) -> int | None:
        """How many orders are open, None if there is no partition. Raises `ConfigError`."""
        await check_server(self._client, self._url, persist=False)
        resting = await self._client.hget(self._keys.meta, "resting")
        return None if resting is None else int(resting)

    async def clear(self) -> int:
        """Delete everything; return how many orders were open.

        Raises `ConfigError` if nodes are alive.
        """
        keys, stored = self._keys, ""
        while True:
            everything = [*keys.fixed[1:], *keys.of(symbols_in(stored))]
            answer = await RESET.run(
                self._client, [keys.meta, keys.beats, *everything], int(LEASE * 1e6), stored
            )
            match [part.decode() for part in answer]:
                case "cleared", orders:
                    return int(orders)
                case "alive", nodes:
                    raise ConfigError(
                        f"{nodes} nodes of the cluster were heard of in the last {LEASE:g} seconds:"
                        " stop them first"
                    )
                case "other", stored:
                    pass

    async def journal(self) -> AsyncIterator[Batch]:
        """All that the journal still has, oldest first. Raises `ConfigError` if there is none."""
        await check_server(self._client, self._url, persist=False)
        rules = await self._client.hget(self._keys.meta, "rules")
        if rules is None:
            raise ConfigError(f"there is no journal under the prefix {self._prefix!r}")
        journal = StoredJournal(self._client, self._keys, instruments_in(rules.decode()))
        position = "0-0"
        while entries := await journal.after(position):
            for entry in entries:
                yield journal.batch(entry)
            position = f"{entries[-1].last}-{entries[-1].batch}"

    async def close(self) -> None:
        """Let go of the connection."""
        await self._client.aclose()
