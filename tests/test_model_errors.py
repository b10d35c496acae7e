from wood.model.errors import ErrorCode


def test_codes_are_plain_words() -> None:
    assert str(ErrorCode.NOT_FOUND) == "not_found"
    assert [code.value for code in ErrorCode if code.retry] == ["duplicate", "limit", "rate"]
