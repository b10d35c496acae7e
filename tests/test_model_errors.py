from wood.model.errors import ErrorCode


def test_codes_are_plain_words() -> None:
    assert str(ErrorCode.NOT_FOUND) == "not_found"
    retry = [code.value for code in ErrorCode if code.retry]
    codes = ["duplicate", "limit", "halted", "collar", "rate", "unavailable", "silent"]
    assert retry == codes
