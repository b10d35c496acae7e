"""The two encodings of the private port, as a client has them."""

import json
from collections.abc import Iterator
from typing import Any

import msgpack


class Wire:
    """Encodes what is said and decodes what is heard on one connection."""

    def __init__(self, packed: bool = False) -> None:
        self.packed = packed
        self._in_lines: bool | None = None
        self._data = b""
        self._unpacker = msgpack.Unpacker()

    def encode(self, *messages: dict[str, Any]) -> bytes:
        """The bytes of messages that follow each other."""
        if self.packed:
            return b"".join(msgpack.packb(message) for message in messages)
        return b"".join(json.dumps(message).encode() + b"\n" for message in messages)

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The messages that are complete with `data`."""
        if self._in_lines is None:  # before it has heard us, a server speaks JSON
            self._in_lines = not self.packed or data.startswith(b"{")
        if not self._in_lines:
            self._unpacker.feed(data)
            yield from self._unpacker
            return
        *lines, self._data = (self._data + data).split(b"\n")
        for line in lines:
            yield json.loads(line)
