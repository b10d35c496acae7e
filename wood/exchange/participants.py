"""Those who have a token: how an operator changes them, and the file that a single server reads."""

import fcntl
import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from msgspec import DecodeError, Meta, Raw, Struct, ValidationError, convert, json
from msgspec.structs import asdict, replace

from wood.exchange.limits import LimitChanges, changed, check_changes, check_own, without_empty
from wood.model.errors import ConfigError
from wood.model.limits import EVERYWHERE, Limits
from wood.model.participants import NAME_RULE, Participant, digest, is_name, new_token

_DIGEST = re.compile("[0-9a-f]{64}")


class ParticipantStore(ABC):
    """Where participants are kept. Several operators may change it at once, and none loses a thing.

    A name that is none, is taken or is not there raises `ConfigError`, and nothing has changed.
    """

    async def add(self, name: str, *, operator: bool = False) -> str:
        """Add a participant; return its token, which is kept nowhere."""
        _check_name(name)
        token = new_token()
        if not await self._insert(name, digest(token), operator):
            raise ConfigError(
                f"the participant {name} exists: 'wood participant rotate {name}' gives it "
                "another token"
            )
        return token

    async def disable(self, name: str) -> None:
        """Let it in no more, and cut it off; doing so twice does no harm."""
        await self._set_disabled(name, True)

    async def enable(self, name: str) -> None:
        """Let it in again, with the token that it had."""
        await self._set_disabled(name, False)

    async def rotate(self, name: str) -> str:
        """Return another token; the former one is void, its connections stay."""
        _check_name(name)
        token = new_token()
        _check_found(name, await self._replace(name, digest(token)))
        return token

    async def limit(self, name: str, changes: LimitChanges, symbol: str = EVERYWHERE) -> None:
        """Set limits of its own, in all instruments or in one; those not named stay."""
        _check_name(name)
        check_changes(symbol, changes)
        _check_found(name, await self._limit(name, symbol, changes))

    async def _set_disabled(self, name: str, disabled: bool) -> None:
        _check_name(name)
        _check_found(name, await self._flag(name, disabled))

    @abstractmethod
    async def list(self) -> dict[str, Participant]:
        """All of them, by name."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of what it holds."""

    @abstractmethod
    async def _insert(self, name: str, hashed: str, operator: bool) -> bool:
        """Add it as of now; False if it is there already."""

    @abstractmethod
    async def _replace(self, name: str, hashed: str) -> bool:
        """Give it another digest; False if it is not there."""

    @abstractmethod
    async def _flag(self, name: str, disabled: bool) -> bool:
        """Set whether it is disabled; False if it is not there."""

    @abstractmethod
    async def _limit(self, name: str, symbol: str, changes: LimitChanges) -> bool:
        """Change limits of its own; False if it is not there."""


def _check_name(name: str) -> None:
    if not is_name(name):
        raise ConfigError(f"{name!r} is no name of a participant: write {NAME_RULE}")


def _check_found(name: str, found: bool) -> None:
    if not found:
        raise ConfigError(
            f"there is no participant {name}: 'wood participant list' shows who there is, "
            f"'wood participant add {name}' adds it"
        )


class _Record(Struct, frozen=True, forbid_unknown_fields=True):
    """What a store holds of a participant, as strict as it can be read."""

    digest: str
    added: Annotated[int, Meta(ge=0, lt=253_402_300_800)]  # until the year 9999
    operator: bool = False
    disabled: bool = False
    limits: dict[str, Limits] = {}


def participant_from(name: str, record: Mapping[str, Any] | Raw) -> Participant:
    """The participant that a store calls so. Raises `ValueError`, with one line that says why."""
    if not is_name(name):
        raise ValueError(f"{name!r} is no name of a participant: write {NAME_RULE}")
    try:
        read = (
            json.decode(record, type=_Record)
            if isinstance(record, Raw)
            else convert(record, _Record)
        )
    except ValidationError as error:
        raise ValueError(f"participant {name}: {error}") from None
    if not _DIGEST.fullmatch(read.digest):
        raise ValueError(f"participant {name}: digest must be 64 of the characters 0-9 a-f")
    try:
        check_own(read.limits)
    except ConfigError as error:
        raise ValueError(f"participant {name}: {error}") from None
    flags = read.operator, read.disabled
    return Participant(read.digest, read.added, *flags, without_empty(read.limits))


_Signature = tuple[int, int, int, int]


class ParticipantFile(ParticipantStore):
    """The participants of a single server, in a JSON file of names and what `Participant` holds.

    Every change replaces the file by another that is on disk already: whoever reads it finds the
    one or the other, also after a crash. Changes take turns, by a lock on the file's folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._loaded: _Signature | bool | None = False  # before anything was

    def load(self) -> dict[str, Participant]:
        """Who is in the file; nobody if there is none. Raises `ConfigError` if it is broken."""
        participants, self._loaded = {}, self._found()
        with self._one_line():
            try:
                file = self.path.open("rb")
            except FileNotFoundError:
                return {}
            with file:
                # Of the file that is read: another may take its place at any time.
                self._loaded = _signature(os.fstat(file.fileno()))
                text = file.read()
        try:
            for name, record in json.decode(text, type=dict[str, Raw]).items():
                participants[name] = participant_from(name, record)
        except (DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"{self.path}: not JSON of participants: {error}") from None
        except ValueError as error:
            raise ConfigError(f"{self.path}: {error}") from None
        return participants

    def missing(self) -> bool:
        """Whether there was no file when it was loaded last, or is none if it never was."""
        return (self._found() if self._loaded is False else self._loaded) is None

    def changed(self) -> bool:
        """Whether the file is another than the last one loaded, even if that one was broken."""
        return self._found() != self._loaded

    def _found(self) -> _Signature | None:
        try:
            return _signature(self.path.stat())
        except OSError:
            return None

    def update(self, change: Callable[[dict[str, Participant]], bool]) -> bool:
        """Let `change` change who is in the file; it returns whether it did, as this does.

        It waits for other changes to end. Raises `ConfigError` and leaves the file as it is if that
        is broken or cannot be written.
        """
        with self._one_line():
            # A symbolic link stays, and its target is replaced.
            path = Path(os.path.realpath(self.path))
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX)
                participants = ParticipantFile(self.path).load()
                if not change(participants):
                    return False
                _replace_file(path, _encode(participants))
                os.fsync(folder)
            finally:
                os.close(folder)
        return True

    async def list(self) -> dict[str, Participant]:
        """All of them, by name."""
        return self.load()

    async def close(self) -> None:
        """Let go of nothing: the file is open only while it is read."""

    async def _insert(self, name: str, hashed: str, operator: bool) -> bool:
        participant = Participant(hashed, int(time.time()), operator)
        return self.update(lambda all_: all_.setdefault(name, participant) is participant)

    async def _replace(self, name: str, hashed: str) -> bool:
        return self._change(name, lambda known: replace(known, digest=hashed))

    async def _flag(self, name: str, disabled: bool) -> bool:
        return self._change(name, lambda known: replace(known, disabled=disabled))

    async def _limit(self, name: str, symbol: str, changes: LimitChanges) -> bool:
        return self._change(
            name, lambda known: replace(known, limits=changed(known.limits, symbol, changes))
        )

    def _change(self, name: str, become: Callable[[Participant], Participant]) -> bool:
        def change(participants: dict[str, Participant]) -> bool:
            if name not in participants:
                return False
            participants[name] = become(participants[name])
            return True

        return self.update(change)

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror or error}") from None


def _signature(found: os.stat_result) -> _Signature:
    # Its number tells two files apart that have the same size and were written in the same instant;
    # only the last of these changes when a file can be read at last.
    return found.st_mtime_ns, found.st_ino, found.st_size, found.st_ctime_ns


def _encode(participants: Mapping[str, Participant]) -> bytes:
    """A line for each, for people who look."""
    lines = [
        json.encode(name) + b":" + json.encode(_fields(participants[name]))
        for name in sorted(participants)
    ]
    return b"{\n" + b",\n".join(lines) + b"\n}\n"


def _fields(participant: Participant) -> dict[str, Any]:
    fields = asdict(participant)
    if not participant.limits:  # so that a version that knows none still reads it
        del fields["limits"]
    return fields


def _replace_file(path: Path, data: bytes) -> None:
    # The name needs no chance in it, since the lock is held: what a crash left is written over.
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            _keep_owner(path, file.fileno())
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _keep_owner(path: Path, descriptor: int) -> None:
    """What root writes shall still be read by the server, which is another user."""
    with suppress(FileNotFoundError, PermissionError):
        owner = path.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
