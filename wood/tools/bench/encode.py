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


def encode(requests: Iterable[Request], participants: Sequence[str]) -> list[Load]:
    """One load for each of `participants`: its own requests, in their order."""
    lines: dict[str, list[bytes]] = {participant: [] for participant in participants}
    for request in requests:
        lines[request.participant].append(_line(request))
    return [_load(lines[participant]) for participant in participants]


def _line(request: Request) -> bytes:
    if isinstance(request, CancelOrder):
        return _CANCEL % request.order_id
    side, price = request.side.encode(), request.price
    assert price is not None, "a flow has limit orders only"
    return _CREATE % (request.order_id, side, price, request.quantity)


def _load(lines: list[bytes]) -> Load:
    return Load(memoryview(b"".join(lines)), list(accumulate(map(len, lines), initial=0)))
