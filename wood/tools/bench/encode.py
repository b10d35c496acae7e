"""Requests as the bytes that a connection sends, made before the clock starts."""

from collections.abc import Iterable, Sequence
from itertools import accumulate

from msgspec import Struct

from wood.model.commands import CancelOrder
from wood.tools.bench.flow import Request

_CREATE = b'{"message":"createOrder","orderId":%d,"side":"%b","price":%d,"quantity":%d}\n'
_CANCEL = b'{"message":"cancelOrder","orderId":%d}\n'


class Load(Struct, frozen=True, gc=False):
    """The requests of one connection, back to back; `ends[k]` is where the first k of them end.

    So the requests from j up to k are one slice, `data[ends[j] : ends[k]]`, and one write.
    """

    data: memoryview
    ends: list[int]

    def __len__(self) -> int:
        return len(self.ends) - 1


class Encoder:
    """Makes one load for each of `participants`: its own requests, in their order."""

    def __init__(self, participants: Sequence[str]) -> None:
        self._lines: dict[str, list[bytes]] = {participant: [] for participant in participants}

    def add(self, requests: Iterable[Request]) -> None:
        """Encode some more."""
        for request in requests:
            self._lines[request.participant].append(_line(request))

    def loads(self) -> list[Load]:
        """All that was added."""
        return [_load(lines) for lines in self._lines.values()]


def _line(request: Request) -> bytes:
    if isinstance(request, CancelOrder):
        return _CANCEL % request.order_id
    side, price = request.side.encode(), request.price
    assert price is not None, "a flow has limit orders only"
    return _CREATE % (request.order_id, side, price, request.quantity)


def _load(lines: list[bytes]) -> Load:
    return Load(memoryview(b"".join(lines)), list(accumulate(map(len, lines), initial=0)))
