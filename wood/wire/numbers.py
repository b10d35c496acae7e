"""How prices and quantities stand in MessagePack, and times in JSON."""

from wood.model.decimals import decimal_text


def packed(text: bytes) -> int | str:
    """A decimal for MessagePack: an integer when it is one of 64 bits, else a string."""
    if b"." in text or len(text) > 20:
        return text.decode()
    number = int(text)
    return number if number < 2**64 else text.decode()


def seconds(microseconds: int) -> bytes:
    """Microseconds as a JSON number of seconds with six decimals."""
    return b"%d.%06d" % divmod(microseconds, 1_000_000)


def duration(microseconds: int) -> bytes:
    """Microseconds as a JSON number of seconds, as short as it can be."""
    return decimal_text(microseconds, -6).encode()
