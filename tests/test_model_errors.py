from wood.model.errors import ErrorCode


def test_codes_are_plain_words() -> None:
    assert ErrorCode.NOT_FOUND == "not_found"
    assert ErrorCode("rate") is ErrorCode.RATE
    assert {code for code in ErrorCode if code.retry} == {"duplicate", "limit", "rate"}
