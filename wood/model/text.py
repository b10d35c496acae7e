"""Words of somebody else that a person may come to see, in a log, a terminal or a traceback."""


def printable(text: str) -> str:
    """`text` such that no character of it can command a terminal, or begin a line of a log."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
