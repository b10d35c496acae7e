"""A stream of bytes cut into messages, none of which is read yet."""

from abc import ABC, abstractmethod

import msgpack

from wood.client.errors import ProtocolError

LIMIT = 64 << 20
"""Bytes of the longest message: a hundred thousand open orders need ten million."""

LINE = b"{"
"""What a message in JSON begins with, and none in MessagePack."""


class Frames(ABC):
    """Takes pieces of any size; gives whole messages, each as soon as its last byte is there."""

    def __init__(self) -> None:
        self._data = bytearray()

    @abstractmethod
    def feed(self, piece: bytes) -> None:
        """Take the next piece of the stream."""

    @abstractmethod
    def next(self) -> bytes | None:
        """The next message without its end, None until there is more. Raises `ProtocolError`."""

    def rest(self) -> bytes:
        """What was fed and not given back: the stream may go on in another encoding."""
        return bytes(self._data)

    def _check(self) -> None:
        if len(self._data) > LIMIT:
            raise ProtocolError(f"the server sent {LIMIT} bytes without the end of a message")


class Lines(Frames):
    """Messages that end with a line end; empty lines are none."""

    def __init__(self) -> None:
        super().__init__()
        self._searched = 0  # bytes that are known to hold no line end

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        self._data += piece

    def next(self) -> bytes | None:
        """The next line that is not empty."""
        while (end := self._data.find(b"\n", self._searched)) >= 0:
            line = bytes(self._data[:end]).removesuffix(b"\r")
            del self._data[: end + 1]
            self._searched = 0
            if line:
                return line
        self._searched = len(self._data)
        self._check()
        return None


class Maps(Frames):
    """MessagePack values, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self._framer = msgpack.Unpacker(max_buffer_size=0)  # `LIMIT` is what bounds it
        self._border = 0  # where `_data` begins in the whole stream

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        self._framer.feed(piece)
        self._data += piece

    def next(self) -> bytes | None:
        """The next value. It is found by skipping, so that half of one costs nothing."""
        try:
            self._framer.skip()
        except msgpack.OutOfData:
            self._check()
            return None
        except (ValueError, RecursionError):
            raise ProtocolError("the server does not send MessagePack") from None
        size = self._framer.tell() - self._border
        frame = bytes(self._data[:size])
        del self._data[:size]
        self._border += size
        return frame


class MapsOrLines(Frames):
    """What is said to one who speaks MessagePack: in lines, if the server has not heard that yet.

    As when it is full, or begins anew, before the first byte came.
    """

    def __init__(self) -> None:
        super().__init__()
        self._frames: Frames | None = None

    def feed(self, piece: bytes) -> None:
        """Take the next piece. The first byte tells, which no map begins with."""
        if self._frames is None:
            self._frames = Lines() if piece.startswith(LINE) else Maps()
        self._frames.feed(piece)

    def next(self) -> bytes | None:
        """The next value, or line."""
        return None if self._frames is None else self._frames.next()

    def rest(self) -> bytes:
        """What was fed and not given back."""
        return b"" if self._frames is None else self._frames.rest()
