"""What a benchmark over TCP is told to do."""

from msgspec import Struct


class Settings(Struct, frozen=True, kw_only=True):
    """The options of `wood bench`, by the same names; `timeout` is in seconds."""

    host: str = "127.0.0.1"
    port: int = 7001
    public: int | None = None
    subscribers: int = 0
    serve: bool = False
    connections: int = 8
    in_flight: int = 64
    orders: int = 200_000
    cancel_share: float = 0.15
    spread: float = 10.0
    seed: int = 1
    ceiling: bool = False
    pairs: int = 5
    timeout: float = 30.0

    @property
    def rounds(self) -> int:
        """How often the target is measured."""
        return self.pairs if self.ceiling else 1
