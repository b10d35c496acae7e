import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wood.model.decimals import decimal_text, parse_decimal
from wood.model.errors import ErrorCode, Refusal


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", (0, 0)),
        ("-0.00", (0, 0)),
        ("0e999999999", (0, 0)),
        ("145", (145, 0)),
        ("1450", (145, 1)),
        ("145.250", (14525, -2)),
        ("1.45e2", (145, 0)),
        ("14500E-2", (145, 0)),
        ("0.001e+3", (1, 0)),
        ("-5", (-5, 0)),
        ("1e0005", (1, 5)),
    ],
)
def test_numbers(text: str, value: tuple[int, int]) -> None:
    assert parse_decimal(text, "price") == value


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "1 ", "NaN", "Infinity", "-Infinity", "1_000", "+1", "01", ".5", "5.", "1e"),
        *("e5", "0x10", "1,5", "\uff11\uff12", "\u0663", "1.5.5", "--1", "1e5.5", "true", "1\n"),
        "1" * 101,
    ],
)
def test_no_numbers(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse_decimal(text, "price")
    assert caught.value.code is ErrorCode.INVALID
    assert caught.value.text == "price must be a decimal number"


@pytest.mark.parametrize("text", ["1e400", "1e900000", "1e99999999999999", "9" * 41])
def test_too_large_costs_nothing(text: str) -> None:
    begin = time.perf_counter()
    with pytest.raises(Refusal) as caught:
        parse_decimal(text, "price")
    # Converted, the longest of these would take ages; the bound only tells ages from no time.
    assert time.perf_counter() - begin < 0.05
    assert caught.value.code is ErrorCode.TOO_LARGE


@pytest.mark.parametrize("text", ["1e-900000", "-1e900000", "-1e-99999999999"])
def test_far_from_any_tick_stays_small(text: str) -> None:
    coefficient, exponent = parse_decimal(text, "price")
    assert abs(coefficient) == 1
    assert -150 < exponent <= 40


@given(st.integers(-(10**20), 10**20), st.integers(-18, 18))
def test_text_and_back(coefficient: int, exponent: int) -> None:
    text = decimal_text(coefficient, exponent)
    again, power = parse_decimal(text, "number")
    assert again * 10 ** (power + 40) == coefficient * 10 ** (exponent + 40)
    assert "e" not in text.lower()
    assert not ("." in text and text.endswith("0"))
