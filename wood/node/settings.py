"""What an operator may set of a node."""

import socket
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from wood.exchange.sessions import Auth
from wood.wire.json_lines import LINE_LIMIT


@dataclass(frozen=True)
class Settings:
    """Addresses and limits of a node. Sizes are bytes, times seconds."""

    host: str = "127.0.0.1"
    name: str = ""
    """What it is called in the log and by `wood status`; empty: its host and private port."""
    private: int = 7001
    public: int = 7002
    health: int = 0
    """The port for health checks; 0: none."""
    reuse_port: bool = False
    """Whether other nodes may listen on the same ports, and the system spreads the clients."""
    proxy_protocol: tuple[IPv4Network | IPv6Network, ...] = ()
    """Where balancers are, which begin each connection with whose it is; empty: there are none."""
    line_limit: int = LINE_LIMIT
    max_connections: int | None = None
    """Private and public together; None: as many as there are descriptors for."""
    max_rate: int = 0
    """Messages per second that one connection may send; 0: no limit."""
    max_address_connections: int = 0
    """Private and public together, from one address; 0: no limit."""
    max_address_rate: int = 0
    """Messages per second that may come from one address; 0: no limit."""
    tls_cert: Path | None = None
    """The server's certificate and what leads to its issuer; None: both ports speak plainly."""
    tls_key: Path | None = None
    """Its private key; None: in the same file."""
    tls_client_ca: Path | None = None
    """Who issues certificates that name participants; None: nobody."""
    output_limit: int = 16 * 1024 * 1024
    """A private client that lets this much pile up unread is closed."""
    backlog_limit: int = 100_000
    """A public client for which this many trades and levels are kept is closed."""
    cancel_on_disconnect: bool = False
    auth: Auth = Auth.OPEN
    login_timeout: float = 10.0
    """Where everybody must log in, a connection that has not done so by then is closed."""
    drain: float = 0.0
    """How long a node that is to stop goes on serving, but is not ready for new connections."""
    last_words: float = 5.0
    """How long a stopping node lets its clients read what they are owed."""

    def called(self, private: int) -> str:
        """The name of the node that has this private port."""
        return self.name or f"{socket.gethostname()}:{private}"
