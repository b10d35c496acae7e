import msgspec

from wood.wire.numbers import packed, seconds


def test_packed_is_never_a_float() -> None:
    assert packed(b"145") == 145
    assert packed(b"145.25") == "145.25"
    assert packed(b"18446744073709551615") == 2**64 - 1
    for large in (b"18446744073709551616", b"1" + b"0" * 30):
        assert packed(large) == large.decode(), "MessagePack has no such integer"


def test_seconds_have_six_decimals() -> None:
    assert seconds(1_461_763_950_458_236) == b"1461763950.458236"
    assert seconds(1_000_001) == b"1.000001"
    assert msgspec.json.decode(seconds(1_500_000)) == 1.5
