"""The LOBSTER format: the messages of a recorded day, and the book after each of them.

A message is `seconds,type,order id,size,price,direction`; a row of the book is
`ask price,ask size,bid price,bid size` for each level, the best first. Prices are whole 1/10000
dollars. Files are read lazily, so that a day of any length costs no memory.
"""

import re
from collections.abc import Iterator
from enum import IntEnum
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from wood.model.errors import WoodError
from wood.model.orders import BUY, SELL, Side

MAX_ORDER_ID = 2**63 - 1
"""The highest order id of a recording; those above are the replay's own."""

NO_PRICE = 9999999999
"""The price, negated for bids, of a level that the book does not have."""

_MESSAGE = re.compile(
    r"([0-9]{1,9}(?:\.[0-9]{1,18})?),([1-7]),([0-9]{1,19}),([0-9]{1,12}),(-?[0-9]{1,10}),(-?1)"
)
_MESSAGE_COLUMNS = "seconds,type 1-7,order id,size,price,direction"
_LEVELS = re.compile(r"(?:-?[0-9]{1,10},[0-9]{1,12},-?[0-9]{1,10},[0-9]{1,12}(?:,(?!$)|$))+")
_LEVELS_COLUMNS = "ask price,ask size,bid price,bid size,..."


class MalformedFile(WoodError):
    """A recording cannot be read; the text is one line with the file and the number of the row."""

    def __init__(self, path: Path, number: int, text: str) -> None:
        super().__init__(f"{path}:{number}: {text}")


class Kind(IntEnum):
    """The type of a message; from `HIDDEN_EXECUTION` on they leave the visible book alone."""

    NEW = 1
    PARTIAL_CANCEL = 2
    DELETE = 3
    EXECUTION = 4
    HIDDEN_EXECUTION = 5
    CROSS = 6
    HALT = 7


class Message(NamedTuple):
    """One recorded message. `side` is that of the resting order, also in an execution."""

    seconds: float
    kind: Kind
    order_id: int
    size: int
    price: int
    side: Side


class BookRow(NamedTuple):
    """The book at one moment: (price, size) of each level, the best first."""

    asks: list[tuple[int, int]]
    bids: list[tuple[int, int]]


def read_messages(path: Path) -> Iterator[Message]:
    """The messages of the file at `path`. Raises `MalformedFile` on reaching what is none."""
    for number, text in _rows(path):
        yield _message(path, number, text)


def count_messages(path: Path) -> int:
    """Read the whole file once; how many messages it has. Raises `MalformedFile`, also if none."""
    count = sum(1 for _ in read_messages(path))
    if not count:
        raise MalformedFile(path, 1, "there are no messages in this file")
    return count


def read_book(path: Path) -> Iterator[BookRow]:
    """The rows of the book file at `path`. Raises `MalformedFile` on reaching what is none."""
    for number, text in _rows(path):
        if not _LEVELS.fullmatch(text):
            raise _unexpected(path, number, _LEVELS_COLUMNS, text)
        yield _book_row([int(column) for column in text.split(",")])


def first_book_row(path: Path) -> BookRow:
    """The book after the first message. Raises `MalformedFile`, also where there is no row."""
    for row in islice(read_book(path), 1):
        return row
    raise MalformedFile(path, 1, "there is no book in this file")


def _rows(path: Path) -> Iterator[tuple[int, str]]:
    # Latin-1 takes every byte, so that the grammar, not the decoder, refuses what is not a digit.
    with path.open(encoding="latin-1") as lines:
        for number, line in enumerate(lines, 1):
            if text := line.strip():
                yield number, text


def _unexpected(path: Path, number: int, columns: str, text: str) -> MalformedFile:
    return MalformedFile(path, number, f"expected '{columns}', not {text[:60]!r}")


def _message(path: Path, number: int, text: str) -> Message:
    match = _MESSAGE.fullmatch(text)
    if match is None:
        raise _unexpected(path, number, _MESSAGE_COLUMNS, text)
    seconds, kind, order_id, size, price, direction = match.groups()
    side = BUY if direction == "1" else SELL
    message = Message(float(seconds), Kind(int(kind)), int(order_id), int(size), int(price), side)
    if message.order_id > MAX_ORDER_ID:
        raise MalformedFile(path, number, f"an order id is at most {MAX_ORDER_ID}")
    if message.kind <= Kind.EXECUTION and (message.size <= 0 or message.price <= 0):
        raise MalformedFile(path, number, "a size and a price must be greater than 0")
    return message


def _book_row(columns: list[int]) -> BookRow:
    return BookRow(
        asks=_levels(columns[0::4], columns[1::4]), bids=_levels(columns[2::4], columns[3::4])
    )


def _levels(prices: list[int], sizes: list[int]) -> list[tuple[int, int]]:
    return [
        (price, size)
        for price, size in zip(prices, sizes, strict=True)
        if size and abs(price) != NO_PRICE
    ]
