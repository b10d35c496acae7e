"""HAProxy in front of the nodes: it takes the clients, and each gets a node that is ready."""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

from wood.exchange.cluster.addresses import address_text
from wood.model.errors import ConfigError
from wood.tools.cluster.child import Child
from wood.tools.cluster.nodes import Node
from wood.tools.cluster.ports import LOOPBACK

# As deploy/haproxy.cfg has it, where the reasons are. With `noreuseport` two cannot share a port.
HEAD = """\
global
    noreuseport
    stats socket '{control}'

defaults
    mode tcp
    balance leastconn
    timeout connect 2s
    retries 3
    option redispatch 1
    timeout client 24h
    timeout server 24h
    timeout tunnel 24h
    option clitcpka
    clitcpka-idle 60s
    clitcpka-intvl 15s
    clitcpka-cnt 4
    option srvtcpka
    srvtcpka-idle 60s
    srvtcpka-intvl 15s
    srvtcpka-cnt 4
    timeout client-fin 1m
    timeout server-fin 1m
    option httpchk GET /readyz
    timeout check 2s
    default-server inter 500ms fastinter 100ms fall 2 rise 1 send-proxy-v2
"""


def installed(wanted: bool | None) -> str | None:
    """The program, None if it is to be without. Raises `ConfigError` if it is wanted in vain."""
    program = None if wanted is False else shutil.which("haproxy")
    if wanted and program is None:
        raise ConfigError("--haproxy: there is no haproxy on the PATH")
    return program


class Balancer:
    """HAProxy on the ports in front, with its configuration and control socket in `folder`."""

    def __init__(self, program: str, folder: Path) -> None:
        self._control = folder / "haproxy.sock"
        self._file = folder / "haproxy.cfg"
        self.child = Child("HAProxy", [program, "-db", "-f", str(self._file)])

    async def begin(
        self, addresses: Sequence[str], ports: Sequence[int], nodes: Sequence[Node]
    ) -> None:
        """Start it; return when it listens on the private and the public port of `ports`.

        Raises `ClusterFailed`.
        """
        self._file.write_text(configuration(self._control, addresses, ports, nodes))
        await self.child.start()
        await self.child.until(self._listens)

    async def _listens(self) -> bool:
        """Whether it answers: it binds its socket before the ports, and may yet find one taken."""
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._control))
            try:
                writer.write(b"show info\n")
                return bool(await reader.read(1))
            finally:
                writer.close()
        except OSError:
            return False


def configuration(
    control: Path, addresses: Sequence[str], ports: Sequence[int], nodes: Sequence[Node]
) -> str:
    """The text of its configuration."""
    private, public = (",".join(address_text((each, port)) for each in addresses) for port in ports)
    parts = [
        HEAD.format(control=control),
        _frontend("private", private),
        _frontend("public", public),
        _backend("private_ready", [f"{_private(node)} check port {node.health}" for node in nodes]),
        _backend("public_ready", [_tracking(node, "private_ready") for node in nodes]),
        _backend(
            "private_alive",
            [f"{_private(node)} check port {node.health}" for node in nodes],
            "option httpchk GET /healthz",
        ),
        _backend("public_alive", [_tracking(node, "private_alive") for node in nodes]),
    ]
    return "\n".join(parts)


def _frontend(kind: str, bind: str) -> str:
    return (
        f"frontend {kind}\n    bind {bind}\n"
        f"    use_backend {kind}_alive if {{ nbsrv({kind}_ready) eq 0 }}\n"
        f"    default_backend {kind}_ready\n"
    )


def _backend(name: str, servers: Sequence[str], *more: str) -> str:
    lines = [*more, *(f"server node{number} {each}" for number, each in enumerate(servers, 1))]
    return f"backend {name}\n" + "".join(f"    {line}\n" for line in lines)


def _private(node: Node) -> str:
    return f"{LOOPBACK}:{node.private}"


def _tracking(node: Node, backend: str) -> str:
    return f"{LOOPBACK}:{node.public} track {backend}/node{node.number}"
