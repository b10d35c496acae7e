from wood.model.errors import ErrorCode


def test_codes_are_plain_words() -> None:
    assert str(ErrorCode.NOT_FOUND) == "not_found"
    retry = [code.value for code in ErrorCode if code.retry]
    assert retry == ["duplicate", "limit", "rate", "unavailable", "silent"]
