"""The participants of a cluster, in Redis: `lua/participant.lua` changes them, one at a time."""

from collections.abc import Iterable
from typing import Any

import msgpack

from wood.exchange.cluster.client import FAILURES, Fault, check_server, connect, fault
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.scripts import PARTICIPANT
from wood.exchange.participants import ParticipantStore, participant_from
from wood.model.errors import ConfigError
from wood.model.participants import Participant

_FIELDS = ("digest", "added", "operator", "disabled")


class ClusterParticipants(ParticipantStore):
    """The participants under `prefix` in the Redis at `url`. No node need run, or ever have run.

    Whom it disables every node cuts off at once. Close it in the end.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._keys = Keys(prefix)
        self._client = connect(url, self._keys.meta)

    async def list(self) -> dict[str, Participant]:
        """All of them, by name. Raises `ConfigError` also if there is no Redis."""
        await check_server(self._client, self._url, persist=False)
        found = await self._client.hgetall(self._keys.participants)
        try:
            return dict(read_record(name, record) for name, record in found.items())
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

    async def _run(self, name: str, change: str, hashed: str = "", operator: bool = False) -> bool:
        await check_server(self._client, self._url, persist=False)
        keys = self._keys
        try:
            done: int = await PARTICIPANT.run(
                self._client,
                [keys.participants, keys.leaving, keys.meta],
                *(name, change, hashed, int(operator), keys.channels()),
            )
        except FAILURES as error:
            if fault(error) is not Fault.UNKNOWN:
                raise
            raise ConfigError(
                f"Redis went away ({error}): whether the change was made shows "
                "'wood participant list'; if so, its token is lost, and rotate gives another"
                if hashed
                else f"Redis went away ({error}): do it again, that does no harm"
            ) from None
        return done == 1


def read_record(name: bytes, record: bytes) -> tuple[str, Participant]:
    """A field of the hash and its value. Raises `ValueError`, with one line that says why."""
    text = name.decode()
    return text, participant_from(text, dict(zip(_FIELDS, _values(text, record), strict=True)))


def _values(name: str, record: bytes) -> Iterable[Any]:
    unpacker = msgpack.Unpacker()
    unpacker.feed(record)
    try:
        values = list(unpacker)
    except (ValueError, msgpack.UnpackException):
        values = []
    if len(values) != len(_FIELDS):
        raise ValueError(f"participant {name}: the record cannot be read")
    return values
