"""Which partitions there are, what is in them, and their hash tags: written once, for everybody.

In a Redis Cluster the tag decides on which master a partition lives, and names chosen without a
look at it can all share one. So the first node that knows a partition chooses its tag: its name, or
if that lies on a master that has more partitions than another, the first of `name-1`, `name-2` ...
that does not. What is chosen stays. So does which instrument is in which partition: two nodes that
put it into different ones would have two books of it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from wood.exchange.cluster.client import Client, check_server, connect
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.masters import Masters, masters
from wood.model.errors import ConfigError
from wood.model.instruments import PARTITION, Instruments

DEFAULT = "*"
"""What stands for the default instrument among symbols."""

TRIES = 10_000
"""Tags that are looked at; with a hundred masters one in a hundred fits."""


Places = tuple[Callable[[str], str], Sequence[str]]
"""The master that a tag leads to, and all masters."""


class Layout:
    """The tags of the partitions under `prefix` in the Redis at `url`. Close it in the end."""

    def __init__(self, url: str, prefix: str) -> None:
        self._prefix = prefix
        self._key = Keys(prefix).partitions
        self._listed = Keys(prefix).listed
        self._url = url
        self._client = connect(url, self._key)

    async def check_server(self) -> None:
        """Whether the server is there and will do. Raises `ConfigError`."""
        await check_server(self._client, self._url, persist=False)

    async def tags(self) -> dict[str, str]:
        """By partition, the first one first. Raises `ConfigError` and what the client raises."""
        await self.check_server()
        return await self.look()

    async def look(self) -> dict[str, str]:
        """The same of a server that is known to do. Raises what the client raises."""
        found = await self._client.hgetall(self._key)
        return {PARTITION: PARTITION} | {name.decode(): tag.decode() for name, tag in found.items()}

    async def settle(self, partitions: Iterable[str]) -> dict[str, str]:
        """The tags of these, chosen now where they were not.

        Nodes that do so at the same time come to the same result. Raises `ConfigError` and what the
        client raises.
        """
        tags = await self.tags()
        for partition in partitions:
            if partition not in tags:
                found = await masters(self._url)
                places = None if found is None else self._places(found)
                tag = choose(partition, tags, places)
                await self._client.hsetnx(self._key, partition, tag)
                tags = await self.tags()
        return {partition: tags[partition] for partition in partitions}

    def _places(self, found: Masters) -> Places:
        return lambda tag: found.master_of(Keys(self._prefix, tag).meta), found.addresses

    async def agree(self, instruments: Instruments) -> None:
        """See that no instrument is in another partition for others; write down those that are new.

        Without anything written down there is nothing to disagree with for one who knows only the
        partition `main`, and nothing is written. Raises `ConfigError` and what the client raises.
        """
        wanted = {DEFAULT: instruments.default.symbol}
        wanted |= {symbol: instrument.partition for symbol, instrument in instruments.items()}
        found = await self._read_listed()
        if not found and tuple(instruments.partitions) == (PARTITION,):
            return
        if wanted.keys() - found.keys():
            for name, value in wanted.items():
                await self._client.hsetnx(self._listed, name, value)
            found = await self._read_listed()
        for name, value in wanted.items():
            if found[name] != value:
                what = f"{name} is in the partition" if name != DEFAULT else "the default one is"
                raise ConfigError(
                    f"this node differs from the cluster in Redis: the instruments: {what} "
                    f"{found[name]} there, {value} here (start it with the same instruments, use "
                    "another --prefix, or clear that one with 'wood reset')"
                )

    async def _read_listed(self) -> dict[str, str]:
        found = await self._client.hgetall(self._listed)
        return {name.decode(): value.decode() for name, value in found.items()}

    async def forget(self) -> None:
        """All is cleared: instruments may go elsewhere. Raises what the client raises."""
        await self._client.unlink(self._listed)

    async def admit(self, tags: Mapping[str, str]) -> None:
        """Let the participants log in to partitions that are new. Raises what the client raises."""
        known = await self._client.hgetall(Keys(self._prefix).participants)
        limits = await self._client.hgetall(Keys(self._prefix).limits)
        for tag in tags.values():
            keys = Keys(self._prefix, tag)
            if tag == PARTITION or not known:
                continue
            client: Client = connect(self._url, keys.participants)
            try:
                there = set(await client.hkeys(keys.participants))
                for name in known.keys() - there:
                    # The limits first: nobody shall be let in without them.
                    if name in limits:
                        await client.hsetnx(keys.limits, name, limits[name])
                    await client.hsetnx(keys.participants, name, known[name])
            finally:
                await client.aclose()

    async def close(self) -> None:
        """Let go of the connection."""
        await self._client.aclose()


def choose(partition: str, tags: Mapping[str, str], places: Places | None) -> str:
    """A tag for a partition beside those that have one, on a master with the fewest of them."""
    if places is None:
        return partition
    master_of, addresses = places
    load = Counter(dict.fromkeys(addresses, 0))
    load.update(master_of(tag) for tag in tags.values())
    names = (partition, *(f"{partition}-{n}" for n in range(1, TRIES)))
    return min(names, key=lambda tag: load[master_of(tag)])
