"""How prices and quantities stand in MessagePack, and times in JSON."""


def packed(text: bytes) -> int | str:
    """A decimal for MessagePack: an integer when whole, otherwise a string, never a float."""
    return text.decode() if b"." in text else int(text)


def seconds(microseconds: int) -> bytes:
    """Microseconds as a JSON number of seconds with six decimals."""
    return b"%d.%06d" % divmod(microseconds, 1_000_000)
