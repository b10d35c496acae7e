from pathlib import Path

import pytest

from wood.model.orders import BUY, SELL
from wood.tools.replay.lobster import (
    BookRow,
    Kind,
    MalformedFile,
    Message,
    count_messages,
    first_book_row,
    read_book,
    read_messages,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "day.csv"


def test_reads_every_type_of_message(path: Path) -> None:
    path.write_text(
        "34200.004241176,1,16113575,18,5853300,1\n"
        "34200.25,2,16113575,8,5853300,1\n"
        "34201,3,16113575,10,5853300,1\n"
        "34202.5,4,7,50,5859400,-1\n"
        "34203,5,0,5,5856000,1\n"
        "34204,6,9,5,5856000,1\n"
        "34205,7,0,0,-1,-1\n"
    )
    messages = list(read_messages(path))
    assert messages[0] == Message(34200.004241176, Kind.NEW, 16113575, 18, 5853300, BUY)
    assert messages[3] == Message(34202.5, Kind.EXECUTION, 7, 50, 5859400, SELL)
    assert messages[6] == Message(34205, Kind.HALT, 0, 0, -1, SELL)
    assert [message.kind for message in messages] == list(Kind)


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_the_last_line_may_end_in_any_way(path: Path, end: str) -> None:
    path.write_bytes(b"1,1,1,1,1,1\n2,3,1,1,1,1" + end.encode())
    assert len(list(read_messages(path))) == count_messages(path) == 2


@pytest.mark.parametrize(
    "row",
    [
        "34200,1,5,10,5853300",
        "34200,1,5,10,5853300,1,1",
        "34200,8,5,10,5853300,1",
        "34200,0,5,10,5853300,1",
        "34200,1,5,10,5853300,0",
        "34200,1,5,10,5853300,2",
        "34200,1,5,10,58533.5,1",
        "34200,1,5,1e3,5853300,1",
        "34200,1,-5,10,5853300,1",
        "34200,1,5,-10,5853300,1",
        "34200,1,5,0,5853300,1",
        "34200,4,5,10,0,1",
        "34200,2,5,10,-5853300,1",
        "nan,1,5,10,5853300,1",
        "-1,1,5,10,5853300,1",
        "34200,1,9223372036854775808,10,5853300,1",
        "34200,1,\u0665,10,5853300,1",
        "34200, 1,5,10,5853300,1",
        "Time,Type,OrderID,Size,Price,Direction",
    ],
)
def test_a_row_that_is_no_message_is_named(path: Path, row: str) -> None:
    path.write_text(f"34200,1,5,10,5853300,1\n{row}\n", encoding="utf-8")
    with pytest.raises(MalformedFile, match=r"day\.csv:2: ") as error:
        list(read_messages(path))
    assert "\n" not in str(error.value)


def test_rows_before_a_malformed_one_are_read(path: Path) -> None:
    path.write_text("34200,1,5,10,5853300,1\nrubbish\n")
    assert next(read_messages(path)).order_id == 5


def test_a_file_without_messages_is_an_error(path: Path) -> None:
    path.write_text("")
    with pytest.raises(MalformedFile, match="no messages"):
        count_messages(path)


def test_bytes_that_are_no_text_are_an_error_like_any_other(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00\n")
    with pytest.raises(MalformedFile, match=r"day\.csv:1: "):
        count_messages(path)


def test_a_row_of_the_book_leaves_out_levels_that_are_empty(path: Path) -> None:
    path.write_text("102,5,99,7,103,6,-9999999999,0\n9999999999,0,99,7\n")
    assert list(read_book(path)) == [
        BookRow(asks=[(102, 5), (103, 6)], bids=[(99, 7)]),
        BookRow(asks=[], bids=[(99, 7)]),
    ]
    assert first_book_row(path).asks == [(102, 5), (103, 6)]


@pytest.mark.parametrize(
    "row", ["102,5,99", "102,5,99,7,103", "102,5,99,7,", "a,5,99,7", "102,-5,99,7", "1.5,5,99,7"]
)
def test_a_row_that_is_no_book_is_named(path: Path, row: str) -> None:
    path.write_text(f"{row}\n")
    with pytest.raises(MalformedFile, match=r"day\.csv:1: expected 'ask price"):
        first_book_row(path)


def test_a_book_file_without_rows_is_an_error(path: Path) -> None:
    path.write_text("\n")
    with pytest.raises(MalformedFile, match="no book"):
        first_book_row(path)
