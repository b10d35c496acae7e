"""How `wood bench` counts answers and sums up how long they took."""

from collections import Counter
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wood.tools.bench.answers import Answers
from wood.tools.bench.latency import Latencies, Questions
from wood.tools.bench.spread import spread

NEW = b'{"message":"executionReport","orderId":1,"report":"NEW"}\n'
FILL = b'{"message":"executionReport","orderId":1,"report":"FILL","price":149,"quantity":120}\n'
CANCELED = b'{"message":"executionReport","orderId":1,"report":"CANCELED"}\n'
REFUSED = (
    b'{"message":"error","error":"no open order has this id","code":"not_found","orderId":7}\n'
)
SPACED = b'{"message": "executionReport", "orderId": 1, "report": "NEW"}\r\n'
BARE = b'{"error": "you said \\"NEW\\", \\"error\\": \\"FILL\\""}\n'
NUMBERED = b'{"error":"no","code":7}\n'
OTHER = b'{"message":"news"}\n\n'

MEANING = {
    NEW: "accepted",
    SPACED: "accepted",
    CANCELED: "canceled",
    FILL: "fills",
    REFUSED: "not_found",
    BARE: "error",
    NUMBERED: "error",
    OTHER: "",
}


@given(lines=st.lists(st.sampled_from(list(MEANING))), cuts=st.lists(st.integers(0, 2000)))
def test_counts_do_not_depend_on_where_a_read_ends(lines: list[bytes], cuts: list[int]) -> None:
    data = b"".join(lines)
    borders = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    answers = Answers()
    answered = sum(answers.feed(data[first:last]) for first, last in pairwise(borders))
    expected = Counter(MEANING[line] for line in lines)
    assert answers.accepted == expected["accepted"]
    assert answers.canceled == expected["canceled"]
    assert answers.fills == expected["fills"]
    errors = {code: expected[code] for code in ("not_found", "error") if expected[code]}
    assert answers.errors == errors
    assert answered == answers.accepted + answers.canceled + answers.errors.total()


def test_an_answer_counts_when_its_line_is_complete() -> None:
    answers = Answers()
    assert answers.feed(NEW + NEW[:-1]) == 1
    assert answers.feed(b"\n") == 1


def test_answers_belong_to_the_oldest_questions() -> None:
    questions, latencies = Questions(), Latencies()
    questions.asked(3, now=10.0)
    questions.asked(2, now=11.0)
    questions.answered(1, 12.0, latencies)
    questions.answered(3, 13.0, latencies)
    assert questions.open == 1
    assert latencies.percentiles([0.25, 0.5, 0.75, 1]) == [2.0, 2.0, 3.0, 3.0]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), min_size=1))
def test_percentiles_are_those_of_all_answers_one_by_one(added: list[tuple[int, int]]) -> None:
    latencies = Latencies()
    for seconds, count in added:
        latencies.add(seconds, count)
    each = sorted(seconds for seconds, count in added for _ in range(count))
    for percent in (1, 50, 99, 100):
        (found,) = latencies.percentiles([percent / 100])
        assert sum(seconds <= found for seconds in each) * 100 >= percent * len(each)
        assert sum(seconds < found for seconds in each) * 100 < percent * len(each)


def test_a_spread_is_a_median_between_its_bounds() -> None:
    values = [104_000.4, 98_000.0, 101_000.0]
    Random(1).shuffle(values)
    found = spread(values, 0)
    assert (found.median, found.min, found.max) == (101_000, 98_000, 104_000)
    assert found.text(",.0f") == "101,000 (98,000..104,000)"


def test_a_spread_of_one_value_is_that_value() -> None:
    assert spread([0.12345], 4).text(".3f") == "0.123"


def test_nothing_has_no_spread() -> None:
    with pytest.raises(ValueError, match="median"):
        spread([], 0)
