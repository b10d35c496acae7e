"""The real HAProxy, with the configuration that ships and the ports of the tests in it."""

import csv
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.cluster import Cluster, Start
from tests.support import PATIENCE, ROOT, Peer, Server, eventually, free_port

CONFIG = ROOT / "deploy" / "haproxy.cfg"
BINARY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")

needs_haproxy = pytest.mark.skipif(
    BINARY is None, reason="HAProxy is not installed (apt-get install haproxy)"
)

SHIPPED = ("17001 17002 17011", "17003 17004 17012", "17005 17006 17013")
"""The private, public and health port of each node, by the configuration."""


class Balancer:
    """A process of HAProxy with places for three nodes behind it."""

    host = "127.0.0.1"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.private, self.public = free_port(), free_port()
        self.places = [[free_port() for _ in "pph"] for _ in SHIPPED]
        """The private, public and health port of each node."""
        self._process: subprocess.Popen[bytes] | None = None

    def options(self, place: int, *more: str) -> tuple[str, ...]:
        """Those of the node in one of the places."""
        ports = zip(("--private", "--public", "--health"), self.places[place], strict=True)
        known = [word for name, port in ports for word in (name, str(port))]
        return (*known, "--proxy-protocol", self.host, *more)

    def start(self) -> None:
        """Start, when the nodes have: it takes each for ready until it has asked."""
        assert BINARY is not None
        config, more = self.folder / "haproxy.cfg", self.folder / "tests.cfg"
        config.write_text(self._config())
        more.write_text(f"global\n    stats socket {self._socket} level admin\n")
        with (self.folder / "haproxy.log").open("wb") as log:
            self._process = subprocess.Popen(
                [BINARY, "-db", "-f", config, "-f", more], stdout=log, stderr=log
            )
        eventually(self._listens, "HAProxy")

    def stop(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)

    def leave(self) -> None:
        """Ask it to go when its connections have ended."""
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)

    def ended(self) -> bool:
        """Whether it is gone."""
        return self._process is None or self._process.poll() is not None

    def trader(self) -> Peer:
        """A connection to the private port."""
        return Peer(self.host, self.private)

    def watcher(self) -> Peer:
        """A connection to the public port."""
        return Peer(self.host, self.public)

    def states(self, backend: str = "private_ready") -> list[str]:
        """What it takes each node for: `UP`, `DOWN` or something in between."""
        return [row["status"] for row in self._nodes(backend)]

    def connections(self, backend: str = "private_ready") -> list[int]:
        """How many each node has."""
        return [int(row["scur"]) for row in self._nodes(backend)]

    def do(self, command: str) -> None:
        """Have an operator's command obeyed."""
        answer = self._ask(command)
        assert not answer.strip(), answer

    def until(self, place: int, state: str, backend: str = "private_ready") -> None:
        """Wait until it takes a node for that."""
        eventually(lambda: self.states(backend)[place] == state, f"node {place} {state}")

    def _nodes(self, backend: str) -> list[dict[str, str]]:
        rows = csv.DictReader(self._ask("show stat").splitlines())
        return [r for r in rows if r["# pxname"] == backend and r["svname"].startswith("node")]

    def _config(self) -> str:
        ours = {"7001": self.private, "7002": self.public}
        for shipped, place in zip(SHIPPED, self.places, strict=True):
            ours |= dict(zip(shipped.split(), place, strict=True))
        text, count = re.subn(
            r"(?<=[: ])(7001|7002|170\d\d)$",
            lambda match: str(ours[match[1]]),
            _without_comments(CONFIG.read_text()),
            flags=re.M,
        )
        text, more = re.subn(r'(?<=\}:)(170\d\d)(?=")', lambda match: str(ours[match[1]]), text)
        assert (count, more) == (2 + 6, 12), "the configuration is another than the tests know"
        return text.replace("bind :", f"bind {self.host}:")

    @property
    def _socket(self) -> Path:
        return self.folder / "stats"

    def _ask(self, what: str) -> str:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(self._socket))
            client.sendall(what.encode() + b"\n")
            return b"".join(iter(lambda: client.recv(65536), b"")).decode()

    def _listens(self) -> bool:
        assert not self.ended(), (self.folder / "haproxy.log").read_text()
        try:
            return bool(self._ask("show info"))
        except OSError:
            return False


class Balanced(Cluster):
    """Three nodes behind a balancer."""

    def __init__(
        self, start: Start, url: str, prefix: str, balancer: Balancer, *options: str
    ) -> None:
        super().__init__(start, url, prefix, *options, nodes=0)
        self.balancer = balancer
        self.nodes = [self.start(*balancer.options(place)) for place in range(3)]
        balancer.start()

    def begin_again(self, place: int) -> None:
        """Start a node that has ended, on its ports, and wait until it gets connections."""
        self.nodes[place] = self.start(*self.balancer.options(place))
        self.balancer.until(place, "UP")

    def drain(self) -> None:
        """Have all nodes be about to stop: the next signal ends each at once."""
        for node in self.nodes:
            if not node.ended():
                node.process.terminate()
        self.logged("draining for")

    def holder(self, peer: Peer, nodes: Iterable[Server] | None = None) -> Server:
        """The node that a client has come to."""
        # Connections to two ports may have the same one at this end.
        public = peer.socket.getpeername()[1] == self.balancer.public
        kind = "subscriber" if public else "session"
        port = peer.socket.getsockname()[1]
        line = re.compile(rf" {kind} \S+ opened from 127\.0\.0\.1 port {port}$", re.M)
        found: list[Server] = []

        def look() -> bool:
            found[:] = [node for node in nodes or self.nodes if line.search(node.text())]
            return bool(found)

        eventually(look, "a node that says whose connection it has")
        assert len(found) == 1
        return found[0]


def _without_comments(text: str) -> str:
    return re.sub(r"#.*", "", text)
