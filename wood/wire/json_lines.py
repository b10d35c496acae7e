"""Messages as JSON, one object on a line."""

import re
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import msgspec
from msgspec import Raw

from wood.model.errors import ErrorCode, Refusal
from wood.wire import checks
from wood.wire.messages import Message, Private, Subscribe, Unreadable

M = TypeVar("M", bound=Message)

LINE_LIMIT = 64 * 1024
"""Bytes of the longest line, its end not counted."""

MAX_DEPTH = 32
"""How deep objects and lists may be nested: the same on every Python, unlike its own limit."""


class JsonLines(Generic[M]):
    """Cuts a stream of bytes into lines and reads a message from each."""

    def __init__(
        self,
        decoder: msgspec.json.Decoder[M],
        readers: Mapping[str, Callable[[checks.Fields], Message]],
        limit: int = LINE_LIMIT,
    ) -> None:
        self._decoder = decoder
        self._readers = readers
        self._limit = limit
        self._rest = bytearray()  # of the line that has no end yet
        self._failed = False

    def feed(self, data: bytes) -> list[M | Unreadable]:
        """The messages that `data` completes. After a fatal `Unreadable` there are no more."""
        if self._failed:
            return []
        end = data.rfind(b"\n") + 1
        if not end:
            return self._keep(data)
        lines = data[:end]
        if self._rest:
            lines = bytes(self._rest + lines)
            self._rest.clear()
        messages = self._read(lines)
        if end < len(data) and not self._failed:
            messages += self._keep(data[end:])
        return messages

    def end(self) -> list[M | Unreadable]:
        """What is left when the client will send no more: a line without an end is an error."""
        if self._failed or not self._rest.strip():
            return []
        self._failed = True
        return [Unreadable(ErrorCode.INVALID, "the last line has no end", fatal=True)]

    def _keep(self, part: bytes) -> list[M | Unreadable]:
        self._rest += part
        # The \r that may come before the end is not counted.
        size = len(self._rest) - self._rest.endswith(b"\r")
        return [self._too_long()] if size > self._limit else []

    def _too_long(self) -> Unreadable:
        self._failed = True
        self._rest.clear()
        text = f"a line may have at most {self._limit} bytes"
        return Unreadable(ErrorCode.TOO_LONG, text, fatal=True)

    def _read(self, lines: bytes) -> list[M | Unreadable]:
        """Read whole lines: all at once if they are all well-formed, else one by one."""
        count = _flat_objects(lines)
        if count > 0 and len(lines) <= self._limit and lines.isascii():
            try:
                messages = self._decoder.decode_lines(lines)
            except (msgspec.MsgspecError, ValueError):
                pass
            else:
                if len(messages) == count:
                    return messages  # type: ignore[return-value]
        return self._read_each(lines)

    def _read_each(self, lines: bytes) -> list[M | Unreadable]:
        messages: list[M | Unreadable] = []
        for line in lines.split(b"\n"):
            if len(line) > self._limit and len(line.removesuffix(b"\r")) > self._limit:
                messages.append(self._too_long())
                break
            if line and not line.isspace():
                messages.append(self._read_one(line))
        return messages

    def _read_one(self, line: bytes) -> M | Unreadable:
        if _too_deep(line):
            return Unreadable(ErrorCode.INVALID, "the line is nested too deeply")
        try:
            if not line.isascii():
                line.decode()  # also what the decoder would only skip must be UTF-8
            return self._decoder.decode(line)
        except UnicodeDecodeError:
            return Unreadable(ErrorCode.INVALID, "the line is not valid UTF-8")
        except (msgspec.MsgspecError, ValueError):
            return self._read_strictly(line)

    def _read_strictly(self, line: bytes) -> M | Unreadable:
        """Read what the typed decoder refused, to say why; now and then it can be read after all.

        (A key given twice, say: the last counts, but the decoder stumbles over the first.)
        """
        try:
            raw = _object.decode(line)
        except msgspec.ValidationError:
            return Unreadable(ErrorCode.INVALID, "the line is not a JSON object")
        except msgspec.DecodeError:
            return Unreadable(ErrorCode.INVALID, "the line is not JSON")
        fields = {name: _value(name, value) for name, value in raw.items()}
        try:
            return checks.read(fields, self._readers)  # type: ignore[return-value]
        except Refusal as refusal:
            return checks.unreadable(refusal, fields)


def _flat_objects(lines: bytes) -> int:
    """How many lines there are, if each begins and ends as one object does that holds no others.

    Otherwise -1. To JSON a line end is white space, to this protocol a border: where every line
    end stands between a brace that closes and one that opens, it is not inside an object.
    """
    count = lines.count(b"\n")
    flat = lines.count(b"{") == count and b"[" not in lines
    return count if flat and lines.count(b"}\n{") == count - 1 else -1


def _too_deep(line: bytes) -> bool:
    if line.count(b"{") + line.count(b"[") <= MAX_DEPTH:
        return False
    depth = 0
    for mark in _MARKS.findall(line):
        if mark in b"{[":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif mark in b"]}":
            depth -= 1
    return False


_MARKS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[][{}]')
"""Strings as a whole, so that brackets inside them do not count, and brackets.

A string without an end reaches to the end of the line; to look for a string in each of its quotes
again would take time with the square of their number.
"""

_object = msgspec.json.Decoder(dict[str, Raw])


def _value(name: str, raw: Raw) -> object:
    """A value for `checks`: prices and quantities stay text, what cannot be converted is wrong."""
    if name in checks.NUMBERS:
        return raw
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, ValueError):
        return ...


def private_json(limit: int = LINE_LIMIT) -> JsonLines[Private]:
    """A decoder for the private port."""
    return JsonLines(_private, checks.PRIVATE, limit)


def public_json(limit: int = LINE_LIMIT) -> JsonLines[Subscribe]:
    """A decoder for the public port."""
    return JsonLines(_public, checks.PUBLIC, limit)


# Decoders keep no state between calls, so that all connections share one.
_private: msgspec.json.Decoder[Private] = msgspec.json.Decoder(Private)
_public: msgspec.json.Decoder[Subscribe] = msgspec.json.Decoder(Subscribe)
