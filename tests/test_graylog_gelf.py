import json
import logging
import random
import re
import string
import zlib

import pytest

from wood.graylog.encoding import Datagrams, Frames
from wood.graylog.gelf import CUT, FIELD, TEXT, message
from wood.graylog.record import Fields, Record

FIELD_NAME = re.compile(r"_[\w.-]+")
"""As the description of GELF has it."""


def record(text: str = "it", level: int = logging.INFO, **fields: str | float) -> Record:
    told: Fields = {"event": "redis.back", **fields}
    return Record(1_700_000_000.25, level, "node-1", "nodes", text, told)


def test_a_record_is_a_message_of_version_1_1() -> None:
    assert message(record(partition="main", duration_ms=12.5, count=3)) == {
        "version": "1.1",
        "host": "node-1",
        "short_message": "it",
        "timestamp": 1_700_000_000.25,
        "level": 6,
        "_log": "nodes",
        "_node": "node-1",
        "_event": "redis.back",
        "_partition": "main",
        "_duration_ms": 12.5,
        "_count": 3,
    }
    assert all(FIELD_NAME.fullmatch(name) for name in message(record()) if name.startswith("_"))


@pytest.mark.parametrize(
    ("level", "severity"),
    [(50, 2), (40, 3), (30, 4), (25, 6), (20, 6), (10, 7), (0, 7)],
)
def test_levels_are_those_of_syslog(level: int, severity: int) -> None:
    assert message(record(level=level))["level"] == severity


def test_a_traceback_is_the_full_message() -> None:
    with_one = Record(1.0, 40, "n", "nodes", "failed", {"event": "error"}, "Traceback ...")
    assert message(with_one)["full_message"] == "Traceback ..."


def test_there_is_always_a_text_and_a_host() -> None:
    told = message(Record(1.0, 20, "", "nodes", "", {}))
    assert told["short_message"] == "-"
    assert told["host"] == "wood"


def test_what_is_too_long_is_cut_and_says_so() -> None:
    told = message(record("x" * 100_000, symbol="y" * 100_000))
    text, field = told["short_message"], told["_symbol"]
    assert isinstance(text, str)
    assert isinstance(field, str)
    assert (len(text), len(field)) == (TEXT, FIELD)
    assert text.endswith(CUT)
    assert field.endswith(CUT)
    # What Elasticsearch and OpenSearch take of a field that is not analysed.
    assert len(("\U0001f600" * FIELD).encode()) < 32_766


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 2**63, -(2**63) - 1])
def test_a_number_that_no_index_holds_is_left_out(value: float) -> None:
    assert "_price" not in message(record(price=value))


def test_the_largest_numbers_stay_as_they_are() -> None:
    told = message(record(order_id=2**63 - 1))
    assert told["_order_id"] == 2**63 - 1


def test_a_zero_character_cannot_end_a_text_early() -> None:
    assert message(record("a\0b", symbol="c\0d"))["short_message"] == "a\\x00b"
    assert message(record("a\0b", symbol="c\0d"))["_symbol"] == "c\\x00d"


def test_a_frame_ends_with_a_zero_byte_and_has_no_other() -> None:
    data = Frames().of(record("a\0\nb"))
    assert data.index(b"\0") == len(data) - 1
    assert json.loads(data[:-1])["_event"] == "redis.back"


def test_a_small_message_is_one_datagram() -> None:
    (datagram,) = Datagrams(1408, compress=True).of(record())
    assert json.loads(zlib.decompress(datagram))["host"] == "node-1"
    (plain,) = Datagrams(1408, compress=False).of(record())
    assert json.loads(plain)["host"] == "node-1"


@pytest.mark.parametrize("compress", [True, False])
def test_a_large_one_is_chunks_with_a_common_id(compress: bool) -> None:
    text = "".join(random.Random(7).choices(string.ascii_letters, k=20_000))
    chunks = list(Datagrams(500, compress).of(record(text)))
    assert len(chunks) > 1
    assert len({chunk[2:10] for chunk in chunks}) == 1
    assert [chunk[10] for chunk in chunks] == list(range(len(chunks)))
    assert {chunk[11] for chunk in chunks} == {len(chunks)}
    data = b"".join(chunk[12:] for chunk in chunks)
    told = json.loads(zlib.decompress(data) if compress else data)
    assert told["short_message"] == text


@pytest.mark.parametrize("compress", [True, False])
def test_one_that_does_not_go_into_128_chunks_is_cut_and_not_dropped(compress: bool) -> None:
    text = "".join(random.Random(7).choices(["\u20ac", *string.ascii_letters], k=TEXT))
    chunks = list(Datagrams(100, compress).of(record(text, symbol=text)))
    assert 1 < len(chunks) <= 128
    data = b"".join(chunk[12:] for chunk in chunks)
    told = json.loads(zlib.decompress(data) if compress else data)
    assert told["short_message"].endswith(CUT)
    assert told["_event"] == "redis.back"
