"""graypy's encoding, compression, framing and chunks, for our records.

What graypy leaves to be wished is mended here: it says version 1.0 of GELF, and silently drops
what does not go into the 128 chunks that there may be. Its own sending is not used, since its
handlers keep silent about errors; see `sink.py`.
"""

from collections.abc import Iterator

from graypy.handler import (
    GELF_MAX_CHUNK_NUMBER,
    BaseGELFChunker,
    BaseGELFHandler,
    GELFTCPHandler,
    GELFUDPHandler,
)

from wood.graylog.gelf import FIELD, TEXT, message
from wood.graylog.record import Record


class _Ours(BaseGELFHandler):  # type: ignore[misc]
    """Makes bytes of our records, not of logging's."""

    text, field = TEXT, FIELD

    def _make_gelf_dict(self, record: Record) -> dict[str, object]:
        return {**message(record, self.text, self.field)}


class _Datagram(_Ours, GELFUDPHandler):  # type: ignore[misc]
    pass


class _Stream(_Ours, GELFTCPHandler):  # type: ignore[misc]
    pass


class Datagrams:
    """The datagrams of a record: one, or several chunks."""

    def __init__(self, chunk: int, compress: bool) -> None:
        self._chunk = chunk
        self._chunker = BaseGELFChunker(chunk)
        self._handler = _Datagram("", 0, self._chunker, compress=compress)

    def of(self, record: Record) -> Iterator[bytes]:
        """They are to be sent in this order."""
        data = self._bounded(record)
        return iter([data]) if len(data) <= self._chunk else self._chunker.chunk_message(data)

    def _bounded(self, record: Record) -> bytes:
        """As much of it as goes into the chunks that there may be."""
        handler = self._handler
        handler.text, handler.field = TEXT, FIELD
        data: bytes = handler.makePickle(record)
        while len(data) > GELF_MAX_CHUNK_NUMBER * self._chunk and handler.text:
            handler.text //= 2
            handler.field //= 2
            data = handler.makePickle(record)
        return data


class Frames:
    """The bytes of a record in a stream."""

    def __init__(self) -> None:
        self._handler = _Stream("", 0)

    def of(self, record: Record) -> bytes:
        """Its JSON, and the zero byte that ends it."""
        data: bytes = self._handler.makePickle(record)
        return data
