from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wood.model import scale as module
from wood.model.errors import ErrorCode, Refusal
from wood.model.scale import Scale


@pytest.mark.parametrize(
    ("step", "text", "units", "shown"),
    [
        ("0.01", b"145", 14500, b"145"),
        ("0.01", b"145.25", 14525, b"145.25"),
        ("0.01", b'"145.250"', 14525, b"145.25"),
        ("0.01", b"1.4525e2", 14525, b"145.25"),
        ("0.05", b"0.15", 3, b"0.15"),
        ("0.25", b"1.75", 7, b"1.75"),
        ("10", b"70", 7, b"70"),
        ("1", b"1e3", 1000, b"1000"),
    ],
)
def test_there_and_back(step: str, text: bytes, units: int, shown: bytes) -> None:
    scale = Scale("price", step, 10**6)
    assert scale.units[text] == units
    assert scale.units[text] == units  # from the cache
    assert scale.text[units] == shown


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (b"0", ErrorCode.INVALID, "price must be greater than 0"),
        (b"-1", ErrorCode.INVALID, "price must be greater than 0"),
        (b"-1e900000", ErrorCode.INVALID, "price must be greater than 0"),
        (b"0.005", ErrorCode.INVALID, "price must be a multiple of 0.01"),
        (b"1e-900000", ErrorCode.INVALID, "price must be a multiple of 0.01"),
        (b"10.01", ErrorCode.TOO_LARGE, "price must be at most 10"),
        (b"10.005", ErrorCode.TOO_LARGE, "price must be at most 10"),
        (b"1e900000", ErrorCode.TOO_LARGE, "price is too large"),
        (b"true", ErrorCode.INVALID, "price must be a decimal number"),
        (b"null", ErrorCode.INVALID, "price must be a decimal number"),
        (b"[1]", ErrorCode.INVALID, "price must be a decimal number"),
        (b'"1_0"', ErrorCode.INVALID, "price must be a decimal number"),
        (b'"\xd9\xa3"', ErrorCode.INVALID, "price must be a decimal number"),
        (b'""', ErrorCode.INVALID, "price must be a decimal number"),
    ],
)
def test_refused(text: bytes, code: ErrorCode, said: str) -> None:
    scale = Scale("price", "0.01", 1000)
    for _ in range(2):  # a refusal is not remembered as a value
        with pytest.raises(Refusal) as caught:
            scale.units[text]
        assert (caught.value.code, caught.value.text) == (code, said)


@pytest.mark.parametrize("step", ["0", "-1", "x", "1e-19", "1e19", "NaN"])
def test_impossible_steps(step: str) -> None:
    with pytest.raises(Refusal):
        Scale("price", step, 1000)


def test_the_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_SIZE", 10)
    scale = Scale("price", "0.01", 10**6)
    for units in range(1, 1000):
        assert scale.units[scale.text[units]] == units
        assert len(scale.units) <= 10
        assert len(scale.text) <= 10


@given(st.integers(1, 2**53 - 1), st.sampled_from(["0.01", "0.05", "0.125", "1", "25", "1e-8"]))
def test_exact(units: int, step: str) -> None:
    scale = Scale("price", step, 2**53 - 1)
    text = scale.text[units]
    assert Decimal(text.decode()) == units * Decimal(step)
    assert scale.units[text] == units
