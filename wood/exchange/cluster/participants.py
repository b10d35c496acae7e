"""The participants of a cluster, in Redis: `lua/participant.lua` changes them, one at a time."""

from typing import Any

import msgpack

from wood.exchange.cluster.client import FAILURES, Client, Fault, check_server, connect, fault
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.layout import Layout
from wood.exchange.cluster.scripts import PARTICIPANT
from wood.exchange.limits import LimitChanges
from wood.exchange.participants import ParticipantStore, participant_from
from wood.model.errors import ConfigError
from wood.model.instruments import PARTITION
from wood.model.participants import Participant

_FIELDS = ("digest", "added", "operator", "disabled")

_Arguments = tuple[str | bytes | int, ...]
"""Those of the script, but for the channels."""


class ClusterParticipants(ParticipantStore):
    """The participants under `prefix` in the Redis at `url`. No node need run, or ever have run.

    Whom it disables every node cuts off at once. Those of the partition `main` are what counts, the
    others have copies, since each checks logins by itself. Close it in the end.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._prefix = prefix
        self._keys = Keys(prefix)
        self._client = connect(url, self._keys.participants)

    async def list(self) -> dict[str, Participant]:
        """All of them, by name. Raises `ConfigError` also if there is no Redis."""
        await check_server(self._client, self._url, persist=False)
        found = await self._client.hgetall(self._keys.participants)
        limits = await self._client.hgetall(self._keys.limits)
        try:
            return dict(read_record(name, found[name], limits.get(name)) for name in found)
        except ValueError as error:
            raise ConfigError(f"{self._keys.participants}: {error}") from None

    async def close(self) -> None:
        """Let go of the connection."""
        await self._client.aclose()

    async def _insert(self, name: str, hashed: str, operator: bool) -> bool:
        return await self._run(name, "add", hashed, operator)

    async def _replace(self, name: str, hashed: str) -> bool:
        return await self._run(name, "rotate", hashed)

    async def _flag(self, name: str, disabled: bool) -> bool:
        return await self._run(name, "disable" if disabled else "enable")

    async def _limit(self, name: str, symbol: str, changes: LimitChanges) -> bool:
        packed = {field: False if value is None else value for field, value in changes.items()}
        return await self._run(name, "limit", symbol=symbol, packed=msgpack.packb(packed))

    async def _run(
        self,
        name: str,
        change: str,
        hashed: str = "",
        operator: bool = False,
        symbol: str = "",
        packed: bytes = b"",
    ) -> bool:
        await check_server(self._client, self._url, persist=False)
        arguments = name, change, hashed, int(operator), symbol, packed
        try:
            done = await _change(self._client, self._keys, arguments)
        except FAILURES as error:
            if fault(error) is not Fault.UNKNOWN:
                raise
            raise ConfigError(
                f"Redis went away ({error}): whether the change was made shows "
                f"'wood participant list'; if so, its token is lost, and {_rotate(name)}"
                if hashed
                else f"Redis went away ({error}): do it again, that does no harm"
            ) from None
        if done:
            try:
                await self._change_copies(name, change, arguments)
            except (*FAILURES, ConfigError) as error:
                then = f"its token is lost: {_rotate(name)}, in all" if hashed else "do it again"
                raise ConfigError(
                    f"the change was made, but perhaps not in all partitions ({error}); when that "
                    f"is mended, {then}"
                ) from None
        return done

    async def _change_copies(self, name: str, change: str, arguments: _Arguments) -> None:
        layout = Layout(self._url, self._prefix)
        try:
            tags = await layout.tags()
        finally:
            await layout.close()
        record: bytes | None = await self._client.hget(self._keys.participants, name)
        for tag in tags.values():
            if tag == PARTITION or record is None:
                continue
            keys = Keys(self._prefix, tag)
            client = connect(self._url, keys.participants)
            try:
                if change in ("add", "rotate"):
                    await client.hset(keys.participants, name, record)
                else:
                    await client.hsetnx(keys.participants, name, record)
                if change in ("disable", "enable"):
                    await _change(client, keys, arguments)
                if change in ("add", "limit"):
                    await self._copy_limits(client, keys, name)
            finally:
                await client.aclose()

    async def _copy_limits(self, client: Client, keys: Keys, name: str) -> None:
        """Of two who change them at once, neither may leave behind what the other has replaced."""
        limits: bytes | None = await self._client.hget(self._keys.limits, name)
        while True:
            if limits is None:
                await client.hdel(keys.limits, name)
            else:
                await client.hset(keys.limits, name, limits)
            copied, limits = limits, await self._client.hget(self._keys.limits, name)
            if limits == copied:
                return


def _rotate(name: str) -> str:
    return f"'wood participant rotate {name}' gives it another"


async def _change(client: Client, keys: Keys, arguments: _Arguments) -> bool:
    where = [keys.participants, keys.leaving, keys.meta, keys.limits]
    done: int = await PARTICIPANT.run(client, where, *arguments, keys.channels())
    return done == 1


def read_record(name: bytes, record: bytes, limits: bytes | None = None) -> tuple[str, Participant]:
    """A field of the hash and its value, with that of the limits.

    Raises `ValueError`, with one line that says why.
    """
    text = name.decode()
    values = _values(record)
    if len(values) != len(_FIELDS):
        raise ValueError(f"participant {text}: the record cannot be read")
    fields = dict(zip(_FIELDS, values, strict=True))
    if limits is not None:
        [*found] = _values(limits)
        if len(found) != 1:
            raise ValueError(f"participant {text}: its limits cannot be read")
        [fields["limits"]] = found
    return text, participant_from(text, fields)


def _values(record: bytes) -> list[Any]:
    """MessagePack values that follow each other; none if they cannot be read."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(record)
    try:
        return list(unpacker)
    except (ValueError, msgpack.UnpackException):
        return []
