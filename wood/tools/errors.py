"""What every tool that trades may have to tell the person."""

from wood.model.errors import WoodError


class UnexpectedReply(WoodError):
    """The server said what no server of this protocol says; the text is one line."""


class NothingTaken(WoodError):
    """The server took no order at all; `refusal` is what it said to the first one."""

    def __init__(self, refusal: str) -> None:
        said = refusal if refusal.isprintable() else repr(refusal)
        super().__init__(f"the server took no order; the first refusal was: {said}")
