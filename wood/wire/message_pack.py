"""Messages as MessagePack maps, one after the other."""

from collections.abc import Iterator

import msgpack
import msgspec
from msgspec import Raw

from wood.model.errors import ErrorCode, Refusal
from wood.wire import checks
from wood.wire.json_lines import LINE_LIMIT
from wood.wire.messages import Private, Unreadable

FIRST_BYTES = frozenset([*range(0x80, 0x90), 0xDE, 0xDF])
"""What a map begins with, and JSON never does."""

MOST, MOST_BAD = 128, 16
"""Messages that are read at once, whatever their size, and of them such as cannot be read, to
which an answer costs several times as much.
"""


class MessagePack:
    """Cuts a stream of bytes into maps and reads a message of the private port from each.

    The maps are found by skipping first: no list or map is made before all its bytes are there,
    so a header that promises four billion elements costs nothing.
    """

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._framer = _framer()
        self.rest = b""
        """What the last call did not look at any more, to be fed again."""
        self._data = b""  # from the last border on
        self._border = 0  # where that is in the whole stream
        self._failed = False

    def feed(self, data: bytes) -> list[Private | Unreadable]:
        """The first messages that `data` completes; after a fatal `Unreadable` no more."""
        self.rest = b""
        if self._failed:
            return []
        self._framer.feed(data)
        data = self._data + data
        start = bad = 0
        messages: list[Private | Unreadable] = []
        try:
            for size in self._sizes():
                if size > self._limit:
                    break
                messages.append(message := _read(data[start : start + size]))
                start += size
                bad += type(message) is Unreadable
                if len(messages) == MOST or bad == MOST_BAD:
                    # At a border nothing is known of what follows.
                    self.rest, self._data = data[start:], b""
                    self._framer, self._border = _framer(), 0
                    return messages
        except (ValueError, RecursionError):
            return [*messages, self._fail(ErrorCode.INVALID, "this is not MessagePack")]
        self._data = data[start:]
        if len(self._data) > self._limit:
            text = f"a message may have at most {self._limit} bytes"
            messages.append(self._fail(ErrorCode.TOO_LONG, text))
        return messages

    def _sizes(self) -> Iterator[int]:
        """The length of each map that is complete; what is not goes on with the next bytes."""
        while True:
            try:
                self._framer.skip()
            except msgpack.OutOfData:
                return
            border = self._framer.tell()
            yield border - self._border
            self._border = border

    def end(self) -> list[Private | Unreadable]:
        """What is left when the client will send no more: half a map is an error."""
        if self._failed or not self._data:
            return []
        return [self._fail(ErrorCode.INVALID, "the last message has no end")]

    def _fail(self, code: ErrorCode, text: str) -> Unreadable:
        self._failed = True
        self._data = b""
        return Unreadable(code, text, fatal=True)


def _framer() -> msgpack.Unpacker:
    return msgpack.Unpacker(max_buffer_size=0)  # the limit of a message is what bounds it


class _Pairs(list[tuple[object, object]]):
    """A map as it came: keys that no dictionary takes are no error of framing."""


def _read(frame: bytes) -> Private | Unreadable:
    try:
        # Strings stay bytes here, so that one that is not UTF-8 spoils its own message only.
        pairs = msgpack.unpackb(frame, raw=True, strict_map_key=False, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return Unreadable(ErrorCode.INVALID, "the message cannot be read")
    if not isinstance(pairs, _Pairs):
        return Unreadable(ErrorCode.INVALID, "the message is not a map")
    try:
        fields = dict(map(_field, pairs))
    except UnicodeDecodeError:
        return Unreadable(ErrorCode.INVALID, "the message is not valid UTF-8")
    try:
        return checks.read(fields, checks.PRIVATE)  # type: ignore[return-value]
    except Refusal as refusal:
        return checks.unreadable(refusal, fields)


def _field(pair: tuple[object, object]) -> tuple[str, object]:
    key, value = pair
    name = _name(key)
    if isinstance(value, bytes):
        value = value.decode()
    elif isinstance(value, _Pairs):
        value = {_name(key): each for key, each in value}
    if name in checks.NUMBERS:
        value = _number(value)
    return name, value


def _name(key: object) -> str:
    return key.decode() if isinstance(key, bytes) else f"{type(key).__name__} key"


def _number(value: object) -> object:
    """A price or quantity as JSON text; a float stays one, which is refused."""
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return Raw(msgspec.json.encode(value))
    return ... if value is None else value
