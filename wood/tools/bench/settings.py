"""What a benchmark is told to do."""

from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace


class Settings(Struct, frozen=True, kw_only=True):
    """The options of `wood bench`, by the same names; `timeout` is in seconds."""

    host: str = "127.0.0.1"
    port: int = 7001
    public: int | None = None
    subscribers: int = 0
    serve: bool = False
    member: bool = False
    nodes: int = 1
    redis: str | None = None
    redis_server: str | None = None
    append: str | None = None
    connections: int = 8
    in_flight: int = 64
    login: bool = False
    orders: int = 200_000
    cancel_share: float = 0.15
    spread: float = 10.0
    apart: bool = False
    seed: int = 1
    batch: int = 256
    ceiling: bool = False
    pairs: int = 5
    timeout: float = 30.0
    tls: bool = False
    tls_ca: str | None = None
    tls_client_cert: str | None = None
    tls_client_key: str | None = None

    @property
    def rounds(self) -> int:
        """How often the target is measured."""
        return self.pairs if self.ceiling else 1

    @property
    def target(self) -> str:
        """What is measured, in words."""
        if not self.serve:
            return f"{self.host}:{self.port}"
        if not self.member:
            return "wood -s"
        return "wood -s -m" if self.nodes == 1 else f"{self.nodes} nodes, wood -s -m"

    def for_all(self) -> "Settings":
        """Without the password in `redis`: reports are passed around."""
        if self.redis is None:
            return self
        parts = urlsplit(self.redis)
        return replace(self, redis=parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl())
