"""Counting what a server says, at the speed of a search for bytes, wherever a read ends."""

from collections import Counter
from collections.abc import Iterator

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

_NEW = b'"NEW"'
_CANCELED = b'"CANCELED"'
_FILL = b'"FILL"'
_ERROR = b'"error":'
# Inside a JSON string a quote is escaped, so that none of these is ever found in an error's text.


class _Error(Struct):
    error: str = ""
    code: str = "error"


_DECODER = Decoder(_Error)


class Answers:
    """What one connection was told so far.

    `NEW`, `CANCELED` and errors answer a request each, since a plain limit order is cancelled on
    request only; fills answer nothing.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.canceled = 0
        self.fills = 0
        self.errors: Counter[str] = Counter()
        """By code; `error` where the server gives none."""
        self.refusal: str | None = None
        """The text of the first error."""
        self._rest = b""

    def feed(self, data: bytes) -> int:
        """Take what a read brought; return how many answers it completed."""
        if self._rest:
            data = self._rest + data
        end = data.rfind(b"\n") + 1
        if end == len(data):
            self._rest = b""
        else:
            data, self._rest = data[:end], data[end:]
        return self._count(data)

    def _count(self, lines: bytes) -> int:
        accepted, canceled = lines.count(_NEW), lines.count(_CANCELED)
        self.accepted += accepted
        self.canceled += canceled
        self.fills += lines.count(_FILL)
        answered = accepted + canceled
        if _ERROR in lines:
            answered += self._refused(list(_errors(lines)))
        return answered

    def _refused(self, errors: list[_Error]) -> int:
        if self.refusal is None:
            self.refusal = errors[0].error
        self.errors.update(error.code for error in errors)
        return len(errors)


def _errors(lines: bytes) -> Iterator[_Error]:
    """Each error in `lines`, at a cost that does not depend on the other lines."""
    found = lines.find(_ERROR)
    while found >= 0:
        start, end = lines.rfind(b"\n", 0, found) + 1, lines.find(b"\n", found)
        yield _error(lines[start:end])
        found = lines.find(_ERROR, end)


def _error(line: bytes) -> _Error:
    try:
        return _DECODER.decode(line)
    except DecodeError:  # a server may have codes of another kind; it is an error all the same
        return _Error(line.decode(errors="replace"))
